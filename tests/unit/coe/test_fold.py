from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coe.fold import Fold, fold


def chunk(delta: dict[str, Any], index: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": index, "delta": delta, **more}],
    }


def message(*chunks: dict[str, Any]) -> dict[str, Any]:
    folded: dict[str, Any] = fold(chunks)["choices"][0]["message"]
    return folded


def test_text_is_concatenated() -> None:
    whole = fold(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, finish_reason="stop"),
        ]
    )

    assert whole["object"] == "chat.completion"
    assert whole["id"] == "c1"
    assert whole["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello"},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]


def test_refusal_and_reasoning_are_concatenated() -> None:
    folded = message(
        chunk({"reasoning_content": "let "}),
        chunk({"reasoning_content": "me"}),
        chunk({"refusal": "no"}),
        chunk({"refusal": "pe"}),
    )

    assert folded["reasoning_content"] == "let me"
    assert folded["refusal"] == "nope"
    assert folded["content"] is None


def test_tool_calls_are_joined_by_index() -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": index, **fields}]})

    folded = message(
        call(0, id="a", type="function", function={"name": "add", "arguments": ""}),
        call(1, id="b", type="function", function={"name": "sub", "arguments": ""}),
        call(0, function={"arguments": '{"x":'}),
        call(1, function={"name": "sub", "arguments": "{}"}),
        call(0, id="a", function={"arguments": "1}"}),
    )

    assert folded["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
    ]


def test_tool_calls_without_index_are_listed() -> None:
    folded = message(chunk({"tool_calls": [{"id": "a"}]}), chunk({"tool_calls": [{"id": "b"}]}))

    assert folded["tool_calls"] == [{"id": "a"}, {"id": "b"}]


def test_a_delta_that_is_missing_or_odd_does_no_harm() -> None:
    whole = fold([{"choices": [{"delta": None}, {"index": 1, "delta": {"tool_calls": ["odd"]}}]}])

    assert whole["choices"][0]["message"] == {"role": "assistant", "content": None}
    assert whole["choices"][1]["message"]["tool_calls"] == ["odd"]


def test_logprobs_are_joined() -> None:
    whole = fold(
        [
            chunk({"content": "a"}, logprobs={"content": [{"token": "a"}], "refusal": None}),
            chunk({"content": "b"}, logprobs={"content": [{"token": "b"}]}),
            chunk({}, logprobs=None, finish_reason="stop"),
        ]
    )

    assert whole["choices"][0]["logprobs"] == {
        "content": [{"token": "a"}, {"token": "b"}],
        "refusal": None,
    }


def test_choices_are_kept_apart_and_sorted() -> None:
    whole = fold(
        [
            chunk({"content": "b"}, index=1),
            chunk({"content": "a"}, index=0),
            chunk({}, index=1, finish_reason="length"),
            chunk({}, index=0, finish_reason="stop", stop_reason=7),
        ]
    )

    assert [choice["message"]["content"] for choice in whole["choices"]] == ["a", "b"]
    assert [choice["finish_reason"] for choice in whole["choices"]] == ["stop", "length"]
    assert whole["choices"][0]["stop_reason"] == 7


def test_usage_and_unknown_fields_are_kept() -> None:
    whole = fold(
        [
            {**chunk({"content": "a", "mood": "good", "score": 1}), "usage": None, "x": 1},
            {**chunk({"mood": " news", "score": 2}), "system_fingerprint": "fp"},
            {"choices": [], "usage": {"total_tokens": 3}},
            {"choices": None},
        ]
    )

    assert whole["usage"] == {"total_tokens": 3}
    assert whole["system_fingerprint"] == "fp"
    assert whole["x"] == 1
    assert whole["choices"][0]["message"]["mood"] == "good news"
    assert whole["choices"][0]["message"]["score"] == 2


def test_no_chunks_give_no_choices() -> None:
    assert Fold().completion == {"object": "chat.completion", "choices": []}


def test_a_list_that_is_not_of_objects_is_extended() -> None:
    folded = message(chunk({"tags": ["a"]}), chunk({"tags": ["b"]}), chunk({"tags": None}))

    assert folded["tags"] == ["a", "b"]


@given(st.text(), st.lists(st.integers(0)))
def test_any_cut_of_a_text_folds_to_it(text: str, places: list[int]) -> None:
    marks = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    cuts = [text[start:end] for start, end in itertools.pairwise(marks)]

    assert message(*(chunk({"content": cut}) for cut in cuts))["content"] == text


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1))
def test_chunks_are_not_changed(words: list[str]) -> None:
    chunks = [
        chunk({"content": word, "tool_calls": [{"index": 0, "function": {"arguments": word}}]})
        for word in words
    ]
    before = deepcopy(chunks)

    fold(chunks)

    assert chunks == before
