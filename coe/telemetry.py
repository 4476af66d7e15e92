"""What happened, as metrics and log lines. Labels are names of the composition: bounded.

The hot path only adds to numbers that one thread owns; they become Prometheus' families when
somebody scrapes. (prometheus-client's own counters lock, check and look up labels for every
event: 15 of our 100 microseconds a request, measured.) Log lines are buffered and written
together. They hold no prompt, no answer and no key.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TextIO

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from coe.errors import CoEError
from coe.scheduler.events import Source
from coe.scheduler.loop import Slots
from coe.types import Answer, Call, Decision, PanelReport, Plan

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_NONE = "none"


class Tally:
    """A counter with labels."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...]) -> None:
        self.name, self.help_text, self.labels = name, help_text, labels
        self.counts: defaultdict[tuple[str, ...], int] = defaultdict(int)

    def family(self) -> Metric:
        """Return it as Prometheus has it."""
        family = CounterMetricFamily(self.name, self.help_text, labels=self.labels)
        for values, count in self.counts.items():
            family.add_metric(values, count)
        return family


class Spread:
    """A histogram of seconds with labels."""

    def __init__(self, name: str, help_text: str, *labels: str) -> None:
        self.name, self.help_text, self.labels = name, help_text, labels
        self._series: dict[tuple[str, ...], list[float]] = {}

    def observe(self, *values: str, seconds: float) -> None:
        """Add an observation; buckets hold values up to and including their bound."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = [0.0] * (len(_SECONDS) + 2)
        series[bisect_left(_SECONDS, seconds)] += 1
        series[-1] += seconds

    def family(self) -> Metric:
        """Return it as Prometheus has it: cumulative buckets, and the sum."""
        family = HistogramMetricFamily(self.name, self.help_text, labels=self.labels)
        for values, series in self._series.items():
            total, buckets = 0.0, []
            for bound, count in zip((*map(str, _SECONDS), "+Inf"), series[:-1], strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric(values, buckets, series[-1])
        return family


class Written(Protocol):
    """A log that counts what it wrote, and what it could not."""

    written: int
    lost: int


class Watching(Protocol):
    """Who watches experiments, and what is wrong with them now, by their names."""

    alarms: dict[str, str]


class Beside(Protocol):
    """Who answers requests beside the answer that is sent, and counts them."""

    done: int
    dropped: dict[str, int]


class Telemetry(Collector):
    """Counts, times and logs what the stages report. Belongs to the event loop's thread.

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
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(
        self,
        *,
        log_requests: bool = True,
        stream: TextIO | None = None,
        defer: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        """Args are the log's switch, its stream, and `loop.call_later` or a double of it."""
        self._registry = CollectorRegistry()
        self._log_requests = log_requests
        self._stream = stream
        self._defer = defer
        self._lines: list[str] = []
        self._clock = (0, "")
        self.in_flight = 0
        self.begun = 0
        self.batch_in_flight = 0
        self.map_is_flagged = False
        self.map_is_stale = False
        self.managed: Mapping[str, Slots] = {}
        self.log: Written | None = None
        self.shadows: Beside | None = None
        self.watch: Watching | None = None
        self._requests = Tally(
            "coe_requests",
            "Requests by what came of them",
            ("endpoint", "expert", "status"),
        )
        self._decisions = Tally(
            "coe_route_decisions",
            "Decisions by category, first expert and reason",
            ("category", "expert", "reason"),
        )
        self._choices = Tally(
            "coe_map_choices",
            "Plans for which a fitted map was asked for, by what ranked the experts, and the first",
            ("choose", "expert"),
        )
        self._failures = Tally(
            "coe_backend_failures",
            "Calls that failed before a first byte",
            ("backend", "expert", "error"),
        )
        self._aborts = Tally(
            "coe_stream_aborts",
            "Answers that ended early, by the side that ended them",
            ("side",),
        )
        self._overhead = Spread(
            "coe_overhead_seconds",
            "From the request's arrival to its headers, less the backend's time",
            "endpoint",
        )
        self._first = Spread(
            "coe_first_token_seconds", "From the request's arrival to its first content", "expert"
        )
        self._whole = Spread(
            "coe_request_seconds", "From the request's arrival to its last byte", "endpoint"
        )
        self._lines_run = Tally(
            "coe_batch_lines",
            "Lines of batches that were run, by their own status",
            ("expert", "status"),
        )
        self._switches = Tally(
            "coe_batch_experts",
            "Experts whose lines were begun: what batches make a backend load",
            ("backend",),
        )
        self._batches = Tally("coe_batches", "Batches that have ended", ("status",))
        self._line = Spread(
            "coe_batch_line_seconds", "A line of a batch, waits between tries included", "expert"
        )
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
        self._panels = Tally(
            "coe_panels",
            "Panels that sat, by what came of it: a method that broke its contract still answers",
            ("panel", "result"),
        )
        self._panel_calls = Tally(
            "coe_panel_calls",
            "Calls that panels made; those that changed nothing about the answer",
            ("panel", "use"),
        )
        self._panel_losses = Tally(
            "coe_panel_losses",
            "Calls of panels of which nothing could be used, by why",
            ("panel", "why"),
        )
        self._panel_cpu = Spread(
            "coe_panel_cpu_seconds", "CPU that making one answer of drafts took", "panel"
        )
        self._registry.register(self)

    def decided(self, decision: Decision, plan: Plan) -> None:
        """Count a decision and the plan that it led to."""
        expert = plan.calls[0].expert if plan.calls else _NONE
        self._decisions.counts[decision.category or _NONE, expert, decision.reason] += 1
        if plan.choice is not None:
            self._choices.counts[plan.choice.choose, expert] += 1

    def failed(self, call: Call, error: CoEError) -> None:
        """Count a call that failed before its first byte."""
        self._failures.counts[call.backend, call.expert, type(error).__name__] += 1

    def aborted(self, side: str) -> None:
        """Count an answer that ended early because of the `client` or the `upstream`."""
        self._aborts.counts[side,] += 1

    def opened(self, endpoint: str, answer: Answer, elapsed_s: float, overhead_s: float) -> None:
        """Time an answer whose headers are about to be sent."""
        self._overhead.observe(endpoint, seconds=overhead_s)
        self._first.observe(answer.call.expert, seconds=elapsed_s)

    def finished(
        self,
        endpoint: str,
        request_id: str,
        status: int,
        elapsed_s: float,
        answer: Answer | None,
        error: CoEError | None = None,
    ) -> None:
        """Count, time and log a request that has ended, well or badly."""
        expert = answer.call.expert if answer else _NONE
        self._requests.counts[endpoint, expert, str(status)] += 1
        self._whole.observe(endpoint, seconds=elapsed_s)
        if self._log_requests:
            self._log(endpoint, request_id, status, elapsed_s, _chosen(answer) + _failed(error))

    def batch_line(self, expert: str, status: int, took_s: float) -> None:
        """Count and time a line of a batch that has been run."""
        self._lines_run.counts[expert, str(status)] += 1
        self._line.observe(expert, seconds=took_s)

    def batch_switch(self, backend: str) -> None:
        """Count an expert whose lines of a batch are about to be run."""
        self._switches.counts[backend,] += 1

    def batch_ended(self, status: str) -> None:
        """Count a batch that has ended."""
        self._batches.counts[status,] += 1

    def waited(self, expert: str, lane: str, waited_s: float) -> None:
        """Time a call that was let in; see `coe.scheduler.loop.Watcher`."""
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

    def panelled(  # noqa: PLR0913 - what is to be counted, by name
        self,
        panel: str,
        *,
        calls: int,
        lost: Iterable[str],
        unnecessary: int,
        is_answered: bool,
        is_broken: bool,
        cpu_s: float,
    ) -> None:
        """Count a panel that has sat.

        Args:
            panel: which.
            calls: that it made.
            lost: for each call of which nothing could be used, why: `late`, `failed`, `dropped`.
            unnecessary: calls without which the answer would be the same.
            is_answered: whether there was an answer.
            is_broken: whether its method broke its contract.
            cpu_s: that its method took.
        """
        result = "broken" if is_broken else "answered" if is_answered else "failed"
        self._panels.counts[panel, result] += 1
        self._panel_calls.counts[panel, "unnecessary"] += unnecessary
        self._panel_calls.counts[panel, "other"] += calls - unnecessary
        for why in lost:
            self._panel_losses.counts[panel, why] += 1
        self._panel_cpu.observe(panel, seconds=cpu_s)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; prometheus-client calls this when it is scraped."""
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
        yield from self._behind()
        yield from self._residency()
        tallies = (self._requests, self._decisions, self._choices, self._failures, self._aborts)
        for tally in tallies:
            yield tally.family()
        for tally in (self._lines_run, self._switches, self._batches):
            yield tally.family()
        for tally in (self._refusals, self._loads, self._unloads, self._drops):
            yield tally.family()
        for tally in (self._panels, self._panel_calls, self._panel_losses):
            yield tally.family()
        yield self._panel_cpu.family()
        spreads = (self._overhead, self._first, self._whole, self._line, self._waits, self._load)
        for spread in spreads:
            yield spread.family()

    def _behind(self) -> Iterator[Metric]:
        """Yield what is done behind the answers: the log, shadows, and who watches experiments."""
        if self.log is not None:
            written = CounterMetricFamily(
                "coe_decisions_logged",
                "Decisions by whether the log has them",
                labels=("result",),
            )
            written.add_metric(("written",), self.log.written)
            written.add_metric(("lost",), self.log.lost)
            yield written
        if self.watch is not None:
            alarm = GaugeMetricFamily(
                "coe_experiment_alarm",
                "1 while a running experiment has a broken split, or a broken guardrail",
                labels=("experiment", "alarm"),
            )
            for name, found in self.watch.alarms.items():
                alarm.add_metric((name, found), 1)
            yield alarm
        if self.shadows is not None:
            answered = CounterMetricFamily(
                "coe_shadows",
                "Requests that shadow experiments sampled, by what came of them",
                labels=("result",),
            )
            for result, count in {"done": self.shadows.done, **self.shadows.dropped}.items():
                answered.add_metric((result,), count)
            yield answered

    def _residency(self) -> Iterator[Metric]:
        """Yield who is in memory, and who waits, where that is managed."""
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
        for name, slots in self.managed.items():
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

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def flush(self) -> None:
        """Write the buffered log lines."""
        if self._lines:
            lines, self._lines = self._lines, []
            (self._stream or sys.stderr).write("".join(lines))

    def _log(
        self, endpoint: str, request_id: str, status: int, elapsed_s: float, facts: str
    ) -> None:
        self._lines.append(
            f"{self._now()} INFO coe.request id={request_id} endpoint={endpoint} status={status}"
            f"{facts} total_s={elapsed_s:.4f}\n"
        )
        if self._defer is None:
            self.flush()
        elif len(self._lines) == 1:
            self._defer(0.2, self.flush)

    def _now(self) -> str:
        """Return the time to the second, written once a second."""
        now = int(time.time())
        if now != self._clock[0]:
            self._clock = (now, time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(now)))
        return self._clock[1]


def _chosen(answer: Answer | None) -> str:
    """Return who answered and why, for the log."""
    if answer is None:
        return ""
    return (
        f" category={answer.decision.category or _NONE} expert={answer.call.expert}"
        f" reason={answer.reason} attempts={len(answer.attempts) + 1}"
        f" routed_s={answer.routed_s:.4f} first_token_s={answer.opened_s:.4f}"
        f"{'' if answer.swap_s is None else _waited(answer.queued_s, answer.swap_s)}"
        f"{'' if answer.panel is None else _sat(answer.panel)}"
    )


def _sat(panel: PanelReport) -> str:
    return f" panel={panel.panel} calls={panel.calls}"


def _waited(queued_s: float, swap_s: float) -> str:
    return f" queued_s={queued_s:.4f} swap_s={swap_s:.4f}"


def _failed(error: CoEError | None) -> str:
    """Return what went wrong, for the log: names of ours, never an upstream's words."""
    if error is None:
        return ""
    asked = ",".join(attempt.expert for attempt in error.attempts)
    return f" error={type(error).__name__} asked={asked or _NONE}"
