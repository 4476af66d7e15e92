"""What happened, as metrics and log lines. Labels are names of the composition: bounded.

Log lines of requests are buffered and written together, so that logging never waits on the hot
path. They hold no prompt, no answer and no key.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from coe.errors import CoEError
from coe.types import Answer, Call, Decision, Plan

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_NONE = "none"


class Telemetry:
    """Counts, times and logs what the stages report.

    Attributes:
        content_type: of what `exposition` returns.
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
        self._registry = registry = CollectorRegistry()
        self._log_requests = log_requests
        self._stream = stream
        self._defer = defer
        self._lines: list[str] = []
        self.in_flight = Gauge("coe_inflight", "Requests being served", registry=registry)
        self._requests = Counter(
            "coe_requests_total",
            "Requests by what came of them",
            ("endpoint", "expert", "status"),
            registry=registry,
        )
        self._decisions = Counter(
            "coe_route_decisions_total",
            "Decisions by category, first expert and reason",
            ("category", "expert", "reason"),
            registry=registry,
        )
        self._failures = Counter(
            "coe_backend_failures_total",
            "Calls that failed before a first byte",
            ("backend", "expert", "error"),
            registry=registry,
        )
        self._aborts = Counter(
            "coe_stream_aborts_total",
            "Answers that ended early, by the side that ended them",
            ("side",),
            registry=registry,
        )
        self._overhead = Histogram(
            "coe_overhead_seconds",
            "From the request's arrival to its headers, less the backend's time",
            buckets=_SECONDS,
            registry=registry,
        )
        self._first = Histogram(
            "coe_first_token_seconds",
            "From the request's arrival to its first content",
            ("expert",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._whole = Histogram(
            "coe_request_seconds",
            "From the request's arrival to its last byte",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )

    def decided(self, decision: Decision, plan: Plan) -> None:
        """Count a decision and the plan that it led to."""
        expert = plan.calls[0].expert if plan.calls else _NONE
        self._decisions.labels(decision.category or _NONE, expert, decision.reason).inc()

    def failed(self, call: Call, error: CoEError) -> None:
        """Count a call that failed before its first byte."""
        self._failures.labels(call.backend, call.expert, type(error).__name__).inc()

    def aborted(self, side: str) -> None:
        """Count an answer that ended early because of the `client` or the `upstream`."""
        self._aborts.labels(side).inc()

    def opened(self, answer: Answer, elapsed_s: float, overhead_s: float) -> None:
        """Time an answer whose headers are about to be sent."""
        self._overhead.observe(overhead_s)
        self._first.labels(answer.call.expert).observe(elapsed_s)

    def finished(
        self, endpoint: str, request_id: str, status: int, elapsed_s: float, answer: Answer | None
    ) -> None:
        """Count, time and log a request that has ended, well or badly."""
        expert = answer.call.expert if answer else _NONE
        self._requests.labels(endpoint, expert, str(status)).inc()
        self._whole.labels(endpoint).observe(elapsed_s)
        if self._log_requests:
            self._log(endpoint, request_id, status, elapsed_s, answer)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def flush(self) -> None:
        """Write the buffered log lines."""
        if self._lines:
            lines, self._lines = self._lines, []
            (self._stream or sys.stderr).write("".join(lines))

    def _log(
        self, endpoint: str, request_id: str, status: int, elapsed_s: float, answer: Answer | None
    ) -> None:
        chosen = ""
        if answer is not None:
            chosen = (
                f" category={answer.decision.category or _NONE} expert={answer.call.expert}"
                f" reason={answer.decision.reason} attempts={len(answer.attempts) + 1}"
                f" routed_s={answer.routed_s:.4f} first_token_s={answer.opened_s:.4f}"
            )
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        self._lines.append(
            f"{now} INFO coe.request id={request_id} endpoint={endpoint} status={status}"
            f"{chosen} total_s={elapsed_s:.4f}\n"
        )
        if self._defer is None:
            self.flush()
        elif len(self._lines) == 1:
            self._defer(0.2, self.flush)
