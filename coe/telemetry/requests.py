"""Requests: what was decided of them, who answered, how long it took."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from coe.errors import CoEError
from coe.telemetry import names
from coe.telemetry.genai import GenAI, Marks
from coe.telemetry.lines import Lines
from coe.telemetry.series import NONE, SECONDS, Spread, Tally
from coe.telemetry.trace import CURRENT
from coe.types import Answer, Call, Decision, Plan
from coe.usage import found_in


class _Kind(NamedTuple):
    """The series that requests of one kind add to: a request finds all of them at once."""

    overhead: list[float]
    first: list[float]
    whole: list[float]
    marks: Marks


class Requests:
    """Counts and times requests, and has a line written for each."""

    def __init__(self, lines: Lines | None) -> None:
        """Store where lines are written; None where requests are not logged."""
        self._lines = lines
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
        self._route = Spread("coe_route_seconds", "What deciding and planning took")
        self._overhead = Spread(
            "coe_overhead_seconds",
            "From the request's arrival to its headers, less the time of the backend that answers:"
            " waits for a slot, loads, and calls that failed before are in it",
            "endpoint",
        )
        self._first = Spread(
            "coe_first_token_seconds", "From the request's arrival to its first content", "expert"
        )
        self._whole = Spread(
            "coe_request_seconds", "From the request's arrival to its last byte", "endpoint"
        )
        self._genai = GenAI()
        self._deciding = self._route.series()
        self._kinds: dict[tuple[str, str, str, str], _Kind] = {}

    def decided(self, decision: Decision, plan: Plan, took_s: float = 0.0) -> None:
        """Count a decision and the plan that it led to; time both, in seconds."""
        if (trace := CURRENT.get()) is not None:
            trace.decided(decision, plan, took_s)
        series = self._deciding
        series[bisect_left(SECONDS, took_s)] += 1
        series[-1] += took_s
        expert = plan.calls[0].expert if plan.calls else NONE
        self._decisions.counts[decision.category or NONE, expert, decision.reason] += 1
        if plan.choice is not None:
            self._choices.counts[plan.choice.choose, expert] += 1

    def failed(self, call: Call, error: CoEError) -> None:
        """Count a call that failed before its first byte."""
        self._failures.counts[call.backend, call.expert, type(error).__name__] += 1

    def aborted(self, side: str) -> None:
        """Count an answer that ended early because of the `client` or the `upstream`."""
        self._aborts.counts[side,] += 1

    def finished(  # noqa: PLR0913 - all that is known of it in the end
        self,
        endpoint: str,
        request_id: str,
        status: int,
        elapsed_s: float,
        answer: Answer | None,
        error: CoEError | None = None,
        *,
        provider: str = names.SYSTEM,
        first_s: float | None = None,
        overhead_s: float | None = None,
        last: bytes = b"",
    ) -> None:
        """Count, time and log a request that has ended, well or badly.

        Args:
            endpoint: which; one of ours.
            request_id: that the client knows it by.
            status: that it was sent.
            elapsed_s: of the whole request, in seconds.
            answer: None where nobody answered.
            error: what went wrong, if something did.
            provider: the type of the backend that answered.
            first_s: until the first content; None where there was none.
            overhead_s: of that, what no backend took.
            last: the last piece of a stream, which tells its usage.
        """
        expert = NONE if answer is None else answer.call.expert
        self._requests.counts[endpoint, expert, str(status)] += 1
        who = (endpoint, provider, expert, "" if error is None else type(error).__name__)
        kind = self._kinds.get(who)
        if kind is None:
            kind = self._kinds[who] = self._kind(*who)
        series = kind.whole
        series[bisect_left(SECONDS, elapsed_s)] += 1
        series[-1] += elapsed_s
        if overhead_s is not None:
            series = kind.overhead
            series[bisect_left(SECONDS, overhead_s)] += 1
            series[-1] += overhead_s
        if answer is None or answer.recalled is None:
            if first_s is not None:  # a recalled one says nothing of how soon the expert begins
                series = kind.first
                series[bisect_left(SECONDS, first_s)] += 1
                series[-1] += first_s
            told = None if answer is None else found_in(last or answer.first)
            self._genai.answered(kind.marks, elapsed_s, first_s, told, streamed=bool(last))
        if self._lines is not None:
            self._lines.request(endpoint, request_id, status, elapsed_s, answer, error)

    def families(self) -> Iterator[Metric]:
        """Yield what was counted and timed."""
        for tally in (
            self._requests, self._decisions, self._choices, self._failures, self._aborts
        ):  # fmt: skip
            yield tally.family()
        for spread in (self._route, self._overhead, self._first, self._whole):
            yield spread.family()
        yield from self._genai.families()

    def _kind(self, endpoint: str, provider: str, expert: str, failure: str) -> _Kind:
        return _Kind(
            overhead=self._overhead.series(endpoint),
            first=self._first.series(expert),
            whole=self._whole.series(endpoint),
            marks=self._genai.marks(names.operation(endpoint), provider, expert, failure),
        )
