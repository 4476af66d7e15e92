"""The ordinary answers of the fake upstream, as steps."""

from __future__ import annotations

from typing import Any

import orjson

from coe.sse import DONE
from coe.testing import wire
from coe.testing.steps import End, Send, Step
from coe.testing.wire import Ask


def text(ask: Ask) -> str:
    """Return what an ordinary answer says: what it was told to, or the prompt."""
    if ask.said is not None:
        return ask.said
    return f"echo: {ask.prompt}" if ask.prompt else "hello from the fake upstream"


def frames(ask: Ask, said: str | None = None) -> list[bytes]:
    """Return the frames of an ordinary stream, without its end mark."""
    return [wire.frame(value) for value in wire.chunks(ask, said or text(ask))]


def streamed(parts: list[bytes], *, ended: bool = True) -> Send:
    """Return one write of a stream's headers and frames, each frame an HTTP chunk."""
    content = b"".join(wire.chunked(part) for part in parts)
    return Send(wire.chunked_head() + content + (wire.chunked(b"") if ended else b""))


def body(ask: Ask, **message: Any) -> bytes:
    """Return the JSON of an ordinary answer that is not streamed."""
    return orjson.dumps(wire.completion(ask, text(ask), message))


def ordinary(ask: Ask) -> list[Step]:
    """Answer."""
    if ask.stream:
        return [streamed([*frames(ask), DONE])]
    return [Send(wire.http(200, body(ask)))]


def until_close(kind: str, content: bytes) -> list[Step]:
    """Answer with a body that has no length: it ends with the connection."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode()
    return [Send(head + content), End("close")]
