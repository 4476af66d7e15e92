"""HTTP as uvicorn reads and writes it, but for the heads.

A request's head may not be longer than some limit. httptools has none: a client that sends headers
for ever would fill the memory before any of our own limits is asked.

An answer's head is looked over as a whole. uvicorn does it header by header, with two expressions
each; our answers have some twenty, and that was an eighth of what a request costs.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)
_BODY = (
    b'{"error":{"message":"the headers are over the limit of %d bytes (COE_MAX_HEADER_BYTES)",'
    b'"type":"invalid_request_error","param":null,"code":"request_too_large"}}'
)


_CONTROL = {*range(0x20), 0x7F} - {0x09}
_HARMLESS = bytes(byte for byte in range(256) if byte not in _CONTROL)
_LINE_END = b"\r\n"
_NO_BODY = frozenset({204, 304})


class Cycle(RequestResponseCycle):
    """A request and its answer; see the module. What is not usual is left to uvicorn."""

    async def send(self, message: Any) -> None:
        """See ASGI's `send`."""
        if self.response_started or not self._starts(message):
            await super().send(message)

    def _starts(self, message: Any) -> bool:
        """Write the head of a usual answer; return whether it is one."""
        if message["type"] != "http.response.start" or self.access_log or not self.keep_alive:
            return False
        if self.disconnected or self.flow.write_paused or self.scope["method"] == "HEAD":
            return False
        status, given = message["status"], message.get("headers", ())
        known = dict(given)
        if status in _NO_BODY or b"connection" in known or b"transfer-encoding" in known:
            return False
        lines = [b": ".join(row) for row in (*self.default_headers, *given)]
        length = known.get(b"content-length")
        if length is None:
            lines.append(b"transfer-encoding: chunked")
        elif not length.isdigit():
            return False
        head = _LINE_END.join(lines)
        if head.translate(None, _HARMLESS) != _LINE_END * (len(lines) - 1):
            return False  # a control character, maybe a line of somebody's own: uvicorn refuses it
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = length is None
        self.expected_content_length = 0 if length is None else int(length)
        self.transport.write(b"%b%b\r\n\r\n" % (STATUS_LINE[status], head))
        return True


class Protocol(HttpToolsProtocol):
    """One connection; see the module.

    Attributes:
        most_bytes: of a head, give or take a packet.
    """

    most_bytes = 32 * 1024
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Read a packet; refuse a head without end."""
        super().data_received(data)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._head_bytes = 0  # it is being answered, or its body comes
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.most_bytes and not self.transport.is_closing():
            body = _BODY % self.most_bytes
            self.transport.write(_TOO_LARGE % (len(body), body))
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer a request; uvicorn has just made the cycle, and cannot be told of which class."""
        cycle.__class__ = Cycle
        super()._start_asgi_task(cycle, app)


def limited(most_bytes: int) -> type[Protocol]:
    """Return the protocol with another limit."""
    return type("Protocol", (Protocol,), {"most_bytes": most_bytes})
