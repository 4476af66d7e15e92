"""One client of the fake upstream: its requests, and the steps of the answers to them."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httptools
import orjson

from coe.testing.steps import Send, Step, Wait

_LINGER_0 = struct.pack("ii", 1, 0)  # closing sends RST at once


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the upstream saw it. Keys are not kept, only their digest."""

    method: str
    path: str
    raw_headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes
    key_digest: str = ""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case, without the one that holds the key."""
        return {name.decode().lower(): value.decode("latin-1") for name, value in self.raw_headers}

    @property
    def json(self) -> Any:
        """The body as a JSON value."""
        return orjson.loads(self.body)

    def has_key(self, key: str) -> bool:
        """Whether the request carried `key` as its bearer."""
        return self.key_digest == _digest(f"Bearer {key}".encode())


class Server(Protocol):
    """What a connection asks of its server."""

    def answer(self, request: Received) -> list[Step]:
        """Take a request; return what to do with it."""

    def note(self, connection: Connection, *, opened: bool = False, closed: bool = False) -> None:
        """Take note of what has happened to a connection."""


class Connection(asyncio.Protocol):
    """One client. Its steps are run by the loop's timers: there is no task."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.busy = False
        self._server = server
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._key = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport  # type: ignore[assignment]  # a TCP transport is one
        self._server.note(self, opened=True)

    def connection_lost(self, _: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._server.note(self, closed=True)
        self.busy = False

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.end("close")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url, self._key, self._headers, self._body = b"", b"", [], b""

    def on_url(self, url: bytes) -> None:
        """Take a piece of its address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if name.lower() in {b"authorization", b"x-api-key", b"api-key"}:
            self._key = value
        else:
            self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """Take a piece of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer it."""
        request = Received(
            self._parser.get_method().decode(),
            self._url.decode(),
            tuple(self._headers),
            self._body,
            _digest(self._key) if self._key else "",
        )
        self.busy = True
        steps = self._server.answer(request)
        self._run(steps, 0)
        self._server.note(self)

    def _run(self, steps: list[Step], place: int) -> None:
        """Do the steps from `place` on."""
        for index in range(place, len(steps)):
            step = steps[index]
            if self._transport is None:
                return
            if isinstance(step, Send):
                self._transport.write(step.data)
            elif isinstance(step, Wait):
                self._loop.call_later(step.seconds, self._run, steps, index + 1)
                return
            else:
                self.end(step.how)
                return
        self.busy = False

    def end(self, how: str) -> None:
        """End the connection as told; `hang` leaves it open and the request unanswered."""
        if self._transport is None or how == "hang":
            return
        self.busy = False
        if how == "reset":
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            self._transport.abort()
        else:
            self._transport.close()


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
