"""From a decision to a plan: category -> ranked experts, hard filters, fallbacks. Pure.

The second of the two steps of two-step routing (Composition of Experts, arXiv 2412.01868): the
category-to-expert map is data, so that adding an expert never retrains a classifier.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache

from coe.composition import Composition, Expert
from coe.errors import ContextTooLong, NoEligibleExpert, RoutingError, UnknownModel
from coe.types import Call, Decision, Exclusion, Plan, Query

AUTO = "coe/auto"
PREFIX = "coe/"


def pin(composition: Composition, model: str) -> Decision | None:
    """Return the decision that the client already made by naming a model, or None for a router's.

    An expert's name comes first; a category is reachable by its name where no expert has it, and
    always as `coe/NAME`.

    Raises:
        UnknownModel: nothing in the composition has that name.
    """
    if model in composition.experts:
        return _pinned(model)
    if model == AUTO or model in composition.models:
        return None
    category = model if model in composition.categories else model.removeprefix(PREFIX)
    if category in composition.categories:
        return Decision(reason="pinned", category=category)
    known = ", ".join([AUTO, *composition.experts, *(PREFIX + c for c in composition.categories)])
    raise UnknownModel(f"no model `{model}`; there are: {known}", param="model")


@lru_cache(maxsize=1024)
def _pinned(expert: str) -> Decision:
    """Return the decision for an expert that was named; a value, so that one serves them all."""
    return Decision(reason="pinned", pinned_expert=expert)


def ranking(composition: Composition, decision: Decision) -> tuple[str, ...]:
    """Return the experts to ask, best first, before any filter.

    An expert that the client named is asked alone: another one would not be what was asked for.
    Otherwise the category's experts are followed by those of `routing.none` and by the default
    expert, so that a request is answered as long as anyone can answer it. Who began a turn goes on
    with it: in a tool loop, a better expert that failed at first does not take over when it is
    back.
    """
    if decision.pinned_expert is not None:
        return (decision.pinned_expert,)
    routed = composition.routing.routes.get(decision.category or "", ())
    ranked = dict.fromkeys((*routed, *composition.routing.none, composition.default))
    session = decision.session
    if session is not None and session.is_same_turn and session.expert in ranked:
        ranked = dict.fromkeys((session.expert, *ranked))
    return tuple(ranked)


def plan(composition: Composition, query: Query, decision: Decision) -> Plan:
    """Turn a decision into calls, the first of which is to be asked.

    Every excluded expert is named with the first rule against it; where all are excluded, the plan
    has no calls and `refusal` says why.
    """
    calls: list[Call] = []
    excluded: list[Exclusion] = []
    for name in ranking(composition, decision):
        expert = composition.experts[name]
        if (rule := _first_rule_against(expert, query)) is not None:
            excluded.append(Exclusion(expert=name, rule=rule[0], detail=rule[1]))
        elif len(calls) < composition.fallbacks.attempts:
            calls.append(_call(composition, name, expert, query))
        else:
            detail = f"fallbacks.attempts is {composition.fallbacks.attempts}"
            excluded.append(Exclusion(expert=name, rule="attempts", detail=detail))
    return Plan(calls=tuple(calls), excluded=tuple(excluded))


def refusal(excluded: Iterable[Exclusion]) -> RoutingError | ContextTooLong:
    """Return the error for a plan without calls."""
    rows = list(excluded)
    reasons = "; ".join(f"{row.expert}: {row.detail}" for row in rows)
    if rows and all(row.rule == "context" for row in rows):
        return ContextTooLong(
            f"the prompt does not fit any expert's context ({reasons})", param="messages"
        )
    return NoEligibleExpert(f"no expert may answer this request ({reasons})")


def _first_rule_against(expert: Expert, query: Query) -> tuple[str, str] | None:
    """Return (rule, detail) of the first hard rule that the expert breaks, in a fixed order."""
    if not expert.is_eligible:
        return "status", f"its status is `{expert.status}`"
    # Only what the file declares can exclude: an expert without `capabilities` is asked and its
    # backend has the last word.
    if expert.capabilities is not None:
        for needed in sorted(query.requires - expert.capabilities):
            return needed, f"it does not declare the capability `{needed}`"
    if expert.context is not None:
        new = min(query.max_output or 0, expert.max_output or sys.maxsize)
        if query.tokens >= expert.context:
            return "context", f"about {query.tokens} tokens, its context is {expert.context}"
        if query.tokens + new > expert.context:
            detail = f"about {query.tokens} tokens and up to {new} new ones"
            return "context", f"{detail}, its context is {expert.context}"
    return None


def _call(composition: Composition, name: str, expert: Expert, query: Query) -> Call:
    body = query.body
    if expert.defaults or expert.force:
        body = {**expert.defaults, **body, **expert.force}
    if expert.max_output is not None:
        # Only ever less than the client asked for: raising its limit would cost it money.
        over = {
            key: expert.max_output
            for key in ("max_tokens", "max_completion_tokens")
            if isinstance(limit := body.get(key), int) and limit > expert.max_output
        }
        body = {**body, **over} if over else body
    return Call(
        expert=name,
        backend=expert.backend,
        model=expert.model,
        adapter=expert.adapter_source,
        body=body,
        stream=query.stream,
        endpoint=query.endpoint,
        timeouts=composition.timeouts_of(expert.backend),
    )
