from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.batching.checks import endpoint_of, scan
from coe.errors import CoEError, InvalidRequest

texts = st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"-").rstrip(b"\r"))


@given(st.lists(texts, max_size=20), st.sampled_from([b"\n", b"\r\n"]), st.integers(1, 25))
def test_every_line_is_found_again_at_its_place(rows: list[bytes], end: bytes, limit: int) -> None:
    content = end.join(rows)

    found = list(scan(BytesIO(content), limit))

    wanted = []
    for number, row in enumerate(content.split(b"\n"), 1):
        text = row.removesuffix(b"\r") if end == b"\r\n" else row
        text = text.rstrip(b"\r")
        if len(text) > limit:
            wanted.append((number, None))
        elif text.strip():
            body = text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text
            wanted.append((number, body))
    assert [(raw.number, raw.text) for raw in found] == wanted
    for raw in found:
        if raw.text is not None:
            assert content[raw.offset : raw.offset + raw.length] == raw.text


def test_a_line_over_the_limit_is_never_in_memory_whole() -> None:
    class Watched(BytesIO):
        most = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            piece = super().readline(size)
            self.most = max(self.most, len(piece))
            return piece

    stream = Watched(b"x" * (5 << 20) + b"\nshort\n")

    found = list(scan(stream, 10))

    assert [(raw.number, raw.length, raw.text) for raw in found] == [
        (1, 5 * 2**20 + 1, None),
        (2, 5, b"short"),
    ]
    assert stream.most <= 1 << 20


def _parse(raw: bytes) -> dict[str, object]:
    if raw == b"wrong":
        raise InvalidRequest("not JSON")
    return {"url": raw.decode()}


def test_the_endpoint_of_a_file_is_that_of_its_first_line() -> None:
    assert endpoint_of(b"/v1/embeddings", _parse) == "/v1/embeddings"
    assert endpoint_of(b"wrong", _parse) == "/v1/chat/completions"
    with pytest.raises(CoEError, match="/v1/completions"):
        endpoint_of(b"/v1/completions", _parse)
