"""The composition root: names -> objects -> Gateway. Nothing connects or loads weights here."""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from socket import gethostname
from threading import RLock, Thread
from types import MappingProxyType
from typing import TypeVar

from coe import planner
from coe.applied import AppliedMap, applied_map
from coe.asking import Asked, Experts, Site
from coe.cache import Cache, mark_of
from coe.cache.embedding import Embedder
from coe.classify import Classifier, Policy
from coe.composition import Backend as BackendEntry
from coe.composition import Composition
from coe.composition.complete import stages_of
from coe.composition.lock import Lock, own_thresholds, parts, read_lock, stale_message
from coe.composition.routing_keys import RouterKeys
from coe.door import Keeper
from coe.errors import CoEError, ConfigError
from coe.learner import Learner, learner_of
from coe.metering.meter import Meter
from coe.packing import parking_of, residency_of, setups
from coe.panels.applied import applied_rates
from coe.pipeline import Gateway
from coe.policies.guard import Guard
from coe.premises import Premises, premises_of
from coe.programs.others import Others
from coe.protocols import (
    Aggregator,
    AggregatorSpec,
    Backend,
    BackendSpec,
    Encoder,
    EncoderSpec,
    ExpertSite,
    Router,
    RouterSpec,
)
from coe.registry import Registry
from coe.replicas.pool import SharedSlots
from coe.replicas.replica import identity_of_pool
from coe.resilience.breakers import BreakerKeeper
from coe.resilience.shedding import CrowdKeeper
from coe.resilience.standing import Standing
from coe.scheduler.loop import LocalSlots, Setup, Slots
from coe.sessions import Sessions
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.telemetry.calls import CallTracer
from coe.trials import trials_of
from coe.turns import Turns
from coe.types import Decision, Query

Spec = TypeVar("Spec")

logger = logging.getLogger(__name__)

# Routers of ours whose scores depend on the text and the categories, never on who answers.
OF_TEXT = frozenset(
    {"chain", "embedding", "keyword", "lexical", "linear", "llm", "merge", "nearest", "ridge"}
)


def wire(
    composition: Composition,
    settings: Settings,
    telemetry: Telemetry,
    before: Gateway | None = None,
    *,
    of: Gateway | None = None,
    premises: Premises | None = None,
) -> Gateway:
    """Build the gateway of a composition.

    Args:
        composition: what is built.
        settings: of the process.
        telemetry: told what happens.
        before: a gateway whose parts are taken over where their entries are the same. It goes on
            as it is, and shares them.
        of: the gateway that this one is to be a variant of: its parts are taken over likewise, and
            its encoders even before they are built.
        premises: what the gateways of a process share; None: those of `before` or `of`, or, where
            they have none, what the settings say.

    Raises:
        ConfigError: a plugin is missing, or an option or an artefact is not what it should be.
    """
    registry = Registry()
    before = of or before
    premises = premises or (before and before.premises) or premises_of(settings)
    backends = {
        name: _backend_before(before, composition, name, settings)
        or build_backend(composition, registry, name, http_client=settings.http_client)
        for name in composition.backends
    }
    managed = setups(composition, backends, registry)
    slots = {
        name: _slots(composition.backends[name], setup, backends[name], telemetry, before, premises)
        for name, setup in managed.items()
    }
    meter = _meter(composition, premises)
    keepers = _keepers(composition, premises, meter)
    site = Site(backends=backends, telemetry=telemetry, slots=slots, keepers=keepers)
    experts = Experts(composition, site)
    workshop = Workshop(
        composition,
        registry,
        cache_folder=settings.cache_folder,
        experts=experts,
        encoders=_encoders_before(before, composition),
        lender=of.encoders.workshop if of and isinstance(of.encoders, Encoders) else None,
    )
    encoders = Encoders(tuple(composition.encoders), workshop)
    others = Others(
        composition=composition,
        backends=backends,
        slots=slots,
        telemetry=telemetry,
        encoders=encoders,
        cache_folder=settings.cache_folder,
        keepers=keepers,
    )
    for name, backend in backends.items():
        _bind(backend, others, before.backends.get(name) if before is not None else None)
    applied = applied_map(composition)
    wanted = applied.encoder if applied is not None else ""
    classifier = None
    routing = composition.routing
    if routing.router is not None:
        asking = [spec for spec in _reached(composition, routing.router) if _asks(spec)]
        policy = Policy(
            thresholds=own_thresholds(composition),
            threshold=routing.threshold,
            margin=routing.margin,
            wait_s=settings.router_wait_s + sum(spec.wait_s for spec in asking),
        )
        lock = read_lock(composition)
        thresholds = None if lock is None else partial(_locked, composition, lock, workshop)
        build = partial(workshop.router, routing.router)
        made_of = (_text_parts(composition, routing.router), policy, lock, wanted)
        classifier = _classifier_before(before, made_of) or Classifier(
            build,
            policy,
            thresholds,
            asks=experts if asking else None,
            wanted=wanted,
            made_of=made_of,
        )
    sessions = None
    if routing.sessions.stick != "never":
        sessions = _sessions_before(before, composition) or Sessions(
            ttl_s=routing.sessions.ttl_s, elsewhere=premises.sessions
        )
    chooser = applied.chooser if applied is not None else None
    guard = Guard(composition)
    learner = _learner(composition, settings, applied, before, of)

    def first(query: Query, decision: Decision) -> str:
        calls = planner.plan(composition, query, decision, chooser).calls
        return calls[0].expert if calls else ""

    gateway = Gateway(
        composition=composition,
        classifier=classifier,
        turns=Turns(classifier, routing, sessions, first, guard.silence) if classifier else None,
        backends=backends,
        encoders=encoders,
        telemetry=telemetry,
        applied=applied,
        slots=slots,
        setups=managed,
        aggregators={
            name: build_aggregator(composition, registry, name) for name in composition.aggregation
        },
        rates=applied_rates(composition),
        learner=learner,
        guard=guard,
        keepers=keepers,
        meter=meter,
        premises=premises,
        standing=premises.standing,
        cache=_cache(composition, premises, encoders),
    )

    def vary(variant: Composition) -> Gateway:
        try:
            return wire(variant, settings, telemetry, of=gateway)
        except ConfigError as error:
            arms = next(arms for arms, one in composition.variants.items() if one is variant)
            where = " and ".join(f"experiments.{name}.arms.{arm}" for name, arm in arms)
            raise ConfigError(f"{where}: with this arm, {error.message}") from error

    shadows = {
        arms[0]: vary(variant)
        for arms, variant in composition.variants.items()
        if composition.experiments[arms[0][0]].is_shadow
    }
    return replace(gateway, trials=trials_of(composition, vary), shadows=shadows)


def _meter(composition: Composition, premises: Premises) -> Meter | None:
    """Return who counts; a key may bring limits though the composition has none."""
    if premises.ledger is None or not (composition.limits or premises.keys is not None):
        return None
    return Meter(composition, premises.ledger)


def _crowd_keeper(composition: Composition, standing: Standing, patience_s: float) -> CrowdKeeper:
    backends = composition.backends.items()
    places = {name: one.concurrency for name, one in backends if one.concurrency is not None}
    return CrowdKeeper(places, patience_s, standing.crowds, standing.shed)


def _cache(
    composition: Composition, premises: Premises, encoders: Mapping[str, Encoder]
) -> Cache | None:
    """Return what gives answers again; None where the composition keeps none."""
    rules = composition.cache
    if rules is None:
        return None
    embedder = None
    if rules.is_semantic:
        embedder = Embedder(lambda: encoders[rules.encoder])
    return Cache(rules, mark_of(composition), premises.shelf, premises.cache_counts, embedder)


def _keepers(
    composition: Composition, premises: Premises, meter: Meter | None
) -> tuple[Keeper, ...]:
    """Return who lets calls in, in the order in which they are asked."""
    keepers: list[Keeper] = []
    if (breaker := composition.fallbacks.breaker) is not None:
        keepers.append(BreakerKeeper(premises.standing.breakers, breaker))
    if (patience_s := composition.fallbacks.shed_after_s) is not None:
        keepers.append(_crowd_keeper(composition, premises.standing, patience_s))
    if meter is not None:
        keepers.append(meter)
    if composition.observe.traces:
        keepers.append(CallTracer())
    return tuple(keepers)


def _learner(
    composition: Composition,
    settings: Settings,
    applied: AppliedMap | None,
    before: Gateway | None,
    of: Gateway | None,
) -> Learner | None:
    """Return what learns; a variant of an experiment learns together with the file's own way.

    Raises:
        ConfigError: what was learnt before is damaged.
    """
    if applied is None or composition.learning.mode == "off":
        return None
    if of is not None and of.composition.learning == composition.learning:
        return of.learner
    known = before.learner if before is not None else None
    return learner_of(applied.fitted, composition.learning, settings.state_folder, known)


def lock_changes(
    composition: Composition, lock: Lock, encoders: Mapping[str, Encoder]
) -> tuple[str, ...]:
    """Return why a lock is stale, as clauses; () if it is not.

    Args:
        composition: that the lock belongs to.
        lock: as read.
        encoders: by name, those that the router stands on at least.
    """
    fingerprints = {name: encoders[name].fingerprint for name in lock.encoders if name in encoders}
    return lock.changes(composition) or lock.encoder_changes(fingerprints)


def _locked(composition: Composition, lock: Lock, workshop: Workshop) -> dict[str, float]:
    """Return the thresholds by a lock; a stale one is logged. The router is built already."""
    changes = lock_changes(composition, lock, workshop.built)
    if changes:
        logger.warning(stale_message(composition, changes))
    return lock.least(composition, is_stale=bool(changes))


def _reached(composition: Composition, name: str) -> Iterator[RouterSpec]:
    """Yield a router's entry, and those of its stages and of theirs."""
    spec = composition.routers[name]
    yield spec
    for stage in stages_of(spec.options):
        yield from _reached(composition, stage)


def _asks(spec: RouterSpec) -> bool:
    return any(key in spec.options for key in RouterKeys.ASKS)


def _backend_before(
    before: Gateway | None, composition: Composition, name: str, settings: Settings
) -> Backend | None:
    """Return the backend that is there already, if it can serve what this entry says."""
    if before is None or name not in before.backends:
        return None
    backend = before.backends[name]
    if is_composed(backend):
        return None  # it asks the experts of the composition that it was built for
    then = backend_spec(before.composition, name, http_client=settings.http_client)
    now = backend_spec(composition, name, http_client=settings.http_client)
    if then == now:
        return backend
    serve = getattr(backend, "serve", None)
    if serve is None or replace(then, experts=now.experts) != now:
        return None
    return backend if serve(now.experts) else None


def serve_again(gateway: Gateway, settings: Settings) -> None:
    """Have backends serve a gateway's experts again, after another one came to nothing."""
    for name, backend in gateway.backends.items():
        serve = getattr(backend, "serve", None)
        if serve is not None:
            spec = backend_spec(gateway.composition, name, http_client=settings.http_client)
            with suppress(CoEError):  # of an engine: what it has in memory, it has
                serve(spec.experts)


def is_composed(backend: Backend) -> bool:
    """Whether the experts of a backend stand on others; see `coe.protocols.Composed`."""
    return callable(getattr(backend, "bind", None))


def _bind(backend: Backend, others: Others, before: Backend | None = None) -> None:
    """Tell a backend who the others are, if its experts stand on them."""
    if is_composed(backend):
        backend.bind(others, before)  # type: ignore[attr-defined]


def _slots(
    entry: BackendEntry,
    setup: Setup,
    backend: Backend,
    telemetry: Telemetry,
    before: Gateway | None,
    premises: Premises,
) -> Slots:
    """Return who lets calls through to a backend: the same as before while the memory is the same.

    That one goes over to the new setup and the new backend when the new gateway begins to serve.
    Two of them would throw out each other's experts, and with them calls that are under way.

    Raises:
        ConfigError: several replicas share the backend, and they cannot reach this one.
    """
    name = entry.name
    slots = before.slots.get(name) if before is not None else None
    residency, parking = residency_of(backend), parking_of(backend)
    if slots is not None and before is not None:
        then = before.composition.backends[name]
        is_same_server = bool(entry.url) and (then.type, then.url) == (entry.type, entry.url)
        if slots.residency is residency or is_same_server:
            return slots
    if residency is None:
        raise ValueError(f"backend `{name}` is not one whose memory can be managed")
    replica = premises.replica
    if replica is None or not entry.url:  # what is embedded is each process's own
        return LocalSlots(name, residency, setup, telemetry, parking)
    if not replica.shares_pools:
        raise ConfigError(
            f"backends.{name}: with COE_REDIS_URL, several replicas manage its `memory` together: "
            "set COE_REPLICA_URL to where the others reach this one, and COE_REPLICA_SECRET"
        )
    identity = identity_of_pool(name, entry.url, gethostname())
    return SharedSlots(
        name, residency, setup, telemetry, parking, identity=identity, replica=replica
    )


def _encoders_before(before: Gateway | None, composition: Composition) -> dict[str, Encoder]:
    """Return the encoders that are loaded already and whose entries are the same."""
    if before is None or not isinstance(before.encoders, Encoders):
        return {}
    then, now = before.composition.encoders, composition.encoders
    return {
        name: encoder
        for name, encoder in before.encoders.built.items()
        if name in now and now[name] == then.get(name)
    }


def _classifier_before(before: Gateway | None, made_of: object) -> Classifier | None:
    classifier = before.classifier if before is not None else None
    return classifier if classifier is not None and classifier.made_of == made_of else None


def _sessions_before(before: Gateway | None, composition: Composition) -> Sessions | None:
    """Return the sessions that are remembered, unless they are to live longer or shorter now."""
    if before is None or before.turns is None:
        return None
    then, now = before.composition.routing.sessions, composition.routing.sessions
    return before.turns.sessions if then.ttl_s == now.ttl_s else None


def _text_parts(composition: Composition, name: str) -> object:
    """Return all that the scores of a router depend on, to be compared.

    Files that the entries name count with their content, and the experts that are asked with their
    entries. The others do not count where no stage looks at them: they come and go without the
    router being built again.
    """
    specs = tuple(_reached(composition, name))
    asked = [composition.experts.get(str(s.options.get(k))) for s in specs for k in RouterKeys.ASKS]
    judges = [(expert, composition.backends[expert.backend]) for expert in asked if expert]
    if all(spec.type in OF_TEXT for spec in specs):
        categories = tuple(replace(spec, experts=()) for spec in specs[0].categories)
        specs = tuple(replace(spec, experts=(), categories=categories) for spec in specs)
    return specs, judges, parts(composition, name)


def build_aggregator(composition: Composition, registry: Registry, name: str) -> Aggregator:
    """Build the method of a panel.

    Raises:
        ConfigError: it is missing, or it refuses its options.
    """
    panel = composition.aggregation[name]
    spec = AggregatorSpec(
        name=name,
        type=panel.method,
        judge=panel.judge,
        writer=panel.writer,
        options=panel.options,
        folder=str(composition.folder),
    )
    aggregator: Aggregator = registry.load("coe.aggregators", panel.method)(spec)
    return aggregator


def build_backend(
    composition: Composition, registry: Registry, name: str, *, http_client: str = "lean"
) -> Backend:
    """Build one backend with the experts that it serves.

    Raises:
        ConfigError: the plugin refuses its options.
    """
    spec = backend_spec(composition, name, http_client=http_client)
    backend: Backend = registry.load("coe.backends", spec.type)(spec)
    return backend


def backend_spec(composition: Composition, name: str, *, http_client: str = "lean") -> BackendSpec:
    """Return what the factory of a backend is given."""
    entry = composition.backends[name]
    sites = tuple(
        ExpertSite(
            expert=expert_name,
            model=expert.model,
            adapter=expert.adapter_source,
            context=expert.context,
            program=expert.program,
        )
        for expert_name, expert in composition.experts.items()
        if expert.backend == name
    )
    return BackendSpec(
        name=name,
        type=entry.type,
        url=entry.url,
        api_key=entry.api_key,
        headers=entry.headers,
        concurrency=entry.concurrency,
        experts=sites,
        http_client=http_client,
        options=entry.options,
        folder=str(composition.folder),
    )


class Workshop:
    """Builds routers and encoders by name, each once, in whichever thread asks first.

    Attributes:
        built: the encoders that were asked for so far, by name, in that order.
    """

    def __init__(
        self,
        composition: Composition,
        registry: Registry,
        *,
        cache_folder: str = "",
        experts: Experts | None = None,
        encoders: Mapping[str, Encoder] | None = None,
        lender: Workshop | None = None,
    ) -> None:
        """Store the parts; nothing is built yet.

        Args:
            composition: names and entries.
            registry: the factories.
            cache_folder: see `RouterSpec`.
            experts: those of the gateway; None where there is no gateway: a loop of the workshop's
                own then asks them, through backends of its own.
            encoders: that are built already, by name.
            lender: builds the encoders whose entries are the same there, for both.
        """
        self._lender = lender
        self._experts = experts
        self._composition = composition
        self._registry = registry
        self._cache_folder = cache_folder
        self._encoders: dict[str, Encoder] = dict(encoders or {})
        self._routers: dict[str, Router] = {}
        self._aside: Aside | None = None
        self._lock = RLock()  # a chain asks for its stages while it is being built

    @property
    def built(self) -> Mapping[str, Encoder]:  # noqa: D102 - see the class
        return MappingProxyType(self._encoders)

    def encoder(self, name: str) -> Encoder:
        """Return the encoder of that name; loads its weights the first time.

        Raises:
            ConfigError: it is not defined, or its plugin refuses.
        """
        with self._lock:
            if name not in self._encoders:
                spec = _defined("encoder", name, self._composition.encoders)
                if self._lender is not None and self._lender.defines(spec):
                    self._encoders[name] = self._lender.encoder(name)
                else:
                    self._encoders[name] = self._registry.load("coe.encoders", spec.type)(spec)
            return self._encoders[name]

    def defines(self, spec: EncoderSpec) -> bool:
        """Whether an encoder's entry is the same here."""
        return self._composition.encoders.get(spec.name) == spec

    def router(self, name: str) -> Router:
        """Return the router of that name.

        Raises:
            ConfigError: it is not defined, or its plugin refuses.
        """
        with self._lock:
            if name not in self._routers:
                spec = _defined("router", name, self._composition.routers)
                spec = replace(spec, cache_folder=self._cache_folder)
                self._routers[name] = self._registry.load("coe.routers", spec.type)(spec, self)
            return self._routers[name]

    def expert(self, name: str) -> Asked:
        """Return the expert of that name, to be asked.

        Raises:
            ConfigError: it is not defined, or the plugin of its backend refuses.
        """
        _defined("expert", name, self._composition.experts)
        if self._experts is not None:
            return self._experts.expert(name)
        with self._lock:
            self._aside = self._aside or Aside(
                self._composition,
                self._registry,
                Encoders(tuple(self._composition.encoders), self),
            )
            return self._aside.expert(name)

    def close(self) -> None:
        """End what was started to ask experts; nothing where a gateway does that."""
        with self._lock:
            if self._aside is not None:
                self._aside.close()
                self._aside = None


class Aside:
    """Experts outside a gateway: a loop in a thread of its own, and backends that live in it.

    For commands that run a router and serve nothing. It ends with the process, if not before.
    """

    def __init__(
        self, composition: Composition, registry: Registry, encoders: Mapping[str, Encoder]
    ) -> None:
        self._composition = composition
        self._registry = registry
        self._encoders = encoders
        self._backends: dict[str, Backend] = {}
        self._telemetry = Telemetry(log_requests=False)
        site = Site(backends=self._backends, telemetry=self._telemetry)
        self._experts = Experts(composition, site)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="coe-experts", daemon=True)
        self._thread.start()
        self._experts.open(self._loop)
        atexit.register(self.close)

    def expert(self, name: str) -> Asked:
        """Return an expert; builds its backend the first time, and loads it if it is an engine.

        Raises:
            ConfigError: the plugin refuses, or what it loads is not there.
        """
        for expert in (self._composition.experts[name], self._composition.root(name)):
            if expert.backend not in self._backends:
                self._backends[expert.backend] = self._built(expert.backend)
        return self._experts.expert(name)

    def _built(self, name: str) -> Backend:
        backend = build_backend(self._composition, self._registry, name)
        if is_composed(backend):
            others = Others(
                composition=self._composition,
                backends=self._backends,
                slots={},
                telemetry=self._telemetry,
                encoders=self._encoders,
            )
            _bind(backend, others)  # it loads what it needs when it is asked
        elif (start := getattr(backend, "start", None)) is not None:
            asyncio.run_coroutine_threadsafe(start(), self._loop).result()
        return backend

    def close(self) -> None:
        """Close the backends and end the loop."""
        atexit.unregister(self.close)
        self._experts.close()
        asyncio.run_coroutine_threadsafe(self._aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _aclose(self) -> None:
        for backend in self._backends.values():
            await backend.aclose()


def _defined(kind: str, name: str, specs: Mapping[str, Spec]) -> Spec:
    """Return the spec of that name. Raises ConfigError where there is none."""
    if name not in specs:
        raise ConfigError(f"no {kind} `{name}` in the composition (there are: {', '.join(specs)})")
    return specs[name]


class Encoders(Mapping[str, Encoder]):
    """The composition's encoders by name, each built when it is first asked for."""

    def __init__(self, names: tuple[str, ...], workshop: Workshop) -> None:
        self._names = names
        self.workshop = workshop

    @property
    def built(self) -> Mapping[str, Encoder]:
        """Those that were asked for so far."""
        return self.workshop.built

    def __getitem__(self, name: str) -> Encoder:
        """Return the encoder. Raises KeyError where none is defined, ConfigError as built."""
        if name not in self._names:
            raise KeyError(name)
        return self.workshop.encoder(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the defined names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return how many are defined."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether one is defined; builds nothing."""
        return name in self._names
