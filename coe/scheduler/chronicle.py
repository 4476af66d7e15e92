"""What a scheduler did, to be looked at afterwards: who was in memory when, who waited, who worked.

It reads along what the state machine is told and answers, so that a simulated rule and a gateway
that serves are recorded by the same few lines. It keeps the last of each kind, names and counts
alone, and costs nine microseconds a call (measured).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

from coe.scheduler.events import (
    Action,
    Arrive,
    Cancel,
    Event,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    Lost,
    Refuse,
    Start,
    Unload,
    Unloaded,
    UnloadFailed,
)
from coe.scheduler.memory import Layout

What = Literal[
    "loading",
    "ready",
    "failed",  # to be loaded; it is not in memory
    "leaving",
    "left",
    "stayed",  # it was to leave, and that failed
    "lost",  # it is not in memory though nobody asked for that
]
INSIDE: frozenset[What] = frozenset({"loading", "ready", "leaving", "stayed"})

MOST = 4000
RESOLUTION_S = 1.0


class Mark(NamedTuple):
    """Something that happened to an expert.

    Attributes:
        at_s: of the clock that the scheduler is told.
        waiting: calls that waited in all, right then.
        for_expert: who needed the room, where it is leaving.
        source: where its weights were, where it is loading: `host` or `disk`.
    """

    at_s: float
    expert: str
    what: What
    waiting: int
    for_expert: str = ""
    source: str = ""


class Call(NamedTuple):
    """A call that was served to its end.

    Attributes:
        at_s: when it came.
        waited_s: from then to its start.
        took_s: from its start to its end, beside the calls that ran with it.
    """

    at_s: float
    expert: str
    waited_s: float
    took_s: float


class Depth(NamedTuple):
    """How many calls waited from then on."""

    at_s: float
    waiting: int


@dataclass(slots=True)
class Spell:
    """A stretch of time in which calls of an expert ran; short pauses do not end it.

    Attributes:
        calls: that were started in it.
    """

    expert: str
    from_s: float
    until_s: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a chronicle holds.

    Attributes:
        since_s, until_s: all of what happened between them is here.
        before: where experts were before the first mark: only those in memory.
        marks, spells, depths: in order of time; spells by when they ended.
        calls: the last of them, by when they ended; they need not reach as far back.
    """

    since_s: float
    until_s: float
    before: Mapping[str, What]
    marks: Sequence[Mark]
    spells: Sequence[Spell]
    depths: Sequence[Depth]
    calls: Sequence[Call] = ()


class Chronicle:
    """Reads along; see the module. Owned by whoever drives the scheduler.

    Args:
        most: marks that are kept; of spells, depths and calls as many each. None for all of them.
        resolution_s: depths that follow each other faster become one, the later one; pauses
            between calls that are shorter do not end a spell.
    """

    def __init__(self, *, most: int | None = MOST, resolution_s: float = RESOLUTION_S) -> None:
        self._resolution_s = resolution_s
        self._marks: _Ring[Mark] = _Ring(most)
        self._spells: _Ring[Spell] = _Ring(most)
        self._depths: _Ring[Depth] = _Ring(most)
        self._calls: _Ring[Call] = _Ring(most)
        self._begun_s: float | None = None
        self._before: dict[str, What] = {}
        self._now: dict[str, What] = {}
        self._waiting: dict[str, float] = {}  # since when
        self._running: dict[str, _Running] = {}
        self._told_before: dict[str, float | _Running] = {}  # what a new state machine is told of
        self._open: dict[str, tuple[Spell, int]] = {}  # with the calls that run now
        self._bases: dict[str, str] = {}

    def begin(self, now_s: float, layout: Layout, resident: Iterable[str]) -> None:
        """Note who is in memory as a state machine begins, which is told of all calls then."""
        self._bases = {one.name: one.base for one in layout.experts if one.base is not None}
        self._told_before = {**self._waiting, **self._running}
        self._waiting, self._running = {}, {}
        for expert in tuple(self._open):
            self._rest(expert, now_s)
        inside = dict.fromkeys(resident)
        if self._begun_s is None:
            self._begun_s = now_s
            self._before = dict.fromkeys(inside, "ready")
            self._now = dict(self._before)
            return
        for expert in inside:
            if self._now.get(expert) not in {"ready", "stayed"}:
                self._mark(now_s, expert, "ready")
        for expert, what in tuple(self._now.items()):
            if expert not in inside:
                self._mark(now_s, expert, "failed" if what == "loading" else "left")

    def take(self, now_s: float, event: Event, actions: Iterable[Action]) -> None:
        """Note an event and what was answered to it."""
        if self._begun_s is None:
            self._begun_s = now_s
        self._hear(event, now_s)
        for action in actions:
            self._see(action, now_s)
        self._measure(now_s)

    def record(self, now_s: float) -> Record:
        """Return what is known up to now."""
        begun_s = now_s if self._begun_s is None else self._begun_s
        lost_s = (
            *(mark.at_s for mark in self._marks.lost),
            *(spell.until_s for spell in self._spells.lost),
            *(depth.at_s for depth in self._depths.lost),
        )
        running = (
            Spell(one.expert, one.from_s, now_s if left else one.until_s, one.calls)
            for one, left in self._open.values()
        )
        return Record(
            since_s=min(max((begun_s, *lost_s)), now_s),
            until_s=now_s,
            before=dict(self._before),
            marks=tuple(self._marks.kept),
            spells=(*self._spells.kept, *running),
            depths=tuple(self._depths.kept),
            calls=tuple(self._calls.kept),
        )

    # ------------------------------------------------------------ events and actions

    def _hear(self, event: Event, now_s: float) -> None:
        match event:
            case Arrive(ticket):
                before = self._told_before.get(ticket.id)
                self._waiting[ticket.id] = before if isinstance(before, float) else now_s
            case Cancel(call):
                self._waiting.pop(call, None)
            case Finished(call):
                self._end(call, now_s)
            case Loaded(expert):
                self._mark(now_s, expert, "ready")
            case LoadFailed(expert):
                self._mark(now_s, expert, "failed")
            case Unloaded(expert):
                self._gone(expert, now_s, "left")
            case UnloadFailed(expert):
                self._mark(now_s, expert, "stayed")
            case Lost(expert):
                self._gone(expert, now_s, "lost")

    def _see(self, action: Action, now_s: float) -> None:
        match action:
            case Start(call, expert):
                self._start(call, expert, now_s)
            case Refuse(call):
                self._waiting.pop(call, None)
            case Load(expert, source):
                self._mark(now_s, expert, "loading", source=source)
            case Unload(expert, why):
                self._mark(now_s, expert, "leaving", why.for_expert)

    # ------------------------------------------------------------ experts

    def _mark(
        self, now_s: float, expert: str, what: What, for_expert: str = "", source: str = ""
    ) -> None:
        mark = Mark(now_s, expert, what, len(self._waiting), for_expert, source)
        old = self._marks.add(mark)
        _put(self._now, expert, what)
        if old is not None:
            _put(self._before, old.expert, old.what)

    def _gone(self, expert: str, now_s: float, what: What) -> None:
        """Note that an expert left, and its adapters with it."""
        for other in tuple(self._now):
            if self._bases.get(other) == expert:
                self._mark(now_s, other, what)
        self._mark(now_s, expert, what)

    # ------------------------------------------------------------ calls

    def _start(self, call: str, expert: str, now_s: float) -> None:
        at_s = self._waiting.pop(call, now_s)
        before = self._told_before.pop(call, None)
        begun = before if isinstance(before, _Running) else _Running(expert, at_s, now_s)
        self._running[call] = begun
        spell, left = self._open.get(expert) or (Spell(expert, now_s, now_s, 0), 0)
        if not left and now_s - spell.until_s > self._resolution_s:
            self._spells.add(spell)
            spell = Spell(expert, now_s, now_s, 0)
        spell.calls += 1
        self._open[expert] = (spell, left + 1)

    def _end(self, call: str, now_s: float) -> None:
        begun = self._running.pop(call, None)
        if begun is None:
            return
        expert, at_s, started_s = begun
        self._calls.add(Call(at_s, expert, started_s - at_s, now_s - started_s))
        spell, left = self._open[expert]
        spell.until_s = now_s
        self._open[expert] = (spell, left - 1)

    def _rest(self, expert: str, now_s: float) -> None:
        spell, left = self._open.pop(expert)
        if left:
            spell.until_s = now_s
        self._spells.add(spell)

    def _measure(self, now_s: float) -> None:
        depths, waiting = self._depths.kept, len(self._waiting)
        last = depths[-1] if depths else None
        if last is not None and last.waiting == waiting:
            return
        if last is not None and now_s - last.at_s < self._resolution_s:
            depths[-1] = Depth(last.at_s, waiting)
            return
        self._depths.add(Depth(now_s, waiting))


class _Running(NamedTuple):
    expert: str
    at_s: float
    started_s: float


Item = TypeVar("Item")


@dataclass(slots=True)
class _Ring(Generic[Item]):
    """The last few, and the one that was given up last."""

    most: int | None
    kept: deque[Item] = field(default_factory=deque)
    lost: list[Item] = field(default_factory=list)

    def add(self, item: Item) -> Item | None:
        """Add one; return the one that was given up for it."""
        self.kept.append(item)
        if self.most is None or len(self.kept) <= self.most:
            return None
        self.lost = [self.kept.popleft()]
        return self.lost[0]


def _put(states: dict[str, What], expert: str, what: What) -> None:
    if what in INSIDE:
        states[expert] = what
    else:
        states.pop(expert, None)
