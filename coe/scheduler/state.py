"""The scheduler: a state machine that owns who is in memory. Events in, actions out.

No clock, no I/O, no logging: whoever drives it tells it what happened and when, does what it
answers, and reports back. Every change of state is decided in the same turn in which it is made.

What happens when anything happens (numbers are repeated in the code):

1. A call joins the queue of its expert, or is refused at once.
2. Calls whose deadline passed are refused.
3. Where not every resident expert may work: one whose turn is over hands on.
4. A resident expert starts what waits for it, while it has slots and nobody closed it.
5. Who is absent and wanted comes in:
   a. one at a time; a call for an expert on its way just joins its queue;
   b. one that presses (waited too long) closes the ones that leave for it to later calls, and they
      leave when they are idle: nobody who works is ever unloaded;
   c. otherwise only idle ones leave;
   d. an expert stays for at least as many calls as waited for it when it came;
   e. nobody is loaded whom no call waits for any more; a load under way ends quietly;
   f. who leaves is parked in host memory where there is room, or where one that is parked is needed
      less; the reports say what became of it;
   g. where nobody who is absent is called for, one that is preferred comes back.
6. Calls beyond `max_wait_s` that are not next are refused.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from coe.protocols import Eviction, Ordering
from coe.scheduler.events import (
    LANES,
    Action,
    Arrive,
    Cancel,
    Dropped,
    Event,
    Finished,
    Lane,
    Loaded,
    LoadFailed,
    Lost,
    Moved,
    Refusal,
    Refuse,
    Start,
    Tick,
    Ticket,
    Unloaded,
    UnloadFailed,
)
from coe.scheduler.furnish import all_rooms, furnish
from coe.scheduler.memory import Kept, Layout
from coe.scheduler.options import Options
from coe.scheduler.policies import Affinity, NextUse
from coe.scheduler.queues import Waiter
from coe.scheduler.residency import CLOSED, Residency
from coe.scheduler.rooms import Incoming, Occupant, Room
from coe.scheduler.turns import Turns

LONGEST_RETRY_S = 60.0
RATE_FADES_S = 60.0


class _Running(NamedTuple):
    occupant: Occupant
    lane: Lane
    started_s: float


class Scheduler:
    """Orders calls and owns residency. Not thread-safe: one task owns it.

    Args:
        resident: experts that are in memory already.
        kept: what is known of host memory and of loads.
    """

    def __init__(
        self,
        layout: Layout,
        options: Options | None = None,
        *,
        ordering: Ordering | None = None,
        eviction: Eviction | None = None,
        resident: Iterable[str] = (),
        kept: Kept | None = None,
    ) -> None:
        self.options = options or Options()
        self.ordering: Ordering = ordering or Affinity()
        self.eviction: Eviction = eviction or NextUse()
        self._residency = Residency(self.options, self.ordering, self.eviction)
        self._turns = Turns(self.ordering, self._residency, self._start)
        self._pools, self._occupants = furnish(layout, kept or Kept(), tuple(resident))
        self._all_rooms = all_rooms(self._pools)
        self._waiting: dict[str, tuple[Occupant, Waiter]] = {}
        self._running: dict[str, _Running] = {}
        self._by_key: Counter[str] = Counter()
        self._deadlines: list[tuple[float, str]] = []
        self._alarms: list[tuple[float, str]] = []
        self._relieved: set[Room] = set()  # rooms where bulk may have all the slots again
        self._freed: list[Occupant] = []  # they may be loaded again
        self._arrivals = 0
        self._starts = 0
        self._start_rate = 0.0  # calls per second, of late
        self._started_s = 0.0
        self._now_s = 0.0
        self._actions: list[Action] = []

    # ------------------------------------------------------------ seen from outside

    @property
    def queued(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many calls run."""
        return len(self._running)

    @property
    def wake_s(self) -> float:
        """When a `Tick` is due though nothing else happens; infinite where never."""
        return min(
            _earliest(self._deadlines, self._waiting),
            _earliest(self._alarms, self._waiting),
            *(self._residency.wake_s(room, self._now_s) for room in self._all_rooms),
        )

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """Take in what happened and return what to do now, in this order.

        Raises:
            ValueError: the event names a call or expert that it cannot be about.
        """
        self._now_s = max(self._now_s, now_s)
        self._actions = self._residency.actions = []
        touched = self._take_in(event)
        self._expire()
        if touched:
            self._advance(touched, is_arrival=isinstance(event, Arrive))
        while self._freed:
            self._advance(self._freed.pop())
        if isinstance(event, Tick):
            for room in self._all_rooms:
                room.is_stuck = False
                self._settle(room)
        if self.options.max_wait_s is not None:
            for room in self._pools:
                self._refuse_late(room, self.options.max_wait_s)
        if not self.ordering.groups:  # whoever held the others back may be gone
            self._relieved.update(self._pools)
        while self._relieved:
            self._start_everybody(self._relieved.pop())
        return self._actions

    # ------------------------------------------------------------ events

    def _take_in(self, event: Event) -> Occupant | None:
        """Change the books; return the expert that it is about, if anything can follow."""
        match event:
            case Arrive(ticket):
                return self._arrive(ticket)
            case Cancel(call):
                return self._cancel(call)
            case Finished(call):
                return self._finish(call)
            case Tick():
                return None
        occupant = self._occupant(event.expert)
        occupant.room.is_stuck = False
        if isinstance(event, Lost):
            self._lost(occupant)
        elif isinstance(event, Dropped):
            self._release(occupant)
        elif occupant.owed:
            occupant.owed -= 1
            self._note_parked(event, occupant)
        else:
            self._moved(event, occupant)
            self._note_parked(event, occupant)
        return occupant

    def _moved(self, event: Moved, occupant: Occupant) -> None:
        match event:
            case Loaded(_, memory):
                self._loaded(occupant, memory)
            case LoadFailed(_, parked):
                self._load_failed(occupant, parked=parked)
            case Unloaded():
                self._unloaded(occupant)
            case UnloadFailed():
                self._unload_failed(occupant)

    def _arrive(self, ticket: Ticket) -> Occupant | None:
        occupant = self._occupant(ticket.expert)
        if ticket.id in self._waiting or ticket.id in self._running:
            raise ValueError(f"the call `{ticket.id}` arrived twice")
        if refusal := self._refusal(ticket, occupant):  # 1
            self._actions.append(Refuse(ticket.id, *refusal))
            return None
        waiter = Waiter(self._now_s, self._arrivals, ticket, self._share(ticket))
        self._arrivals += 1
        self._waiting[ticket.id] = (occupant, waiter)
        self._by_key[ticket.key] += 1
        queue = occupant.lanes[ticket.lane]
        oldest = queue.oldest
        queue.push(waiter)
        for room in _rooms_of(occupant):
            room.waiting[ticket.lane] += 1
            room.reindex(occupant, ticket.lane, oldest)
        if ticket.deadline_s is not None:
            heapq.heappush(self._deadlines, (ticket.deadline_s, ticket.id))
            slack_s = ticket.deadline_s - occupant.unit.reload_s()
            heapq.heappush(self._alarms, (slack_s, ticket.id))
        return occupant

    def _share(self, ticket: Ticket) -> str:
        """Return who takes turns with the others."""
        if self.options.fair_share == "none":
            return ""
        # A space is in no key's id: a team is never taken for a key.
        by_team = self.options.fair_share == "team" and ticket.team
        return f"team {ticket.team}" if by_team else ticket.key

    def _refusal(self, ticket: Ticket, occupant: Occupant) -> tuple[Refusal, float] | None:
        now_s, unit = self._now_s, occupant.unit
        if not unit.can_fit:
            return "never-fits", LONGEST_RETRY_S
        retry_s = max(occupant.retry_s, unit.retry_s)
        if retry_s > now_s:
            return "load-failed", retry_s - now_s
        if len(self._waiting) >= self.options.max_queue:
            return "queue-full", self._retry_after_s()
        if self._by_key[ticket.key] >= self.options.max_queue_per_key:
            return "key-full", self._retry_after_s()
        if ticket.deadline_s is not None and ticket.deadline_s <= now_s:
            return "deadline", self._retry_after_s()
        return None

    def _cancel(self, call: str) -> Occupant | None:
        if call not in self._waiting:
            return None  # it runs, and is reported when it has stopped; or it was refused already
        occupant, waiter = self._waiting[call]
        self._leave(occupant, waiter)
        return occupant

    def _finish(self, call: str) -> Occupant:
        if call not in self._running:
            raise ValueError(f"the call `{call}` finished and was not running")
        occupant, lane, started_s = self._running.pop(call)
        for one in {occupant, occupant.unit}:
            one.in_flight -= 1
            one.bulk_in_flight -= lane == "bulk"
            one.ended_s = self._now_s
            if one.in_flight == one.bulk_in_flight:
                one.room.is_stuck = False
        occupant.learn_call(self._now_s - started_s)
        return occupant

    def _loaded(self, occupant: Occupant, memory: int | None) -> None:
        room = occupant.room
        incoming = self._incoming(occupant, "loading")
        occupant.times.learn(self._now_s - occupant.loading_s, incoming.source)
        self._release(occupant)
        if memory is not None and occupant is occupant.unit:
            room.resize(occupant, memory)
        elif memory is not None:
            occupant.memory = memory
        occupant.status = "ready"
        occupant.loaded_s = self._now_s
        occupant.failures = 0
        if self.ordering.groups:
            lane: Lane = "bulk" if incoming.is_promoted else "interactive"
            occupant.stay = occupant.waiting(lane)  # 5d
        room.incoming = None

    def _load_failed(self, occupant: Occupant, *, parked: bool = False) -> None:
        room = occupant.room
        self._incoming(occupant, "loading")
        if not parked:
            self._release(occupant)
        room.incoming = None
        room.dismiss(occupant)
        wait_s = self.options.retry_first_s * 2.0**occupant.failures
        occupant.retry_s = self._now_s + min(wait_s, LONGEST_RETRY_S)
        occupant.failures += 1
        for member in occupant.members:
            for queue in member.lanes.values():
                for waiter in queue.waited(0.0, self._now_s):
                    self._refuse(member, waiter, "load-failed", occupant.retry_s - self._now_s)

    def _unloaded(self, occupant: Occupant) -> None:
        if occupant.status != "unloading":
            raise ValueError(f"expert `{occupant.name}` was unloaded and nobody asked for that")
        occupant.room.dismiss(occupant)

    def _unload_failed(self, occupant: Occupant) -> None:
        if occupant.status != "unloading":
            raise ValueError(f"expert `{occupant.name}` was not asked to unload")
        occupant.status = "ready"
        occupant.before = math.inf  # whom it was to leave for may have been given up before
        occupant.kept_s = self._now_s + LONGEST_RETRY_S  # others leave instead, for a while
        incoming = occupant.room.incoming
        if incoming and occupant in incoming.victims:
            self._residency.abandon(occupant.room)

    def _note_parked(self, event: Moved, occupant: Occupant) -> None:
        """5f. Take in who is in host memory now."""
        host = occupant.room.host
        if host is None or not isinstance(event, Unloaded | UnloadFailed):
            return
        parked = isinstance(event, Unloaded) and event.parked
        for one in host.arrive(occupant, parked=parked, dropped=event.dropped):
            one.room.is_stuck = False
            self._freed.append(one)

    @staticmethod
    def _release(occupant: Occupant) -> None:
        if occupant.room.host is not None:
            occupant.room.host.release(occupant)

    def _lost(self, occupant: Occupant) -> None:
        gone = occupant.inner.residents.values() if occupant.inner else ()
        for one in (occupant, *gone):
            one.owed += one.status in {"loading", "unloading"}
        if occupant.status == "loading":
            self._load_failed(occupant)
        elif occupant.status != "out":
            occupant.room.dismiss(occupant)

    def _incoming(self, occupant: Occupant, phase: str) -> Incoming:
        incoming = occupant.room.incoming
        if incoming is None or incoming.target is not occupant or incoming.phase != phase:
            raise ValueError(f"expert `{occupant.name}` was not {phase}")
        return incoming

    # ------------------------------------------------------------ calls

    def _leave(self, occupant: Occupant, waiter: Waiter) -> None:
        """Take a call out of every queue."""
        ticket = waiter.ticket
        del self._waiting[ticket.id]
        self._by_key[ticket.key] -= 1
        if not self._by_key[ticket.key]:
            del self._by_key[ticket.key]
        queue = occupant.lanes[ticket.lane]
        oldest = queue.oldest
        queue.remove(ticket)
        for room in _rooms_of(occupant):
            room.waiting[ticket.lane] -= 1
            room.reindex(occupant, ticket.lane, oldest)
            if room.waiting["bulk"] and not room.waiting["interactive"]:
                self._relieved.add(room)

    def _refuse(
        self, occupant: Occupant, waiter: Waiter, reason: Refusal, retry_after_s: float
    ) -> None:
        self._leave(occupant, waiter)
        self._actions.append(Refuse(waiter.ticket.id, reason, retry_after_s))

    def _expire(self) -> None:
        """2. Refuse calls whose deadline passed; remember whose slack is gone."""
        while self._deadlines and self._deadlines[0][0] <= self._now_s:
            _, call = heapq.heappop(self._deadlines)
            if call in self._waiting:
                occupant, waiter = self._waiting[call]
                self._refuse(occupant, waiter, "deadline", self._retry_after_s())
                self._advance(occupant)
        while self._alarms and self._alarms[0][0] <= self._now_s:
            _, call = heapq.heappop(self._alarms)
            if call in self._waiting:
                occupant, _ = self._waiting[call]
                for room in _rooms_of(occupant):
                    room.urgent[room.here(occupant)] = None
                    room.is_stuck = False
                self._advance(occupant)

    def _refuse_late(self, room: Room, max_wait_s: float) -> None:
        """6. Refuse interactive calls beyond the promise, but for those that are next.

        Of a unit that is next, as many calls stay as it has slots: they start within one drain.
        """
        heads = room.heads["interactive"]
        if not heads or heads[0][0] + max_wait_s > self._now_s:
            return
        places: dict[Occupant, int] = {}
        for arrived_s, _, occupant in list(heads):
            if arrived_s + max_wait_s > self._now_s:
                break
            unit = occupant.unit
            if unit not in places:
                places[unit] = unit.expert.concurrency if self._is_next(unit) else 0
            left = places[unit] if self._is_next(occupant) else 0
            if left and occupant.is_adapter and unit.status != "ready":
                places[unit] = 0  # one adapter follows its base; a second one is not the next
            for waiter in occupant.lanes["interactive"].waited(max_wait_s, self._now_s):
                if left > 0:
                    left -= 1
                    places[unit] = max(0, places[unit] - 1)
                else:
                    self._refuse(occupant, waiter, "late", self._retry_after_s())
            self._settle(occupant.room)
            self._settle(unit.room)

    def _is_next(self, occupant: Occupant) -> bool:
        """Whether its first calls start within one drain and one load at the most."""
        room = occupant.room
        if occupant is not occupant.unit and occupant.unit.status != "ready":
            return True  # as much as its base is; it follows on the base's heels
        if room.incoming and room.incoming.target is occupant:
            return room.heir is None  # it would wait for that one's turn, too
        if occupant.status != "ready" or occupant.before == CLOSED:
            return False
        if room.width is None:
            return True
        if room.heir is occupant or (occupant in room.floor and not occupant.is_turn_over):
            return True
        inner = occupant.inner  # the next turn is kept free for an adapter that is being loaded
        coming = inner.incoming if inner and room.heir is None else None
        return coming is not None and self._residency.is_overdue(coming.target, self._now_s)

    # ------------------------------------------------------------ what follows

    def _advance(self, occupant: Occupant, *, is_arrival: bool = False) -> None:
        """Do what has become possible where an expert is.

        A call that arrives for an expert that is in memory changes nothing about who should be.
        """
        unit = occupant.unit
        self._start(unit)
        if unit.inner:
            self._settle(unit.inner)
        if not is_arrival or unit.status != "ready":
            self._settle(unit.room)
        elif unit.room.width is not None:
            self._turns.hand_on(unit.room, unit.room.width, self._now_s)

    def _settle(self, room: Room) -> None:
        if room.width is not None:
            self._turns.hand_on(room, room.width, self._now_s)
        self._residency.settle(room, self._now_s)
        while self._residency.reopened:
            unit = self._residency.reopened.pop().unit
            self._start(unit)
            if unit.inner:
                self._settle(unit.inner)

    def _start(self, unit: Occupant) -> None:
        """4. Start what waits for a unit while it has slots."""
        room = unit.room
        if unit.status != "ready" or unit.is_turn_over:
            return
        if room.width is not None and unit not in room.floor:
            return
        while unit.in_flight < unit.expert.concurrency:
            found = self._next_call(unit)
            if found is None:
                break
            self._start_call(*found)

    def _start_everybody(self, room: Room) -> None:
        if room.width is not None:
            self._turns.hand_on(room, room.width, self._now_s)
        for one in list(room.residents.values()):
            self._start(one.unit)

    def _next_call(self, unit: Occupant) -> tuple[Occupant, Waiter] | None:
        for lane in LANES:
            if lane == "bulk" and not self._may_start_bulk(unit):
                return None
            best: tuple[Occupant, Waiter] | None = None
            last = math.inf if self.ordering.groups else _first_absent(unit.room, lane)
            for member in unit.members:
                oldest = member.lanes[lane].oldest
                before = min(member.before, unit.before, last)
                if oldest is None or member.status != "ready" or oldest.number >= before:
                    continue
                if best is None or oldest.number < best[1].number:
                    best = (member, oldest)
            if best:
                member, oldest = best
                if self._is_overdue(oldest) or min(member.before, unit.before) < math.inf:
                    return best
                return member, member.lanes[lane].next_in_turn() or oldest
        return None

    def _may_start_bulk(self, unit: Occupant) -> bool:
        if not unit.room.waiting["interactive"]:
            return True
        most = max(1, int(self.options.bulk_share * unit.expert.concurrency))
        return unit.before == math.inf and unit.bulk_in_flight < most

    def _is_overdue(self, waiter: Waiter) -> bool:
        most_s = self.options.max_wait_s
        return most_s is not None and waiter.arrived_s + most_s <= self._now_s

    def _start_call(self, occupant: Occupant, waiter: Waiter) -> None:
        ticket, unit, now_s = waiter.ticket, occupant.unit, self._now_s
        self._leave(occupant, waiter)
        self._running[ticket.id] = _Running(occupant, ticket.lane, now_s)
        for one in {occupant, unit}:
            one.in_flight += 1
            one.bulk_in_flight += ticket.lane == "bulk"
            one.use(now_s)
            if one.stay == 1:
                one.room.is_stuck = False  # it may be asked to leave from now on
            one.stay = max(0, one.stay - 1)
            one.turn = max(0, one.turn - 1)
        waited_s = now_s - waiter.arrived_s
        loaded_s = max(occupant.loaded_s, unit.loaded_s)
        swap_s = max(0.0, loaded_s - max(waiter.arrived_s, occupant.loading_s))
        self._starts += 1
        unit.room.urgent.pop(unit, None)
        if ticket.lane == "interactive":
            for room in _rooms_of(occupant):
                room.note_wait(waited_s, self._starts)
        faded = math.exp((self._started_s - now_s) / RATE_FADES_S)
        self._start_rate = self._start_rate * faded + 1.0 / RATE_FADES_S
        self._started_s = now_s
        self._actions.append(Start(ticket.id, occupant.name, waited_s, swap_s))

    # ------------------------------------------------------------ small things

    def _occupant(self, expert: str) -> Occupant:
        if expert not in self._occupants:
            raise ValueError(f"no expert `{expert}` is known here")
        return self._occupants[expert]

    def _retry_after_s(self) -> float:
        """Return when the queue of now should be gone, at the rate of late; 1 to 60 s."""
        return min(max(len(self._waiting) / max(self._start_rate, 1e-3), 1.0), LONGEST_RETRY_S)


def _first_absent(room: Room, lane: Lane) -> float:
    """Return the number of the oldest call whose expert is not ready; none after it may pass."""
    numbers = (number for _, number, one in room.heads[lane] if room.here(one).status != "ready")
    return next(numbers, math.inf)


def _rooms_of(occupant: Occupant) -> tuple[Room, ...]:
    unit = occupant.unit
    return (unit.room,) if occupant is unit else (unit.room, occupant.room)


def _earliest(
    times: list[tuple[float, str]], waiting: Mapping[str, tuple[Occupant, Waiter]]
) -> float:
    while times and times[0][1] not in waiting:
        heapq.heappop(times)
    return times[0][0] if times else math.inf
