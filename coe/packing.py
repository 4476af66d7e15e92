"""From a composition to what the schedulers of its backends work by."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from coe.composition import Backend as Entry
from coe.composition import Composition
from coe.composition import Expert as ExpertEntry
from coe.errors import ConfigError
from coe.protocols import Backend, Ordering, Parking, Residency
from coe.registry import Registry
from coe.scheduler.loop import Setup
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options
from coe.scheduler.policies import Affinity

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Calls of an expert that run at once where its backend names no `concurrency`."""


def residency_of(backend: Backend) -> Residency | None:
    """Return the backend as one whose memory can be managed; None where it is none."""
    methods = (getattr(backend, name, None) for name in ("load", "unload", "resident"))
    return backend if all(map(callable, methods)) else None  # type: ignore[return-value]


def parking_of(backend: Backend) -> Parking | None:
    """Return the backend as one whose experts can be parked; None where they cannot."""
    methods = (getattr(backend, name, None) for name in ("park", "parked"))
    return backend if all(map(callable, methods)) else None  # type: ignore[return-value]


def setups(
    composition: Composition, backends: Mapping[str, Backend], registry: Registry
) -> dict[str, Setup]:
    """Return how the managed backends are scheduled, by name.

    Managed is a backend that can load and unload, that has `memory`, and whose experts all say how
    much of it they take.

    Raises:
        ConfigError: an ordering or an eviction is missing, or a backend has `host_memory` and
            cannot park.
    """
    layouts = {
        name: layout
        for name, entry in composition.backends.items()
        if (layout := _layout(entry, composition, backends[name])) is not None
    }
    if not layouts:
        return {}
    batching = composition.batching
    options = options_of(composition)
    return {
        name: Setup(
            layout=layout,
            options=options,
            ordering=ordering_of(batching.strategy, composition, registry),
            eviction=registry.load("coe.evictions", batching.evict)(),
            load_limit_s=batching.load_limit_s,
            status_frames=batching.status_frames,
        )
        for name, layout in layouts.items()
    }


def options_of(composition: Composition) -> Options:
    """Return how the composition weighs waiting against swapping."""
    batching = composition.batching
    return Options(
        goal=batching.goal,
        max_wait_s=batching.max_wait_s,
        bulk_max_wait_s=batching.bulk_max_wait_s,
        bulk_share=batching.bulk_share,
        min_residency_s=batching.min_residency_s,
        fair_share=batching.fair_share,
        max_queue=batching.max_queue,
        max_queue_per_key=batching.max_queue_per_key,
    )


def ordering_of(name: str, composition: Composition, registry: Registry) -> Ordering:
    """Build an ordering as the composition has it. Raises ConfigError where it is missing."""
    ordering: Ordering = registry.load("coe.orderings", name)()
    ageing = composition.batching.ageing
    if ageing is not None and isinstance(ordering, Affinity):
        return replace(ordering, ageing=ageing)
    return ordering


def experts_of(composition: Composition, backend: str) -> tuple[ExpertEntry, ...]:
    """Return the experts of a backend."""
    return tuple(one for one in composition.experts.values() if one.backend == backend)


def unsized(experts: Iterable[ExpertEntry]) -> tuple[str, ...]:
    """Return the experts that do not say what they take: of whole models, all must."""
    return tuple(one.name for one in experts if one.memory is None and one.base is None)


def _layout(entry: Entry, composition: Composition, backend: Backend) -> Layout | None:
    """Return what of a backend is packed; None where it is not managed. Raises ConfigError."""
    experts = experts_of(composition, entry.name)
    if entry.memory is None or not experts:
        return None
    if residency_of(backend) is None:
        logger.debug("backend %s cannot load and unload: its `memory` is not managed", entry.name)
        return None
    if entry.host_memory is not None and parking_of(backend) is None:
        raise ConfigError(
            f"backends.{entry.name}.host_memory: type `{entry.type}` cannot park experts in host"
            " memory; remove it"
        )
    if unknown := unsized(experts):
        logger.warning(
            "backend %s has `memory`, and it is not managed: `memory` of %s is missing",
            entry.name,
            ", ".join(unknown),
        )
        return None
    return layout_of(entry, experts)


def layout_of(entry: Entry, experts: Sequence[ExpertEntry]) -> Layout:
    """Return what is packed into a backend that has `memory`; all experts say what they take."""
    room = (entry.memory or 0) - entry.reserve
    pool = Pool(name=entry.name, memory=room, host=entry.host_memory)
    return Layout(
        pools=(pool,),
        experts=tuple(
            Expert(
                name=one.name,
                pool=entry.name,
                memory=one.memory or 0,
                base=one.base,
                max_loras=None if one.base else entry.max_loras,
                concurrency=entry.concurrency or AT_ONCE,
                load_s=one.load_time_s,
                host_s=one.host_load_time_s,
                pinned=one.pinned,
                preferred=one.preferred,
            )
            for one in experts
        ),
    )
