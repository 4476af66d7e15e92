from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coe import planner
from coe.composition import Composition, load
from coe.errors import ContextTooLong, NoEligibleExpert, UnknownModel
from coe.types import Decision, Query

FILE = """
version: 1
backends:
  gpu: http://127.0.0.1:9
experts:
  small: {backend: gpu, model: m-small, context: 4096, capabilities: [chat]}
  coder:
    backend: gpu
    model: m-coder
    context: 32000
    max_output: 4000
    capabilities: [chat, tools]
    defaults: {temperature: 0.2}
    force: {top_p: 0.5}
  adapter: {base: coder, adapter: acme-lora}
  unsaid: gpu/m-unsaid
  resting: {backend: gpu, model: m-resting, status: draining}
categories:
  code:
    utterances: [write a function, fix this bug, explain the stack trace, refactor it, add a test]
    experts: [adapter, coder, unsaid]
  rest:
    utterances: [take a nap, go to sleep, have a break, lie down, dream on]
    experts: [resting, unsaid]
  coder:
    utterances: [who is a coder, coder jobs, a coder's day, coder wages, coder school]
    experts: [unsaid]
routing: {none: [small]}
default: small
fallbacks: {attempts: 3}
"""


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Composition:
    file = tmp_path_factory.mktemp("planner") / "experts.yaml"
    file.write_text(FILE)
    return load(Path(file))


def query(**fields: Any) -> Query:
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": "hi"}]}
    return Query(**{"id": "q", "model": "coe/auto", "body": body, **fields})


CODE = Decision(category="code", reason="matched")


def asked(composition: Composition, decision: Decision, **fields: Any) -> list[str]:
    return [call.expert for call in planner.plan(composition, query(**fields), decision).calls]


def test_a_category_is_asked_in_its_order(composition: Composition) -> None:
    assert asked(composition, CODE) == ["adapter", "coder", "unsaid"]


def test_the_rest_of_the_ranking_and_the_default_are_fallbacks(composition: Composition) -> None:
    plan = planner.plan(composition, query(requires=frozenset({"tools"})), CODE)

    assert [call.expert for call in plan.calls] == ["adapter", "coder", "unsaid"]
    assert [(row.expert, row.rule) for row in plan.excluded] == [("small", "tools")]


def test_abstention_asks_who_answers_for_none(composition: Composition) -> None:
    assert asked(composition, Decision(reason="below-threshold")) == ["small"]


def test_no_more_experts_than_attempts(composition: Composition) -> None:
    plan = planner.plan(composition, query(), CODE)

    assert len(plan.calls) == 3
    assert [(row.expert, row.rule) for row in plan.excluded] == [("small", "attempts")]


def test_status_is_the_first_rule(composition: Composition) -> None:
    decision = Decision(category="rest", reason="matched")

    plan = planner.plan(composition, query(tokens=10**6), decision)

    assert (plan.excluded[0].expert, plan.excluded[0].rule) == ("resting", "status")
    assert "draining" in plan.excluded[0].detail


def test_what_the_file_does_not_declare_excludes_nobody(composition: Composition) -> None:
    calls = asked(composition, CODE, requires=frozenset({"vision"}), tokens=10**6)

    assert calls == ["unsaid"]


def test_a_prompt_longer_than_the_context_goes_to_a_larger_one(composition: Composition) -> None:
    decision = Decision(reason="pinned", pinned_expert="small")
    plan = planner.plan(composition, query(tokens=5000), decision)

    assert plan.calls == ()
    error = planner.refusal(plan.excluded)
    assert isinstance(error, ContextTooLong)
    assert "4096" in error.message
    assert asked(composition, CODE, tokens=5000) == ["adapter", "coder", "unsaid"]


def test_the_answers_length_counts_too(composition: Composition) -> None:
    plan = planner.plan(composition, query(tokens=31_000, max_output=2_000), CODE)

    assert [call.expert for call in plan.calls] == ["unsaid"]
    assert "up to 2000 new ones" in plan.excluded[0].detail


def test_a_refusal_names_every_expert_and_its_rule(composition: Composition) -> None:
    decision = Decision(reason="pinned", pinned_expert="small")
    plan = planner.plan(composition, query(requires=frozenset({"tools"})), decision)

    error = planner.refusal(plan.excluded)

    assert isinstance(error, NoEligibleExpert)
    assert "small: it does not declare the capability `tools`" in error.message


def test_the_client_can_name_an_expert_and_only_it_is_asked(composition: Composition) -> None:
    decision = planner.pin(composition, "unsaid")

    assert decision is not None
    assert decision.reason == "pinned"
    assert asked(composition, decision) == ["unsaid"]


@pytest.mark.parametrize("model", ["code", "coe/code"])
def test_the_client_can_name_a_category(composition: Composition, model: str) -> None:
    decision = planner.pin(composition, model)

    assert decision is not None
    assert decision.category == "code"
    assert not decision.abstained


def test_an_experts_name_comes_before_a_categorys(composition: Composition) -> None:
    expert = planner.pin(composition, "coder")
    category = planner.pin(composition, "coe/coder")

    assert expert is not None
    assert expert.pinned_expert == "coder"
    assert category is not None
    assert category.category == "coder"


def test_auto_is_left_to_the_router(composition: Composition) -> None:
    assert planner.pin(composition, "coe/auto") is None


def test_an_unknown_model_lists_the_known_ones(composition: Composition) -> None:
    with pytest.raises(UnknownModel, match=r"coe/best, small, coder") as caught:
        planner.pin(composition, "gpt-7")

    assert caught.value.status == 404
    assert caught.value.param == "model"


def test_a_call_says_where_and_what(composition: Composition) -> None:
    call = planner.plan(composition, query(stream=True), CODE).calls[0]

    assert (call.expert, call.backend, call.model) == ("adapter", "gpu", "m-coder")
    assert call.adapter == "acme-lora"
    assert call.stream


def test_an_answer_is_never_longer_than_the_experts_limit(composition: Composition) -> None:
    decision = Decision(reason="pinned", pinned_expert="coder")
    long = {"messages": [], "max_completion_tokens": 9_000}
    short = {"messages": [], "max_tokens": 10}

    clamped = planner.plan(composition, query(body=long, max_output=9_000), decision).calls[0]
    kept = planner.plan(composition, query(body=short, max_output=10), decision).calls[0]
    unsaid = planner.plan(composition, query(), decision).calls[0]

    assert clamped.body["max_completion_tokens"] == 4_000
    assert kept.body["max_tokens"] == 10
    assert "max_tokens" not in unsaid.body


def test_defaults_yield_to_the_request_and_forced_values_do_not(composition: Composition) -> None:
    body = {"model": "coe/auto", "messages": [], "temperature": 1.0, "top_p": 0.9}
    decision = Decision(reason="pinned", pinned_expert="coder")

    call = planner.plan(composition, query(body=body), decision).calls[0]
    plain = planner.plan(composition, query(), decision).calls[0]

    assert call.body["temperature"] == 1.0
    assert call.body["top_p"] == 0.5
    assert plain.body["temperature"] == 0.2
