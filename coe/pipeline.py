"""The path of a request, top to bottom. Read this first.

parse (coe.api.wire) -> admit -> deal -> route -> plan -> schedule -> open -> render
(coe.api.inference)

Only requests that an experiment splits are dealt to an arm, and only calls for backends whose
memory is managed are scheduled; see `coe.scheduler.loop`. Where the plan has a panel,
`coe.drafting.sitting` opens it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from coe import door, opening, planner
from coe.applied import AppliedMap
from coe.cache import Cache
from coe.claim import Claim, claim_of, is_plain
from coe.classify import Classifier
from coe.composition import Composition
from coe.composition.programs import PROGRAM
from coe.composition.values import Arms
from coe.drafting import sitting
from coe.drafting.capping import capped
from coe.errors import BreakerOpen, BudgetExceeded, CoEError, Overloaded
from coe.identity import FREE
from coe.learner import LearnedChooser, Learner
from coe.metering.hiding import hidden, without_usage
from coe.metering.meter import Meter
from coe.planner import Ranker
from coe.policies.guard import Guard
from coe.policies.permits import told_of
from coe.protocols import Aggregator, Backend, Encoder
from coe.resilience.kinds import why_not
from coe.resilience.standing import Standing
from coe.scheduler.loop import Setup, Slots, Told
from coe.telemetry import Telemetry
from coe.telemetry.trace import CURRENT
from coe.trials import Trials
from coe.turns import Turns
from coe.types import Answer, Decision, PanelPlan, Plan, Query

if TYPE_CHECKING:
    from coe.panels.rates import Rates
    from coe.premises import Premises

Load = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Everything that a request needs, wired once (see `coe.wiring`).

    `applied` is the fitted map that was applied to the composition; None where none was. `slots`
    let calls through to the backends whose memory is managed, and `setups` is what they are to work
    by. `trials` deal requests to variants of it; None where no split runs. `shadows` are those that
    answer beside it, by experiment and arm. `aggregators` make one answer of a panel's drafts, by
    the panel's name, and `rates` is what was measured of experts on panels; None where nothing was.
    `guard` says which experts a request may reach; where it is None, as in tests, all of them.
    `learner` holds what was learnt from answers; None where nothing is to be. `keepers` let calls
    in, or do not: see `coe.door`. `premises` are shared with the other gateways of the process, and
    so is `standing`: how well their experts are. `meter` counts requests against limits; None where
    there are none. `cache` gives answers again; None where none are kept.
    """

    composition: Composition
    classifier: Classifier | None
    turns: Turns | None
    backends: Mapping[str, Backend]
    encoders: Mapping[str, Encoder]
    telemetry: Telemetry
    applied: AppliedMap | None = None
    slots: Mapping[str, Slots] = field(default_factory=dict)
    setups: Mapping[str, Setup] = field(default_factory=dict)
    trials: Trials[Gateway] | None = None
    shadows: Mapping[tuple[str, str], Gateway] = field(default_factory=dict)
    aggregators: Mapping[str, Aggregator] = field(default_factory=dict)
    rates: Rates | None = None
    learner: Learner | None = None
    guard: Guard | None = None
    keepers: tuple[door.Keeper, ...] = ()
    premises: Premises | None = None
    meter: Meter | None = None
    standing: Standing = field(default_factory=Standing)
    cache: Cache | None = None

    @property
    def family(self) -> tuple[Gateway, ...]:
        """The gateway itself, and those that serve arms of its experiments."""
        return (self, *(variant for _, variant in self.variants))

    @property
    def variants(self) -> tuple[tuple[Arms, Gateway], ...]:
        """Those that serve arms of its experiments, and which."""
        splits = self.trials.variants.items() if self.trials is not None else ()
        return (*splits, *(((arm,), shadow) for arm, shadow in self.shadows.items()))

    @property
    def chooser(self) -> Ranker | None:
        """Who ranks experts by the fitted map, and by what was learnt; None without a map."""
        if self.applied is None:
            return None
        if self.learner is None:
            return self.applied.chooser
        return LearnedChooser(self.applied.chooser, self.learner)

    @property
    def minds_claims(self) -> bool:
        """Whether it matters whose a call is: experts are scheduled or kept, or they ask others."""
        return bool(self.slots or self.keepers) or PROGRAM in self.backends

    def needs_claim(self, query: Query) -> bool:
        """Whether it matters for a request whose its calls are."""
        return query.permit is not FREE or self.minds_claims

    @property
    def notes(self) -> tuple[str, ...]:
        """What is doubtful about the fitted map, as sentences."""
        return self.applied.notes if self.applied is not None else ()

    def loads(self) -> dict[str, Load]:
        """Return what is to be loaded in the background, by name: the router, engines of ours."""
        work: dict[str, Load] = {"router": self.classifier.load} if self.classifier else {}
        for arms, variant in self.variants:
            if variant.classifier is not None and variant.classifier is not self.classifier:
                named = ", ".join(f"{experiment}:{arm}" for experiment, arm in arms)
                work[f"router of {named}"] = variant.classifier.load
        if self.guard is not None and self.guard.detects:
            work["detectors"] = self.guard.load
        for name, backend in self.backends.items():
            start = getattr(backend, "start", None)
            if name in self.slots:
                start = self.slots[name].open
            if start is not None:
                work[f"backend {name}"] = start
        return work

    async def aclose(self) -> None:
        """Close the backends; calls in flight fail."""
        for one in self.family:
            if one.classifier is not None:
                one.classifier.close()
        for slots in self.slots.values():
            await slots.aclose()
        for backend in self.backends.values():
            await backend.aclose()
        self.telemetry.flush()


async def answer(gateway: Gateway, query: Query, told: Told | None = None) -> Answer:
    """Admit, deal, route, plan and open a query; its first piece is there when this returns.

    Args:
        gateway: what answers, or whose variant for an experiment's arm does.
        query: what is answered.
        told: told in a sentence what the query waits for, while it waits for an expert.

    Raises:
        UnknownModel: nobody has the name that the client asked for.
        InvalidRequest: a header means nothing.
        Forbidden: policies, the key or the client itself leave nobody, or not whom it names.
        NoEligibleExpert, ContextTooLong: every ranked expert is excluded.
        BackendError, CapacityError: everyone who was asked failed before a first byte.
    """
    if gateway.guard is not None:
        query = await gateway.guard.admitted(query)
    if gateway.trials is None:
        if gateway.cache is None:
            return await _made(gateway, query, told)
        return await _answer(gateway, query, told)
    arms = await dealt(gateway, gateway.trials, query)
    serving = gateway.trials.served_by(arms, gateway)
    try:
        opened = await _answer(serving, settled(serving, query), told)
    except CoEError as error:
        error.arms = arms
        raise
    opened.arms = arms
    return opened


async def admitted(gateway: Gateway, query: Query) -> Query:
    """Return a query with what it may reach, before anything is decided about it.

    Raises:
        InvalidRequest: a header names what there is not.
        Forbidden: the client asks for what clients may not.
    """
    return query if gateway.guard is None else await gateway.guard.admitted(query)


def settled(gateway: Gateway, query: Query, category: str | None = None) -> Query:
    """Return a query that was admitted with what it may reach by a gateway, in a category."""
    return query if gateway.guard is None else gateway.guard.settled(query, category)


async def planned(
    gateway: Gateway, query: Query, *, explain: bool = False, alone: bool = False
) -> tuple[Query, Decision, Plan]:
    """Return the decision on a query that was admitted, and whom to ask; and the query itself.

    Its category may bar more experts, and so may the arm's composition that serves it.

    Args:
        gateway: what decides.
        query: what is decided.
        explain: see `route`.
        alone: see `route`.

    Raises:
        UnknownModel: nobody has the name that the client asked for.
        InvalidRequest: a header means nothing.
    """
    decision = await route(gateway, query, explain=explain, alone=alone)
    if (trace := CURRENT.get()) is not None:
        trace.routed()
    query = settled(gateway, query, decision.category)
    decision = told_of(decision, query.permit)
    return query, decision, plan_of(gateway, query, decision)


async def dealt(gateway: Gateway, trials: Trials[Gateway], query: Query) -> dict[str, str]:
    """Return the arm of each experiment that a query takes part in.

    Raises:
        UnknownModel: nobody has the name that the client asked for.
    """
    pinned = planner.pin(gateway.composition, query.model, query.permit)
    if pinned is not None and pinned.pinned_expert is not None:
        return {}  # it gets that expert, in whatever arm
    category = None
    if trials.needs_category:
        category = (await route(gateway, query)).category
    return trials.dealt(query, category)


async def _answer(gateway: Gateway, query: Query, told: Told | None) -> Answer:
    """Return an answer that is kept, or else make one. Raises as `answer` does."""
    if gateway.cache is None:
        return await _made(gateway, query, told)
    lookup = await gateway.cache.recall(
        query,
        lambda name: settled(gateway, query, name).permit,
        may_wait=is_plain(query),
    )
    if lookup.answer is not None:
        lookup.answer.composition = gateway.composition.fingerprint
        return lookup.answer
    try:
        made = await _made(gateway, query, told)
    except BaseException as error:
        gateway.cache.give_up(lookup, error)
        raise
    gateway.cache.keep(lookup, made)
    return made


async def _made(gateway: Gateway, query: Query, told: Told | None) -> Answer:
    """Route, plan and open a query. Raises as `answer` does."""
    started = perf_counter()
    query, decision, plan = await planned(gateway, query)
    routed_s = perf_counter() - started
    gateway.telemetry.decided(decision, plan, routed_s)
    claim = claim_of(query, told) if gateway.needs_claim(query) else None
    try:
        try:
            opened = await open_decided(gateway, query, decision, plan, claim=claim)
        except BudgetExceeded as error:
            if not error.has_cheaper or query.permit.is_thrifty:
                raise
            opened = await _open_cheaper(gateway, query, decision, claim)
    except CoEError as error:
        error.made = (decision, plan)
        raise
    opened.routed_s = routed_s
    if gateway.turns is not None and decision.session is not None:
        gateway.turns.remember(decision, opened.call.expert)
    return opened


async def _open_cheaper(
    gateway: Gateway, query: Query, decision: Decision, claim: Claim | None
) -> Answer:
    """Ask the cheapest that is good enough: a budget has no money for whom was planned.

    Raises:
        CoEError: there is no answer.
    """
    permit = replace(query.permit, is_thrifty=True)
    query = replace(query, permit=permit)
    claim = claim._replace(permit=permit) if claim is not None else None
    plan = plan_of(gateway, query, decision)
    return await open_decided(gateway, query, decision, plan, claim=claim)


async def open_decided(
    gateway: Gateway, query: Query, decision: Decision, plan: Plan, *, claim: Claim | None
) -> Answer:
    """Ask whom a plan names: its panel, where it has one, or one expert after the other.

    Raises:
        CoEError: there is no answer; `attempts` says who was asked.
    """
    if plan.panel is None:
        opened = await open_plan(gateway, query, decision, plan, claim=claim)
    else:
        opened = await _open_panel(gateway, query, decision, plan, plan.panel, claim)
    opened.composition = gateway.composition.fingerprint
    return opened


async def route(
    gateway: Gateway, query: Query, *, explain: bool = False, alone: bool = False
) -> Decision:
    """Return the client's own choice where it made one, else the router's or the session's.

    A client that names an expert gets it, but where policies look at the category, its text has
    one all the same.

    Args:
        gateway: what decides.
        query: what is decided.
        explain: ask the router even where the session decides, to say what it would choose.
        alone: leave sessions aside: the query is no turn of a conversation that goes on.

    Raises:
        UnknownModel: nobody has that name.
    """
    pinned = planner.pin(gateway.composition, query.model, query.permit)
    if pinned is not None:
        asks = asks_router(gateway, query, pinned)
        return await _of_pinned(gateway, query, pinned) if asks else pinned
    if gateway.turns is None:
        return Decision()
    if alone:
        return await gateway.turns.decide_alone(query)
    return await gateway.turns.decide(query, explain=explain)


def asks_router(gateway: Gateway, query: Query, pinned: Decision | None) -> bool:
    """Whether the router is asked about a query, by what its client named: None for nobody."""
    if pinned is None:
        return True
    return (
        pinned.pinned_expert is not None
        and gateway.guard is not None
        and gateway.guard.minds_category
        and query.endpoint == "chat/completions"
    )


async def _of_pinned(gateway: Gateway, query: Query, pinned: Decision) -> Decision:
    """Return the client's choice with the category of the text; its session is left aside.

    Where the router fails, or may not be asked, there is none, as for a client that names nobody:
    what data, teams and keys say still holds.
    """
    if gateway.turns is None:
        return pinned
    found = await gateway.turns.decide_alone(query)
    if found.reason in {"router-failed", "policy"}:
        return replace(pinned, detail=f"its category is not known: {found.detail}")
    return replace(pinned, category=found.category)


def plan_of(gateway: Gateway, query: Query, decision: Decision) -> Plan:
    """Return whom to ask, as things stand now.

    Raises:
        InvalidRequest: a header means nothing.
    """
    plan = planner.plan(
        gateway.composition,
        query,
        decision,
        gateway.chooser,
        gateway.rates,
        opening.set_back(gateway, query),
    )
    return plan if query.permit.max_cost is None else capped(gateway.composition, query, plan)


async def open_plan(
    gateway: Gateway,
    query: Query,
    decision: Decision,
    plan: Plan,
    *,
    claim: Claim | None = None,
    is_further: bool = False,
) -> Answer:
    """Ask the plan's experts in order until one sends its first content frame.

    Args:
        gateway: whose experts are asked.
        query: what they are asked.
        decision: that led to the plan.
        plan: whom to ask.
        claim: how it waits, if it has to; None: as the query's headers say.
        is_further: whether others were asked before, and the first call is paid for.

    Raises:
        NoEligibleExpert, ContextTooLong: the plan has no calls.
        BackendError, CapacityError: everyone who was asked failed before a first byte.
    """
    if not plan.calls:
        raise planner.refusal(plan.excluded)
    if claim is None and gateway.needs_claim(query):
        claim = claim_of(query)
    opened = await opening.open_in_turn(gateway, query, plan.calls, claim, is_further=is_further)
    return Answer(
        query=query,
        decision=decision,
        plan=plan,
        call=opened.call,
        first=without_usage(opened.first) if opened.call.hides_usage else opened.first,
        frames=hidden(opened.frames) if opened.call.hides_usage else opened.frames,
        attempts=opened.attempts,
        opened_s=opened.opened_s,
        queued_s=opened.queued_s,
        swap_s=opened.swap_s,
    )


async def _open_panel(
    gateway: Gateway,
    query: Query,
    decision: Decision,
    plan: Plan,
    panel: PanelPlan,
    claim: Claim | None,
) -> Answer:
    """Ask the plan's panel; where it has no answer, the experts that are not on it.

    Those are not asked where there is a limit on what the request may cost. The first of them is a
    further call: a panel's own are what was planned.

    Raises:
        CoEError: there is no answer; `attempts` says who was asked.
    """
    opening.earn(gateway)
    claim = opening.insisting(gateway, panel.calls + plan.calls, claim)
    try:
        return await sitting.open_panel(gateway, query, decision, plan, claim)
    except CoEError as error:
        asked = {attempt.expert for attempt in error.attempts}
        others = tuple(call for call in plan.calls if call.expert not in asked)
        limits = (gateway.composition.aggregation[panel.panel].max_cost, query.permit.max_cost)
        is_capped = any(limit is not None for limit in limits)
        if not others or is_capped or not may_fall_back(gateway, error):
            raise
        # Nobody was asked at all where breakers or the crowd kept the members out.
        was_asked = not isinstance(error, BreakerOpen | Overloaded)
        if was_asked and not opening.may_spend(gateway):
            stopped = tuple(replace(row, then="stopped: retry_budget") for row in error.attempts)
            error.attempts = stopped
            raise
        attempts = error.attempts
    try:
        single = replace(plan, calls=others, panel=None)
        opened = await open_plan(gateway, query, decision, single, claim=claim, is_further=True)
    except CoEError as error:
        error.attempts = attempts + error.attempts
        raise
    opened.attempts = attempts + opened.attempts
    return opened


def may_fall_back(gateway: Gateway, error: CoEError) -> bool:
    """Whether another expert is asked after an error, by what the composition says."""
    rules = gateway.composition.fallbacks
    return rules.is_used and not why_not(error, rules.retry_on, rules.never_retry)
