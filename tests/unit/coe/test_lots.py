"""Draws are fair, and the same for the same unit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from coe import planner
from coe.composition import load
from coe.lots import drawn
from coe.types import Decision, Query, SessionEffect

FILE = """
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {a: up/a, b: up/b, c: {backend: up, model: c, status: retired}, d: up/d}
categories:
  code: {utterances: [a, b, c, d, e], experts: [a, b, c]}
default: d
routing: {choose: CHOOSE}
"""
MATCHED = Decision(category="code", reason="matched")


def query(name: str, model: str = "coe/auto") -> Query:
    return Query(id=name, model=model, body={"messages": [{"role": "user", "content": "x"}]})


def test_a_draw_is_fair() -> None:
    firsts = Counter(drawn(["a", "b", "c"], ["c", "d"], f"{n}".encode())[0][0] for n in range(6000))

    assert set(firsts) == {"a", "b", "c"}
    assert all(abs(count - 2000) < 180 for count in firsts.values())  # five standard deviations
    order, chances = drawn(["a", "b"], ["a", "b", "d"], b"1")
    assert set(order[:2]) == {"a", "b"}
    assert order[2:] == ("d",)
    assert chances == {"a": 0.5, "b": 0.5}


def test_random_draws_among_those_that_may_answer(tmp_path: Path) -> None:
    file = tmp_path / "experts.yaml"
    file.write_text(FILE.replace("CHOOSE", "random"))
    composition = load(file)

    plans = [planner.plan(composition, query(f"{n}"), MATCHED) for n in range(200)]
    firsts = Counter(plan.calls[0].expert for plan in plans)
    assert set(firsts) == {"a", "b"}
    assert min(firsts.values()) > 60
    assert all(plan.chances == {"a": 0.5, "b": 0.5} for plan in plans)
    assert [row.expert for row in plans[0].excluded] == ["c"]
    named = planner.plan(composition, query("1", "d"), Decision(reason="pinned", pinned_expert="d"))
    assert [call.expert for call in named.calls] == ["d"]
    assert not named.chances


def test_a_conversation_draws_once(tmp_path: Path) -> None:
    file = tmp_path / "experts.yaml"
    file.write_text(FILE.replace("CHOOSE", "random"))
    composition = load(file)

    for owner in range(20):
        session = SessionEffect(
            source="derived", key=b"k", turn=b"t", owner=str(owner).encode(), expert="a"
        )
        decision = Decision(category="code", reason="matched", session=session)
        firsts = {
            planner.plan(composition, query(f"{n}"), decision).calls[0].expert for n in range(5)
        }
        assert len(firsts) == 1


@pytest.mark.parametrize("category", ["code", None])
def test_best_single_without_a_map_is_the_default(tmp_path: Path, category: str | None) -> None:
    file = tmp_path / "experts.yaml"
    file.write_text(FILE.replace("CHOOSE", "best_single"))
    plan = planner.plan(load(file), query("1"), Decision(category=category))

    assert plan.calls[0].expert == "d"
