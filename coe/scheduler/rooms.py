"""Who is where: experts as occupants of rooms, and what a room remembers.

A pool is a room whose places are bytes; what it holds are units, an expert with its adapters. A
base with adapters is a room too, whose places are `max_loras`. Both are run by the same rules.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from coe.protocols import Pending, Resident
from coe.scheduler.events import LANES, Lane, Source
from coe.scheduler.memory import Expert, LoadTimes
from coe.scheduler.queues import Queue, Waiter

Status = Literal["out", "loading", "ready", "unloading"]
Head = tuple[float, int, "Occupant"]

REMEMBERED_WAITS = 256
NEW_CALL = 0.05  # weight of a new measurement against the mean of the older ones
USE_FADES_S = 300.0


class Occupant:
    """An expert at run time.

    Attributes:
        members: itself and its adapters.
        unit: itself, or the base that it is an adapter of.
        size: what it takes of its room.
        memory: bytes of its weights; 0 where nobody said, nor told.
        times: what loads of it take.
        in_flight: calls that run; of a unit, those of its adapters too.
        bulk_in_flight: those of them that are bulk.
        stay: calls that it is still owed before it may be asked to leave.
        turn: calls that it is still owed before another resident expert may work.
        is_turn_over: takes no more calls, so that another resident expert can work.
        before: only calls whose number is smaller may start; infinite while it is open.
        owed: reports of loads and unloads that it was lost in the middle of, or that it is dropped
            from host memory by; it is not loaded before they came.
        ended_s: when a call of it, or of its adapters, last ended.
        kept_s: until then it is not asked to leave: an unload of it failed.
    """

    __slots__ = (
        "adapters", "before", "bulk_in_flight", "call_s", "calls", "ended_s", "expert", "failures",
        "in_flight", "inner", "is_turn_over", "kept_s", "lanes", "loaded_s", "loading_s",
        "members", "memory", "owed", "retry_s", "room", "size", "status", "stay", "times", "turn",
        "unit", "used_s", "uses",
    )  # fmt: skip

    def __init__(
        self, expert: Expert, room: Room, unit: Occupant | None, size: int, times: LoadTimes
    ) -> None:
        self.expert = expert
        self.room = room
        self.unit = unit or self
        self.members: tuple[Occupant, ...] = (self,)
        self.size = size
        self.memory = expert.memory
        self.inner: Room | None = None
        self.adapters: list[Occupant] = []
        self.lanes: dict[Lane, Queue] = {lane: Queue() for lane in LANES}
        self.status: Status = "out"
        self.in_flight = self.bulk_in_flight = 0
        self.stay = self.turn = self.owed = 0
        self.is_turn_over = False
        self.before = math.inf
        self.loaded_s = self.loading_s = self.used_s = self.ended_s = -math.inf
        self.retry_s = self.kept_s = -math.inf
        self.failures = self.calls = 0
        self.uses = 0.0
        self.times, self.call_s = times, expert.call_s
        times.guess(expert)

    @property
    def name(self) -> str:
        """As in the composition."""
        return self.expert.name

    @property
    def can_fit(self) -> bool:
        """Whether its room can ever have the place that it takes."""
        pinned = sum(one.size for one in self.room.pins if one is not self)
        return self.size <= self.room.capacity - pinned

    @property
    def is_adapter(self) -> bool:
        """Whether it needs a base."""
        return self.unit is not self

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it runs, nor moves in or out of it."""
        return not self.in_flight and (self.inner is None or self.inner.is_still)

    def waiting(self, lane: Lane) -> int:
        """Return how many calls wait for it or its adapters."""
        if not self.adapters:
            return len(self.lanes[lane])
        return sum(len(member.lanes[lane]) for member in self.members)

    def first(self, lane: Lane) -> float:
        """Return the number of the oldest call that could start here; infinite where none could."""
        if self.status != "ready":
            return math.inf
        oldest = self.lanes[lane].oldest
        number = oldest.number if oldest else math.inf
        for adapter in self.adapters:
            if adapter.status == "ready" and (other := adapter.lanes[lane].oldest):
                number = min(number, other.number)
        return number if number < self.before else math.inf

    def has_waiting(self, lane: Lane) -> bool:
        """Whether any call of the lane waits for it or its adapters."""
        for member in self.members:  # noqa: SIM110 - asked for at every turn; this is faster
            if member.lanes[lane].oldest:
                return True
        return False

    def is_wanted(self) -> bool:
        """Whether any call waits for it or its adapters."""
        return self.has_waiting("interactive") or self.has_waiting("bulk")

    @property
    def source(self) -> Source:
        """Where its weights would come from."""
        host = self.room.host
        return "host" if host is not None and host.holds(self) else "disk"

    def reload_s(self) -> float:
        """Return what bringing it in from where it is now is expected to take."""
        return self.times.host_s if self.source == "host" else self.times.disk_s

    def pending(self, lane: Lane, now_s: float) -> Pending:
        """Return what an ordering sees; at least one call waits in the lane."""
        calls, ages_s, due_s, oldest_s = 0, 0.0, math.inf, math.inf
        for member in self.members:
            queue = member.lanes[lane]
            if queue.oldest:
                calls += len(queue)
                ages_s += queue.ages_s(now_s)
                due_s = min(due_s, queue.due_s)
                oldest_s = min(oldest_s, queue.oldest.arrived_s)
        load_s = 0.0 if self.status == "ready" else self.reload_s()
        work_s = self.call_s * max(1.0, calls / self.unit.expert.concurrency)
        return Pending(self.expert.name, calls, oldest_s, ages_s, due_s, load_s, work_s)

    def resident(self, now_s: float) -> Resident:
        """Return what an eviction sees."""
        calls, oldest_s = 0, math.inf
        for member in self.members:
            for queue in member.lanes.values():
                if oldest := queue.oldest:
                    calls += len(queue)
                    oldest_s = min(oldest_s, oldest.arrived_s)
        uses = self.uses * math.exp((self.used_s - now_s) / USE_FADES_S) if self.uses else 0.0
        return Resident(self.name, calls, oldest_s, self.used_s, uses, self.reload_s(), self.size)

    def use(self, now_s: float) -> None:
        """Remember that a call of it starts."""
        faded = self.uses * math.exp((self.used_s - now_s) / USE_FADES_S) if self.uses else 0.0
        self.uses = 1.0 + faded
        self.used_s = now_s

    def learn_call(self, took_s: float) -> None:
        """Let a measured call count; the first replaces the guess."""
        self.calls += 1
        self.call_s += max(NEW_CALL, 1 / self.calls) * (took_s - self.call_s)


class HostMemory:
    """Who is parked in host memory, and who is on the way there.

    Attributes:
        sizes: bytes of those that are there, and of those that are about to be dropped.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.sizes: dict[Occupant, int] = {}
        self._coming: dict[Occupant, tuple[int, tuple[Occupant, ...]]] = {}
        self._leaving: set[Occupant] = set()

    def holds(self, occupant: Occupant) -> bool:
        """Whether an expert can be loaded from here."""
        return occupant in self.sizes and occupant not in self._leaving

    @property
    def free(self) -> int:
        """Bytes that nobody takes, nor will when all that is under way is done, or failed."""
        taken = sum(size for one, size in self.sizes.items() if one not in self._leaving)
        for size, drop in self._coming.values():
            taken += max(size, sum(self.sizes.get(one, 0) for one in drop))
        return self.capacity - taken

    def expect(self, occupant: Occupant, drop: tuple[Occupant, ...]) -> None:
        """Keep the place of one that is being parked; who is dropped for it may not be loaded."""
        self._coming[occupant] = (occupant.memory, drop)
        self._leaving.update(drop)
        for one in drop:
            one.owed += 1

    def arrive(
        self, occupant: Occupant, *, parked: bool, dropped: tuple[str, ...]
    ) -> tuple[Occupant, ...]:
        """Note how it ended; return those that were to be dropped, who may be loaded again.

        Args:
            occupant: who was to be parked.
            parked: whether it is here now.
            dropped: those that are not here any more.
        """
        size, drop = self._coming.pop(occupant, (0, ()))
        if parked:
            self.sizes[occupant] = size or occupant.memory
        for one in drop:
            one.owed -= 1
            self._leaving.discard(one)
            if one.name in dropped:
                self.sizes.pop(one, None)
        return drop

    def release(self, occupant: Occupant) -> None:
        """Note that an expert's weights are not here, if they were."""
        self.sizes.pop(occupant, None)


@dataclass(slots=True, kw_only=True)
class Incoming:
    """One expert on its way into a room.

    Attributes:
        victims: those that leave for it.
        is_overdue: it has a call that waited for `max_wait_s`.
        before: the victims still start calls whose number is smaller.
        is_promoted: bulk calls that waited for long enough bring it in.
        is_returning: nobody calls for it: it is preferred.
    """

    target: Occupant
    victims: list[Occupant]
    phase: Literal["draining", "unloading", "loading"] = "draining"
    source: Source = "disk"
    is_overdue: bool = False
    before: float = -math.inf
    is_promoted: bool = False
    is_returning: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Room:
    """Where occupants are resident, and who waits to come in.

    Attributes:
        owner: the base whose adapters are here; None for a pool.
        host: where those that leave may be parked; a pool's is that of its bases' adapters, too.
        heads: for each lane and expert that calls wait for: its oldest one, oldest first.
        residents: whoever takes a place: loading, ready or unloading.
        floor: those that may work, where not every resident one may.
        heir: who works next.
        is_stuck: nobody could be brought in, and nothing that would change this has happened since.
        everybody: all that belong here, resident or not.
        smallest: the least place that any of them takes.
        pins: those that are loaded though nobody calls for them, and never leave.
        favourites: those that are loaded though nobody calls for them where nobody needs the room.
    """

    name: str
    capacity: int
    width: int | None = None
    owner: Occupant | None = None
    host: HostMemory | None = None
    used: int = 0
    everybody: dict[str, Occupant] = field(default_factory=dict)
    smallest: int = 0
    pins: tuple[Occupant, ...] = ()
    favourites: tuple[Occupant, ...] = ()
    residents: dict[str, Occupant] = field(default_factory=dict)
    heads: dict[Lane, list[Head]] = field(default_factory=lambda: {lane: [] for lane in LANES})
    waiting: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    urgent: dict[Occupant, None] = field(default_factory=dict)
    incoming: Incoming | None = None
    floor: dict[Occupant, None] = field(default_factory=dict)
    heir: Occupant | None = None
    is_stuck: bool = False
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED_WAITS))
    p95_wait_s: float = 0.0

    @property
    def free(self) -> int:
        """Places that nobody takes."""
        return self.capacity - self.used

    @property
    def is_still(self) -> bool:
        """Whether nobody is being loaded or unloaded here."""
        return self.incoming is None or self.incoming.phase == "draining"

    def here(self, occupant: Occupant) -> Occupant:
        """Return who an expert is in this room: itself, or the unit that it belongs to."""
        return occupant.unit if self.owner is None else occupant

    def absent(self, lane: Lane) -> Iterator[tuple[float, Occupant]]:
        """Yield those that calls wait for and that are not here, the oldest call first."""
        seen: set[Occupant] = set()
        for arrived_s, _, occupant in self.heads[lane]:
            one = self.here(occupant)
            if one.status == "out" and not one.owed and one not in seen:
                seen.add(one)
                yield arrived_s, one

    def reindex(self, occupant: Occupant, lane: Lane, old: Waiter | None) -> None:
        """Note that the oldest call of an expert may have become another one."""
        new = occupant.lanes[lane].oldest
        if new is old:
            return
        heads = self.heads[lane]
        if old is None or new is None:
            self.is_stuck = False
        if old is not None:
            del heads[bisect_left(heads, (old.arrived_s, old.number))]
        if new is not None:
            insort(heads, (new.arrived_s, new.number, occupant))

    def admit(self, occupant: Occupant) -> None:
        """Give it its place."""
        self.residents[occupant.name] = occupant
        self.used += occupant.size

    def dismiss(self, occupant: Occupant) -> None:
        """Take its place away, and those of its adapters."""
        del self.residents[occupant.name]
        self.is_stuck = False
        self.used -= occupant.size
        if not occupant.in_flight:  # what was lost works until its calls have ended
            self.floor.pop(occupant, None)
        if self.heir is occupant:
            self.heir = None
        occupant.status = "out"
        occupant.stay = occupant.turn = 0
        occupant.is_turn_over = False
        occupant.before = math.inf
        if occupant.inner:
            for adapter in list(occupant.inner.residents.values()):
                occupant.inner.dismiss(adapter)
            occupant.inner.incoming = None

    def resize(self, occupant: Occupant, memory: int) -> None:
        """Let the measured size of a resident unit take over; room for its adapters is kept."""
        set_aside = occupant.size - occupant.memory
        occupant.memory = memory
        self.used += memory + set_aside - occupant.size
        occupant.size = memory + set_aside
        self.smallest = min(self.smallest, occupant.size)

    def note_wait(self, waited_s: float, number: int) -> None:
        """Remember how long a call waited; the quantile follows every 16 of them."""
        self.waits.append(waited_s)
        if not number % 16:
            ordered = sorted(self.waits)
            self.p95_wait_s = ordered[int(0.95 * (len(ordered) - 1))]
            self.is_stuck = False  # others may press from now on
