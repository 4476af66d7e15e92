"""Checked keys to frozen values. Nothing here can fail: the checks came before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from coe.composition.aggregation_keys import PanelKeys
from coe.composition.batching_keys import BatchingKeys
from coe.composition.cache_values import MOST, TTL_S, CacheRules
from coe.composition.check_backends import base_url, split_address
from coe.composition.check_experiments import WORTH, worth_of
from coe.composition.check_experts import is_lora
from coe.composition.check_observe import TRACES, collector_url
from coe.composition.complete import BEST, CHEAP, ENCODER
from coe.composition.conversation_keys import REMINDER, ContextKeys, SessionKeys
from coe.composition.document import KeyPath
from coe.composition.experiment_keys import ExperimentKeys
from coe.composition.expert_keys import BackendKeys, CostKeys, ExpertKeys, TimeoutKeys
from coe.composition.fallback_keys import BreakerKeys, FallbackKeys, HedgeKeys
from coe.composition.learning_keys import LearningKeys
from coe.composition.models import FileKeys
from coe.composition.observe_keys import ObserveKeys
from coe.composition.policies import policies_of
from coe.composition.programs import PROGRAM, Program, Recipe, over
from coe.composition.references import Resolved
from coe.composition.routing_keys import CategoryKeys, ModelKeys
from coe.composition.sites import sites_of, trust_of_backend
from coe.composition.texts import CategoryTexts
from coe.composition.values import (
    CANARY_SHARE,
    HOST_SHARE,
    LOAD_TIME_S,
    Adapter,
    Arm,
    Arms,
    Backend,
    Batching,
    CategoryEntry,
    Composition,
    Context,
    Cost,
    Experiment,
    Expert,
    Learning,
    Observe,
    Panel,
    Routing,
    Server,
    Stickiness,
    VirtualModel,
)
from coe.composition.variants import changes
from coe.errors import Problem
from coe.limits.rules import Rule
from coe.limits.scopes import Limit
from coe.protocols import ASK_WAIT_S, EncoderSpec, ExpertCard, RouterSpec
from coe.resilience.rules import BreakerRules, Fallbacks, Hedge
from coe.types import Category, Choose, Dial, Timeouts

DEFAULT_TTL_S = Stickiness().ttl_s
DEFAULTS = Batching()
SAMPLE = 0.05  # of the requests, for a shadow experiment
RETRY_BUDGET = 0.2  # calls beyond one a request, where there is a breaker
TEN_POINTS = 0.1  # of quality: what `willingness_to_pay` is the price of

_V = TypeVar("_V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a composition is built from.

    Attributes:
        file: completed and without errors.
        text: of the file.
        files: with texts, that it names.
        secrets: files behind its references.
        resolve: replaces the references in the value at a key path.
    """

    file: FileKeys
    text: str
    files: tuple[Path, ...]
    secrets: tuple[Path, ...]
    texts: Mapping[str, CategoryTexts]
    programs: Mapping[str, Program]
    resolve: Callable[[Any, KeyPath], Any]
    path: Path
    folder: Path
    canonical: Mapping[str, Any]
    fingerprint: str
    warnings: tuple[Problem, ...]
    variants: Mapping[Arms, Composition]


def build(source: Source) -> Composition:
    """Return the composition."""
    file = source.file
    timeouts = _timeouts(Timeouts(), file.timeouts)
    host, port = split_address(source.resolve(file.server.listen, ("server", "listen")))
    backends = {name: _backend(name, b, source, timeouts) for name, b in file.backends.items()}
    categories = {name: _category(name, source) for name in file.categories}
    plain = tuple(entry.category for entry in categories.values())
    experts = {name: _expert(name, source) for name in file.experts}
    cards = tuple(
        ExpertCard(name=name, description=expert.description, skills=expert.skills)
        for name, expert in experts.items()
        if expert.is_eligible
    )
    return Composition(
        server=Server(host=host, port=port, auth=file.server.auth),
        backends=_frozen(backends),
        experts=_frozen(experts),
        categories=_frozen(categories),
        encoders=_frozen({name: _encoder(name, source) for name in file.encoders}),
        routers=_frozen({name: _router(name, source, plain, cards) for name in file.routers}),
        routing=Routing(
            router=file.routing.router if file.categories else None,
            choose=file.routing.choose,
            guard=file.routing.guard,
            by_hand=frozenset(n for n, route in file.routing.routes.items() if route.choose),
            routes=_frozen({n: tuple(route.experts) for n, route in file.routing.routes.items()}),
            panels=_frozen(_panels(file)),
            none=tuple(file.routing.none or ()),
            threshold=file.routing.threshold,
            margin=file.routing.margin,
            context=_context(file.routing.context),
            sessions=_stickiness(file.routing.sessions),
        ),
        models=_frozen({name: _model(name, keys, file) for name, keys in file.models.items()}),
        default=file.default or "",
        timeouts=timeouts,
        fallbacks=_fallbacks(file.fallbacks),
        cache=_cache(file),
        batching=_batching(file.batching),
        aggregation=_frozen({name: _panel(name, keys) for name, keys in file.aggregation.items()}),
        observe=_observe(file.observe, source.resolve),
        policies=policies_of(file.policies),
        sites=_frozen(sites_of(file, source.resolve)),
        learning=_learning(file.learning),
        limits=(limits := _limits(file)),
        is_metered=any(limit.rule.what in {"tokens", "money"} for limit in limits),
        experiments=_frozen(
            {name: _experiment(name, keys) for name, keys in file.experiments.items()}
        ),
        variants=MappingProxyType(dict(source.variants)),
        folder=source.folder,
        source=source.path,
        text=source.text,
        files=source.files,
        secrets=source.secrets,
        fingerprint=source.fingerprint,
        canonical=_frozen(source.canonical),
        warnings=source.warnings,
    )


def _cache(file: FileKeys) -> CacheRules | None:
    keys = file.cache
    if keys.mode == "none":
        return None
    is_semantic = keys.mode == "exact_then_semantic"
    helpers = {
        name: tuple(one for one in (panel.judge, panel.writer) if one is not None)
        for name, panel in file.aggregation.items()
    }
    return CacheRules(
        is_semantic=is_semantic,
        ttl_s=keys.ttl or TTL_S,
        most=keys.most or MOST,
        partition=keys.partition,
        similarity=keys.similarity,
        encoder=(keys.encoder or ENCODER) if is_semantic else "",
        helpers=_frozen(helpers),
    )


def _frozen(mapping: Mapping[str, _V]) -> Mapping[str, _V]:
    return MappingProxyType(dict(mapping))


def _timeouts(base: Timeouts, keys: TimeoutKeys | None) -> Timeouts:
    given = keys.model_dump(exclude_none=True, mode="python") if keys else {}
    return replace(base, **{f"{name}_s": getattr(keys, name) for name in given})


def _backend(name: str, keys: BackendKeys, source: Source, timeouts: Timeouts) -> Backend:
    at: KeyPath = ("backends", name)
    return Backend(
        name=name,
        type=keys.type,
        url=_url(keys.url, source, (*at, "url")),
        api_key=source.resolve(keys.api_key, (*at, "api_key")) or None,
        headers=_frozen(source.resolve(keys.headers, (*at, "headers"))),
        concurrency=keys.concurrency,
        memory=keys.memory,
        reserve=keys.reserve or 0,
        host_memory=keys.host_memory,
        max_loras=keys.max_loras,
        timeouts=_timeouts(timeouts, keys.timeouts),
        trust=trust_of_backend(name, keys, source.resolve),
        options=_frozen(source.resolve(keys.options, (*at, "options"))),
    )


def _url(written: str | None, source: Source, at: KeyPath) -> str | None:
    if written is None:
        return None
    url = source.resolve(written, at)
    usable = base_url(url)
    return Resolved(usable, written) if isinstance(url, Resolved) else usable


def _expert(name: str, source: Source) -> Expert:
    keys = source.file.experts[name]
    if name in source.programs:
        return _program(name, source)
    base = source.file.experts[keys.base] if keys.base is not None and is_lora(keys) else keys
    root = name if base is keys else keys.base
    times = keys.load_time
    disk_s = (times and times.disk) or LOAD_TIME_S
    capabilities = base.capabilities if keys.capabilities is None else keys.capabilities
    return Expert(
        name=name,
        kind="lora" if is_lora(keys) else "llm",
        backend=base.backend or "",
        model=source.resolve(base.model, ("experts", root or name, "model")),
        base=keys.base,
        adapter=_adapter(keys, source, name),
        context=keys.context or base.context,
        max_output=keys.max_output or base.max_output,
        memory=keys.memory,
        load_time_s=disk_s,
        host_load_time_s=(times and times.host) or HOST_SHARE * disk_s,
        pinned=keys.residency == "pinned",
        preferred=keys.residency == "preferred",
        capabilities=None if capabilities is None else frozenset(capabilities),
        cost=_cost(keys.cost or base.cost),
        **_card(keys),
    )


def _program(name: str, source: Source) -> Expert:
    """Return a program: what it does not say is as it is of the expert that it stands on."""
    keys, program = source.file.experts[name], source.programs[name]
    under = over(program)
    base = _expert(under, source) if under is not None else None
    capabilities = None if keys.capabilities is None else frozenset(keys.capabilities)
    if base is None:
        return Expert(
            name=name,
            kind="program",
            backend=PROGRAM,
            model=name,
            program=program,
            calls=0,
            context=keys.context,
            max_output=keys.max_output,
            capabilities=capabilities,
            cost=_cost(keys.cost) or Cost(input=0.0, output=0.0, currency=_currency(source.file)),
            **_card(keys),
        )
    samples, added = 1, 0
    if isinstance(program, Recipe):
        samples, added = program.samples, program.size
    return Expert(
        name=name,
        kind="program",
        backend=PROGRAM,
        model=name,
        host=base.host or base.backend,
        program=program,
        calls=base.calls * samples,
        added=base.added + added,
        context=keys.context or base.context,
        max_output=keys.max_output or base.max_output,
        capabilities=base.capabilities if capabilities is None else capabilities,
        cost=_cost(keys.cost) or base.cost,
        **_card(keys),
    )


def _card(keys: ExpertKeys) -> dict[str, Any]:
    """Return what any kind of expert says of itself."""
    return {
        "skills": _frozen(keys.skills),
        "tags": tuple(keys.tags),
        "status": keys.status,
        "share": CANARY_SHARE if keys.share is None else keys.share,
        "defaults": _frozen(keys.defaults),
        "force": _frozen(keys.force),
        "description": keys.description,
    }


def _currency(file: FileKeys) -> str:
    """Return the currency of the file's prices, so that what is free does not bring another."""
    costs = (_cost(keys.cost) for keys in file.experts.values())
    return next((cost.currency for cost in costs if cost is not None), Cost().currency)


def _fallbacks(keys: FallbackKeys) -> Fallbacks:
    hedge, breaker = keys.hedge, keys.breaker
    budget = RETRY_BUDGET if keys.retry_budget is None and breaker else keys.retry_budget
    return Fallbacks(
        is_used=keys.use != "none",
        attempts=keys.attempts if keys.use != "none" else 1,
        retry_on=None if keys.retry_on is None else frozenset(keys.retry_on),
        never_retry=frozenset(keys.never_retry),
        last_resort=keys.last_resort,
        first_byte_s=keys.first_byte,
        total_s=keys.total,
        retry_after_s=keys.retry_after,
        retry_budget=budget,
        breaker=_breaker(breaker) if breaker else None,
        hedge=_hedge(hedge) if hedge else None,
        cold=keys.cold,
        shed_after_s=keys.shed_after,
    )


def _hedge(keys: HedgeKeys) -> Hedge:
    return Hedge(after_s=keys.after, most=keys.most, tools=keys.tools)


def _breaker(keys: BreakerKeys) -> BreakerRules:
    return BreakerRules(
        failures=keys.failures,
        window_s=keys.window,
        open_s=keys.open,
        error_rate=keys.error_rate,
    )


def _batching(keys: BatchingKeys) -> Batching:
    queue, bulk = keys.queue, keys.lanes.bulk
    return Batching(
        strategy=keys.strategy,
        evict=keys.evict,
        goal=keys.goal,
        max_wait_s=keys.max_wait,
        ageing=keys.ageing,
        min_residency_s=keys.min_residency or DEFAULTS.min_residency_s,
        load_limit_s=keys.load_limit or DEFAULTS.load_limit_s,
        fair_share=keys.fair_share,
        max_queue=queue.max,
        max_queue_per_key=queue.per_key or queue.max,
        bulk_share=bulk.share,
        bulk_max_wait_s=bulk.max_wait or DEFAULTS.bulk_max_wait_s,
        status_frames=keys.status_frames,
    )


def _panels(file: FileKeys) -> dict[str, str]:
    """Return the panel of each category that has one, or that may have none."""
    routes = {name: route.aggregate for name, route in file.routing.routes.items()}
    named = {name: routes.get(name) or entry.aggregate for name, entry in file.categories.items()}
    return {name: panel for name, panel in named.items() if panel is not None}


def _panel(name: str, keys: PanelKeys) -> Panel:
    members = keys.experts
    named = tuple(members.named or ())
    return Panel(
        name=name,
        method=keys.method,
        experts=named,
        top=members.top or len(named) or Panel(name=name, method=keys.method).top,
        least=members.min,
        choose=members.choose,
        samples=members.samples,
        distinct_backends=members.distinct_backends,
        sure_at=members.sure_at,
        judge=keys.judge,
        writer=keys.writer,
        quorum=keys.quorum,
        deadline_s=keys.deadline,
        draft_deadline_s=keys.draft_deadline,
        max_cost=keys.max_cost[0] if keys.max_cost is not None else None,
        options=_frozen(keys.options),
    )


def _experiment(name: str, keys: ExperimentKeys) -> Experiment:
    audience, metrics, stop, judge = keys.audience, keys.metrics, keys.stop, keys.judge
    rails = metrics.guardrails
    values = changes(keys)
    money = judge.max_cost_per_day if judge is not None else None
    return Experiment(
        name=name,
        status=keys.status,
        mode=keys.mode,
        unit=keys.unit,
        salt=keys.salt or name,
        arms=tuple(
            Arm(name=arm, share=one.share or 0.0, changes=_frozen(values[arm]))
            for arm, one in keys.arms.items()
        ),
        categories=None if audience.categories is None else frozenset(audience.categories),
        categories_not=frozenset(audience.categories_not),
        models=None if audience.models is None else frozenset(audience.models),
        teams=None if audience.teams is None else frozenset(audience.teams),
        teams_not=frozenset(audience.teams_not),
        sample=keys.sample or SAMPLE,
        primary=metrics.primary,
        covariate=metrics.covariate,
        worth=worth_of(keys) or WORTH,
        method=stop.method,
        min_per_arm=stop.min_per_arm,
        per_arm=stop.per_arm,
        after_s=stop.after,
        confidence=stop.confidence,
        on_guardrail=stop.on_guardrail,
        error_rate=rails.error_rate,
        p95=rails.p95,
        cost=rails.cost,
        judge=judge.expert if judge is not None else None,
        max_cost_per_day=money[0] if money is not None else None,
    )


def _learning(keys: LearningKeys) -> Learning:
    return Learning(
        mode=keys.mode,
        explore=keys.explore or Learning().explore,
        budget=keys.budget[0] if keys.budget is not None else None,
        answers=keys.answers,
    )


def _observe(keys: ObserveKeys, resolve: Callable[[Any, KeyPath], Any]) -> Observe:
    collector = resolve(keys.traces or "", TRACES)
    sample = keys.trace_sample
    return Observe(
        decisions=keys.decisions,
        decisions_for_s=keys.decisions_for or Observe().decisions_for_s,
        keep_prompts=keys.keep_prompts,
        prompts_for_s=keys.prompts_for or Observe().prompts_for_s,
        prompts_size=keys.prompts_size or Observe().prompts_size,
        traces=collector_url(collector) if collector else "",
        trace_sample=Observe().trace_sample if sample is None else sample,
    )


def _limits(file: FileKeys) -> tuple[Limit, ...]:
    limits = [
        Limit(scope=keys.scope, rule=rule)
        for keys in file.limits
        for rule in (keys.requests, keys.tokens, keys.at_once and Rule("at_once", keys.at_once))
        if rule
    ]
    budgets = [
        Limit(scope=keys.scope, rule=keys.limit, at_limit=keys.at_limit, unpriced=keys.unpriced)
        for keys in file.budgets
    ]
    return (*limits, *budgets)


def _adapter(keys: ExpertKeys, source: Source, name: str) -> Adapter | None:
    if keys.adapter is None:
        return None
    return Adapter(
        source=source.resolve(keys.adapter.source, ("experts", name, "adapter", "source")),
        revision=keys.adapter.revision,
        rank=keys.adapter.rank,
    )


def _cost(keys: CostKeys | None) -> Cost | None:
    prices = [price for price in (keys.input, keys.output) if price] if keys else []
    if keys is None or not prices:
        return None
    return Cost(
        input=keys.input[0] if keys.input else None,
        output=keys.output[0] if keys.output else None,
        currency=prices[0][1],
    )


def _category(name: str, source: Source) -> CategoryEntry:
    keys: CategoryKeys = source.file.categories[name]
    texts = source.texts[name]
    route = source.file.routing.routes.get(name)
    return CategoryEntry(
        category=Category(
            name=name,
            description=keys.description,
            utterances=tuple(text.text for text in texts.utterances),
            negatives=tuple(text.text for text in texts.negatives),
            keywords=tuple(keys.keywords.any) if keys.keywords else (),
            patterns=tuple(keys.keywords.regex) if keys.keywords else (),
            threshold=keys.threshold,
            experts=tuple(route.experts) if route else (),
            skills=_frozen(keys.skills),
        ),
        experts=tuple(route.experts) if route else (),
        data=keys.data or "",
    )


def _context(keys: ContextKeys) -> Context:
    limits = [rule["code_blocks_over"] for rule in keys.strip if isinstance(rule, dict)]
    return Context(
        turns=keys.turns,
        max_chars=keys.max_chars,
        strip_reminders=REMINDER in keys.strip,
        code_blocks_over=min(limits, default=None),
    )


def _stickiness(keys: SessionKeys) -> Stickiness:
    return Stickiness(
        key=tuple(keys.key),
        stick=keys.stick,
        switch_margin=keys.switch_margin,
        switch_cost=keys.switch_cost,
        lock_in_tool_loop=keys.lock_in_tool_loop,
        ttl_s=keys.ttl or DEFAULT_TTL_S,
    )


def _model(name: str, keys: ModelKeys, file: FileKeys) -> VirtualModel:
    """Return a virtual model; what `coe/cheap` and `coe/best` leave out goes without saying."""
    asked: Choose | None = keys.choose
    if keys.quality_floor is not None:
        asked = "cheapest_good"
    elif keys.willingness_to_pay is not None:
        asked = "fitted"
    implied: dict[str, Choose] = {CHEAP: "cheapest_good", BEST: "fitted"}
    price = latency = None
    if keys.willingness_to_pay is not None:
        price = TEN_POINTS / keys.willingness_to_pay[0]
    elif name == BEST:
        price = latency = 0.0
    return VirtualModel(
        name=name,
        dial=Dial(
            choose=asked or implied.get(name, file.routing.choose),
            quality_floor=keys.quality_floor,
            price_weight=price,
            latency_weight=latency,
        ),
        panel=keys.aggregate,
        needs_map=asked in {"fitted", "cheapest_good"},
    )


def _encoder(name: str, source: Source) -> EncoderSpec:
    keys = source.file.encoders[name]
    options = source.resolve(keys.options, ("encoders", name))
    return EncoderSpec(
        name=name, type=keys.type, options=_frozen(options), folder=str(source.folder)
    )


def _router(
    name: str,
    source: Source,
    categories: tuple[Category, ...],
    experts: tuple[ExpertCard, ...],
) -> RouterSpec:
    keys = source.file.routers[name]
    return RouterSpec(
        name=name,
        type=keys.type,
        options=_frozen(source.resolve(keys.options, ("routers", name))),
        categories=categories,
        experts=experts,
        wait_s=keys.max_wait or ASK_WAIT_S,
        folder=str(source.folder),
    )
