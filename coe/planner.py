"""From a decision to a plan: category -> ranked experts, hard filters, fallbacks. Pure.

The second of the two steps of two-step routing (Composition of Experts, arXiv 2412.01868): the
category-to-expert map is data, so that adding an expert never retrains a classifier.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from coe import lots, seating
from coe.composition import Composition, Expert, Panel
from coe.errors import ContextTooLong, Forbidden, NoEligibleExpert, RoutingError, UnknownModel
from coe.identity import FREE, Permit
from coe.policies.permits import BARRING, allowed
from coe.types import Call, Choice, Decision, Dial, Exclusion, PanelPlan, Plan, Query

if TYPE_CHECKING:  # numpy is loaded by who reads a map, and by nobody else
    from coe.panels.rates import Rates

AUTO = "coe/auto"
PREFIX = "coe/"
LIMITS = ("max_tokens", "max_completion_tokens")
"""What a request calls the most new tokens of its answer."""

NO_MAP = "no map was fitted and applied: the written ranking holds"


class Ranker(Protocol):
    """Who ranks experts by what was measured of them: a fitted map, perhaps with what was learnt.

    Attributes:
        experts: those that it ranks.
        best_single: the best expert for everything.
    """

    experts: tuple[str, ...]
    best_single: str

    def choose(self, decision: Decision, dial: Dial, barred: Collection[str] = ()) -> Choice:
        """See `coe.mapping.choose.Chooser.choose`."""


NOBODY: Mapping[str, tuple[str, str]] = MappingProxyType({})

_BY_HAND = Dial(choose="ranked")
_WITHOUT_MAP = frozenset({"ranked", "random", "best_single"})


def pin(composition: Composition, model: str, permit: Permit = FREE) -> Decision | None:
    """Return the decision that the client already made by naming a model, or None for a router's.

    An expert's name comes first; a category is reachable by its name where no expert has it, and
    always as `coe/NAME`. Whoever names one that there is not is told of those that a permit lets
    it reach.

    Raises:
        UnknownModel: nothing in the composition has that name.
    """
    if model in composition.experts:
        return _pinned(model)
    if model in composition.models:
        return None
    category = model if model in composition.categories else model.removeprefix(PREFIX)
    if category in composition.categories:
        return Decision(reason="pinned", category=category)
    categories = (PREFIX + name for name in composition.categories)
    experts = allowed(permit, composition.experts)
    known = ", ".join([*composition.models, *experts, *categories])
    raise UnknownModel(f"no model `{model}`; there are: {known}", param="model")


@lru_cache(maxsize=1024)
def _pinned(expert: str) -> Decision:
    """Return the decision for an expert that was named; a value, so that one serves them all."""
    return Decision(reason="pinned", pinned_expert=expert)


def dial_of(composition: Composition, model: str, decision: Decision) -> Dial:
    """Return how the experts of a decision are to be ranked.

    As the model's name asks for, or else `routing.choose`; but a client that names an expert gets
    it, and a category whose route is written by hand keeps its list for every name.
    """
    if decision.pinned_expert is not None:
        return _BY_HAND
    if decision.category in composition.routing.by_hand:
        return _BY_HAND
    named = composition.models.get(model)
    return Dial(choose=composition.routing.choose) if named is None else named.dial


def ranking(
    composition: Composition,
    decision: Decision,
    chosen: Choice | None = None,
    barred: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the experts to ask, best first, before any filter.

    An expert that the client named is asked alone: another one would not be what was asked for.
    Otherwise the experts that a map ranks are followed by the category's, by those of
    `routing.none` and by the default expert, so that a request is answered as long as anyone can
    answer it. Who began a turn goes on with it: in a tool loop, a better expert that failed at
    first does not take over when it is back.

    Args:
        composition: who there is.
        decision: on the query.
        chosen: what a fitted map says; None where it is not asked.
        barred: who may not answer; that they are better is no reason for a conversation to leave
            its expert.
    """
    if decision.pinned_expert is not None:
        return (decision.pinned_expert,)
    routed = composition.routing.routes.get(decision.category or "", ())
    mapped = [row.expert for row in chosen.prospects] if chosen is not None else ()
    ranked = dict.fromkeys((*mapped, *routed, *composition.routing.none, composition.default))
    session = decision.session
    if (
        session is not None
        and session.expert in ranked
        and (session.is_same_turn or _goes_on(composition, decision, chosen, barred))
    ):
        ranked = dict.fromkeys((session.expert, *ranked))
    return tuple(ranked)


def plan(
    composition: Composition,
    query: Query,
    decision: Decision,
    chooser: Ranker | None = None,
    rates: Rates | None = None,
    later: Mapping[str, tuple[str, str]] = NOBODY,
) -> Plan:
    """Turn a decision into calls, the first of which is to be asked, and perhaps a panel's.

    Args:
        composition: who there is.
        query: what is asked.
        decision: on it.
        chooser: by the fitted map; None where there is none.
        rates: what was measured of panels; None where nothing was.
        later: who is asked after all others for now, each with a rule and why.

    Every excluded expert is named with the first rule against it; where all are excluded, the plan
    has no calls and `refusal` says why.
    """
    chosen: Choice | None = None
    barred: dict[str, tuple[str, str]] = {}
    dial = dial_of(composition, query.model, decision)
    is_thrifty = query.permit.is_thrifty and decision.pinned_expert is None
    if is_thrifty:
        dial = replace(dial, choose="cheapest_good")
    if dial.choose not in _WITHOUT_MAP:
        # Without a map `coe/cheap` and `coe/best` are there all the same, and the plan says why.
        chosen = Choice(choose="ranked", detail=NO_MAP)
        if chooser is not None:
            barred = _barred(composition, chooser.experts, query, decision)
            chosen = chooser.choose(decision, dial, barred)
    order = ranking(composition, decision, chosen, barred)
    chances: Mapping[str, float] = chosen.chances if chosen is not None else {}
    if dial.choose == "random":
        order, chances = _drawn(composition, query, decision, order)
    elif dial.choose == "best_single":
        best = composition.default if chooser is None else chooser.best_single
        order = tuple(dict.fromkeys((best, *order)))
    elif is_thrifty and chooser is None:
        order = _cheapest_first(composition, order)
    last_resort = composition.fallbacks.last_resort
    if last_resort is not None and decision.pinned_expert is None:
        order = (*(name for name in order if name != last_resort), last_resort)
    asked = tuple(sorted(order, key=later.__contains__)) if later else order
    calls, excluded = _called(composition, query, decision, asked, barred)
    single = Plan(
        calls=calls,
        excluded=excluded,
        choice=_shown(chosen, query.permit),
        chances=chances,
        permit=query.permit,
        is_steered=_is_steered(order, calls, query.permit),
    )
    if asked != order:
        single = _put_off(single, order, later)
    if composition.aggregation:
        return _with_panel(composition, query, decision, single, rates)
    return single


def _cheapest_first(composition: Composition, order: tuple[str, ...]) -> tuple[str, ...]:
    """Return a ranking by price, the equally cheap in their order.

    Who has no price costs nothing, unless a budget says that such experts may not be asked.
    """
    unknown = any(limit.unpriced == "refuse" for limit in composition.limits)

    def price(name: str) -> float:
        cost = composition.experts[name].cost
        known = None if cost is None else cost.of(1, 1)
        return known if known is not None else sys.float_info.max if unknown else 0.0

    return tuple(sorted(order, key=price))


def _called(
    composition: Composition,
    query: Query,
    decision: Decision,
    order: Iterable[str],
    barred: Mapping[str, tuple[str, str]],
) -> tuple[tuple[Call, ...], tuple[Exclusion, ...]]:
    """Return the calls of those who may answer, as many as may be asked, and who is left out."""
    calls: list[Call] = []
    excluded: list[Exclusion] = []
    rules = composition.fallbacks
    for name in order:
        expert = composition.experts[name]
        rule = barred.get(name) or _first_rule_against(expert, query, decision)
        if rule is not None:
            excluded.append(Exclusion(name, *rule))
        elif len(calls) < rules.attempts or name == rules.last_resort:
            calls.append(call_of(composition, name, expert, query))
        else:
            excluded.append(Exclusion(name, "attempts", f"fallbacks.attempts is {rules.attempts}"))
    return tuple(calls), tuple(excluded)


def _put_off(plan: Plan, ranked: Iterable[str], later: Mapping[str, tuple[str, str]]) -> Plan:
    """Return the plan with who is asked later than ranked, and who would be the first."""
    may_not = {row.expert for row in plan.excluded if row.rule != "attempts"}
    may = [name for name in ranked if name not in may_not]
    if not may or may[0] == plan.calls[0].expert:
        return plan
    rows = tuple(Exclusion(name, *later[name]) for name in may if name in later)
    return replace(plan, set_back=rows, instead_of=may[0])


def _shown(chosen: Choice | None, permit: Permit) -> Choice | None:
    """Return a choice without those whom the request may not reach: they are no candidates."""
    if chosen is None or not permit.barred:
        return chosen
    rows = tuple(row for row in chosen.prospects if row.expert not in permit.barred)
    return replace(chosen, prospects=rows)


def _is_steered(order: Iterable[str], calls: tuple[Call, ...], permit: Permit) -> bool:
    """Whether somebody who is barred was ranked before the first who is not."""
    if not permit.barred or not calls:
        return False
    first = calls[0].expert
    return any(name in permit.barred for name in takewhile(lambda name: name != first, order))


def _drawn(
    composition: Composition, query: Query, decision: Decision, order: tuple[str, ...]
) -> tuple[tuple[str, ...], Mapping[str, float]]:
    """Return a ranking that one of the category's experts was drawn to lead, and the chances.

    All turns of a conversation draw the same one, as long as their category is the same.
    """
    session = decision.session
    if session is not None and session.is_same_turn:
        return order, {}
    routed = composition.routing.routes.get(decision.category or "")
    candidates = [
        name
        for name in routed or (*composition.routing.none, composition.default)
        if _first_rule_against(composition.experts[name], query, decision) is None
    ]
    if not candidates:
        return order, {}
    unit = query.id.encode() if session is None else session.owner
    return lots.drawn(list(dict.fromkeys(candidates)), order, unit)


def _with_panel(
    composition: Composition,
    query: Query,
    decision: Decision,
    single: Plan,
    rates: Rates | None,
) -> Plan:
    """Return the plan of a request that may have a panel: whom it asks, or why one answers."""
    panel = seating.panel_of(composition, query, decision)
    if panel is None:
        return single
    if query.permit.is_thrifty:
        return replace(single, alone="a budget is at its limit")
    if seating.is_part(query):
        return replace(single, alone="it is part of a panel already")
    experts, excluded = _eligible(composition, query, decision, panel, single)
    ranked = [call.expert for call in single.calls]
    members: tuple[str, ...] = ()
    alone = seating.why_alone(panel, query) or seating.why_barred(panel, query.permit)
    if not alone:
        candidates = _candidates(composition, decision, panel, single, experts)
        found = seating.seats(panel, candidates, query, decision, single.choice, rates)
        members = found.members
        if len(members) > 1:
            calls = tuple(call_of(composition, name, experts[name], query) for name in members)
            seats = PanelPlan(
                panel=panel.name,
                calls=calls,
                weights=found.weights,
                detail=found.detail,
                excluded=found.excluded,
            )
            return replace(single, panel=seats, excluded=excluded)
        alone = found.detail
        ranked = [*members, *ranked]
    first = seating.owners(panel, ranked, experts, decision) if not members else ranked
    names = _within(composition, tuple(dict.fromkeys(first)))
    calls = tuple(call_of(composition, name, experts[name], query) for name in names)
    return replace(single, calls=calls, excluded=excluded, alone=alone)


def _within(composition: Composition, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return who is asked of those that may be: as many as attempts, and the last resort."""
    rules = composition.fallbacks
    rest = names[rules.attempts :]
    return names[: rules.attempts] + ((rules.last_resort,) if rules.last_resort in rest else ())


def _eligible(
    composition: Composition, query: Query, decision: Decision, panel: Panel, single: Plan
) -> tuple[dict[str, Expert], tuple[Exclusion, ...]]:
    """Return who may answer, best first, by name; and who may not, a panel's members included."""
    late = {row.expert for row in single.excluded if row.rule == "attempts"}
    barred = {row.expert: row for row in single.excluded if row.expert not in late}
    names = [call.expert for call in single.calls]
    names += [row.expert for row in single.excluded if row.expert in late]
    for name in panel.experts:
        if name not in names and name not in barred:
            rule = _first_rule_against(composition.experts[name], query, decision)
            if rule is None:
                names.append(name)
            else:
                barred[name] = Exclusion(name, *rule)
    more = tuple(row for name, row in barred.items() if row not in single.excluded)
    return {name: composition.experts[name] for name in names}, single.excluded + more


def _candidates(
    composition: Composition,
    decision: Decision,
    panel: Panel,
    single: Plan,
    experts: Mapping[str, Expert],
) -> list[Expert]:
    """Return who may sit on a panel, best first.

    Those that are ranked for the request; who answers only because nobody else can is no member,
    unless there is nobody else.
    """
    own = set(panel.experts or composition.routing.routes.get(decision.category or "", ()))
    if single.choice is not None and not panel.experts:
        own.update(row.expert for row in single.choice.prospects)
    return [one for name, one in experts.items() if name in own] or list(experts.values())


def refusal(excluded: Iterable[Exclusion]) -> RoutingError | ContextTooLong | Forbidden:
    """Return the error for a plan without calls."""
    rows = list(excluded)
    reasons = "; ".join(f"{row.expert}: {row.detail}" for row in rows)
    if rows and all(row.rule in BARRING for row in rows):
        return Forbidden(f"no expert may answer this request ({reasons})", param="model")
    if rows and all(row.rule == "context" for row in rows):
        return ContextTooLong(
            f"the prompt does not fit any expert's context ({reasons})", param="messages"
        )
    return NoEligibleExpert(f"no expert may answer this request ({reasons})")


def _barred(
    composition: Composition, names: Iterable[str], query: Query, decision: Decision
) -> dict[str, tuple[str, str]]:
    """Return the first rule against each expert that may not answer."""
    rules = {
        name: _first_rule_against(composition.experts[name], query, decision) for name in names
    }
    return {name: rule for name, rule in rules.items() if rule is not None}


def _goes_on(
    composition: Composition,
    decision: Decision,
    chosen: Choice | None,
    barred: Collection[str],
) -> bool:
    """Whether who answered last goes on, though the map ranks another expert higher.

    It does while the topic is the same and the other one's utility leads by less than a switch
    costs. The written ranking needs no such rule: it is the same for all turns of a topic.
    """
    session = decision.session
    if chosen is None or chosen.choose != "fitted" or session is None:
        return False
    last = chosen.of(session.expert)
    if last is None or decision.category != session.previous:
        return False
    rules = composition.routing.sessions
    best = next((row for row in chosen.prospects if row.expert not in barred), last)
    lead = best.utility - last.utility
    return rules.stick in {"until_topic_change", "always"} and lead < rules.switch_cost


def _first_rule_against(expert: Expert, query: Query, decision: Decision) -> tuple[str, str] | None:
    """Return (rule, detail) of the first hard rule that the expert breaks, in a fixed order."""
    if query.permit.barred and (why := query.permit.barred.get(expert.name)) is not None:
        return why
    if expert.status != "live" and (rule := _rule_of_status(expert, query, decision)) is not None:
        return rule
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


def _rule_of_status(expert: Expert, query: Query, decision: Decision) -> tuple[str, str] | None:
    """Return the rule against an expert that is not `live`, if there is one now.

    A canary answers whoever names it, and its share of the conversations: all turns of one are on
    the same side, and stay there while the share grows. Without a session each request is on its
    own. A draining expert goes on with the conversations that it answered last.
    """
    session = decision.session
    if expert.status == "canary":
        if decision.pinned_expert is not None:
            return None
        unit = query.id.encode() if session is None else session.owner
        if _place(expert.name, unit) < expert.share:
            return None
        return "canary", f"it is a canary, and this is not in its share of {expert.share:.3g}"
    if expert.status == "draining" and session is not None and session.expert == expert.name:
        return None
    return "status", f"its status is `{expert.status}`"


def _place(expert: str, unit: bytes) -> float:
    """Return where in [0, 1) a conversation lies for an expert: evenly, and for each its own."""
    digest = blake2b(unit, digest_size=8, key=expert.encode()[:64], person=b"canary").digest()
    return int.from_bytes(digest) / 2**64


def call_of(composition: Composition, name: str, expert: Expert, query: Query) -> Call:
    """Return the call that asks an expert a query, whether it may answer or not."""
    body = query.body
    if expert.defaults or expert.force:
        body = {**expert.defaults, **body, **expert.force}
    if expert.max_output is not None:
        # Only ever less than the client asked for: raising its limit would cost it money.
        over = {
            key: expert.max_output
            for key in LIMITS
            if isinstance(limit := body.get(key), int) and limit > expert.max_output
        }
        body = {**body, **over} if over else body
    hides_usage = False
    if query.stream and (composition.is_metered or query.identity.limits):
        body, hides_usage = _telling(body)
    return Call(
        expert=name,
        backend=expert.backend,
        model=expert.model,
        adapter=expert.adapter_source,
        body=body,
        stream=query.stream,
        endpoint=query.endpoint,
        timeouts=composition.timeouts_of(composition.root(name).backend),
        hides_usage=hides_usage,
    )


def _telling(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Return a body whose stream tells its usage, and whether it would not have."""
    options = body.get("stream_options") or {}
    if not isinstance(options, Mapping) or options.get("include_usage"):
        return body, False
    return {**body, "stream_options": {**options, "include_usage": True}}, True
