"""A multipart form, read as it comes: its file goes to disk and is never in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from coe.api.body import DISCARD_BYTES
from coe.errors import InvalidRequest, RequestTooLarge

_LONGEST_FIELD = 4096
_MOST_FIELDS = 16


class Form:
    """What a form holds once `read` returns.

    Attributes:
        fields: of text, by name.
        filename: of the part called `file`; None where there is none.
        size: of its content, in bytes.
    """

    def __init__(self, sink: BinaryIO, limit: int, why: str) -> None:
        """Begin with nothing.

        Args:
            sink: takes the file's content.
            limit: the most bytes that it may have.
            why: says which limit that is, and what to do about it.
        """
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self._has_ended = False
        self._received = 0
        self._sink = sink
        self._limit = limit
        self._why = why
        self._name = ""
        self._header = [b"", b""]
        self._text = b""
        self._disposition: dict[bytes, bytes] = {}

    async def read(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        """Read a body to its end.

        A file over the limit is read on for a while and thrown away: a client that is still
        writing when the answer comes would see a broken pipe instead of it.

        Raises:
            InvalidRequest: the body is no multipart form, or breaks off.
            RequestTooLarge: the file is over the limit, or all that is around it.
        """
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise InvalidRequest(
                "expected multipart/form-data with the parts `purpose` and `file`, not "
                f"{content_type or 'a body without content-type'}"
            )
        try:
            parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._take,
                    "on_part_end": self._end,
                    "on_end": self._finish,
                },
            )
            async for piece in body:
                parser.write(piece)
                self._received += len(piece)
                if self._received > self._limit + DISCARD_BYTES:
                    break
        except FormParserError as error:
            raise InvalidRequest(f"the form cannot be read: {error}") from None
        except ClientDisconnect:
            raise InvalidRequest("the form breaks off: its client has left") from None
        if max(self.size, self._received - DISCARD_BYTES) > self._limit:
            raise RequestTooLarge(
                f"the file has over {self._limit} bytes, {self._why}", param="file"
            )
        if not self._has_ended:
            raise InvalidRequest("the form breaks off before its last boundary")

    def _begin(self) -> None:
        self._text, self._disposition, self._name = b"", {}, ""
        if len(self.fields) > _MOST_FIELDS:
            raise InvalidRequest(f"the form has over {_MOST_FIELDS} fields")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() == b"content-disposition":
            self._disposition = parse_options_header(value)[1]

    def _headers_finished(self) -> None:
        self._name = self._disposition.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            if self.filename is not None:
                raise InvalidRequest("the form has two files; upload one at a time", param="file")
            given = self._disposition.get(b"filename", b"").decode("utf-8", "replace")
            self.filename = given.replace("\\", "/").rpartition("/")[2] or "upload.jsonl"

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self.size += end - start
            if self.size <= self._limit:
                self._sink.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _LONGEST_FIELD:
            raise InvalidRequest(f"the field `{self._name}` is too long", param=self._name)

    def _end(self) -> None:
        if self._name != "file":
            self.fields[self._name] = self._text.decode("utf-8", "replace")

    def _finish(self) -> None:
        self._has_ended = True
