"""The log's line for each request, gathered and written together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TextIO

import orjson

from coe.errors import CoEError
from coe.telemetry.logs import Form, stamp
from coe.telemetry.series import NONE
from coe.telemetry.trace import CURRENT, Trace
from coe.types import Answer, PanelReport

Defer = Callable[[float, Callable[[], None]], object]
_GATHER_S = 0.2


class Lines:
    """Writes a line for each request; never a prompt, an answer or a key."""

    def __init__(
        self, stream: TextIO | None = None, defer: Defer | None = None, form: Form = "text"
    ) -> None:
        """Store where to, when and how.

        Args:
            stream: where lines go; None for what is the standard error stream then.
            defer: `loop.call_later` or a double of it; None: every line is written at once.
            form: of a line.
        """
        self._form = form
        self._stream = stream
        self._defer = defer
        self._lines: list[str] = []
        self._clock = (0, "")

    def request(
        self,
        endpoint: str,
        request_id: str,
        status: int,
        elapsed_s: float,
        answer: Answer | None,
        error: CoEError | None,
    ) -> None:
        """Take the line of a request that has ended."""
        trace = CURRENT.get()
        if self._form == "json":
            self._lines.append(
                f'{{"time":"{self._now()}","level":"INFO","logger":"coe.request"'
                f',"id":{orjson.dumps(request_id).decode()}'
                f',"endpoint":"{endpoint}","status":{status}{_facts(answer)}{_rare(answer, error)}'
                f',"total_s":{elapsed_s:.6f}{_traced(trace)}}}\n'
            )
        else:
            traced = "" if trace is None else f" trace_id={trace.trace_id:032x}"
            self._lines.append(
                f"{self._now()} INFO coe.request id={request_id} endpoint={endpoint}"
                f" status={status}{_chosen(answer)}{_failed(error)} total_s={elapsed_s:.4f}"
                f"{traced}\n"
            )
        if self._defer is None:
            self.flush()
        elif len(self._lines) == 1:
            self._defer(_GATHER_S, self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._lines:
            lines, self._lines = self._lines, []
            (self._stream or sys.stderr).write("".join(lines))

    def _now(self) -> str:
        """Return the time to the second, written once a second."""
        now = int(time.time())
        if now != self._clock[0]:
            self._clock = (now, stamp(now))
        return self._clock[1]


@lru_cache(maxsize=4096)
def _json(name: str | None) -> str:
    """Return a name of the composition as JSON; there are few."""
    return orjson.dumps(name).decode()


def _facts(answer: Answer | None) -> str:
    """Return who answered and why, as fields of a JSON object; a dictionary takes twice as long."""
    if answer is None:
        return ""
    return (
        f',"category":{_json(answer.decision.category)},"expert":{_json(answer.call.expert)}'
        f',"reason":"{answer.reason}","attempts":{len(answer.attempts) + 1}'
        f',"routed_s":{answer.routed_s:.6f},"first_token_s":{answer.opened_s:.6f}'
    )


def _rare(answer: Answer | None, error: CoEError | None) -> str:
    """Return what is told of few requests, likewise."""
    facts: dict[str, object] = {}
    if answer is not None and answer.swap_s is not None:
        facts["queued_s"] = round(answer.queued_s, 6)
        facts["swap_s"] = round(answer.swap_s, 6)
    if answer is not None and answer.panel is not None:
        facts["panel"], facts["calls"] = answer.panel.panel, answer.panel.calls
    if error is not None:
        facts["error"] = type(error).__name__
        facts["asked"] = [attempt.expert for attempt in error.attempts]
    return "," + orjson.dumps(facts)[1:-1].decode() if facts else ""


def _traced(trace: Trace | None) -> str:
    return "" if trace is None else f',"trace_id":"{trace.trace_id:032x}"'


def _chosen(answer: Answer | None) -> str:
    """Return who answered and why."""
    if answer is None:
        return ""
    return (
        f" category={answer.decision.category or NONE} expert={answer.call.expert}"
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
    """Return what went wrong: names of ours, never an upstream's words."""
    if error is None:
        return ""
    asked = ",".join(attempt.expert for attempt in error.attempts)
    return f" error={type(error).__name__} asked={asked or NONE}"
