"""Discrete-event simulation: a trace, a rule, and a world that referees what the rule does.

The world checks every action: a call starts only where its expert is in memory and has a slot, no
expert leaves while it works, and memory is never exceeded. A rule that breaks this raises
`Foul`; so a run that ends is a proof for that trace.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from coe.scheduler.chronicle import Chronicle
from coe.scheduler.events import (
    Action,
    Arrive,
    Event,
    Finished,
    Load,
    Loaded,
    Refuse,
    Start,
    Tick,
    Ticket,
    Unload,
    Unloaded,
)
from coe.scheduler.memory import Expert, Layout, footprint
from coe.scheduler.traces import Arrival


class Rule(Protocol):
    """What orders calls and owns memory: the scheduler, or what it is compared with."""

    @property
    def wake_s(self) -> float:
        """When it wants a `Tick`."""

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """Take in what happened and return what to do."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A rule, with a chronicle that reads along."""

    rule: Rule
    chronicle: Chronicle

    @property
    def wake_s(self) -> float:
        """See `Rule`."""
        return self.rule.wake_s

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """See `Rule`."""
        actions = self.rule.handle(event, now_s)
        self.chronicle.take(now_s, event, actions)
        return actions


class Foul(AssertionError):
    """A rule did what cannot be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How calls that run at the same time share their expert.

    Attributes:
        slowdown: each further call makes all of them slower by this share of one alone; None where
            they do not feel each other, as on a server with spare capacity.
        joins: whether a call may join others that run (continuous batching); otherwise it waits
            until they all ended.
    """

    slowdown: float | None = None
    joins: bool = True

    def factor(self, running: int) -> float:
        """Return how many times longer a call takes beside the others."""
        return 1.0 if self.slowdown is None else 1.0 + self.slowdown * (running - 1)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run. Times in seconds.

    Attributes:
        waits_s: from arrival to start, by call.
        ends_s: when each call finished, by call.
        refused: calls that were told no, with the reason.
        loads: when and whom.
        fetches: loads from disk where others may come from host memory.
    """

    arrivals: Sequence[Arrival]
    waits_s: dict[str, float] = field(default_factory=dict)
    ends_s: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    loads: list[tuple[float, str]] = field(default_factory=list)
    fetches: int = 0


def run(
    arrivals: Sequence[Arrival],
    rule: Rule,
    layout: Layout,
    engine: Engine | None = None,
) -> Outcome:
    """Play a trace to its end. Raises Foul."""
    return _World(arrivals, rule, layout, engine or Engine()).play()


@dataclass(slots=True)
class _Batch:
    """Calls that run on one expert and its adapters.

    `done` counts the work that each of them has got since the expert came, in seconds of a call
    that is alone.
    """

    running: dict[str, float] = field(default_factory=dict)  # call -> `done` at which it ends
    waiting: dict[str, float] = field(default_factory=dict)  # call -> its work
    done: float = 0.0
    at_s: float = 0.0
    version: int = 0


class _World:
    def __init__(
        self, arrivals: Sequence[Arrival], rule: Rule, layout: Layout, engine: Engine
    ) -> None:
        self.outcome = Outcome(arrivals=arrivals)
        self.rule, self.layout, self.engine = rule, layout, engine
        self.calls = {a.id: a for a in arrivals}
        self.experts = {e.name: e for e in layout.experts}
        self.units = {e.name: e.base or e.name for e in layout.experts}
        self.sizes = {e.name: self._size(e) for e in layout.experts}
        self.pools = {p.name: p for p in layout.pools}
        self.resident: dict[str, str] = {}  # expert -> loading, ready
        self.parked: dict[str, dict[str, int]] = {p.name: {} for p in layout.pools}
        self.batches: dict[str, _Batch] = {}
        self.heap: list[tuple[float, int, Event | tuple[str, int]]] = []
        self.order = count()
        self.now_s = 0.0
        self.dirty: set[str] = set()
        self.awaited: dict[str, int] = {}
        self.followers: dict[str, list[Arrival]] = defaultdict(list)
        self.arrived_s: dict[str, float] = {}

    def _size(self, expert: Expert) -> int:
        return footprint(expert, self.layout.adapters(expert.name)) if not expert.base else 0

    def play(self) -> Outcome:
        for a in self.outcome.arrivals:
            if a.after:
                self.awaited[a.id] = len(a.after)
                for call in a.after:
                    self.followers[call].append(a)
            else:
                self._push(a.at_s, _arrive(a))
        left = len(self.calls)
        while left:
            wake_s = self.rule.wake_s
            next_s = self.heap[0][0] if self.heap else math.inf
            if min(wake_s, next_s) > self.now_s:
                self._begin()
                next_s = self.heap[0][0] if self.heap else math.inf
            if math.isinf(min(wake_s, next_s)):
                raise Foul(f"{left} calls are stuck at {self.now_s:.1f} s")
            if wake_s < next_s:
                self._tell(Tick(), max(wake_s, self.now_s))
            else:
                at_s, _, event = heapq.heappop(self.heap)
                self._happen(event, at_s)
            left = len(self.calls) - len(self.outcome.ends_s) - len(self.outcome.refused)
        return self.outcome

    def _happen(self, event: Event | tuple[str, int], at_s: float) -> None:
        if not isinstance(event, tuple):
            if isinstance(event, Loaded):
                self.resident[event.expert] = "ready"
                self.parked[self.experts[event.expert].pool].pop(event.expert, None)
            elif isinstance(event, Arrive):
                self.arrived_s[event.ticket.id] = at_s
            self._tell(event, at_s)
            return
        unit, version = event
        batch = self.batches[unit]
        if version != batch.version:
            return
        self._work(batch, at_s)
        ended = [call for call, end in batch.running.items() if end <= batch.done + 1e-9]
        for call in ended:
            del batch.running[call]
            self.outcome.ends_s[call] = at_s
        self.dirty.add(unit)
        for call in ended:
            self._tell(Finished(call), at_s)
            self._release(call, at_s)

    def _release(self, call: str, at_s: float) -> None:
        for follower in self.followers[call]:
            self.awaited[follower.id] -= 1
            if not self.awaited[follower.id]:
                self._push(max(at_s, follower.at_s), _arrive(follower))

    def _tell(self, event: Event, now_s: float) -> None:
        self.now_s = now_s
        todo = [event]
        while todo:
            for action in self.rule.handle(todo.pop(0), now_s):
                todo.extend(self._apply(action, now_s))

    # ------------------------------------------------------------ the referee

    def _apply(self, action: Action, now_s: float) -> Iterable[Event]:
        match action:
            case Start(call, expert):
                self._start(call, expert, now_s)
            case Refuse(call, reason):
                if call in self.outcome.waits_s or call in self.outcome.refused:
                    raise Foul(f"{call} was refused after it was resolved")
                self.outcome.refused[call] = reason
            case Load():
                self._load(action, now_s)
            case Unload(expert, _, park, drop):
                if self._works(expert):
                    raise Foul(f"{expert} was unloaded while it worked")
                if self.resident.pop(expert, "") != "ready":
                    raise Foul(f"{expert} was unloaded and not in memory")
                for adapter in [e for e in self.resident if self.units[e] == expert]:
                    del self.resident[adapter]
                self._park(action)
                return (Unloaded(expert, parked=park, dropped=drop),)
        return ()

    def _works(self, expert: str) -> bool:
        batch = self.batches.get(self.units[expert])
        calls = (*batch.running, *batch.waiting) if batch else ()
        whole = self.units[expert] == expert
        return any(whole or self.calls[call].expert == expert for call in calls)

    def _start(self, call: str, expert: str, now_s: float) -> None:
        arrival, unit = self.calls[call], self.units[expert]
        if call in self.outcome.waits_s or call in self.outcome.refused:
            raise Foul(f"{call} was started after it was resolved")
        if arrival.expert != expert or self.resident.get(expert) != "ready":
            raise Foul(f"{call} was started on {expert}, which is not there for it")
        batch = self.batches.setdefault(unit, _Batch())
        if len(batch.running) + len(batch.waiting) >= self.experts[unit].concurrency:
            raise Foul(f"{call} has no slot on {unit}")
        self.outcome.waits_s[call] = now_s - self.arrived_s[call]
        batch.waiting[call] = arrival.work_s
        self.dirty.add(unit)
        pool = self.pools[self.experts[unit].pool]
        if pool.width is not None:
            busy = sum(
                1
                for name, b in self.batches.items()
                if (b.running or b.waiting) and self.experts[name].pool == pool.name
            )
            if busy > pool.width:
                raise Foul(f"{busy} experts of {pool.name} work at once")

    def _load(self, action: Load, now_s: float) -> None:
        expert = self.experts[action.expert]
        pool = self.pools[expert.pool]
        if expert.name in self.resident:
            raise Foul(f"{expert.name} was loaded twice")
        if expert.base and self.resident.get(expert.base) != "ready":
            raise Foul(f"{expert.name} was loaded without its base")
        self.resident[expert.name] = "loading"
        used = sum(self.sizes[e] for e in self.resident if self.experts[e].pool == pool.name)
        if used > pool.memory:
            raise Foul(f"{pool.name} holds {used} of {pool.memory} bytes")
        if expert.base and (most := self.experts[expert.base].max_loras):
            beside = [e for e in self.resident if self.experts[e].base == expert.base]
            if len(beside) > most:
                raise Foul(f"{expert.base} has {len(beside)} of {most} adapters")
        is_parked = expert.name in self.parked[pool.name]
        if (action.source == "host") != is_parked:
            raise Foul(f"{expert.name} does not come from {action.source}")
        if pool.host is not None and not is_parked:
            self.outcome.fetches += 1
        quick_s = expert.load_s if expert.host_s is None else expert.host_s
        self.outcome.loads.append((now_s, expert.name))
        self._push(now_s + (quick_s if is_parked else expert.load_s), Loaded(expert.name))

    def _park(self, action: Unload) -> None:
        expert = self.experts[action.expert]
        parked = self.parked[expert.pool]
        for name in action.drop:
            if name in self.resident or parked.pop(name, None) is None:
                raise Foul(f"{name} was dropped and not parked")
        if action.park:
            parked[expert.name] = expert.memory
        most = self.pools[expert.pool].host or 0
        if sum(parked.values()) > most:
            raise Foul(f"host memory holds {sum(parked.values())} of {most} bytes")

    # ------------------------------------------------------------ the engine

    def _work(self, batch: _Batch, now_s: float) -> None:
        if batch.running:
            batch.done += (now_s - batch.at_s) / self.engine.factor(len(batch.running))
        batch.at_s = now_s

    def _begin(self) -> None:
        """Let calls that were started at this moment run."""
        for unit in self.dirty:
            batch = self.batches[unit]
            self._work(batch, self.now_s)
            if self.engine.joins or not batch.running:
                for call, work_s in batch.waiting.items():
                    batch.running[call] = batch.done + work_s
                batch.waiting.clear()
            batch.version += 1
            if batch.running:
                left = min(batch.running.values()) - batch.done
                ends_s = self.now_s + left * self.engine.factor(len(batch.running))
                self._push(ends_s, (unit, batch.version))
        self.dirty.clear()

    def _push(self, at_s: float, event: Event | tuple[str, int]) -> None:
        heapq.heappush(self.heap, (at_s, next(self.order), event))


def _arrive(arrival: Arrival) -> Arrive:
    return Arrive(
        Ticket(
            id=arrival.id,
            expert=arrival.expert,
            key=arrival.key,
            lane=arrival.lane,
            deadline_s=arrival.deadline_s,
        )
    )
