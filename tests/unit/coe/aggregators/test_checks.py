from __future__ import annotations

from typing import Any

import pytest

from coe.aggregators.checks import check
from coe.errors import ConfigError
from coe.options import Options


def passes(raw: Any, text: str) -> bool:
    return check(Options("aggregation.b", {"check": raw}), "check")(text)


@pytest.mark.parametrize(
    ("raw", "good", "bad"),
    [
        ({"type": "numeric"}, "it is 42", "no idea"),
        ({"type": "numeric", "after": "####"}, "1 #### 2", "1 #### none"),
        ({"type": "choice"}, "(B)", "both"),
        ({"type": "choice", "options": 2}, "(B)", "(C)"),
        ({"type": "json"}, '```json\n{"a": 1}\n```', "{a: 1"),
        (
            {"type": "json_schema", "schema": {"type": "object", "required": ["a"]}},
            'so: {"a": 1}',
            '{"b": 1}',
        ),
        ({"type": "regex", "pattern": r"^SELECT\b"}, "SELECT 1", "I SELECT 1"),
        ({"type": "regex", "pattern": "42"}, "<think>7</think>42", "<think>42</think>7"),
    ],
)
def test_an_answer_passes_by_its_form(raw: Any, good: str, bad: str) -> None:
    assert passes(raw, good)
    assert not passes(raw, bad)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("json", r"aggregation\.b\.check: expected a check such as"),
        ({}, r"b\.check\.type: is missing; expected one of numeric, choice"),
        ({"type": "jsn"}, r"b\.check\.type: .*did you mean 'json'"),
        ({"type": "json", "schema": {}}, r"b\.check\.schema: unknown option"),
        ({"type": "numeric", "answer": 4}, r"b\.check\.answer: unknown option"),
        ({"type": "choice", "options": 40}, r"b\.check\.options: expected a whole number"),
        ({"type": "regex"}, r"b\.check\.pattern: is missing"),
        ({"type": "regex", "pattern": "("}, r"b\.check\.pattern: expected a regular expression"),
        (
            {"type": "json_schema", "schema": {"type": "vibe"}},
            r"b\.check\.schema: expected a JSON schema \(not a JSON schema",
        ),
        ({"type": "json_schema"}, r"b\.check\.schema: is missing; expected a JSON schema"),
    ],
)
def test_a_wrong_check_names_its_place(raw: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        passes(raw, "")
