import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.scoring.checks import (
    Exact,
    Json,
    Judge,
    Numeric,
    Tests,
    parse,
)
from coe.scoring.keys import WrongKey


def grade(check: dict[str, Any], answer: str) -> float:
    found = parse(check)
    assert not isinstance(found, Tests | Judge)
    return found.grade(answer)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Paris", 1.0),
        ("  paris. ", 1.0),
        ("PARIS!\n", 1.0),
        ("Paris, France", 0.0),
        ("", 0.0),
    ],
)
def test_exact_looks_past_case_spaces_and_the_full_stop(answer: str, right: float) -> None:
    assert grade({"type": "exact", "answer": "Paris"}, answer) == right


def test_exact_may_have_several_right_answers() -> None:
    check = {"type": "exact", "answer": ["Czechia", "Czech Republic"]}

    assert grade(check, "czech republic") == 1.0
    assert grade(check, "Slovakia") == 0.0


def test_exact_compares_what_follows_a_mark() -> None:
    check = {"type": "exact", "answer": "2 + 2 = 4", "after": "="}

    assert grade(check, "2 and 2 = well = 4") == 1.0
    assert grade(check, "4") == 1.0
    assert grade(check, "= 5") == 0.0


def test_exact_may_mind_case_and_pass_over_spaces() -> None:
    check = {"type": "exact", "answer": "sum(x for x in V)", "case": True, "spaces": False}

    assert grade(check, "sum( x for x in V )") == 1.0
    assert grade(check, "sum(x for x in v)") == 0.0


@given(st.text())
def test_exact_accepts_its_own_answer(text: str) -> None:
    assert Exact(answers=(text,)).grade(f" {text} ") == 1.0


def test_choice_knows_only_letters_of_options() -> None:
    check = {"type": "choice", "answer": "b", "options": 4}

    assert grade(check, "E. or rather B") == 1.0


def test_regex_is_searched() -> None:
    check = {"type": "regex", "pattern": r"(?i)\bselect\b.*\bfrom users\b"}

    assert grade(check, "Sure: SELECT * FROM users;") == 1.0
    assert grade(check, "SELECT * FROM user") == 0.0


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ('{"b": 2, "a": 1.0}', 1.0),
        ('Here it is:\n```json\n{"a": 1, "b": 2}\n```', 1.0),
        ('It is {"a": 1, "b": 2}, I think', 1.0),
        ('{"a": true, "b": 2}', 0.0),
        ('{"a": 1}', 0.0),
        ('{"a": 1, "b": ', 0.0),
        ("[" * 100_000, 0.0),
        ("no", 0.0),
    ],
)
def test_json_compares_values(answer: str, right: float) -> None:
    assert grade({"type": "json", "answer": {"a": 1, "b": 2}}, answer) == right


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_json_accepts_its_own_value_however_it_is_written(value: Any) -> None:
    check = Json(answer=value)

    assert check.grade(json.dumps(value)) == 1.0
    assert check.grade(json.dumps(value, indent=2, sort_keys=True)) == 1.0


def test_json_may_be_null() -> None:
    assert grade({"type": "json", "answer": None}, "null") == 1.0
    assert grade({"type": "json", "answer": None}, "nothing") == 0.0


def test_a_json_schema_is_checked() -> None:
    schema = {"type": "object", "required": ["name"], "properties": {"age": {"minimum": 0}}}
    check = {"type": "json_schema", "schema": schema}

    assert grade(check, '{"name": "Eve", "age": 3}') == 1.0
    assert grade(check, '{"name": "Eve", "age": -3}') == 0.0
    assert grade(check, "Eve") == 0.0


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("1234.5", 1.0),
        ("The sum is 1,234.5 dollars.", 1.0),
        ("12 apples cost $1234.50", 1.0),
        ("1.2345e3", 1.0),
        ("-1234.5", 0.0),
        ("\u22121234.5", 0.0),
        ("1234.6", 0.0),
        ("many", 0.0),
    ],
)
def test_numeric_reads_the_last_number(answer: str, right: float) -> None:
    assert grade({"type": "numeric", "answer": 1234.5}, answer) == right


def test_numeric_has_tolerances() -> None:
    assert grade({"type": "numeric", "answer": 100, "tolerance": 1}, "about 99.2") == 1.0
    assert grade({"type": "numeric", "answer": 100, "relative": 0.05}, "95.1") == 1.0
    assert grade({"type": "numeric", "answer": 100, "relative": 0.01}, "95.1") == 0.0
    assert grade({"type": "numeric", "answer": 7, "after": "####"}, "3 + 4 #### 7") == 1.0


@given(st.floats(-1e12, 1e12))
def test_numeric_accepts_its_own_number(number: float) -> None:
    assert Numeric(answer=number, tolerance=1e-9).grade(f"it is {number!r}") == 1.0


@given(st.text())
def test_no_answer_breaks_a_check(answer: str) -> None:
    for check in (
        {"type": "exact", "answer": "x"},
        {"type": "choice", "answer": "A"},
        {"type": "regex", "pattern": "x"},
        {"type": "json", "answer": 1},
        {"type": "json_schema", "schema": {"type": "string"}},
        {"type": "numeric", "answer": 1},
    ):
        assert grade(check, answer) in {0.0, 1.0}


@pytest.mark.parametrize(
    ("check", "key", "expected"),
    [
        ("exact", "check", "expected an object"),
        ({}, "check.type", "is missing: expected one of `exact`"),
        ({"type": "vibes"}, "check.type", "not 'vibes'"),
        ({"type": "exact"}, "check.answer", "is missing"),
        ({"type": "exact", "answer": 4}, "check.answer", "expected a text"),
        ({"type": "exact", "answer": " "}, "check.answer", "expected a text"),
        ({"type": "exact", "answer": []}, "check.answer", "expected a text"),
        ({"type": "exact", "answer": "a", "cas": True}, "check.cas", "did you mean `case`?"),
        ({"type": "exact", "answer": "a", "case": 1}, "check.case", "true or false"),
        ({"type": "choice", "answer": "K"}, "check.answer", "a letter from A to J"),
        ({"type": "choice", "answer": "AB"}, "check.answer", "a letter from A to J"),
        ({"type": "choice", "answer": "A", "options": 1}, "check.options", "2 to 26"),
        ({"type": "choice", "answer": "A", "options": 4.5}, "check.options", "2 to 26"),
        ({"type": "regex", "pattern": "("}, "check.pattern", "not a regular expression"),
        ({"type": "json"}, "check.answer", "is missing"),
        ({"type": "json_schema", "schema": {"type": 3}}, "check.schema", "not a JSON schema"),
        (
            {"type": "json_schema", "schema": {"$ref": "http://example.com/s"}},
            "check.schema",
            "refers to what it does not hold",
        ),
        ({"type": "numeric", "answer": "4"}, "check.answer", "expected a number, not '4'"),
        ({"type": "numeric", "answer": True}, "check.answer", "not true"),
        ({"type": "numeric", "answer": float("nan")}, "check.answer", "not nan"),
        ({"type": "numeric", "answer": 1, "tolerance": -1}, "check.tolerance", "at least 0"),
        ({"type": "tests", "code": "assert ("}, "check.code", "not Python"),
        ({"type": "tests", "code": "pass", "timeout": 5}, "check.timeout", "has no unit"),
        ({"type": "tests", "code": "pass", "memory": "much"}, "check.memory", "is not a size"),
        ({"type": "judge"}, "check.answer", "is missing: expected the reference answer"),
    ],
)
def test_a_wrong_check_names_its_key_and_what_was_expected(
    check: Any, key: str, expected: str
) -> None:
    with pytest.raises(WrongKey) as caught:
        parse(check)

    assert caught.value.key == key
    assert expected in caught.value.expected
