"""Experts whose memory is managed: who waits, who is in memory, what loads take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from coe.scheduler.events import Source
from coe.scheduler.loop import Slots
from coe.telemetry.series import Spread, Tally


class Scheduling:
    """Counts and times waits and loads; see `coe.scheduler.loop.Watcher`."""

    def __init__(self) -> None:
        self._waits = Spread(
            "coe_queue_wait_seconds", "Calls let in, by how long they waited for a slot", "expert"
        )
        self._refusals = Tally(
            "coe_queue_refusals", "Calls that were not let in", ("expert", "reason")
        )
        self._loads = Tally(
            "coe_expert_loads",
            "Loads of experts, by where they came from and what came of them",
            ("expert", "source", "result"),
        )
        self._unloads = Tally(
            "coe_expert_unloads",
            "Experts that left memory for another one, by what has their weights then",
            ("expert", "to"),
        )
        self._drops = Tally(
            "coe_expert_drops", "Experts that left host memory for another one", ("expert",)
        )
        self._load = Spread(
            "coe_expert_load_seconds", "Loads of experts, by source", "expert", "source"
        )

    def waited(self, expert: str, lane: str, waited_s: float) -> None:
        """Time a call that was let in."""
        del lane
        self._waits.observe(expert, seconds=waited_s)

    def refused(self, expert: str, reason: str) -> None:
        """Count a call that was not let in."""
        self._refusals.counts[expert, reason] += 1

    def loaded(self, expert: str, took_s: float, *, source: Source, succeeded: bool) -> None:
        """Count and time a load."""
        self._loads.counts[expert, source, "loaded" if succeeded else "failed"] += 1
        self._load.observe(expert, source, seconds=took_s)

    def unloaded(self, expert: str, for_expert: str, *, parked: bool) -> None:
        """Count an expert that left memory for another one."""
        del for_expert
        self._unloads.counts[expert, "host" if parked else "disk"] += 1

    def dropped(self, expert: str, for_expert: str) -> None:
        """Count an expert that left host memory for another one."""
        del for_expert
        self._drops.counts[expert,] += 1

    def families(self) -> Iterator[Metric]:
        """Yield what was counted and timed."""
        for tally in (self._refusals, self._loads, self._unloads, self._drops):
            yield tally.family()
        for spread in (self._waits, self._load):
            yield spread.family()


def residency(managed: Mapping[str, Slots]) -> Iterator[Metric]:
    """Yield who is in memory, and who waits, by the name of the backend that is managed."""
    depth = GaugeMetricFamily(
        "coe_queue_depth", "Calls that wait for an expert", labels=("expert", "lane")
    )
    resident = GaugeMetricFamily(
        "coe_expert_resident",
        "1 while a managed expert is in memory",
        labels=("backend", "expert"),
    )
    parked = GaugeMetricFamily(
        "coe_expert_parked",
        "1 while a managed expert waits in host memory",
        labels=("backend", "expert"),
    )
    host = GaugeMetricFamily(
        "coe_host_memory_used_bytes",
        "What those that wait in host memory take there",
        labels=("backend",),
    )
    for name, slots in managed.items():
        for view in slots.views():
            depth.add_metric((view.expert, "interactive"), view.interactive)
            depth.add_metric((view.expert, "bulk"), view.bulk)
            resident.add_metric((name, view.expert), view.state == "ready")
            parked.add_metric((name, view.expert), view.state == "parked")
        host.add_metric((name,), slots.parked_bytes)
    yield depth
    yield resident
    yield parked
    yield host
