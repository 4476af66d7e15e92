"""All that is counted in a process, and its exposition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TextIO

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coe.scheduler.loop import Slots
from coe.telemetry import behind
from coe.telemetry.batches import Batches
from coe.telemetry.behind import Beside, Watching, Written
from coe.telemetry.lines import Defer, Lines
from coe.telemetry.logs import Form
from coe.telemetry.panels import Panels
from coe.telemetry.requests import Requests
from coe.telemetry.scheduling import Scheduling, residency
from coe.telemetry.tracing import Tracing

Source = Callable[[], Iterable[Metric]]


class Telemetry(Collector):
    """Counts, times and logs what the stages report. Belongs to the event loop's thread.

    Whatever counts for itself adds its `families` to `sources`. What is called here is a method of
    one of the parts: a request pays for no way around.

    Attributes:
        content_type: of what `exposition` returns.
        in_flight: requests being served.
        begun: requests since the start.
        batch_in_flight: lines of batches being run.
        map_is_flagged: whether the fitted map is no better than the best single expert.
        map_is_stale: whether what the fitted map was measured on has changed since.
        managed: who lets calls through to the backends whose memory is managed, by name.
        log: who writes decisions down; None where nobody does.
        shadows: who answers beside, for experiments; None where nobody does.
        watch: who watches experiments; None where nobody does.
        tracing: which requests are traced, and who is told.
        sources: what yields the families of everything else that counts, in this order.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(
        self,
        *,
        log_requests: bool = True,
        stream: TextIO | None = None,
        defer: Defer | None = None,
        log_form: Form = "text",
    ) -> None:
        """Args are the log's switch, its stream, `loop.call_later` or a double of it, its form."""
        self._lines = Lines(stream, defer, log_form)
        self.in_flight = 0
        self.begun = 0
        self.batch_in_flight = 0
        self.map_is_flagged = False
        self.map_is_stale = False
        self.managed: Mapping[str, Slots] = {}
        self.log: Written | None = None
        self.shadows: Beside | None = None
        self.watch: Watching | None = None

        requests = Requests(self._lines if log_requests else None)
        self.decided = requests.decided
        self.failed = requests.failed
        self.aborted = requests.aborted
        self.finished = requests.finished

        batches = Batches()
        self.batch_line = batches.line
        self.batch_switch = batches.switch
        self.batch_ended = batches.ended

        scheduling = Scheduling()
        self.waited = scheduling.waited
        self.refused = scheduling.refused
        self.loaded = scheduling.loaded
        self.unloaded = scheduling.unloaded
        self.dropped = scheduling.dropped

        panels = Panels()
        self.panelled = panels.sat

        self.tracing = Tracing()
        self.flush = self._lines.flush
        self.sources: list[Source] = [
            self._now,
            self._behind,
            requests.families,
            batches.families,
            scheduling.families,
            panels.families,
            self.tracing.families,
        ]
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; prometheus-client calls this when it is scraped."""
        for families in self.sources:
            yield from families()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _now(self) -> Iterator[Metric]:
        """Yield what is true at this moment."""
        yield GaugeMetricFamily("coe_inflight", "Requests being served", value=self.in_flight)
        yield GaugeMetricFamily(
            "coe_batch_inflight", "Lines of batches being run", value=self.batch_in_flight
        )
        yield GaugeMetricFamily(
            "coe_map_flagged",
            "1 while the fitted map is flagged: no better than the best single expert, or dearer",
            value=self.map_is_flagged,
        )
        yield GaugeMetricFamily(
            "coe_map_stale",
            "1 while what the fitted map was measured on is not as it was",
            value=self.map_is_stale,
        )
        yield from residency(self.managed)

    def _behind(self) -> Iterator[Metric]:
        """Yield what is done behind the answers."""
        if self.log is not None:
            yield from behind.logged(self.log)
        if self.watch is not None:
            yield from behind.alarmed(self.watch)
        if self.shadows is not None:
            yield from behind.shadowed(self.shadows)
