"""Who is asked where a fitted map ranks the experts, and what an expert's status means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe import planner
from coe.composition import Composition, load
from coe.errors import NoEligibleExpert
from coe.mapping import NONE, FittedMap
from coe.mapping.choose import Chooser
from coe.types import Decision, Plan, Query, RankedCategory, SessionEffect

FILE = """
version: 1
backends: {gpu: "http://127.0.0.1:9"}
experts:
  small: gpu/m-small
  large: gpu/m-large
  fresh: gpu/m-fresh
  trial: {backend: gpu, model: m-trial, status: canary, share: 20%}
  leaving: {backend: gpu, model: m-leaving, status: draining}
  hidden: {backend: gpu, model: m-hidden, status: shadow}
  gone: {backend: gpu, model: m-gone, status: retired}
categories:
  code:
    utterances: [write a function, fix this bug, explain the stack trace, refactor it, add a test]
    experts: [fresh, small, large]
  law:
    utterances: [is this legal, may I sue, read this contract, what is a tort, my rights]
routing:
  choose: fitted
  none: [small]
  routes:
    law: {experts: [small, large], choose: ranked}
models:
  mine: {quality_floor: 0.5}
  by-hand: {choose: ranked}
default: small
fallbacks: {attempts: 10}
"""
EXPERTS = ("small", "large", "trial", "leaving", "hidden", "gone")
#            small large trial leaving hidden gone
QUALITY = [
    [0.60, 0.80, 0.95, 0.90, 0.99, 0.99],  # code
    [0.50, 0.90, 0.40, 0.40, 0.99, 0.99],  # law
    [0.55, 0.70, 0.40, 0.75, 0.99, 0.99],  # none of them
]
COST = [0.001, 0.01, 0.005, 0.005, 0.001, 0.001]


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Composition:
    file = tmp_path_factory.mktemp("choice") / "experts.yaml"
    file.write_text(FILE)
    return load(Path(file))


def fitted(**fields: Any) -> FittedMap:
    quality = np.array(QUALITY)
    return FittedMap(
        **{
            "categories": ("code", "law", NONE),
            "experts": EXPERTS,
            "quality": quality,
            "lower": quality - 0.05,
            "upper": quality + 0.01,
            "counts": np.full(quality.shape, 100.0),
            "cost": np.tile(COST, (3, 1)),
            "latency_s": np.full(quality.shape, 1.0),
            "traffic": np.full(3, 1 / 3),
            "used": EXPERTS,
            "assignment": ("gone", "gone", "gone"),
            "best_single": "large",
            **fields,
        }
    )


CHOOSER = Chooser(fitted())
CODE = Decision(category="code", reason="pinned")
LAW = Decision(category="law", reason="pinned")


def query(model: str = "coe/auto", number: int = 0) -> Query:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return Query(id=f"q{number}", model=model, body=body)


def plan_of(
    composition: Composition,
    decision: Decision,
    model: str = "coe/auto",
    *,
    chooser: Chooser | None = CHOOSER,
    number: int = 1,
) -> Plan:
    return planner.plan(composition, query(model, number), decision, chooser)


def asked(composition: Composition, decision: Decision, *args: Any, **kwargs: Any) -> list[str]:
    plan = plan_of(composition, decision, *args, **kwargs)
    return [call.expert for call in plan.calls]


def rules(plan: Plan) -> dict[str, str]:
    return {row.expert: row.rule for row in plan.excluded}


def in_session(category: str, expert: str, owner: bytes = b"me", **fields: Any) -> Decision:
    effect = SessionEffect(
        source="header:x-session-id",
        key=b"k",
        turn=b"t",
        owner=owner,
        previous=category,
        expert=expert,
        **fields,
    )
    return Decision(category=category, reason="session", session=effect)


def side(composition: Composition, *, inside: bool) -> int:
    """Return the number of a query inside of the canary's share, or outside of it."""
    for number in range(1000):
        if ("trial" in asked(composition, CODE, number=number)) == inside:
            return number
    raise AssertionError("all on one side")


def test_the_map_ranks_and_the_written_list_follows(composition: Composition) -> None:
    number = side(composition, inside=False)
    plan = plan_of(composition, CODE, number=number)

    assert [call.expert for call in plan.calls] == ["large", "small", "fresh"]
    assert plan.choice is not None
    assert plan.choice.choose == "fitted"
    assert plan.choice.of("large").quality == pytest.approx(0.8)  # type: ignore[union-attr]
    assert plan.choice.of("fresh") is None


def test_without_a_map_the_written_ranking_holds_and_the_choice_says_so(
    composition: Composition,
) -> None:
    plan = plan_of(composition, CODE, chooser=None)

    assert [call.expert for call in plan.calls] == ["fresh", "small", "large"]
    assert plan.choice is not None
    assert plan.choice.choose == "ranked"
    assert plan.choice.detail == planner.NO_MAP


def test_a_route_that_is_written_by_hand_holds_for_every_model(composition: Composition) -> None:
    for model in ("coe/auto", "coe/cheap", "coe/best", "mine", "law"):
        plan = plan_of(composition, LAW, model)

        assert [call.expert for call in plan.calls] == ["small", "large"]
        assert plan.choice is None


def test_a_model_may_ask_for_the_written_ranking(composition: Composition) -> None:
    assert asked(composition, CODE, "by-hand") == ["fresh", "small", "large"]


def test_each_model_turns_its_own_dial(composition: Composition) -> None:
    number = side(composition, inside=False)

    def first(model: str) -> str:
        return asked(composition, CODE, model, number=number)[0]

    assert {model: first(model) for model in ("coe/cheap", "coe/best", "mine")} == {
        "coe/cheap": "large",  # small is more than a little worse
        "coe/best": "large",
        "mine": "small",
    }


def test_who_names_an_expert_gets_it_without_a_map(composition: Composition) -> None:
    plan = plan_of(composition, Decision(reason="pinned", pinned_expert="small"), "small")

    assert [call.expert for call in plan.calls] == ["small"]
    assert plan.choice is None


def test_a_canary_answers_its_share_of_requests(composition: Composition) -> None:
    plans = [plan_of(composition, CODE, number=number) for number in range(2000)]

    share = sum(plan.calls[0].expert == "trial" for plan in plans) / len(plans)
    outside = [plan for plan in plans if plan.calls[0].expert != "trial"]

    assert 0.17 < share < 0.23
    assert all(rules(plan)["trial"] == "canary" for plan in outside)


def test_a_conversation_stays_on_one_side_of_a_canary(composition: Composition) -> None:
    def answers(owner: bytes) -> set[str]:
        decision = in_session("code", "", owner)
        return {asked(composition, decision, number=number)[0] for number in range(20)}

    sides = [answers(str(owner).encode()) for owner in range(100)]

    assert all(len(side) == 1 for side in sides)
    assert {"trial"} in sides
    assert {"large"} in sides


def test_a_larger_share_moves_nobody_back(composition: Composition) -> None:
    larger = load_with(composition, "share: 20%", "share: 60%")
    for owner in range(200):
        decision = in_session("code", "", str(owner).encode())
        if asked(composition, decision)[0] == "trial":
            assert asked(larger, decision)[0] == "trial"


def load_with(composition: Composition, old: str, new: str) -> Composition:
    file = composition.source.with_name("other.yaml")
    file.write_text(FILE.replace(old, new))
    return load(file)


def test_who_names_a_canary_gets_it(composition: Composition) -> None:
    decision = Decision(reason="pinned", pinned_expert="trial")

    assert all(asked(composition, decision, number=number) == ["trial"] for number in range(50))


def test_a_draining_expert_goes_on_with_its_conversations_only(composition: Composition) -> None:
    number = side(composition, inside=False)
    plan = plan_of(composition, CODE, number=number)

    assert rules(plan)["leaving"] == "status"
    assert asked(composition, in_session("code", "leaving"))[0] == "leaving"
    assert "leaving" not in asked(composition, in_session("code", "small"))


@pytest.mark.parametrize("name", ["hidden", "gone", "leaving"])
def test_who_does_not_answer_is_refused_by_name_too(composition: Composition, name: str) -> None:
    plan = plan_of(composition, Decision(reason="pinned", pinned_expert=name), name)
    error = planner.refusal(plan.excluded)

    assert plan.calls == ()
    assert isinstance(error, NoEligibleExpert)
    assert f"{name}: its status is `" in error.message


def test_a_conversation_keeps_its_expert_where_a_switch_would_gain_little(
    composition: Composition,
) -> None:
    close = np.array(QUALITY)
    close[0, :2] = [0.78, 0.80]
    chooser = Chooser(fitted(quality=close))
    kept = in_session("code", "small", b"outside")
    moved = in_session("code", "small", b"outside")

    assert asked(composition, kept, chooser=chooser)[0] == "small"
    assert asked(composition, moved)[0] != "small"


def test_another_topic_is_no_reason_to_keep_the_expert(composition: Composition) -> None:
    close = np.array(QUALITY)
    close[0, :2] = [0.78, 0.80]
    decision = in_session("code", "small", b"outside")
    effect = decision.session
    assert effect is not None
    changed = Decision(
        category="code",
        reason="matched",
        session=SessionEffect(
            source=effect.source,
            key=b"k",
            turn=b"t",
            owner=effect.owner,
            previous="law",
            expert="small",
        ),
    )

    assert asked(composition, changed, chooser=Chooser(fitted(quality=close)))[0] != "small"


def test_a_tool_loop_keeps_who_began(composition: Composition) -> None:
    decision = in_session("code", "fresh", kept="tool-loop")

    assert asked(composition, decision)[0] == "fresh"


def test_an_enforced_guard_puts_the_best_single_expert_first(composition: Composition) -> None:
    chooser = Chooser(fitted(verdict="not better"), instead="large")
    plan = plan_of(composition, CODE, "coe/cheap", chooser=chooser)

    assert [call.expert for call in plan.calls] == ["large", "fresh", "small"]
    assert plan.choice is not None
    assert plan.choice.choose == "best_single"
    assert "enforce" in plan.choice.detail


SHARE = st.floats(0, 0.5)


@given(st.data())
def test_every_expert_of_the_ranking_is_asked_or_excluded_by_a_rule(
    composition: Composition, data: st.DataObject
) -> None:
    category = data.draw(st.sampled_from([None, "code", "law"]))
    ranked = (RankedCategory("code", data.draw(SHARE)), RankedCategory("law", data.draw(SHARE)))
    decision = Decision(
        ranked=ranked,
        category=category,
        reason="matched" if category else "ambiguous",
        calibrated=data.draw(st.booleans()),
    )
    model = data.draw(st.sampled_from(["coe/auto", "coe/cheap", "coe/best", "mine", "by-hand"]))
    chooser = data.draw(st.sampled_from([None, CHOOSER, Chooser(fitted(), instead="large")]))
    number = data.draw(st.integers(0, 1000))

    plan = plan_of(composition, decision, model, chooser=chooser, number=number)
    ranking = planner.ranking(composition, decision, plan.choice)
    called = [call.expert for call in plan.calls]

    assert sorted([*called, *rules(plan)]) == sorted(ranking)
    assert called == [name for name in ranking if name not in rules(plan)]
    assert composition.default in called
    assert all(row.rule and row.detail for row in plan.excluded)
    assert not {"hidden", "gone", "leaving"} & set(called)
