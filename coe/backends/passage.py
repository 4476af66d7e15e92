"""How an OpenAI answer passes through as bytes, and what is read of it on the way.

Pure. `whole` takes a body that is not streamed. `Passage` takes a stream's bytes: until the first
content it parses every frame, so that an error in disguise still looks like one; then it forwards
whole frames unparsed, unless the bytes of a frame's own punctuation say that it must look. That is
safe because inside a JSON string a quote is always escaped: `"error"` and `"model":"x"` with bare
quotes are keys and values of the answer's own structure, never its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from coe.backends.rejection import Secret, parsed, refusal, shown
from coe.errors import BackendProtocolError, CoEError
from coe.sse import Splitter, before_done, data, frames
from coe.types import Call

MAX_FRAME_BYTES = 16 * 1024 * 1024

_MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*("(?:[^"\\]|\\.)*")')
_LIST = {"chat/completions": b'"choices"', "embeddings": b'"data"'}
_TAIL = 8192  # bytes of small blocks that are kept to look for a finish reason at the end


def whole(body: bytes, call: Call, backend: str, secret: Secret) -> bytes:
    """Return the JSON body with the expert's name as its `model`.

    The name is replaced in place where nothing but the first level of the object can hold it;
    otherwise, and where there is no name, the body is parsed and written again.

    Raises:
        BackendRejected, ContextTooLong: the body is an error object.
        BackendProtocolError: the body is not an answer.
    """
    body = body.strip()
    if not (body.startswith(b"{") and body.endswith(b"}")):
        start = shown(body[:40].decode("utf-8", "replace"), secret)
        what = f"backend `{backend}` answered with what is not a JSON object"
        error = BackendProtocolError(f"{what}: {start!r}")
        error.logged = what
        raise error
    name = orjson.dumps(call.expert)
    key = _LIST[call.endpoint]
    if key in body and b'"error"' not in body:
        at = body.find(b'"model"')  # a search that begins with a look-behind goes byte by byte
        found = _MODEL.match(body, at) if at > 0 else None
        if found is not None:
            begin, end = found.span(1)
            is_outermost = body.count(b"{", 0, at) == 1 and body.find(b"[", 0, at) < 0
            if is_outermost and body.find(b'"model"', end) < 0:
                return b"%b%b%b" % (body[:begin], name, body[end:])
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BackendProtocolError(f"backend `{backend}` answered with broken JSON") from error
    if refused := refusal(backend, answer, secret):
        raise refused
    if not isinstance(answer.get(key.decode().strip('"')), list):
        raise BackendProtocolError(f"backend `{backend}` answered without {key.decode()}")
    return orjson.dumps({**answer, "model": call.expert})


class Passage:
    """One stream on its way through.

    Attributes:
        started: content has been seen, and `feed` has returned it.
        done: the stream's end mark has been seen; there is nothing more to feed.
        error: what is wrong with the stream, to be raised once all that `feed` returned is
            delivered.
    """

    def __init__(self, call: Call, backend: str, secret: Secret) -> None:
        self.started = False
        self.done = False
        self.error: CoEError | None = None
        self._backend = backend
        self._secret = secret
        self._expert = call.expert
        self._name = b'"model":' + orjson.dumps(call.expert)
        self._spellings: list[bytes] = []
        self._splitter = Splitter()
        self._held = b""
        self._has_data = False
        # With one choice, the last frames tell whether it finished; with several, all frames do.
        n = call.body.get("n")
        self._several = isinstance(n, int) and n > 1
        self._last = b""
        self._finished: set[int] = set()
        self._unfinished: set[int] = set()

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes; return the frames to deliver, b"" for none yet.

        Raises:
            BackendRejected, ContextTooLong: an error came before any content.
            BackendProtocolError: what came before any content is not an answer.
        """
        block = self._splitter.feed(piece)
        if self._splitter.pending + len(self._held) > MAX_FRAME_BYTES:
            raise self._broken("sent a frame without end")
        return self._take(block) if block else b""

    def end(self) -> bytes:
        """Take note that the bytes have ended; return the last frames to deliver.

        `error` is set unless the answer is complete: the end mark, or a finish reason for every
        choice.

        Raises:
            CoEError: like `feed`.
        """
        rest = self._splitter.rest.strip()
        value = parsed(data(rest) or rest) if rest else None
        block = b""
        if value is not None or (data(rest) or b"") == b"[DONE]":
            if not self.started and (refused := refusal(self._backend, value, self._secret)):
                raise refused
            block = self._take(rest + b"\n\n")  # a last frame that lacks its empty line
        if not self.started:
            raise self._broken(
                "ended its answer before any content"
                if self._has_data
                else "did not answer with an event stream"
            )
        if not self.done and self.error is None and not self._is_complete():
            self.error = self._broken("ended its answer in the middle")
        return block

    def _take(self, block: bytes) -> bytes:
        block, self.done = before_done(block)
        if not self.started:
            self._held += block
            self.started = self._reaches_content(block)
            if not self.started:
                if self.done:
                    raise self._broken("ended its answer before any content")
                return b""
            block, self._held = self._held, b""
        if self._several or b'"error"' in block:
            block = self._looked_at(block)
        else:
            self._last = block if len(block) > _TAIL else (self._last + block)[-_TAIL:]
        for spelling in self._spellings:
            block = block.replace(spelling, self._name)
        return block

    def _reaches_content(self, block: bytes) -> bool:
        """Parse the frames up to the first content; whether there is any."""
        for frame in frames(block):
            payload = data(frame)
            if payload is None:
                continue
            self._has_data = True
            chunk = parsed(payload)
            if not isinstance(chunk, dict):
                raise self._broken("sent a frame that is not a JSON object")
            if refused := self._refused(frame, chunk):
                raise refused
            self._learn(payload, chunk)
            if _has_content(chunk):
                return True
        return False

    def _learn(self, payload: bytes, chunk: dict[str, Any]) -> None:
        """Remember how the model's name is spelled, if it is not the expert's already."""
        if chunk.get("model") in {None, self._expert}:
            return
        for found in _MODEL.finditer(payload):
            if found[0] not in self._spellings and orjson.loads(found[1]) == chunk["model"]:
                self._spellings.append(found[0])

    def _looked_at(self, block: bytes) -> bytes:
        """Parse every frame of a block; return those before the first error frame."""
        kept = []
        for frame in frames(block):
            chunk = parsed(data(frame) or b"")
            if isinstance(chunk, dict):
                self.error = self._refused(frame, chunk)
                if self.error is not None:
                    break
                self._count(chunk)
            kept.append(frame + b"\n\n")
        return b"".join(kept)

    def _count(self, chunk: dict[str, Any]) -> None:
        for choice in _choices(chunk):
            index = choice.get("index") or 0
            if choice.get("finish_reason"):
                self._finished.add(index)
            elif choice.get("delta"):
                self._unfinished.add(index)

    def _is_complete(self) -> bool:
        """Whether every choice that was seen has a finish reason."""
        for frame in frames(self._last):
            chunk = parsed(data(frame) or b"")  # None for a frame of which only the end was kept
            if isinstance(chunk, dict):
                self._count(chunk)
        return bool(self._finished) and self._unfinished <= self._finished

    def _refused(self, frame: bytes, chunk: dict[str, Any]) -> CoEError | None:
        if not chunk.get("error") and b"event: error" in frame:
            chunk = {"error": chunk}
        return refusal(self._backend, chunk, self._secret)

    def _broken(self, what: str) -> BackendProtocolError:
        return BackendProtocolError(f"backend `{self._backend}` {what}")


def _choices(chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = chunk.get("choices")
    return [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []


def _has_content(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk carries more than a role: text, reasoning, a tool call, a finish reason."""
    for choice in _choices(chunk):
        if choice.get("finish_reason"):
            return True
        delta = choice.get("delta")
        if isinstance(delta, dict) and any(delta[key] for key in delta if key != "role"):
            return True
    return False
