from __future__ import annotations

from typing import Any

import pytest

from coe.aggregators.answers import Extraction, conflicts, extraction
from coe.drafts import Conflict
from coe.errors import ConfigError
from coe.options import Options


@pytest.mark.parametrize(
    ("rule", "one", "other"),
    [
        ({"kind": "number"}, "it is 1,000.0", "1000 metres"),
        ({"kind": "number"}, "-0.0", "0"),
        ({"kind": "number"}, "<think>7? 8?</think>9", "9"),
        ({"kind": "choice"}, "The answer is (B).", "**B**"),
        ({"kind": "json"}, '{"b": 1.0, "a": 2}', 'So: ```json\n{"a": 2, "b": 1}\n```'),
        ({"kind": "text"}, " New  York.", "new york"),
        (
            {"kind": "text", "after": "Answer:"},
            "I think so. Answer: Bern",
            "answer: no. Answer:bern",
        ),
        ({"kind": "number", "after": "####"}, "7 then 8 #### 9", "#### 9"),
    ],
)
def test_equal_answers_are_alike(rule: dict[str, Any], one: str, other: str) -> None:
    found = Extraction(**rule).of(one)

    assert found is not None
    assert Extraction(**rule).of(other) == found


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"kind": "number"}, "none"),
        ({"kind": "number"}, "9" * 400),
        ({"kind": "number"}, "<think>41, 42, "),
        ({"kind": "choice"}, "it depends"),
        ({"kind": "choice", "options": 2}, "C"),
        ({"kind": "json"}, "{"),
        ({"kind": "json"}, "[" * 600 + "]" * 600),
        ({"kind": "text"}, " \n"),
        ({"kind": "text"}, "<think>and so on"),
    ],
)
def test_where_there_is_no_answer_there_is_none(rule: dict[str, Any], text: str) -> None:
    assert Extraction(**rule).of(text) is None


def test_true_is_not_one() -> None:
    rule = Extraction(kind="json")

    assert rule.of("true") != rule.of("1")


def test_conflicts_say_who_answers_what() -> None:
    assert conflicts({2: "x", 0: "y", 3: None, 1: "x"}) == (
        Conflict(answer="y", members=(0,)),
        Conflict(answer="x", members=(1, 2)),
    )
    assert conflicts({0: "x", 1: "x", 2: None}) == ()
    assert conflicts({}) == ()


def test_a_long_answer_is_shortened_for_people() -> None:
    found = conflicts({0: "x" * 100, 1: "x" * 101})

    assert [conflict.answer for conflict in found] == ["x" * 77 + "..."] * 2


def test_what_is_compared_must_be_said() -> None:
    with pytest.raises(ConfigError, match=r"p\.answer: is missing; expected .* `after` is there"):
        extraction(Options("p", {"after": "="}))
    assert extraction(Options("p", {})) is None
