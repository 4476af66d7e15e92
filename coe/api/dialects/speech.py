"""What a chat completion says, piece by piece: the one place where the dialects read chunks.

Pure. A whole answer is read as the stream that spells it, so that there is one way to read both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson

from coe import sse
from coe.errors import BackendProtocolError
from coe.unfold import unfold

Kind = Literal["reasoning", "text", "refusal", "call"]


class Piece(NamedTuple):
    """Some more of what the model says.

    Attributes:
        kind: what it is a piece of.
        text: the text; of a call, more of its arguments. May be empty where a call begins.
        begins: whether it is the first piece of its part.
        id: of the call.
        name: of the function that is called.
        logprobs: of the tokens of the text; empty where nobody asked.
    """

    kind: Kind
    text: str
    begins: bool
    id: str = ""
    name: str = ""
    logprobs: tuple[Any, ...] = ()


@dataclass(slots=True, kw_only=True)
class Part:
    """One part of an answer: a text, a refusal, a reasoning, or a call of a function."""

    kind: Kind
    text: str = ""
    id: str = ""
    name: str = ""
    logprobs: list[Any] = field(default_factory=list)


class Reader:
    """Reads the first choice of a stream of chunk objects.

    Attributes:
        finish: why the model stopped; None until it has.
        stopped_by: the stop sequence that was met, where the server says which.
        usage: the tokens that it took; None until they are told.
        model: who answers; empty until a chunk was read.
        coe: what the gateway says of a panel's answer; None where none answers.
    """

    def __init__(self, seed: str) -> None:
        """Args are `seed`, of which ids are made for calls that the server gave none."""
        self.finish: str | None = None
        self.stopped_by: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self.model = ""
        self.coe: Any = None
        self._seed = seed
        self._open: Kind | None = None
        self._call: tuple[int, str] = (-1, "")
        self._calls: set[int] = set()
        self._count = 0

    def read(self, chunk: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield the pieces of the next chunk.

        Raises:
            BackendProtocolError: the chunk is not one, or the calls in it are mixed up.
        """
        self.model = chunk.get("model") or self.model
        self.usage = chunk.get("usage") or self.usage
        self.coe = chunk.get("coe", self.coe)
        for choice in chunk.get("choices") or ():
            if mapping(choice, "a choice").get("index"):
                continue
            yield from self._said(choice)
            self.finish = choice.get("finish_reason") or self.finish
            stop = choice.get("stop_reason")
            self.stopped_by = stop if isinstance(stop, str) else self.stopped_by

    def ended(self) -> str:
        """Return why the model stopped.

        Raises:
            BackendProtocolError: nobody said that it has: the answer may be half of one.
        """
        if self.finish is None:
            raise BackendProtocolError("the answer ended without a finish reason")
        return self.finish

    def _said(self, choice: Mapping[str, Any]) -> Iterator[Piece]:
        delta = mapping(choice.get("delta") or {}, "a delta")
        if text := delta.get("reasoning_content") or delta.get("reasoning"):
            yield self._more("reasoning", text)
        if text := delta.get("content"):
            logprobs = mapping(choice.get("logprobs") or {}, "log probabilities")
            yield self._more("text", text, tuple(logprobs.get("content") or ()))
        if text := delta.get("refusal"):
            yield self._more("refusal", text)
        for call in delta.get("tool_calls") or ():
            yield self._called(mapping(call, "a tool call"))

    def _more(self, kind: Kind, text: Any, logprobs: tuple[Any, ...] = ()) -> Piece:
        if not isinstance(text, str):
            raise BackendProtocolError(f"an expert sent a {kind} that is not a string")
        begins = self._open != kind
        self._open = kind
        return Piece(kind, text, begins, logprobs=logprobs)

    def _called(self, call: Mapping[str, Any]) -> Piece:
        """Read a piece of a call: another index or id than the last one's begins another call."""
        index, name = call.get("index") or 0, call.get("id") or ""
        function = mapping(call.get("function") or {}, "a function")
        text = function.get("arguments") or ""
        known_index, known_name = self._call
        is_same = self._open == "call" and index == known_index and name in {"", known_name}
        if is_same:
            return Piece("call", text, begins=False)
        if index in self._calls and not name:
            raise BackendProtocolError("an expert sent the pieces of its tool calls mixed up")
        self._calls.add(index)
        self._open = "call"
        self._count += 1
        self._call = (index, name)
        named = name or f"call_{self._seed}_{self._count}"
        return Piece("call", text, begins=True, id=named, name=function.get("name") or "")


def chunks(block: bytes) -> Iterator[Mapping[str, Any] | bytes]:
    """Yield the chunk objects of a block of whole frames; a comment comes as its bytes.

    Raises:
        BackendProtocolError: a frame's data is not a JSON object.
    """
    for frame in sse.frames(block):
        payload = sse.data(frame)
        if payload is None:
            yield frame + b"\n\n"
        elif payload != b"[DONE]":
            yield _object(payload)


def parts(completion: bytes, reader: Reader) -> list[Part]:
    """Return the parts of a whole chat completion; what else it says is in `reader` afterwards.

    Raises:
        BackendProtocolError: it is none.
    """
    value = whole(completion)
    found: list[Part] = []
    for chunk in unfold(value, usage=True):
        for piece in reader.read(chunk):
            add(found, piece)
    return found


def whole(completion: bytes) -> dict[str, Any]:
    """Return a chat completion that has a message in each of its choices, and at least one.

    Raises:
        BackendProtocolError: it has not.
    """
    value = _object(completion)
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices:
        raise BackendProtocolError("the expert's answer has no choices")
    for choice in choices:
        mapping(mapping(choice, "a choice").get("message"), "a message")
    return value


def add(known: list[Part], piece: Piece) -> Part:
    """Put a piece to the parts that it belongs to; return its part."""
    if piece.begins:
        known.append(Part(kind=piece.kind, id=piece.id, name=piece.name))
    part = known[-1]
    part.text += piece.text
    part.logprobs += piece.logprobs
    return part


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return an object that an expert sent. Raises BackendProtocolError where it is none."""
    if not isinstance(value, Mapping):
        raise BackendProtocolError(f"an expert sent {what} that is not an object")
    return value


def _object(payload: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BackendProtocolError("the expert's answer is broken JSON") from error
    if not isinstance(value, dict):
        raise BackendProtocolError("the expert's answer is not a JSON object")
    return value
