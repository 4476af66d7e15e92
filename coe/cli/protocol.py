"""HTTP as uvicorn reads it, with an end to how long a request's head may be.

httptools has none: a client that sends headers for ever would fill the memory before any of our
own limits is asked.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)
_BODY = (
    b'{"error":{"message":"the headers are over the limit of %d bytes (COE_MAX_HEADER_BYTES)",'
    b'"type":"invalid_request_error","param":null,"code":"request_too_large"}}'
)


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


def limited(most_bytes: int) -> type[Protocol]:
    """Return the protocol with another limit."""
    return type("Protocol", (Protocol,), {"most_bytes": most_bytes})
