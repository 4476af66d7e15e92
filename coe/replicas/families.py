"""What replicas share, as Prometheus is told it. Labels are names of backends."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from coe.replicas.replica import Replica
from coe.stores.redis_sessions import RedisSessions


def families(replica: Replica | None, sessions: RedisSessions | None) -> Iterator[Metric]:
    """Yield the metrics; those of a process that is alone have no samples."""
    owned = GaugeMetricFamily(
        "coe_pool_owned",
        "1 while this replica manages a backend's memory for all of them",
        labels=("backend",),
    )
    slots = CounterMetricFamily(
        "coe_pool_slots",
        "Calls that were let through to a backend whose memory replicas share: by this replica "
        "(`here`), by the one that owns it (`elsewhere`), or by nobody (`loose`)",
        labels=("backend", "where"),
    )
    fenced = CounterMetricFamily(
        "coe_pool_moves_fenced",
        "Loads and unloads that were not made because Redis did not confirm who owns the memory",
        labels=("backend",),
    )
    for pool in () if replica is None else replica.pools.values():
        owned.add_metric((pool.name,), float(pool.is_owned))
        fenced.add_metric((pool.name,), pool.refused)
        for where, count in pool.counts.items():
            slots.add_metric((pool.name, where), count)
    yield from (owned, slots, fenced)
    owed = GaugeMetricFamily(
        "coe_sessions_owed", "Decisions of sessions that the other replicas do not know yet"
    )
    if sessions is not None:
        owed.add_metric((), len(sessions.owed))
    yield owed
