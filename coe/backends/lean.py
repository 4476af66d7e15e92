"""An HTTP/1.1 client of one origin, written for the few things that the hot path does.

Connections are kept alive and reused, last in first out. There is no task and no stream object per
request: a connection is an `asyncio.Protocol` around httptools' parser, a request is one write, and
its answer wakes one future (see `coe.backends.exchange`). Proxies are not used.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque

import httptools

from coe.backends.exchange import Exchange
from coe.backends.http import MAX_HEADER_BYTES, Origin, late
from coe.errors import BackendError, BackendProtocolError, BackendUnreachable
from coe.grace import Grace
from coe.telemetry.trace import HEADER, OUTGOING
from coe.types import PART, Timeouts

GRACE_S = 0.02
"""An answer that takes up to twice as long arms no timer; limits are kept to within that."""
KEPT_S = 30.0  # an idle connection that is older may be dead without anybody having said so


class LeanClient:
    """See `coe.backends.http.Client`."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._grace = Grace(GRACE_S, Exchange.watch)
        self._heads: dict[str, bytes] = {}
        self._closed = False

    async def post(
        self, path: str, body: bytes, timeouts: Timeouts, *, streamed: bool, is_part: bool = False
    ) -> Exchange:
        """See `Client.post`."""
        head = self._heads.get(path)
        if head is None:
            head = self._heads[path] = self._head(f"POST {self._origin.base}/{path}") + (
                b"content-type: application/json\r\ncontent-length: "
            )
        if is_part:
            head = head.replace(b"content-type", PART + b": 1\r\ncontent-type", 1)
        if parent := OUTGOING.get():
            head = head.replace(b"content-type", b"%b: %b\r\ncontent-type" % (HEADER, parent), 1)
        request = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        return await self._exchange(request, timeouts, streamed=streamed)

    async def get(self, path: str, timeouts: Timeouts) -> Exchange:
        """See `Client.get`."""
        request = self._head(f"GET {self._origin.base}/{path}") + b"\r\n"
        return await self._exchange(request, timeouts, streamed=False)

    async def aclose(self) -> None:
        """See `Client.aclose`."""
        self._closed = True
        for connection in tuple(self._open):
            connection.fail(BackendUnreachable(f"backend `{self._origin.name}` was closed"))

    def _head(self, line: str) -> bytes:
        fields = {"host": self._origin.authority, "accept-encoding": "identity"}
        fields |= self._origin.headers
        lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), ""]
        return "\r\n".join(lines).encode("ascii")

    async def _exchange(self, request: bytes, timeouts: Timeouts, *, streamed: bool) -> Exchange:
        loop = asyncio.get_running_loop()
        began = loop.time()
        sent = began
        connection = self._kept(began)
        while True:
            reused = connection is not None
            if connection is None:
                connection = await self._connect(loop, timeouts)
                sent = loop.time()
            exchange = Exchange(connection, timeouts, began, sent, streamed=streamed)
            connection.send(request, exchange)
            try:
                await exchange.arrive()
            except _Stale:
                # The server closed a kept connection just as it was used again: once more, on a
                # new one, because the other kept ones are likely as old.
                if not reused:
                    raise BackendUnreachable(
                        f"backend `{self._origin.name}` closed the connection before it answered"
                    ) from None
                connection = None
                continue
            except BaseException:
                exchange.close()
                raise
            return exchange

    def _kept(self, now: float) -> _Connection | None:
        """Take the kept connection that was used last, if it is young enough to be alive."""
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since + KEPT_S > now:
                return connection
            connection.cut()
        return None

    async def _connect(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> _Connection:
        origin = self._origin
        limit_s = min(timeouts.connect_s, timeouts.total_s)
        if self._closed:
            raise BackendUnreachable(f"backend `{origin.name}` was closed")
        try:
            async with asyncio.timeout(limit_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, origin.name, self._grace, self._idle, self._open),
                    origin.host,
                    origin.port,
                    ssl=origin.tls,
                    server_hostname=origin.host if origin.tls else None,
                )
        except TimeoutError as error:
            raise late(origin.name, "connect", limit_s) from error
        except OSError as error:
            raise BackendUnreachable(unreachable(origin.name, error)) from error
        if self._closed:  # meanwhile
            connection.cut()
            raise BackendUnreachable(f"backend `{origin.name}` was closed")
        return connection


class _Stale(Exception):
    """The connection ended before the first byte of an answer."""


class _Connection(asyncio.Protocol):
    """A socket and its parser. Between two exchanges it lies in `idle`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        grace: Grace[Exchange],
        idle: deque[_Connection],
        opened: set[_Connection],
    ) -> None:
        self.loop = loop
        self.name = name
        self.grace = grace
        self.idle_since = 0.0
        self._idle = idle
        self._opened = opened
        # The parser calls once per HTTP chunk, hundreds of times per read: straight into a list.
        self._body: list[bytes] = []
        self.on_body = self._body.append
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._interim = False
        self._header_bytes = 0
        self._reusable = False

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Write a request; its answer goes to `exchange`."""
        self._exchange = exchange
        self._header_bytes = 0
        if self._transport is None:  # it was closed while it lay in the pool
            self._exchange = None
            exchange.fail(_Stale())
            return
        self._transport.write(request)

    def cut(self) -> None:
        """Close the socket at once; nothing is told."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def fail(self, error: Exception) -> None:
        """Close the socket at once, and let the exchange fail with `error`."""
        exchange = self._exchange
        self.cut()
        if exchange is not None:
            exchange.fail(error)

    def pause(self) -> None:
        """Stop reading until `resume`: the server is slowed by TCP, memory stays bounded."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a TCP transport is one
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # bytes that nobody asked for: it is out of step
            self.cut()
            return
        error: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as caught:
            self._reusable = False
            error = caught.__context__
            if not isinstance(error, BackendError):
                error = BackendProtocolError(f"backend `{self.name}` sent what is not HTTP")
        if self._body:
            exchange.feed(self._body[0] if len(self._body) == 1 else b"".join(self._body))
            self._body.clear()
        if exchange.complete:
            self._finish(exchange)
        elif error is not None:
            self.fail(error)
        elif not exchange.status:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self.fail(BackendProtocolError(f"backend `{self.name}` sent headers without end"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._opened.discard(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            if self in self._idle:
                self._idle.remove(self)
        elif not exchange.status and not self._header_bytes:
            exchange.fail(_Stale())
        elif exc is None and exchange.ends_with_connection:
            exchange.end()
        else:
            exchange.fail(BackendProtocolError(f"backend `{self.name}` hung up in mid-answer"))

    # httptools

    def on_message_begin(self) -> None:
        if self._exchange is not None and self._exchange.complete:
            raise BackendProtocolError(f"backend `{self.name}` sent two answers to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._exchange is not None:
            self._exchange.add_header(name, value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._interim = status < 200  # noqa: PLR2004 - 1xx: the answer is still to come
        if self._exchange is not None:
            if self._interim:
                self._exchange.interim()
            else:
                self._exchange.begin(status)

    def on_message_complete(self) -> None:
        if self._exchange is not None and not self._interim:
            self._reusable = self._parser.should_keep_alive()
            self._exchange.complete = True

    def _finish(self, exchange: Exchange) -> None:
        """Put the connection back, if both sides are done with it, and wake the reader."""
        self._exchange = None
        transport = self._transport
        if transport is not None:
            # An answer that came before the request was out (413) leaves the rest of it behind.
            if (
                self._reusable
                and not transport.get_write_buffer_size()
                and not transport.is_closing()
            ):
                self.resume()
                self.idle_since = self.loop.time()
                self._idle.append(self)
            else:
                transport.abort()
        exchange.end()


def unreachable(name: str, error: OSError) -> str:
    """Say without an address why there is no connection, and what to do about it."""
    fix = f"is it running, and is `backends.{name}.url` its address?"
    return f"backend `{name}` is unreachable: {why_unreachable(error)} ({fix})"


def why_unreachable(error: OSError) -> str:
    """Say in a few words why there is no connection."""
    if isinstance(error, socket.gaierror):
        return "its host name does not resolve"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'handshake failed'}"
    return os.strerror(error.errno).lower() if error.errno else "no connection"
