"""Limits and budgets as the file writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coe.composition import load
from coe.composition.loading import check
from coe.limits.rules import NANO, Rule
from coe.limits.scopes import Limit, Scope

Write = Callable[[str], Path]


EXPERTS = """
version: 1
backends: {one: {url: "http://127.0.0.1:9"}}
experts:
  priced: {backend: one, model: m, cost: {input: 1 USD/M, output: 2 USD/M}}
  free: {backend: one, model: m}
routing: {none: [priced, free]}
default: priced
"""


def test_limits_and_budgets_are_read(write: Write) -> None:
    path = write(
        EXPERTS
        + """
limits:
  - {scope: key, requests: 60/min, tokens: 100k/min, at_once: 10}
  - {scope: "team:research", requests: 1000/day}
budgets:
  - {scope: all, limit: 800 USD/month, unpriced: free}
  - {scope: team, limit: 50 USD/day, at_limit: cheapest_good, unpriced: refuse}
"""
    )

    limits = load(path).limits

    assert limits == (
        Limit(scope=Scope("key"), rule=Rule("requests", 60, "minute")),
        Limit(scope=Scope("key"), rule=Rule("tokens", 100_000, "minute")),
        Limit(scope=Scope("key"), rule=Rule("at_once", 10)),
        Limit(scope=Scope("team", "research"), rule=Rule("requests", 1000, "day")),
        Limit(scope=Scope("all"), rule=Rule("money", 800 * NANO, "month", "USD")),
        Limit(
            scope=Scope("team"),
            rule=Rule("money", 50 * NANO, "day", "USD"),
            at_limit="cheapest_good",
            unpriced="refuse",
        ),
    )
    assert check(path) == []


@pytest.mark.parametrize(
    ("section", "place", "words"),
    [
        ("limits: [{scope: all}]", "limits[0]", "it limits nothing"),
        ("limits: [{requests: 5/min}]", "limits[0]", "`scope` is missing"),
        ("limits: [{scope: everyone, requests: 5/min}]", "limits[0].scope", "is no scope"),
        ("limits: [{scope: 'all:x', requests: 5/min}]", "limits[0].scope", "is no scope"),
        ("limits: [{scope: all, requests: 5}]", "limits[0].requests", "the limit 5 has no unit"),
        ("limits: [{scope: all, tokens: .nan}]", "limits[0].tokens", "the limit nan has no unit"),
        ("limits: [{scope: all, tokens: -5/min}]", "limits[0].tokens", "is not a number of tokens"),
        ("limits: [{scope: all, at_once: 0}]", "limits[0].at_once", "out of range"),
        ("limits: [{scope: all, request: 5/min}]", "limits[0].request", "unknown key `request`"),
        (
            "limits: [{scope: all, requests: 5/min}, {scope: all, requests: 9/min}]",
            "limits[1].requests",
            "limited twice for the same time",
        ),
        ("budgets: [{scope: all, limit: 5 USD}]", "budgets[0].limit", "is not money in a time"),
        ("budgets: [{scope: all, limit: .inf}]", "budgets[0].limit", "has no unit"),
        ("budgets: [{scope: all, limit: 5 EUR/day}]", "budgets[0].limit", "use one currency"),
        (
            "budgets: [{scope: key, limit: 5 USD/day}, {scope: key, limit: 6 USD/day}]",
            "budgets[1].limit",
            "two budgets for the same time",
        ),
        (
            "budgets: [{scope: all, limit: 5 USD/day, at_limit: beg}]",
            "budgets[0].at_limit",
            "cheapest_good",
        ),
    ],
)
def test_sec_10_what_is_no_limit_is_refused_where_it_stands(
    write: Write, section: str, place: str, words: str
) -> None:
    problems = [one for one in check(write(EXPERTS + section)) if one.severity == "error"]

    assert [one.path for one in problems] == [place]
    assert problems[0].line == EXPERTS.count("\n") + 1
    assert words in f"{problems[0].message} {problems[0].hint}"


def test_experts_without_a_price_are_told_of(write: Write) -> None:
    path = write(EXPERTS + "budgets: [{scope: all, limit: 5 USD/day}]")

    (problem,) = check(path)

    assert problem.severity == "warning"
    assert "without a price, `free` cost nothing of it" in problem.message
