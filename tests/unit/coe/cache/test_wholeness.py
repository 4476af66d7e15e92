"""Which answers are whole and good, and that each form of one spells the other."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from coe import sse
from coe.cache.wholeness import given, is_good, read, stored
from coe.fold import fold
from coe.types import Query

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def query(*, stream: bool = False, **fields: Any) -> Query:
    body = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return Query(id="7", model="m", body=body, stream=stream)


def whole(finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "hello", **message}
    choice = {"index": 0, "message": said, "finish_reason": finish, "logprobs": None}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    head = {"id": "x", "object": "chat.completion", "created": 5, "model": "e"}
    return {**head, "choices": [choice], "usage": usage}


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (whole(), True),
        (whole("tool_calls", content=None, tool_calls=[CALL]), True),
        (whole("length"), False),
        (whole("content_filter"), False),
        (whole(None), False),
        (whole(content=""), False),
        (whole(refusal="I would rather not"), False),
        ({**whole(), "choices": [*whole()["choices"], *whole("length")["choices"]]}, False),
        ({**whole(), "choices": []}, False),
        ({**whole(), "error": {"message": "no"}}, False),
        ({}, False),
    ],
)
def test_only_what_ended_of_itself_and_says_something_is_good(
    body: dict[str, Any], *, good: bool
) -> None:
    assert is_good(body, query()) is good


def chunks(raw: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(sse.data(frame) or b"") for frame in sse.frames(raw)]


@pytest.mark.parametrize("body", [whole(), whole("tool_calls", content=None, tool_calls=[CALL])])
def test_a_stream_of_what_is_kept_spells_it(body: dict[str, Any]) -> None:
    asked = query(stream=True, stream_options={"include_usage": True})

    raw = given(stored(body), asked, 9.0)

    said = fold(chunks(raw))
    assert said == {**body, "id": "chatcmpl-7", "created": 9}
    assert read(raw, asked) == said


def test_a_whole_answer_is_what_is_kept_under_a_name_of_its_own() -> None:
    raw = given(stored(whole()), query(), 9.0)

    assert orjson.loads(raw) == {**whole(), "id": "chatcmpl-7", "created": 9}


def test_usage_is_streamed_where_it_is_asked_for() -> None:
    plain = chunks(given(stored(whole()), query(stream=True), 9.0))

    assert all(chunk["choices"] for chunk in plain)
    assert all("usage" not in chunk for chunk in plain)


@pytest.mark.parametrize("raw", [b"", b"no", b"[]", b"data: {"])
def test_what_cannot_be_read_is_no_answer(raw: bytes) -> None:
    body = read(raw, query(stream=True)) if raw else read(raw, query())

    assert body is None or not is_good(body, query())
