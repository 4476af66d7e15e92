from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe import extract
from coe.extract import (
    canonical,
    choice,
    code_in,
    json_in,
    number,
    plain,
    spoken,
    text_of,
    valid_by,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("B", "B"),
        ("(B) because of the moon", "B"),
        ("B. Mitochondria", "B"),
        ("The answer is (C).", "C"),
        ("At first A looks right, but the answer is **D**", "D"),
        ("Answer: C", "C"),
        ("**Answer:** C", "C"),
        (r"so we have \boxed{E}", "E"),
        (r"so we have \boxed{\text{E}}", "E"),
        ("A is wrong, B is wrong. Hence C.", "C"),
        ("I think it is B", "B"),
        ("A person who sleeps", None),
        ("It depends.", None),
        ("the answer is none of them", None),
        ("", None),
    ],
)
def test_choice_finds_the_letter(answer: str, chosen: str | None) -> None:
    assert choice(answer) == chosen


def test_only_the_letters_that_there_are_can_be_chosen() -> None:
    assert choice("The answer is (K).") is None
    assert choice("The answer is (K).", "ABCDEFGHIJK") == "K"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("1,234.5 metres", 1234.5),
        ("first 3, then -4", -4.0),
        ("COVID-19", 19.0),
        ("\u22125 degrees", -5.0),
        ("6.02e23.", 6.02e23),
        ("none", None),
        ("9" * 400, math.inf),
    ],
)
def test_a_number_is_the_last_one(answer: str, found: float | None) -> None:
    assert number(answer) == found


@given(st.text(st.sampled_from("0129 ,.eE+-\u2212x\u0664\n"), max_size=30))
def test_a_number_is_the_last_of_all_that_are_found(text: str) -> None:
    found = extract._NUMBER.findall(text)

    expected = float(found[-1].replace(",", "").replace("\u2212", "-")) if found else None
    assert number(text) == expected


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("<think>17?</think>\n\n42", "\n\n42"),
        ("17? hm.\n</think>42", "42"),
        ("<think>17? hm. or 18", ""),
        ("<think>all of it</think>", ""),
        ("42", "42"),
        ("the tag <think> opens", "the tag <think> opens"),
    ],
)
def test_thoughts_are_left_out(answer: str, said: str) -> None:
    assert spoken(answer) == said


def test_a_text_is_compared_but_for_case_spaces_and_its_end() -> None:
    assert plain("  New\n York!; ") == plain("new york.")
    assert plain("New York", case=True) == "New York"
    assert plain("a = 1", spaces=False) == plain("a=1", spaces=False)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', [{"a": 1}]),
        ("so:\n```json\n[1, 2]\n```", [[1, 2]]),
        ('it is {"a": 1}, I think', [{"a": 1}]),
        ("nothing", []),
        ("{broken", []),
        ("[" * 100_000, []),
    ],
)
def test_json_is_found_in_an_answer(text: str, found: list[Any]) -> None:
    assert list(json_in(text)) == found


def test_equal_json_is_written_alike() -> None:
    assert canonical({"b": 2.0, "a": [1, True]}) == canonical({"a": [1.0, True], "b": 2})
    assert canonical(1) != canonical(value=True)
    assert canonical("1") != canonical(1)


@given(values, values)
def test_json_is_written_alike_only_where_it_is_equal(one: Any, other: Any) -> None:
    assert canonical(json.loads(json.dumps(one))) == canonical(one)
    if canonical(one) == canonical(other):
        assert one == other


def test_code_is_what_is_fenced() -> None:
    answer = "First:\n```python\na = 1\n```\nand\n```\nb = 2\n```\nDone."

    assert code_in(answer) == "a = 1\n\nb = 2\n"
    assert code_in("a = 1") == "a = 1"


def test_the_text_of_a_message_is_that_of_its_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]

    assert text_of(parts) == "a\nb"
    assert text_of("a") == "a"
    assert text_of(None) == ""


def test_what_is_valid_by_a_schema() -> None:
    is_valid = valid_by({"type": "object", "required": ["a"]})

    assert is_valid({"a": 1})
    assert not is_valid({"b": 1})


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "vibe"}, "not a JSON schema"),
        ({"$ref": "http://127.0.0.1:9/other"}, "refers to what it does not hold"),
    ],
)
def test_what_is_no_schema_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        valid_by(schema)
