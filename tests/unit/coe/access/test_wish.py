from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.access import wish as wishes
from coe.access.key import Wish
from coe.errors import ConfigError, InvalidRequest
from coe.identity import Identity
from coe.limits.rules import read
from coe.limits.scopes import Limit, accounts_of, scope_of

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


@given(st.text(max_size=110) | st.sampled_from(["web search", "a:b", "Anna's", "x" * 100]))
def test_a_team_that_a_key_can_have_can_be_named_in_a_limits_scope(team: str) -> None:
    try:
        wish = wishes.read({"name": "ci", "team": team}, at=AT)
    except InvalidRequest:
        return
    if team:
        limit = Limit(scope=scope_of(f"team:{team}"), rule=read("9 requests/day"))
        assert accounts_of([limit], Identity(tenant="k", key="k", team=wish.team))


@pytest.mark.parametrize("team", [" a", "a\nb", "a\x1bb", "x" * 101])
def test_what_no_team_can_be_called_no_scope_names(team: str) -> None:
    with pytest.raises(InvalidRequest):
        wishes.read({"name": "ci", "team": team}, at=AT)
    with pytest.raises(ConfigError):
        scope_of(f"team:{team}")


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
