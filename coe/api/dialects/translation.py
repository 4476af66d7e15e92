"""An exchange in another API's words: the answer and the errors are rendered, nothing else differs.

What is asked travels as a chat completion, so that routing, sessions, experiments, panels, the
decision log and the shadows are those of /v1/chat/completions.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import field, fields, replace
from typing import Any, Protocol

import orjson

from coe.api import explain, wire
from coe.api.dialects import speech
from coe.api.inference import Exchange
from coe.composition import Composition
from coe.errors import CoEError
from coe.settings import Settings
from coe.types import Answer, Query
from coe.value import value


class Writer(Protocol):
    """Writes one answer in a dialect; made for one request, and used in its order."""

    def whole(self, completion: bytes) -> Mapping[str, Any]:
        """Return the body of an answer that is not streamed.

        Raises:
            BackendProtocolError: what the expert sent is no chat completion.
        """

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the frames that the next chunk of a streamed answer becomes; perhaps none.

        Raises:
            BackendProtocolError: it is no chunk.
        """

    def end(self) -> Iterator[bytes]:
        """Yield the frames that end a streamed answer.

        Raises:
            BackendProtocolError: the answer is not whole.
        """

    def broken(self, error: CoEError) -> bytes:
        """Return the frames that end a stream which failed; they never pass for a clean end."""


@value
class Translated(Query):
    """A query that was asked in a dialect.

    Attributes:
        writer: who writes its answer.
        left_out: types of tools that were offered and that no expert can use.
    """

    writer: Writer = field(repr=False, compare=False)
    left_out: tuple[str, ...] = ()


def translated(
    chat: dict[str, Any],
    query_id: str,
    settings: Settings,
    sender: wire.Sender,
    *,
    writer: Writer,
    left_out: tuple[str, ...] = (),
) -> Translated:
    """Return the query that a chat body asks.

    Raises:
        InvalidRequest: see `wire.parse_chat`.
    """
    query = wire.parse_chat(chat, query_id, settings, sender)
    known = {one.name: getattr(query, one.name) for one in fields(Query)}
    return Translated(writer=writer, left_out=left_out, **known)


class Translation(Exchange):
    """An exchange whose answer a `Writer` writes."""

    END = b""
    _writer: Writer | None = None
    _left_out: tuple[str, ...] = ()
    _heard = b""

    def begin(self, query: Query, composition: Composition) -> None:
        """Note who writes the answer, too."""
        super().begin(query, composition)
        assert isinstance(query, Translated)  # noqa: S101 - the dialect's own `parse` made it
        self._writer, self._left_out = query.writer, query.left_out

    async def send(self, answer: Answer) -> None:
        """Send the answer as the dialect has it."""
        writer = self._writer
        assert writer is not None  # noqa: S101 - `begin` came before
        self._heard = answer.first
        try:
            if answer.query.stream:
                first = b"".join(_spelt(writer, answer.first))
                shown = replace(answer, first=first, frames=self._rest(writer, answer.frames))
            else:
                shown = replace(answer, first=orjson.dumps(writer.whole(answer.first)))
            await super().send(shown)
        finally:
            await answer.frames.aclose()

    def broken(self, error: CoEError) -> bytes:
        """Return the frames that tell of a failure after the headers."""
        return self._writer.broken(error) if self._writer is not None else super().broken(error)

    def finish(self) -> None:
        """Report the request as ended; the log reads usage from what the expert sent."""
        self._last = self._heard
        super().finish()

    async def _start(self, headers: explain.Headers) -> None:
        if self._left_out:
            headers = [*headers, (b"x-coe-left-out", ", ".join(self._left_out).encode())]
        await super()._start(headers)

    async def _rest(
        self, writer: Writer, frames: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(frames):
            async for piece in frames:
                self._heard = piece
                if shown := b"".join(_spelt(writer, piece)):
                    yield shown
        yield b"".join(writer.end())


def _spelt(writer: Writer, block: bytes) -> Iterator[bytes]:
    for chunk in speech.chunks(block):
        if isinstance(chunk, bytes):
            yield chunk
        else:
            yield from writer.chunk(chunk)


def event(name: str, value: Mapping[str, Any]) -> bytes:
    """Return a server-sent event that has a name."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(value))
