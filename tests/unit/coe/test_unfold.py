from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.fold import fold
from coe.unfold import unfold

TEXTS = st.text(max_size=20)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": TEXTS,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": TEXTS, "arguments": TEXTS}),
        }
    ),
    min_size=1,
    max_size=3,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXTS},
    optional={"refusal": TEXTS, "reasoning_content": TEXTS, "tool_calls": CALLS},
)
CHOICES = st.fixed_dictionaries(
    {
        "message": MESSAGES,
        "logprobs": st.none() | st.just({"content": [{"token": "a", "logprob": -0.5}]}),
        "finish_reason": st.sampled_from(["stop", "length", "tool_calls"]),
    }
)


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    choices = draw(st.lists(CHOICES, min_size=1, max_size=3))
    return {
        "id": draw(TEXTS),
        "object": "chat.completion",
        "model": draw(TEXTS),
        "choices": [{"index": at, **choice} for at, choice in enumerate(choices)],
        "usage": {"total_tokens": draw(st.integers(0, 9))},
    }


@given(completions())
def test_what_is_unfolded_folds_to_the_same(whole: dict[str, Any]) -> None:
    assert fold(unfold(whole, usage=True)) == whole


@pytest.mark.parametrize("usage", [True, False])
def test_usage_is_told_when_it_is_wanted_in_a_chunk_of_its_own(usage: bool) -> None:  # noqa: FBT001
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "1", "choices": [choice], "usage": {"total_tokens": 2}}

    first, last, *rest = unfold(whole, usage=usage)

    assert {first["object"], last["object"]} == {"chat.completion.chunk"}
    assert (first["choices"][0]["finish_reason"], last["choices"][0]["finish_reason"]) == (
        None, "stop",
    )  # fmt: skip
    assert ("usage" in first) is usage
    assert [chunk["usage"] for chunk in rest] == ([whole["usage"]] if usage else [])
