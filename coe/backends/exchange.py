"""One request and its answer on a connection of the lean client.

The reader waits on one future at a time, and the four time limits share one timer: it is armed for
the next limit that could pass, looks again when it fires, and is seldom touched in between. An
exchange that is over within its connection's grace never has one.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from coe.backends.http import MAX_BODY_BYTES, MAX_HEADERS, PAUSE_BYTES, late
from coe.errors import BackendProtocolError
from coe.grace import Grace
from coe.types import Timeouts

_RELEASE_S = 1.0  # how long the end of a body that nobody reads may take


class Socket(Protocol):
    """What an exchange asks of its connection."""

    name: str
    loop: asyncio.AbstractEventLoop
    grace: Grace[Exchange]

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""

    def cut(self) -> None:
        """Close at once."""

    def fail(self, error: Exception) -> None:
        """Close at once, and call the exchange's `fail`."""


class Exchange:
    """See `coe.backends.http.Response`; the other half is called by the connection.

    Attributes:
        complete: the answer's last byte has arrived.
    """

    __slots__ = (
        "_at", "_began", "_error", "_grace", "_headers", "_limits", "_name", "_pieces", "_released",
        "_sent", "_since", "_size", "_socket", "_started", "_streamed", "_timer", "_waiter",
        "complete", "status",
    )  # fmt: skip

    def __init__(
        self, socket: Socket, limits: Timeouts, began: float, sent: float, *, streamed: bool
    ) -> None:
        self.status = 0
        self.complete = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._socket: Socket | None = socket  # None as soon as the connection is somebody else's
        self._name = socket.name
        self._limits = limits
        self._began = began
        self._sent = self._since = sent
        self._streamed = streamed
        self._started = self._released = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._grace = socket.grace
        self._grace.enter(self)

    # The reader's half

    def header(self, name: str) -> str:
        """See `Response.header`."""
        wanted = name.encode()
        for raw, value in self._headers:
            if raw.lower() == wanted:
                return value.decode("latin-1")
        return ""

    async def arrive(self) -> None:
        """Return when the headers are here; of an answer that is not streamed, when all is."""
        while not (self.complete or (self._streamed and self.status)):
            await self._wait()

    async def read(self) -> bytes:
        """See `Response.read`."""
        pieces = []
        size = 0
        while piece := await self.receive():
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise self._endless()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def receive(self) -> bytes:
        """See `Response.receive`."""
        while not self._pieces:
            if self.complete:
                return b""
            await self._wait()
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self._socket is not None:
            self._socket.resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def started(self) -> None:
        """See `Response.started`."""
        self._started = True
        if self._socket is not None:
            now = self._socket.loop.time()
            self._since = now
            if self._timer is not None:
                at = self._due(now)[0]
                if at < self._at:
                    self._arm(at)

    def release(self) -> None:
        """See `Response.release`. The rest is thrown away, so that the connection can be kept."""
        if self._socket is not None:
            self._released = True
            self._socket.resume()
            self._disarm()
            self._timer = self._socket.loop.call_later(_RELEASE_S, self._socket.cut)

    def close(self) -> None:
        """See `Response.close`."""
        if self._socket is not None and not self._released:
            socket, self._socket = self._socket, None
            self._disarm()
            socket.cut()

    async def _wait(self) -> None:
        """Return when something has happened; raise what has gone wrong."""
        if self._error is not None:
            raise self._error
        if self._socket is None:
            raise BackendProtocolError(f"backend `{self._name}`: the answer was closed")
        self._since = self._socket.loop.time()
        self._waiter = self._socket.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._pieces:
            raise self._error

    # The connection's half

    def add_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers.append((name, value))
        if len(self._headers) > MAX_HEADERS:
            raise BackendProtocolError(f"backend `{self._name}` sent headers without end")

    def interim(self) -> None:
        """Take note that the headers so far were those of a 1xx answer."""
        self._headers.clear()

    def begin(self, status: int) -> None:
        """Take the final status; the headers are here."""
        self.status = status
        if self._streamed:
            self._wake()

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if self._released:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._streamed:
            if self._size > PAUSE_BYTES and self._socket is not None:
                self._socket.pause()
            self._wake()
        elif self._size > MAX_BODY_BYTES and self._socket is not None:
            self._socket.fail(self._endless())

    @property
    def ends_with_connection(self) -> bool:
        """Whether the body's length was not told, so that the end of the connection is its end."""
        return bool(
            self.status
            and not self.header("content-length")
            and not self.header("transfer-encoding")
        )

    def end(self) -> None:
        """Take note that all has arrived. The connection is no longer this exchange's."""
        self.complete = True
        self._socket = None
        self._disarm()
        self._wake()

    def fail(self, error: Exception) -> None:
        """Take note that nothing more will come; what came before can still be received."""
        if not self.complete:
            self._error = error
            self._socket = None
            self._disarm()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _endless(self) -> BackendProtocolError:
        return BackendProtocolError(
            f"backend `{self._name}` sent more than {MAX_BODY_BYTES >> 20} MiB"
        )

    # Time

    def _due(self, now: float) -> tuple[float, str, float]:
        """Return when the next limit passes, which one it is, and how long it is."""
        limits = self._limits
        total = (self._began + limits.total_s, "total", limits.total_s)
        if not self._streamed:
            return total
        if not self._started:
            return min(
                (self._sent + limits.first_token_s, "first token", limits.first_token_s), total
            )
        # While nobody waits, the reader is the slow one: that is not the backend's silence.
        since = now if self._waiter is None else self._since
        return min((since + limits.idle_s, "idle", limits.idle_s), total)

    def watch(self) -> None:
        """Arm the timer: the grace is over."""
        if self._socket is not None:
            self._arm(self._due(self._socket.loop.time())[0])

    def _disarm(self) -> None:
        self._grace.leave(self)
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, at: float) -> None:
        if self._socket is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._at = at
            self._timer = self._socket.loop.call_at(at, self._look)

    def _look(self) -> None:
        if self._socket is None:
            return
        now = self._socket.loop.time()
        at, which, limit_s = self._due(now)
        if at > now + 0.001:  # timers may fire a clock tick early
            self._arm(at)
        else:
            self._socket.fail(late(self._name, which, limit_s))
