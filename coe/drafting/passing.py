"""A stream that is a panel's answer, passed on as it comes; its end is written anew.

Frames go through as they are, up to a chunk with a finish reason. That one is held back until the
stream has ended, because the very last chunk tells what all calls came to. Chunks that hold the
writer's own usage are swallowed: the client is told the sum.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import orjson

from coe import sse

Closing = Callable[[list[dict[str, Any]], Mapping[str, Any], Mapping[str, Any]], list[bytes]]


async def passed_on(
    first: bytes, rest: AsyncGenerator[bytes, None], closing: Closing
) -> AsyncGenerator[bytes, None]:
    """Yield a stream's frames, and the last ones as `closing` writes them.

    Args:
        first: its first frames.
        rest: the others; closed with this generator.
        closing: given the chunks that were held back, what every chunk begins with, and the usage
            that the stream told; returns the last frames.

    Raises:
        BackendError: as `rest` raises it; then nothing has been closed.
    """
    end = _End()
    async with aclosing(rest):
        if block := end.take(first):
            yield block
        async for piece in rest:
            if block := end.take(piece):
                yield block
    for frame in closing(end.held, end.head, end.usage):
        yield frame


class _End:
    """What of a stream is not passed on as it comes.

    Attributes:
        held: the chunks since the last finish reason that is there.
        head: what every chunk begins with.
        usage: as the stream told it; empty where it did not.
    """

    def __init__(self) -> None:
        self.held: list[dict[str, Any]] = []
        self.head: Mapping[str, Any] = {"object": "chat.completion.chunk"}
        self.usage: Mapping[str, Any] = {}

    def take(self, block: bytes) -> bytes:
        """Take whole frames; return those that are passed on now."""
        passed = b""
        for frame in sse.frames(block):
            chunk = _parsed(frame)
            if chunk is None:
                passed += frame + b"\n\n"
                continue
            self.head = {k: v for k, v in chunk.items() if k not in {"choices", "usage"}}
            told = chunk.pop("usage", None)
            if isinstance(told, Mapping):
                self.usage = told
                if not chunk.get("choices"):
                    continue
                frame = sse.frame(orjson.dumps(chunk)).rstrip()  # noqa: PLW2901 - without it
            if self.held or _is_last(chunk):
                self.held.append(chunk)
            else:
                passed += frame + b"\n\n"
        return passed


def _parsed(frame: bytes) -> dict[str, Any] | None:
    """Return a frame's chunk; None for a comment."""
    payload = sse.data(frame)
    if payload is None:
        return None
    try:
        chunk = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return chunk if isinstance(chunk, dict) else None


def _is_last(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk ends a choice."""
    choices = chunk.get("choices")
    rows = choices if isinstance(choices, list) else ()
    return any(isinstance(choice, Mapping) and choice.get("finish_reason") for choice in rows)
