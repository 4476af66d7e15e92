from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.access import wish as wishes
from coe.access.key import Wish
from coe.errors import InvalidRequest

AT = 1_800_000_000.0


def test_a_name_is_enough_and_the_scope_is_then_data() -> None:
    assert wishes.read({"name": "ci"}, at=AT) == Wish(name="ci", scopes=("data",))


def test_everything_that_can_be_asked_for() -> None:
    body = {
        "name": "ci",
        "team": "search",
        "scopes": ["metrics", "data", "data"],
        "experts": ["a", "tag:small", "a"],
        "not_experts": ["b"],
        "limits": ["60 requests / min"],
        "keeps_text": False,
        "expires": AT + 1,
    }
    assert wishes.read(body, at=AT) == Wish(
        name="ci",
        team="search",
        scopes=("data", "metrics"),
        experts=("a", "tag:small"),
        not_experts=("b",),
        limits=("60 requests/min",),
        keeps_text=False,
        expires=AT + 1,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " ci"),
        ("name", "a\nb"),
        ("name", "x" * 101),
        ("name", 7),
        ("team", "a\x1b[2J"),
        ("scopes", []),
        ("scopes", "data"),
        ("scopes", ["root"]),
        ("scopes", [["data"]]),
        ("experts", "a"),
        ("experts", [1]),
        ("experts", ["a b"]),
        ("not_experts", None),
        ("limits", ["60"]),
        ("limits", ["nan requests/min"]),
        ("limits", ["-1 requests/min"]),
        ("limits", ["inf USD/day"]),
        ("limits", "60 requests/min"),
        ("keeps_text", 1),
        ("expires", math.nan),
        ("expires", math.inf),
        ("expires", AT),
        ("expires", -1),
        ("expires", 1e300),
        ("expires", True),
        ("expires", "2030-01-01"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        wishes.read({"name": "ci", field: value}, at=AT)
    assert refused.value.param == field


def test_a_name_is_needed() -> None:
    with pytest.raises(InvalidRequest, match="`name` is missing"):
        wishes.read({}, at=AT)


@given(st.text(max_size=20), st.none() | st.booleans() | st.floats() | st.text(max_size=5))
def test_nothing_else_can_be_asked_for(field: str, value: Any) -> None:
    if field in wishes.FIELDS:
        return
    with pytest.raises(InvalidRequest, match="no field"):
        wishes.read({"name": "ci", field: value}, at=AT)


@pytest.mark.parametrize("field", ["experts", "not_experts"])
def test_an_expert_or_a_tag_that_there_is_not_is_refused(field: str) -> None:
    experts = {"a": ("small",), "b": ()}
    for known in ("a", "tag:small"):
        wishes.refuse_unknown(wishes.read({"name": "ci", field: [known]}, at=AT), experts)
    for slip in ("c", "tag:smal", "small"):
        with pytest.raises(InvalidRequest, match="there are: a, b, tag:small"):
            wishes.refuse_unknown(wishes.read({"name": "ci", field: [slip]}, at=AT), experts)
