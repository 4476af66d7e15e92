r"""Server-sent events as bytes: cutting a stream into whole frames, and reading one frame.

Pure. A frame is what stands before an empty line; lines end with LF or CRLF, mixed as they come.
A lone CR, which the standard permits as a line end and no server sends, is not taken for one.
Because JSON never holds a raw newline, an empty line is never part of an answer's text, so that
whole frames can be forwarded without reading them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

DONE = b"data: [DONE]\n\n"

_DONE = b"data: [DONE]"
_TAIL = 256

_EMPTY_LINES = re.compile(rb"\n(?:\r?\n)+")


class Splitter:
    r"""Cuts bytes that arrive in arbitrary pieces into runs of whole frames.

    Nothing is copied while every piece ends where a frame ends, which is the common case.

    Example:
        >>> splitter = Splitter()
        >>> splitter.feed(b"data: 1\n\ndata: 2\n\nda")
        b'data: 1\n\ndata: 2\n\n'
        >>> splitter.feed(b"ta: 3")
        b''
        >>> splitter.rest
        b'data: 3'
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def rest(self) -> bytes:
        """The bytes of a frame that has not ended."""
        return bytes(self._rest)

    @property
    def pending(self) -> int:
        """How many bytes `rest` has."""
        return len(self._rest)

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; return all frames that are whole by now, in one piece."""
        rest = self._rest
        if not rest and piece.endswith((b"\n\n", b"\n\r\n")):
            return piece
        # An end can reach back into the rest by at most three bytes: look there and no further,
        # so that a huge frame in many small pieces stays linear.
        start = max(0, len(rest) - 3)
        rest += piece
        lf, crlf = rest.rfind(b"\n\n", start), rest.rfind(b"\n\r\n", start)
        if lf < 0 and crlf < 0:
            return b""
        end = max(lf + 2, crlf + 3)
        whole = bytes(rest[:end])
        del rest[:end]
        return whole


def frames(block: bytes) -> Iterator[bytes]:
    """Yield the frames of a block of whole ones, each without its empty line, as they are found."""
    start = 0
    for found in _EMPTY_LINES.finditer(block):
        frame = block[start : found.start()].strip(b"\r\n")
        start = found.end()
        if frame:
            yield frame
    if frame := block[start:].strip(b"\r\n"):
        yield frame


def data(frame: bytes) -> bytes | None:
    r"""Return a frame's data, its `data` lines joined by newlines; None where it has none.

    Example:
        >>> data(b"event: note\ndata: 1\ndata: 2"), data(b": keep-alive")
        (b'1\n2', None)
    """
    if frame.startswith(b"data: ") and b"\n" not in frame:
        return frame[6:].removesuffix(b"\r")
    lines: list[bytes] = []
    for raw in frame.split(b"\n"):
        name, _, value = raw.removesuffix(b"\r").partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None


def frame(payload: bytes) -> bytes:
    """Return the frame that carries one line of data."""
    return b"data: " + payload + b"\n\n"


def before_done(block: bytes) -> tuple[bytes, bool]:
    """Return the part of a block of whole frames before `data: [DONE]`, and whether it was there.

    Nothing but a comment follows an end mark, so that only the block's last bytes are searched.
    The same text inside an answer is not an end mark: it never starts a line.
    """
    if block.startswith(_DONE):
        return b"", True
    for mark in (b"\n" + _DONE, b"\ndata:[DONE]"):
        end = block.rfind(mark, max(0, len(block) - _TAIL))
        if end >= 0:
            return block[: end + 1], True
    return block, False
