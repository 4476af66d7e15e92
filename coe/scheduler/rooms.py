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
from coe.scheduler.memory import Expert
from coe.scheduler.queues import Queue, Waiter

Status = Literal["out", "loading", "ready", "unloading"]
Head = tuple[float, int, "Occupant"]

REMEMBERED_WAITS = 256
NEW_LOAD, NEW_CALL = 0.2, 0.05  # weight of a new measurement against the mean of the older ones
USE_FADES_S = 300.0


class Occupant:
    """An expert at run time.

    Attributes:
        members: itself and its adapters.
        unit: itself, or the base that it is an adapter of.
        size: what it takes of its room.
        in_flight: calls that run; of a unit, those of its adapters too.
        bulk_in_flight: those of them that are bulk.
        stay: calls that it is still owed before it may be asked to leave.
        turn: calls that it is still owed before another resident expert may work.
        is_turn_over: takes no more calls, so that another resident expert can work.
        before: only calls whose number is smaller may start; infinite while it is open.
        owed: reports of loads and unloads that it was lost in the middle of; it is not loaded
            before they came.
        kept_s: until then it is not asked to leave: an unload of it failed.
    """

    __slots__ = (
        "adapters", "before", "bulk_in_flight", "call_s", "calls", "expert", "failures",
        "fetch_s", "fetches", "in_flight", "inner", "is_turn_over", "kept_s", "lanes", "load_s",
        "loaded_s", "loading_s", "loads", "members", "memory", "owed", "retry_s", "room", "size",
        "status", "stay", "turn", "unit", "used_s", "uses",
    )  # fmt: skip

    def __init__(self, expert: Expert, room: Room, unit: Occupant | None, size: int) -> None:
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
        self.loaded_s = self.loading_s = self.used_s = -math.inf
        self.retry_s = self.kept_s = -math.inf
        self.failures = self.calls = self.loads = self.fetches = 0
        self.uses = 0.0
        self.load_s, self.fetch_s, self.call_s = expert.load_s, expert.fetch_s, expert.call_s

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

    def reload_s(self) -> float:
        """Return what bringing it in from where it is now is expected to take."""
        host = self.room.host
        if host is None or self.expert.name in host.sizes:
            return self.load_s
        return self.load_s + self.fetch_s

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

    def learn_load(self, took_s: float, source: Source) -> None:
        """Let a measured load count; the first from each tier replaces the guess."""
        if source == "host":
            self.loads += 1
            self.load_s += max(NEW_LOAD, 1 / self.loads) * (took_s - self.load_s)
        else:
            self.fetches += 1
            fetch_s = max(took_s - self.load_s, 0.0)
            self.fetch_s += max(NEW_LOAD, 1 / self.fetches) * (fetch_s - self.fetch_s)


class HostCopies:
    """Which experts' weights host memory holds copies of."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.sizes: dict[str, int] = {}

    def source(self, name: str) -> Source:
        """Return where an expert's weights would come from."""
        return "host" if name in self.sizes else "disk"

    @property
    def free(self) -> int:
        """Bytes that no copy takes."""
        return self.capacity - sum(self.sizes.values())


@dataclass(slots=True, kw_only=True)
class Incoming:
    """One expert on its way into a room.

    Attributes:
        victims: those that leave for it.
        is_overdue: it has a call that waited for `max_wait_s`.
        before: the victims still start calls whose number is smaller.
        is_promoted: bulk calls that waited for long enough bring it in.
    """

    target: Occupant
    victims: list[Occupant]
    phase: Literal["draining", "unloading", "loading"] = "draining"
    source: Source = "host"
    is_overdue: bool = False
    before: float = -math.inf
    is_promoted: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Room:
    """Where occupants are resident, and who waits to come in.

    Attributes:
        owner: the base whose adapters are here; None for a pool.
        heads: for each lane and expert that calls wait for: its oldest one, oldest first.
        residents: whoever takes a place: loading, ready or unloading.
        floor: those that may work, where not every resident one may.
        heir: who works next.
        is_stuck: nobody could be brought in, and nothing that would change this has happened since.
        everybody: all that belong here, resident or not.
        smallest: the least place that any of them takes.
        pins: those that are loaded though nobody calls for them, and never leave.
    """

    name: str
    capacity: int
    width: int | None = None
    owner: Occupant | None = None
    host: HostCopies | None = None
    used: int = 0
    everybody: dict[str, Occupant] = field(default_factory=dict)
    smallest: int = 0
    pins: tuple[Occupant, ...] = ()
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
