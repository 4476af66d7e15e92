"""A chat completion -> a message, or the stream of events that builds one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coe.api.dialects import speech
from coe.api.dialects.messages import failures
from coe.api.dialects.messages.blocks import block, stop, usage
from coe.api.dialects.speech import Part, Piece, Reader
from coe.api.dialects.translation import event
from coe.errors import CoEError

_CHARS_PER_TOKEN = 4


class Writer:
    """Writes one message."""

    def __init__(self, seed: str, *, thinks: bool, stops: Iterable[str]) -> None:
        """Args are a seed for ids, whether thoughts are shown, and the client's stop sequences."""
        self._id = f"msg_{seed}"
        self._seed = seed
        self._thinks = thinks
        self._stops = tuple(stops)
        self._reader = Reader(seed)
        self._parts: list[Part] = []
        self._has_begun = False
        self._model = ""
        self._prompt = 0

    def expect(self, model: str, prompt: int) -> None:
        """Note who was asked, and an estimate of the prompt's tokens."""
        self._model, self._prompt = model, prompt

    def whole(self, completion: bytes) -> Mapping[str, Any]:
        """Return the message."""
        parts = speech.parts(completion, self._reader)
        self._parts = [part for part in parts if self._thinks or part.kind != "reasoning"]
        content = [block(part, self._reader.ended()) for part in self._parts]
        return {**self._message(), "content": content, **self._stop(), "usage": self._usage()}

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events of a chunk."""
        pieces = list(self._reader.read(chunk))
        if not self._has_begun:
            self._has_begun = True
            usage = {"input_tokens": self._prompt, "output_tokens": 0}
            message = {**self._message(), "content": [], "usage": usage}
            yield event("message_start", {"type": "message_start", "message": message})
            yield event("ping", {"type": "ping"})
        for piece in pieces:
            if self._thinks or piece.kind != "reasoning":
                yield from self._said(piece)

    def end(self) -> Iterator[bytes]:
        """Yield the events that end the open block, and the message."""
        self._reader.ended()
        yield from self._closed()
        delta = {"type": "message_delta", "delta": self._stop(), "usage": self._usage()}
        yield event("message_delta", self._with_coe(delta))
        yield event("message_stop", {"type": "message_stop"})

    def broken(self, error: CoEError) -> bytes:
        """Return Anthropic's error event."""
        return event("error", failures.body(error))

    def _said(self, piece: Piece) -> Iterator[bytes]:
        if piece.begins:
            yield from self._closed()
        part = speech.add(self._parts, piece)
        index = len(self._parts) - 1
        if piece.begins:
            empty = block(Part(kind=part.kind, id=part.id, name=part.name), "stop")
            start = {"type": "content_block_start", "index": index, "content_block": empty}
            yield event("content_block_start", start)
        if piece.text:
            delta = {"type": "content_block_delta", "index": index, "delta": _delta(piece)}
            yield event("content_block_delta", delta)

    def _closed(self) -> Iterator[bytes]:
        """Yield the event that ends the open block, if one is open."""
        if self._parts:
            ended = {"type": "content_block_stop", "index": len(self._parts) - 1}
            yield event("content_block_stop", ended)

    def _message(self) -> dict[str, Any]:
        message = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._reader.model or self._model,
            "stop_reason": None,
            "stop_sequence": None,
        }
        return self._with_coe(message)

    def _with_coe(self, made: dict[str, Any]) -> dict[str, Any]:
        return made if self._reader.coe is None else {**made, "coe": self._reader.coe}

    def _stop(self) -> dict[str, Any]:
        reader = self._reader
        kinds: set[str] = {part.kind for part in self._parts}
        return stop(reader.ended(), reader.stopped_by, self._stops, kinds)

    def _usage(self) -> dict[str, int]:
        answer = sum(len(part.text) for part in self._parts) // _CHARS_PER_TOKEN
        return usage(self._reader.usage, self._prompt, answer)


def _delta(piece: Piece) -> dict[str, str]:
    if piece.kind == "call":
        return {"type": "input_json_delta", "partial_json": piece.text}
    if piece.kind == "reasoning":
        return {"type": "thinking_delta", "thinking": piece.text}
    return {"type": "text_delta", "text": piece.text}
