"""The log's line for each request, gathered and written together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from coe.errors import CoEError
from coe.telemetry.series import NONE
from coe.types import Answer, PanelReport

Defer = Callable[[float, Callable[[], None]], object]
_GATHER_S = 0.2


class Lines:
    """Writes a line for each request; never a prompt, an answer or a key."""

    def __init__(self, stream: TextIO | None = None, defer: Defer | None = None) -> None:
        """Store where to and when.

        Args:
            stream: where lines go; None for what is the standard error stream then.
            defer: `loop.call_later` or a double of it; None: every line is written at once.
        """
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
        self._lines.append(
            f"{self._now()} INFO coe.request id={request_id} endpoint={endpoint} status={status}"
            f"{_chosen(answer)}{_failed(error)} total_s={elapsed_s:.4f}\n"
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
            self._clock = (now, time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(now)))
        return self._clock[1]


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
