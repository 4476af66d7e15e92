"""What others do, to be measured beside: the same events in, the same actions out.

Each owns its memory by the simplest rule that its model has: the least recently used expert leaves.
They take no cancellations, deadlines or lanes.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable

from coe.scheduler.events import (
    Action,
    Arrive,
    Event,
    Finished,
    Load,
    Loaded,
    Source,
    Start,
    Ticket,
    Unload,
    Unloaded,
    Why,
)


class Recent:
    """Experts in memory and those parked in host memory, both by least recent use; of size 1."""

    def __init__(self, slots: int, host: int | None) -> None:
        self.slots = slots
        self.host = host
        self.resident: OrderedDict[str, None] = OrderedDict()
        self.parked: OrderedDict[str, None] = OrderedDict()

    def use(self, expert: str) -> None:
        """Note that it is used now."""
        self.resident.move_to_end(expert)

    def bring(self, expert: str) -> list[Action]:
        """Return what makes an expert resident; it is counted as such from now on."""
        actions: list[Action] = []
        if len(self.resident) >= self.slots:
            victim, _ = self.resident.popitem(last=False)
            actions.append(self._unload(victim, expert))
        source: Source = "host" if expert in self.parked else "disk"
        self.parked.pop(expert, None)
        self.resident[expert] = None
        return [*actions, Load(expert, source)]

    def _unload(self, victim: str, expert: str) -> Unload:
        why = Why(for_expert=expert, needs=1, free=0, waiting=0, idle_s=0.0, reload_s=0.0)
        is_full = len(self.parked) >= (self.host or 0)
        drop = tuple([name for name in self.parked if name != expert][:1]) if is_full else ()
        if is_full and not drop:
            return Unload(victim, why)
        for name in drop:
            del self.parked[name]
        self.parked[victim] = None
        return Unload(victim, why, park=True, drop=drop)


class FirstCome:
    """First come, first served.

    Args:
        batch: calls that run at once, all of one expert.
        coalesces: whether an expert that is served takes all that waits for it at that moment, up
            to a batch; otherwise only calls that are next in line anyway.
    """

    def __init__(self, *, slots: int, batch: int, coalesces: bool, host: int | None = None) -> None:
        self._memory = Recent(slots, host)
        self._batch = batch
        self._coalesces = coalesces
        self._line: OrderedDict[str, tuple[float, Ticket]] = OrderedDict()
        self._by_expert: dict[str, deque[str]] = {}
        self._running = 0
        self._current: str | None = None
        self._is_loading = False
        self.wake_s = math.inf

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """See `coe.scheduler.state.Scheduler.handle`."""
        match event:
            case Arrive(ticket):
                self._line[ticket.id] = (now_s, ticket)
                self._by_expert.setdefault(ticket.expert, deque()).append(ticket.id)
            case Finished(_):
                self._running -= 1
            case Loaded(_):
                self._is_loading = False
                return self._serve(now_s)
            case Unloaded(_):
                return []
            case _:
                raise ValueError(f"{event} is not for this rule")
        if self._is_loading or not self._line:
            return []
        if self._running:
            return [] if self._coalesces else self._serve(now_s)
        _, first = next(iter(self._line.values()))
        self._current = first.expert
        if first.expert in self._memory.resident:
            return self._serve(now_s)
        self._is_loading = True
        return self._memory.bring(first.expert)

    def _serve(self, now_s: float) -> list[Action]:
        actions: list[Action] = []
        while self._running < self._batch and self._line:
            own = self._by_expert.get(self._current or "")
            call = next(iter(self._line)) if not self._coalesces else own and own[0]
            if not call or self._line[call][1].expert != self._current:
                break
            arrived_s, ticket = self._line.pop(call)
            self._by_expert[ticket.expert].popleft()
            self._memory.use(ticket.expert)
            self._running += 1
            actions.append(Start(call, ticket.expert, now_s - arrived_s, 0.0))
        return actions


class LlamaSwap:
    """llama-swap's rule: stay with what is loaded until nothing of it runs, then the oldest call.

    One expert in memory; calls for it start at once, however long others wait.
    """

    def __init__(self, *, batch: int) -> None:
        self._batch = batch
        self._line: OrderedDict[str, tuple[float, Ticket]] = OrderedDict()
        self._by_expert: dict[str, deque[str]] = {}
        self._current: str | None = None
        self._is_loading = False
        self._running = 0
        self.wake_s = math.inf

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """See `coe.scheduler.state.Scheduler.handle`."""
        match event:
            case Arrive(ticket):
                self._line[ticket.id] = (now_s, ticket)
                self._by_expert.setdefault(ticket.expert, deque()).append(ticket.id)
            case Finished(_):
                self._running -= 1
            case Loaded(_):
                self._is_loading = False
            case _:
                pass
        if self._is_loading:
            return []
        actions = list(self._starts(now_s))
        if self._running or not self._line:
            return actions
        _, first = next(iter(self._line.values()))
        why = Why(for_expert=first.expert, needs=1, free=0, waiting=0, idle_s=0.0, reload_s=0.0)
        leaving = [Unload(self._current, why)] if self._current else []
        self._current = first.expert
        self._is_loading = True
        return [*leaving, Load(first.expert)]

    def _starts(self, now_s: float) -> Iterable[Action]:
        own = self._by_expert.get(self._current or "", ())
        while own and self._running < self._batch:
            call = own.popleft()
            arrived_s, ticket = self._line.pop(call)
            self._running += 1
            yield Start(call, ticket.expert, now_s - arrived_s, 0.0)
