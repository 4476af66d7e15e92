from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.sse import DONE, Splitter, before_done, data, frame, frames

LINES = st.sampled_from(
    [
        b"data: {}",
        b"data: [DONE]",
        b"data:x",
        b"data",
        b": ping",
        b"event: note",
        b"id: 7",
        b"data: \r",
    ]
)
FRAMES = st.lists(
    st.tuples(st.lists(LINES, min_size=1, max_size=3), st.sampled_from([b"\n", b"\r\n"])),
    max_size=6,
)


def written(parts: Sequence[tuple[list[bytes], bytes]]) -> bytes:
    return b"".join(end.join(lines) + end + end for lines, end in parts)


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(marks)]


def fed(pieces: Sequence[bytes]) -> tuple[list[bytes], bytes]:
    splitter = Splitter()
    blocks = [splitter.feed(piece) for piece in pieces]
    return [found for block in blocks for found in frames(block)], splitter.rest


@given(FRAMES, st.binary(max_size=5).filter(lambda b: b"\n" not in b), st.lists(st.integers(0)))
def test_any_chunking_gives_the_same_frames(
    parts: list[tuple[list[bytes], bytes]], rest: bytes, places: list[int]
) -> None:
    stream = written(parts) + rest

    whole, left = fed([stream])
    in_pieces, left_of_pieces = fed(cut(stream, places))

    assert in_pieces == whole
    assert left == left_of_pieces == rest
    assert len(whole) == len(parts)


@given(FRAMES, st.lists(st.integers(0)))
def test_every_byte_is_returned_once_and_in_order(
    parts: list[tuple[list[bytes], bytes]], places: list[int]
) -> None:
    splitter = Splitter()
    stream = written(parts)

    passed = b"".join(splitter.feed(piece) for piece in cut(stream, places))

    assert passed + splitter.rest == stream
    assert splitter.pending == len(splitter.rest)


def test_a_block_of_whole_frames_is_not_copied() -> None:
    block = b"data: 1\n\ndata: 2\n\n"

    assert Splitter().feed(block) is block


def test_a_frame_in_single_bytes_is_whole_at_its_last() -> None:
    splitter = Splitter()

    passed = [splitter.feed(bytes([byte])) for byte in b"data: 1\r\n\r\n"]

    assert passed[-1] == b"data: 1\r\n\r\n"
    assert not any(passed[:-1])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"data: 1", b"1"),
        (b"data:1", b"1"),
        (b"data:  1", b" 1"),
        (b"data: 1\r", b"1"),
        (b"data: 1\ndata: 2", b"1\n2"),
        (b"event: note\r\ndata: 1\r\nid: 3", b"1"),
        (b"data", b""),
        (b": comment", None),
        (b"event: note", None),
        (b"", None),
    ],
)
def test_data_of_a_frame(raw: bytes, expected: bytes | None) -> None:
    assert data(raw) == expected


def test_frames_need_no_newlines_around_them() -> None:
    assert list(frames(b"\n\r\ndata: 1\n\n\n\ndata: 2")) == [b"data: 1", b"data: 2"]


def test_a_frame_is_read_back() -> None:
    block = frame(b'{"a": 1}')

    assert [data(found) for found in frames(block)] == [b'{"a": 1}']


@pytest.mark.parametrize(
    ("block", "before", "done"),
    [
        (DONE, b"", True),
        (b"data: 1\n\n" + DONE, b"data: 1\n\n", True),
        (b"data: 1\r\n\r\ndata: [DONE]\r\n\r\n", b"data: 1\r\n\r\n", True),
        (b"data: 1\n\ndata:[DONE]\n\n", b"data: 1\n\n", True),
        (b"data: 1\n\ndata: [DONE]\n\n: ping\n\n", b"data: 1\n\n", True),
        (b"data: 1\n\n", b"data: 1\n\n", False),
        (b'data: {"content":"data: [DONE]"}\n\n', b'data: {"content":"data: [DONE]"}\n\n', False),
        (b"", b"", False),
    ],
)
def test_the_end_mark_is_cut_off(block: bytes, before: bytes, done: bool) -> None:  # noqa: FBT001
    assert before_done(block) == (before, done)
