"""One request as it is traced: what is noted on the way. Nothing of what it says is ever noted.

The header that carries a trace from one service to the next is W3C's `traceparent` (Trace Context
Level 1, section 3.2). `tracestate`, which others may fill with what they like, is not passed on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from random import getrandbits
from typing import Any, NamedTuple

from coe.errors import CoEError
from coe.telemetry import names
from coe.types import Call, Decision, Plan
from coe.usage import found_in

HEADER = b"traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ID = re.compile(rb'"id"\s*:\s*"([A-Za-z0-9._:/+=-]{1,128})"')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"([a-z_]{1,40})"')
_INVALID_VERSION = "ff"
_SAMPLED = 0x01
_LOW_56_BITS = (1 << 56) - 1
_BEGIN, _END = 512, 4096  # bytes of an answer in which its id, and its end, are looked for


class Parent(NamedTuple):
    """What a request says of the trace that it belongs to."""

    trace_id: int
    span_id: int
    is_sampled: bool


class Link(NamedTuple):
    """A span elsewhere that something is about."""

    trace_id: int
    span_id: int


class Told(NamedTuple):
    """What an answer tells of itself, beside what it says.

    Attributes:
        id: as the backend made it; empty where it has none.
        finish: why it ended; empty where it does not tell.
        tokens: of prompt and answer; None where it does not tell.
    """

    id: str = ""
    finish: str = ""
    tokens: tuple[int, int] | None = None


class Asked:
    """One call to an expert. See `coe.door.Visit`.

    Attributes:
        span_id: its own. `started_ns`, `first_ns`, `ended_ns`: since the epoch; 0: not yet.
        error: the class of what ended it; empty for nothing.
    """

    __slots__ = (
        "backend", "ended_ns", "error", "expert", "first", "first_ns", "model", "operation",
        "span_id", "started_ns", "streams", "told",
    )  # fmt: skip

    def __init__(self, call: Call) -> None:
        self.expert, self.backend = call.expert, call.backend
        self.model = call.adapter or call.model
        self.operation = names.operation(call.endpoint)
        self.streams = call.stream
        self.span_id = getrandbits(64) or 1
        self.started_ns = time.time_ns()
        self.first_ns = self.ended_ns = 0
        self.error = self.first = ""
        self.told = Told()

    def opened(self, first: bytes) -> None:
        """See `Visit.opened`."""
        self.first_ns = time.time_ns()
        if self.streams:
            self.first = told_by(first).id
        else:
            self.told = told_by(first)
            self.ended_ns = self.first_ns

    def ended(self, last: bytes, error: BaseException | None) -> None:
        """See `Visit.ended`."""
        self.ended_ns = self.ended_ns or time.time_ns()
        if error is not None:
            self.error = type(error).__name__
        elif self.streams:
            self.told = told_by(last)._replace(id=self.first)


class Trace:
    """One request that is traced.

    Attributes:
        trace_id, span_id: its own; `parent_id` is the client's, 0 where it has none.
        started_ns: when it came, since the epoch.
        routed_ns, decided_ns: when its category was known, and who is to answer; 0: never.
            `took_s` is what both took.
        waits: for slots: until when since the epoch, for how many seconds, how much of that the
            expert was being loaded, and the expert.
        calls: that were made.
    """

    __slots__ = (
        "calls", "decided_ns", "decision", "parent_id", "plan", "routed_ns", "span_id",
        "started_ns", "took_s", "trace_id", "waits",
    )  # fmt: skip

    def __init__(self, trace_id: int, parent_id: int, started_ns: int) -> None:
        self.trace_id, self.parent_id, self.started_ns = trace_id, parent_id, started_ns
        self.span_id = getrandbits(64) or 1
        self.routed_ns = self.decided_ns = 0
        self.took_s = 0.0
        self.decision: Decision | None = None
        self.plan: Chosen | None = None
        self.waits: list[tuple[int, float, float, str]] = []
        self.calls: list[Asked] = []

    def routed(self) -> None:
        """Take note that the category is known."""
        self.routed_ns = time.time_ns()

    def decided(self, decision: Decision, plan: Plan, took_s: float) -> None:
        """Take note of who is to answer; of several plans, the last counts."""
        self.decided_ns = time.time_ns()
        self.decision = decision
        self.plan = Chosen(
            tuple(call.expert for call in plan.calls),
            tuple(f"{row.expert}: {row.rule}" for row in plan.excluded),
            plan.panel.panel if plan.panel is not None else "",
        )
        self.took_s = took_s

    def waited(self, expert: str, queued_s: float, swap_s: float) -> None:
        """Take note of a wait for a slot that has just ended."""
        self.waits.append((time.time_ns(), queued_s, swap_s, expert))

    def asked(self, call: Call) -> Asked:
        """Take note of a call that is about to be made."""
        asked = Asked(call)
        self.calls.append(asked)
        return asked

    def header(self, asked: Asked) -> bytes:
        """Return the header that a call carries on."""
        return b"00-%032x-%016x-01" % (self.trace_id, asked.span_id)


class Chosen(NamedTuple):
    """What is told of a plan: the experts, those left out and by which rule, the panel."""

    experts: tuple[str, ...]
    excluded: tuple[str, ...]
    panel: str


class Ended(NamedTuple):
    """How a traced request ended, or work behind the answers. Nothing in it is what somebody wrote.

    Attributes:
        path, status, request_id: of a request; of other work they say nothing.
        model: that was asked for; empty where the composition does not have it.
        settings: numbers of the body, by their names in the conventions.
        arms: of experiments, as `NAME:ARM`.
        error: the class of what went wrong; empty for nothing.
        work: its kind, where it is no client's request; see `coe.telemetry.work`.
        batch, line: that it is of.
        links: what it is about.
    """

    trace: Trace
    ended_ns: int
    endpoint: str
    path: str
    status: int
    request_id: str
    query_id: str
    error: str
    model: str = ""
    streams: bool = False
    settings: Mapping[str, float] = {}
    expert: str = ""
    reason: str = ""
    conversation: str = ""
    composition: str = ""
    first_s: float | None = None
    arms: tuple[str, ...] = ()
    told: Told = Told()
    work: str = ""
    batch: str = ""
    line: int | None = None
    links: tuple[Link, ...] = ()


CURRENT: ContextVar[Trace | None] = ContextVar("coe_trace", default=None)
"""The request that a task serves, where it is traced."""

OUTGOING: ContextVar[bytes] = ContextVar("coe_traceparent", default=b"")
"""The header of the call that a task is about to make; empty where it is not traced."""


def parent_of(value: str | None) -> Parent | None:
    """Return what a `traceparent` says; None where there is none that can be read.

    Example:
        >>> parent_of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").is_sampled
        True
    """
    found = _FORM.fullmatch(value.strip()) if value else None
    if found is None or found[1] == _INVALID_VERSION or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id, flags = (int(found[place], 16) for place in (2, 3, 4))
    if not trace_id or not span_id:
        return None
    return Parent(trace_id, span_id, bool(flags & _SAMPLED))


def is_drawn(trace_id: int, share: float) -> bool:
    """Whether a share of all traces has this one: everybody who draws so agrees."""
    return trace_id & _LOW_56_BITS < share * (_LOW_56_BITS + 1)


def told_by(piece: bytes) -> Told:
    """Return what the first piece of an answer, or its last one, tells."""
    begin, end = piece[:_BEGIN], piece[-_END:]
    id_, finish = _ID.search(begin), _FINISH.search(end)
    return Told(id_[1].decode() if id_ else "", finish[1].decode() if finish else "", found_in(end))


def settings_of(body: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a request's body that are told, by their names there."""
    given = ((name, body.get(key)) for key, name in names.SAMPLING.items())
    return {
        name: value
        for name, value in given
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53
    }


def failure(error: CoEError | None, status: int) -> str:
    """Return what went wrong, in a word; empty for nothing."""
    if error is not None:
        return type(error).__name__
    return str(status) if status >= 400 else ""  # noqa: PLR2004
