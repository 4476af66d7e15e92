"""What a call may take at most, what it took, and what of a stream is kept back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.composition import Cost, Expert
from coe.metering.hiding import hidden, without_usage
from coe.metering.payment import ANSWER_TOKENS, most_of
from coe.types import Call, Endpoint
from coe.usage import found_in


def expert(**more: Any) -> Expert:
    cost = Cost(input=1.0, output=10.0)
    return Expert(name="one", backend="up", model="m", **{"cost": cost, **more})


def call(endpoint: Endpoint = "chat/completions", **body: Any) -> Call:
    messages = [{"role": "user", "content": "hello"}]
    whole = {"messages": messages, **body}
    return Call(expert="one", backend="up", model="m", body=whole, endpoint=endpoint)


@pytest.mark.parametrize(
    ("body", "entry", "answer"),
    [
        ({"max_tokens": 10}, {}, 10),
        ({"max_tokens": 10, "n": 3}, {}, 30),
        ({"max_completion_tokens": 10, "max_tokens": 20}, {}, 20),
        ({"max_completion_tokens": 20, "max_tokens": 10}, {}, 20),
        ({}, {"max_output": 50}, 50),
        ({}, {}, ANSWER_TOKENS),
        ({}, {"context": 1000}, 1000),
    ],
)
def test_the_longest_answer_is_known_from_the_request_or_the_expert(
    body: dict[str, Any], entry: dict[str, Any], answer: int
) -> None:
    prompt = most_of(call(max_tokens=1), expert()).tokens - 1
    long = call(**body)

    assert abs(most_of(long, expert(**entry)).tokens - prompt - answer) <= 10


def test_a_longest_answer_that_nobody_sets_is_a_guess() -> None:
    assert not most_of(call(), expert()).is_known
    assert most_of(call(max_tokens=5), expert()).is_known
    assert most_of(call(), expert(max_output=5)).is_known


def test_embeddings_have_no_answer_and_an_expert_without_price_no_cost() -> None:
    embedding = Call(
        expert="one", backend="up", model="m", body={"input": "hello"}, endpoint="embeddings"
    )

    assert most_of(embedding, expert()).tokens < 20
    assert most_of(call(), expert(cost=None)).cost is None
    assert most_of(call(), expert(cost=Cost(input=1.0))).cost is None


@given(st.text(), st.integers(0, 10**6))
def test_sec_22_no_prompt_has_more_tokens_than_are_set_aside(text: str, limit: int) -> None:
    """A byte of the body stands for a token at most."""
    long = call(messages=[{"role": "user", "content": text}], max_tokens=limit)
    most = most_of(long, expert(cost=Cost(input=1.0, output=0.0)))

    assert most.cost is not None
    assert most.cost >= len(text.encode("utf-8", "replace")) * 1000


USAGE: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
DETAILED = {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}, **USAGE}


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (USAGE, (3, 5)),
        (DETAILED, (3, 5)),
        ({"total_tokens": 8, **USAGE}, (3, 5)),
        ({"prompt_tokens": 3, "total_tokens": 3}, (3, 0)),
        ({"prompt_tokens": -3, "completion_tokens": 5}, None),
        ({"prompt_tokens": 3.5, "completion_tokens": 5}, None),
        ({"prompt_tokens": 3, "completion_tokens": None}, None),
        ({"prompt_tokens": "3", "completion_tokens": 5}, None),
        ({"prompt_tokens": True, "completion_tokens": 5}, None),
        ({}, None),
        (None, None),
        ("3", None),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_sec_10_usage_is_read_where_it_is_numbers(
    usage: object, found: tuple[int, int] | None, separators: tuple[str, str]
) -> None:
    text = 'they say "usage": {"prompt_tokens": 9, "completion_tokens": 9}'
    body = {"choices": [{"message": {"content": text}}], "usage": usage}

    assert found_in(json.dumps(body, separators=separators).encode()) == found


def test_what_looks_like_usage_in_a_text_is_none() -> None:
    text = json.dumps({"usage": USAGE})

    assert found_in(json.dumps({"choices": [{"message": {"content": text}}]}).encode()) is None


CHUNK = b'data: {"choices": [{"delta": {"content": "\\"choices\\": []"}}], "usage": null}\n\n'
LAST = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}\n\n'
FILTER = b'data: {"choices": [], "prompt_filter_results": []}\n\n'


@pytest.mark.parametrize(
    ("block", "left"),
    [
        (CHUNK, CHUNK),
        (CHUNK + LAST, CHUNK),
        (LAST, b""),
        (FILTER + LAST, FILTER),
        (b": a comment\n\n" + LAST, b": a comment\n\n"),
    ],
)
def test_only_chunks_of_nothing_but_usage_are_kept_back(block: bytes, left: bytes) -> None:
    assert without_usage(block) == left


@pytest.mark.anyio
async def test_a_stream_goes_on_without_them_and_is_closed() -> None:
    closed = []

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            for piece in (CHUNK, LAST, CHUNK):
                yield piece
        finally:
            closed.append(True)

    assert [piece async for piece in hidden(frames())] == [CHUNK, CHUNK]
    assert closed == [True]
