"""When a plan is a panel's, who sits on it, and why one expert answers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coe import planner
from coe.composition import Composition, load
from coe.types import PART, Decision, Plan, Query, SessionEffect

FILE = """
version: 1
backends: {here: http://127.0.0.1:9, there: http://127.0.0.1:8}
experts:
  a: {backend: here, model: m, context: 4096}
  b: {backend: here, model: m}
  c: {backend: there, model: m, capabilities: [chat]}
  d: {backend: there, model: m, status: draining}
  e: {backend: there, model: m}
categories:
  sums: {keywords: [plus], experts: [a, b, c, d], aggregate: trio}
  trips: {keywords: [train], experts: [a]}
  both: {keywords: [both], experts: [a, b, c], aggregate: apart}
  solo: {keywords: [solo], experts: [a, b], aggregate: none}
  chosen: {keywords: [chosen], experts: [a], aggregate: named}
  often: {keywords: [often], experts: [a], aggregate: samples}
  many: {keywords: [many], experts: [a, b], aggregate: many}
aggregation:
  trio: {method: vote, experts: 3}
  apart: {method: vote, experts: {top: 3, distinct_backends: true}}
  named: {method: vote, experts: [c, e]}
  samples: {method: vote, experts: {top: 1, samples: 3}}
  many: {method: vote, experts: {top: 4, min: 3}}
  choices: {method: concat, experts: [b, c], as: choices}
models:
  coe/named: {aggregate: named}
  coe/alone: {aggregate: none}
  coe/choices: {aggregate: choices}
default: e
fallbacks: {attempts: 2}
"""


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Composition:
    file = tmp_path_factory.mktemp("planner") / "experts.yaml"
    file.write_text(FILE)
    return load(Path(file))


def plan(
    composition: Composition,
    category: str | None,
    *,
    model: str = "coe/auto",
    session: SessionEffect | None = None,
    body: dict[str, Any] | None = None,
    **fields: Any,
) -> Plan:
    whole = {"model": model, "messages": [{"role": "user", "content": "hi"}], **(body or {})}
    query = Query(id="q", model=model, body=whole, **fields)
    decision = Decision(category=category, reason="matched", session=session)
    return planner.plan(composition, query, decision)


def members(plan: Plan) -> list[str]:
    assert plan.panel is not None
    return [call.expert for call in plan.panel.calls]


def owners(plan: Plan) -> list[str]:
    assert plan.panel is None
    return [call.expert for call in plan.calls]


def test_a_category_s_panel_seats_its_experts_that_may_answer(composition: Composition) -> None:
    made = plan(composition, "sums")

    assert members(made) == ["a", "b", "c"]
    assert made.panel is not None
    assert made.panel.panel == "trio"
    assert made.panel.weights == (0.5, 0.5, 0.5)
    assert [call.expert for call in made.calls] == ["a", "b"]
    assert ("d", "status") in [row[:2] for row in made.excluded]


def test_hard_filters_come_first(composition: Composition) -> None:
    long = plan(composition, "sums", tokens=5000)
    picture = plan(composition, "sums", requires=frozenset({"vision"}))

    assert members(long) == ["b", "c"]
    assert members(picture) == ["a", "b"]


def test_a_category_without_a_panel_is_answered_by_one(composition: Composition) -> None:
    for category in ("trips", "solo", None):
        made = plan(composition, category)
        assert made.panel is None
        assert not made.alone


def test_a_model_s_panel_sits_for_every_category_that_may_have_one(
    composition: Composition,
) -> None:
    assert members(plan(composition, "trips", model="coe/named")) == ["c", "e"]
    assert members(plan(composition, "sums", model="coe/named")) == ["c", "e"]
    assert members(plan(composition, None, model="coe/named")) == ["c", "e"]
    assert plan(composition, "solo", model="coe/named").panel is None


def test_a_model_may_have_none(composition: Composition) -> None:
    assert plan(composition, "sums", model="coe/alone").panel is None
    assert plan(composition, "sums", model="coe/cheap").panel is None
    assert members(plan(composition, "sums", model="coe/best")) == ["a", "b", "c"]


def test_who_names_an_expert_gets_it(composition: Composition) -> None:
    query = Query(id="q", model="a", body={"messages": []})
    made = planner.plan(composition, query, Decision(reason="pinned", pinned_expert="a"))

    assert owners(made) == ["a"]


def test_no_two_members_on_one_backend(composition: Composition) -> None:
    assert members(plan(composition, "both")) == ["a", "c"]


def test_members_need_not_be_ranked_for_the_category(composition: Composition) -> None:
    assert members(plan(composition, "chosen")) == ["c", "e"]


def test_one_expert_may_be_asked_often(composition: Composition) -> None:
    made = plan(composition, "often")

    assert members(made) == ["a", "a", "a"]
    assert "3 drafts" in (made.panel.detail if made.panel else "")


def test_with_too_few_one_answers(composition: Composition) -> None:
    made = plan(composition, "many")

    assert owners(made) == ["a", "b"]
    assert made.alone == "2 may sit on panel `many`, which needs 3"


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "function"}]},
        {"functions": [{"name": "f"}]},
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": "2", "tool_call_id": "1"},
            ]
        },
    ],
    ids=["tools", "functions", "loop"],
)
def test_a_tool_turn_has_one_owner(composition: Composition, body: dict[str, Any]) -> None:
    made = plan(composition, "sums", body=body)

    assert owners(made) == ["a", "b"]
    assert made.alone == "tools: one owner"


def test_the_owner_is_a_member_of_the_panel(composition: Composition) -> None:
    made = plan(composition, None, model="coe/named", body={"tools": [{"type": "function"}]})

    assert owners(made) == ["c", "e"]


def test_whose_tools_are_under_way_goes_on(composition: Composition) -> None:
    session = SessionEffect(source="derived", key=b"k", turn=b"t", expert="e", kept="tool-loop")
    made = plan(
        composition, "sums", model="coe/named", session=session, body={"tools": [{"type": "f"}]}
    )

    assert owners(made) == ["e", "c"]


def test_several_choices_are_asked_of_one_expert_but_for_those_of_several(
    composition: Composition,
) -> None:
    made = plan(composition, "sums", body={"n": 3})

    assert owners(made) == ["a", "b"]
    assert made.alone == "n: 3 choices are asked of one expert"
    for n, drafted in ((1, "bc"), (2, "bc"), (3, "bcb"), (5, "bcbcb")):
        made = plan(composition, None, model="coe/choices", body={"n": n})
        assert members(made) == list(drafted)


def test_no_panel_starts_inside_a_panel(composition: Composition) -> None:
    made = plan(composition, "sums", headers=((PART, b"1"),))

    assert owners(made) == ["a", "b"]
    assert made.alone == "it is part of a panel already"


def test_embeddings_have_no_panel(composition: Composition) -> None:
    assert plan(composition, "sums", endpoint="embeddings").panel is None
