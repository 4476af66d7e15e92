"""A stream's usage that the gateway asked for, and the client did not, is taken out again. Pure.

A server that is asked for the usage sends it in a last chunk without choices. Inside of a JSON
string quotes are escaped, so that the bare key `"choices"` before an empty list is a chunk's own.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson

from coe import sse

_EMPTY = re.compile(rb'"choices"\s*:\s*\[\s*\]')


def without_usage(block: bytes) -> bytes:
    r"""Return whole frames without those that hold nothing but usage.

    Example:
        >>> without_usage(b'data: {"choices": [], "usage": {"prompt_tokens": 3}}\n\n')
        b''
    """
    if _EMPTY.search(block) is None:
        return block
    return b"".join(frame + b"\n\n" for frame in sse.frames(block) if not _is_usage(frame))


async def hidden(frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield a stream's frames but for those."""
    async with aclosing(frames):
        async for piece in frames:
            if block := without_usage(piece):
                yield block


def _is_usage(frame: bytes) -> bool:
    try:
        chunk = orjson.loads(sse.data(frame) or b"")
    except orjson.JSONDecodeError:
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and bool(chunk.get("usage"))
