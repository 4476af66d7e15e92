"""A chat completion -> a response, or the stream of events that builds one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coe.api.dialects import speech
from coe.api.dialects.responses.items import CONTENT, content, ending, item, usage
from coe.api.dialects.speech import Part, Piece, Reader
from coe.api.dialects.translation import event
from coe.errors import CoEError

_DELTAS = {
    "text": "response.output_text",
    "refusal": "response.refusal",
    "reasoning": "response.reasoning_text",
    "call": "response.function_call_arguments",
}


class Writer:
    """Writes one response. `response` is the object as it is before anything was answered."""

    def __init__(self, seed: str, response: dict[str, Any]) -> None:
        self._seed = seed
        self._response = response
        self._reader = Reader(seed)
        self._parts: list[Part] = []
        self._output: list[dict[str, Any]] = []  # items that are done
        self._sequence = 0

    def whole(self, completion: bytes) -> Mapping[str, Any]:
        """Return the response."""
        self._parts = speech.parts(completion, self._reader)
        end = ending(self._reader.ended())
        last = len(self._parts) - 1
        self._output = [
            item(part, self._seed, place, end["status"] if place == last else "completed")
            for place, part in enumerate(self._parts)
        ]
        return self._now(end)

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events of a chunk."""
        pieces = list(self._reader.read(chunk))
        if not self._sequence:
            yield from self._begun()
        for piece in pieces:
            if piece.begins:
                yield from self._closed("completed")
            part = speech.add(self._parts, piece)
            if piece.begins:
                yield from self._opened(part)
            if piece.text:
                yield self._delta(part, piece)

    def end(self) -> Iterator[bytes]:
        """Yield the events that end the open item, and the response."""
        end = ending(self._reader.ended())
        yield from self._closed(end["status"])
        yield self._event(f"response.{end['status']}", response=self._now(end))

    def broken(self, error: CoEError) -> bytes:
        """Return the event that says that the response has failed."""
        begun = b"" if self._sequence else b"".join(self._begun())
        failed = {"status": "failed", "error": {"code": error.code, "message": error.message}}
        return begun + self._event("response.failed", response=self._now(failed))

    def _begun(self) -> Iterator[bytes]:
        yield self._event("response.created", response=self._now({}))
        yield self._event("response.in_progress", response=self._now({}))

    def _now(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the response with what is known by now."""
        reader = self._reader
        known = {
            **self._response,
            "model": reader.model or self._response["model"],
            "output": list(self._output),
            "usage": usage(reader.usage),
            **state,
        }
        return known if reader.coe is None else {**known, "coe": reader.coe}

    def _opened(self, part: Part) -> Iterator[bytes]:
        place = len(self._output)
        made = item(part, self._seed, place, "in_progress")
        yield self._event("response.output_item.added", output_index=place, item=made)
        if part.kind in CONTENT:
            yield self._event(
                "response.content_part.added", **self._place(part), part=content(part, empty=True)
            )

    def _delta(self, part: Part, piece: Piece) -> bytes:
        more = {"logprobs": list(piece.logprobs)} if part.kind == "text" else {}
        name = f"{_DELTAS[part.kind]}.delta"
        return self._event(name, **self._place(part), delta=piece.text, **more)

    def _closed(self, status: str) -> Iterator[bytes]:
        """Yield the events that end the open item, if one is open."""
        if len(self._parts) == len(self._output):
            return
        part = self._parts[-1]
        where, name = self._place(part), f"{_DELTAS[part.kind]}.done"
        if part.kind == "call":
            yield self._event(name, **where, name=part.name, arguments=part.text)
        else:
            _, field = CONTENT[part.kind]
            more = {"logprobs": list(part.logprobs)} if part.kind == "text" else {}
            yield self._event(name, **where, **{field: part.text}, **more)
            yield self._event("response.content_part.done", **where, part=content(part))
        place = len(self._output)
        done = item(part, self._seed, place, status)
        self._output.append(done)
        yield self._event("response.output_item.done", output_index=place, item=done)

    def _place(self, part: Part) -> dict[str, Any]:
        """Return where the open item stands, as each event about it says."""
        place = len(self._output)
        where = {
            "item_id": item(part, self._seed, place, "in_progress")["id"],
            "output_index": place,
        }
        return where if part.kind == "call" else {**where, "content_index": 0}

    def _event(self, name: str, /, **fields: Any) -> bytes:
        made = event(name, {"type": name, "sequence_number": self._sequence, **fields})
        self._sequence += 1
        return made
