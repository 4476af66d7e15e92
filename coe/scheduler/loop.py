"""The one owner of a backend's scheduler: events in, actions done, calls let in or refused.

It belongs to one event loop and is driven by what happens: a call that comes, one that ends, a load
that is done, a timer. Every change is decided by the state machine in the turn in which it is made;
loads and unloads are tasks, which report back. Nothing here waits but `take`.

What it knows itself (which calls there are, who is in memory) is enough to make the state machine
anew at any time: that is how it starts, how it goes over to another composition, and how it goes on
after an error of ours.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any, NamedTuple, Protocol, TypedDict, Unpack

from coe.errors import CapacityError, CoEError, DeadlineExceeded, ExpertLoadFailed, QueueFull
from coe.protocols import Eviction, Ordering, Parking, Residency
from coe.scheduler.chronicle import Chronicle
from coe.scheduler.events import (
    Action,
    Arrive,
    Cancel,
    Dropped,
    Event,
    Finished,
    Lane,
    Load,
    Loaded,
    LoadFailed,
    Lost,
    Refuse,
    Start,
    Tick,
    Ticket,
    Unload,
    Unloaded,
    UnloadFailed,
)
from coe.scheduler.memory import Expert, Kept, Layout, LoadTimes
from coe.scheduler.options import Options
from coe.scheduler.policies import Affinity, NextUse
from coe.scheduler.porter import Porter, Sizes
from coe.scheduler.porter import Watcher as Carried
from coe.scheduler.state import Scheduler

logger = logging.getLogger(__name__)

REST_S = 1.0
"""How long nobody is let in after an error of ours."""

TELL_S = 2.0
"""So often who waits is told what it waits for."""

Told = Callable[[str], Awaitable[None]]


class Asks(TypedDict, total=False):
    """What a call says of itself when it asks for a slot.

    Attributes:
        key: whose call it is, for fair shares.
        team: that the key belongs to; empty for none.
        lane: `interactive`, or `bulk`, which waits for what the others leave.
        deadline_s: seconds from now in which it must have been let in; None for whenever.
        told: is told in a sentence what it waits for, every now and then.
        tell_every_s: how often that is.
    """

    key: str
    team: str
    lane: Lane
    deadline_s: float | None
    told: Told | None
    tell_every_s: float


def ticket_of(number: int, expert: str, asks: Asks, now_s: float) -> Ticket:
    """Return the ticket of a call that asks for a slot now."""
    deadline_s = asks.get("deadline_s")
    return Ticket(
        id=str(number),
        expert=expert,
        key=asks.get("key", ""),
        team=asks.get("team", ""),
        lane=asks.get("lane", "interactive"),
        deadline_s=None if deadline_s is None else now_s + deadline_s,
    )


class Watcher(Carried, Protocol):
    """Whoever counts what happens; see `coe.telemetry`."""

    def waited(self, expert: str, lane: str, waited_s: float) -> None:
        """A call was let in after so long."""

    def refused(self, expert: str, reason: str) -> None:
        """A call was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the scheduler of one backend is made of.

    Attributes:
        load_limit_s: a load that takes longer has failed; an unload, too.
        status_frames: whether streams are told while they wait.
        experts: by name, in the order of the layout.
    """

    layout: Layout
    options: Options = field(default_factory=Options)
    ordering: Ordering = field(default_factory=Affinity)
    eviction: Eviction = field(default_factory=NextUse)
    load_limit_s: float = 300.0
    status_frames: bool = True
    experts: Mapping[str, Expert] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the experts by name."""
        object.__setattr__(self, "experts", {one.name: one for one in self.layout.experts})


class View(NamedTuple):
    """One expert as it stands now.

    Attributes:
        state: `out`, `parked`, `loading`, `ready` or `unloading`.
        interactive, bulk: calls that wait, by lane.
        times: what loads of it take.
    """

    expert: str
    state: str
    running: int
    interactive: int
    bulk: int
    times: LoadTimes


class Lender(Protocol):
    """Who lets calls in, for those that were: they are given back to it."""

    def release(self, slot: Slot, *, failed: bool = False) -> None:
        """See `Slot.release`."""


class Slot:
    """A call on its way through: it waits, runs, and is over.

    Attributes:
        is_running: whether it was let in.
        counts: whether the state machine of now knows that it runs.
        error: why it was refused.
        queued_s: how long it waited.
        swap_s: how much of that a load of its expert was under way.
    """

    __slots__ = (
        "_owner", "arrived_s", "counts", "error", "is_running", "queued_s", "swap_s", "ticket",
        "turned",
    )  # fmt: skip

    def __init__(self, owner: Lender, ticket: Ticket, arrived_s: float) -> None:
        self.ticket = ticket
        self.arrived_s = arrived_s
        self.is_running = False
        self.counts = False
        self.error: CoEError | None = None
        self.queued_s = self.swap_s = 0.0
        self.turned: asyncio.Future[None] | None = None
        self._owner = owner

    @property
    def is_waiting(self) -> bool:
        """Whether nothing was decided yet."""
        return not self.is_running and self.error is None

    def release(self, *, failed: bool = False) -> None:
        """Give it back; again does nothing.

        Args:
            failed: the backend did not answer: it may no longer have what it had.
        """
        self._owner.release(self, failed=failed)

    def turn(self) -> None:
        """Wake who waits for it."""
        if self.turned is not None and not self.turned.done():
            self.turned.set_result(None)


class Slots(Protocol):
    """The experts of one backend, and who may use them when: decided here, or by another replica.

    Attributes:
        name: of the backend.
        residency: the backend.
        setup: what it works by; of the composition that came last.
        chronicle: what it did of late.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def residency(self) -> Residency: ...  # noqa: D102
    @property
    def setup(self) -> Setup: ...  # noqa: D102
    @property
    def chronicle(self) -> Chronicle: ...  # noqa: D102

    def manages(self, expert: str) -> bool:
        """Whether calls of an expert need a slot."""

    async def take(self, expert: str, **asks: Unpack[Asks]) -> Slot:
        """Return a slot once the expert is in memory and has one free. Release it in the end.

        Cancelling it gives the place in the queue back.

        Args:
            expert: one that is managed.
            asks: what the call says of itself; see `Asks`.

        Raises:
            QueueFull: too many calls wait.
            DeadlineExceeded: the deadline, or the promise of `max_wait`, cannot be kept.
            ExpertLoadFailed: the expert cannot be brought into memory.
            CapacityError: the gateway stops, or nobody may load the expert now.
        """

    async def open(self) -> None:
        """Find out who is in memory, and begin. A backend that cannot say has nobody there."""

    def change(self, setup: Setup) -> None:
        """Work by another setup from now on; calls that wait or run are not disturbed."""

    def reach(self, residency: Residency, parking: Parking | None) -> None:
        """Load and unload by another way into the same memory from now on."""

    async def aclose(self) -> None:
        """Stop: calls that wait are refused, and what is under way is given up."""

    def views(self) -> tuple[View, ...]:
        """Return how every expert stands, in the order of the composition."""

    @property
    def parks(self) -> bool:
        """Whether experts that leave may be parked in host memory."""

    @property
    def parked_bytes(self) -> int:
        """What those in host memory take there."""


class LocalSlots:
    """Decides here, for a backend that nobody else decides for. See `Slots`."""

    def __init__(
        self,
        name: str,
        residency: Residency,
        setup: Setup,
        watcher: Watcher | None = None,
        parking: Parking | None = None,
    ) -> None:
        """Store the parts; calls wait until `open`.

        Args:
            name: of the backend.
            residency: the backend.
            setup: what to work by.
            watcher: told what happens.
            parking: the backend, if it can; a layout with host memory needs it.
        """
        self.name = name
        self.residency = residency
        self.setup = setup
        self.chronicle = Chronicle()
        self._porter = Porter(name, residency, parking, watcher)
        self._given = setup
        self._watcher = watcher
        self._scheduler: Scheduler | None = None
        self._slots: dict[str, Slot] = {}
        self._resident: dict[str, int | None] = {}  # bytes, where the backend tells
        self._parked: dict[str, int] = {}
        self._times: dict[str, LoadTimes] = {}
        self._moving: dict[str, str] = {}
        self._moves: set[asyncio.Task[list[Event]]] = set()
        self._move_number = 0
        self._looking: asyncio.Task[None] | None = None
        self._is_open = self._is_closed = self._is_resting = False
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf
        self._take_over()

    # ------------------------------------------------------------ calls

    def manages(self, expert: str) -> bool:
        """Whether calls of an expert need a slot."""
        return expert in self.setup.experts

    async def take(self, expert: str, **asks: Unpack[Asks]) -> Slot:
        """See `Slots.take`."""
        if self._is_closed:
            message = f"backend `{self.name}` is being closed"
            raise CapacityError(message, retry_after_s=REST_S)
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        ticket = ticket_of(next(self._numbers), expert, asks, now_s)
        told = asks.get("told")
        slot = Slot(self, ticket, now_s)
        self._slots[ticket.id] = slot
        self._handle(Arrive(ticket))
        try:
            if slot.is_waiting:
                slot.turned = loop.create_future()
                if told is None:
                    await slot.turned
                while not slot.turned.done() and told is not None:
                    await asyncio.wait((slot.turned,), timeout=asks.get("tell_every_s", TELL_S))
                    if not slot.turned.done():
                        await told(self._status(slot))
            if slot.error is not None:
                raise slot.error
        except BaseException:
            self.release(slot)
            raise
        return slot

    def adopt(self, call: Ticket) -> Slot:
        """Return a slot of a call that runs already, let in by somebody else before this began.

        Its expert is not unloaded before it is given back, if it is in memory.

        Args:
            call: as it was let in; its number and its deadline mean nothing here.
        """
        number = str(next(self._numbers))
        ticket = replace(call, id=number, deadline_s=None)
        slot = Slot(self, ticket, self._now_s())
        slot.is_running = True
        self._slots[number] = slot
        if self._scheduler is not None and ticket.expert in self._resident:
            self._handle(Arrive(ticket))
        return slot

    def doubt(self) -> None:
        """Ask the backend who is in memory, soon: somebody found that it may not be as thought."""
        self._porter.is_suspect = True
        self._look_if_needed()

    def release(self, slot: Slot, *, failed: bool = False) -> None:
        """See `Slot.release`."""
        if self._slots.pop(slot.ticket.id, None) is None:
            return
        if failed:
            self._porter.is_suspect = True
        if slot.counts:
            self._handle(Finished(slot.ticket.id))
        elif slot.error is None:
            self._handle(Cancel(slot.ticket.id))
        self._look_if_needed()

    # ------------------------------------------------------------ life

    async def open(self) -> None:
        """Find out who is in memory, and begin. A backend that cannot say has nobody there."""
        if self._is_open or self._is_closed:
            return
        self._is_open = True
        task = self._begin(self._first_look(), {})
        await asyncio.wait((task,))

    def change(self, setup: Setup) -> None:
        """Work by another setup from now on; calls that wait or run are not disturbed.

        Experts that it does not know any more stay known for as long as calls of them are here, or
        they are in memory.
        """
        if setup == self._given:
            return
        self._given = setup
        self.setup = replace(setup, layout=_merged(setup, self.setup, self._needed()))
        self._take_over()
        if self._is_open:
            self._pause()

    def reach(self, residency: Residency, parking: Parking | None) -> None:
        """Load and unload by another way into the same memory from now on."""
        if residency is not self.residency:
            self.residency = residency
            self._porter.reach(residency, parking)

    async def aclose(self) -> None:
        """Stop: calls that wait are refused, and what is under way is given up."""
        self._is_closed = True
        self._scheduler = None
        if self._timer is not None:
            self._timer.cancel()
        self._refuse_all(f"backend `{self.name}` is being closed")
        tasks: list[asyncio.Task[Any]] = [*self._moves]
        if self._looking is not None:
            tasks.append(self._looking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------ seen from outside

    def views(self) -> tuple[View, ...]:
        """Return how every expert stands, in the order of the composition."""
        running: Counter[str] = Counter()
        waiting: Counter[tuple[str, str]] = Counter()
        for slot in self._slots.values():
            if slot.is_running:
                running[slot.ticket.expert] += 1
            elif slot.error is None:
                waiting[slot.ticket.expert, slot.ticket.lane] += 1
        return tuple(
            View(
                expert=name,
                state=self._state(name),
                running=running[name],
                interactive=waiting[name, "interactive"],
                bulk=waiting[name, "bulk"],
                times=self._times[name],
            )
            for name in self.setup.experts
        )

    @property
    def parks(self) -> bool:
        """Whether experts that leave may be parked in host memory."""
        return any(pool.host is not None for pool in self.setup.layout.pools)

    @property
    def parked_bytes(self) -> int:
        """What those in host memory take there."""
        return sum(self._parked.values())

    def _state(self, expert: str) -> str:
        there = "parked" if expert in self._parked else "out"
        return self._moving.get(expert, "ready" if expert in self._resident else there)

    def _status(self, slot: Slot) -> str:
        """Say what a call waits for."""
        expert = slot.ticket.expert
        before = sum(
            other.is_waiting and other.ticket.expert == expert and other is not slot
            for other in self._slots.values()
            if other.arrived_s <= slot.arrived_s
        )
        state = self._state(expert)
        what = {
            "loading": f"{expert} is being loaded",
            "ready": f"{expert} is busy",
            "unloading": f"{expert} leaves memory and comes back",
        }.get(state, f"{expert} waits for its turn to be loaded")
        return f"{what}; {before} before this one" if before else what

    # ------------------------------------------------------------ the state machine

    def _handle(self, event: Event, now_s: float | None = None) -> None:
        """Tell the state machine; an error of ours in it leaves nobody stuck."""
        if self._scheduler is None:
            self._resume()  # it is told of the calls that there are then
        else:
            self._tell(self._scheduler, event, self._now_s() if now_s is None else now_s)

    def _tell(self, scheduler: Scheduler, event: Event, now_s: float) -> None:
        try:
            actions = scheduler.handle(event, now_s)
            self.chronicle.take(now_s, event, actions)
            self._act(actions)
            self._arm()
        except Exception:
            logger.exception("backend %s: the scheduler failed at %s", self.name, event)
            self._recover()

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Start():
                    self._start(action)
                case Refuse():
                    self._refuse(action)
                case Load(expert=expert):
                    self._begin(self._porter.load(action), {expert: "loading"})
                case Unload(expert=expert, why=why):
                    logger.info("backend %s: `%s` leaves: %s", self.name, expert, why)
                    self._begin(self._porter.unload(action), {expert: "unloading"})

    def _start(self, start: Start) -> None:
        slot = self._slots.get(start.id)
        if slot is None:
            return
        slot.counts = True
        if slot.is_running:  # it runs since before the state machine was made
            return
        slot.is_running = True
        slot.queued_s = self._now_s() - slot.arrived_s
        slot.swap_s = min(start.swap_s, slot.queued_s)
        if self._watcher is not None:
            self._watcher.waited(slot.ticket.expert, slot.ticket.lane, slot.queued_s)
        slot.turn()

    def _refuse(self, refuse: Refuse) -> None:
        slot = self._slots.get(refuse.id)
        if slot is None or slot.is_running:
            return
        slot.error = self._error(slot, refuse)
        if self._watcher is not None:
            self._watcher.refused(slot.ticket.expert, refuse.reason)
        slot.turn()

    def _error(self, slot: Slot, refuse: Refuse) -> CoEError:
        expert, retry_s = slot.ticket.expert, refuse.retry_after_s
        waited_s = self._now_s() - slot.arrived_s
        match refuse.reason:
            case "queue-full":
                most = self.setup.options.max_queue
                message = f"{most} calls wait for backend `{self.name}` (batching.queue.max)"
                return QueueFull(message, retry_after_s=retry_s)
            case "key-full":
                most = self.setup.options.max_queue_per_key
                message = f"{most} calls of this key wait already (batching.queue.per_key)"
                return QueueFull(message, retry_after_s=retry_s)
            case "deadline":
                message = f"the deadline passed after {waited_s:.1f} s in the queue of `{expert}`"
                return DeadlineExceeded(message, retry_after_s=retry_s)
            case "late":
                message = (
                    f"expert `{expert}` could not be brought into memory in time:"
                    f" {waited_s:.1f} s in the queue (batching.max_wait)"
                )
                return DeadlineExceeded(message, retry_after_s=retry_s)
            case "never-fits":
                message = f"expert `{expert}` does not fit into the memory of `{self.name}`"
                return ExpertLoadFailed(message, retry_after_s=retry_s)
        reasons = self._porter.reasons
        why = reasons.get(expert) or next(
            (reasons[name] for name in self._family(expert) if name in reasons),
            "it could not be loaded",
        )
        return ExpertLoadFailed(f"expert `{expert}`: {why}", retry_after_s=retry_s)

    def _family(self, expert: str) -> tuple[str, ...]:
        """Return what an expert stands on."""
        known = self.setup.experts.get(expert)
        return () if known is None or known.base is None else (known.base,)

    def _arm(self) -> None:
        """Have the timer ring when the state machine wants to be asked."""
        wake_s = self._scheduler.wake_s if self._scheduler is not None else math.inf
        if wake_s == self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_s = None, wake_s
        if wake_s < math.inf:
            self._timer = asyncio.get_running_loop().call_at(wake_s, self._ring)

    def _ring(self) -> None:
        due_s = self._timer_s
        self._timer, self._timer_s = None, math.inf
        # A timer may ring a little early; the state machine would find that nothing is due yet.
        self._handle(Tick(), max(due_s, self._now_s()))

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

    # ------------------------------------------------------------ making it anew

    def _pause(self) -> None:
        """Let nobody in until nothing moves; then go on with a state machine of the setup."""
        self._scheduler = None
        self._arm()
        self._resume()

    def _resume(self) -> None:
        """Make the state machine of what is known, as soon as nothing moves."""
        if self._scheduler is not None or self._moves or self._is_resting:
            return
        if not self._is_open or self._is_closed:
            return
        setup = self.setup
        if strangers := self._strangers():
            self._begin(self._clear(strangers), dict.fromkeys(strangers, "unloading"))
            return
        try:
            scheduler = Scheduler(
                setup.layout,
                setup.options,
                ordering=setup.ordering,
                eviction=setup.eviction,
                resident=self._resident,
                kept=Kept(parked=self._parked, times=self._times),
            )
        except ValueError as error:
            self._make_room(error)
            return
        self._scheduler = scheduler
        self.chronicle.begin(self._now_s(), setup.layout, self._resident)
        for event in (*self._calls(), Tick()):  # the pinned ones come in without a call
            self._tell(scheduler, event, self._now_s())
            if self._scheduler is not scheduler:
                return

    def _calls(self) -> list[Event]:
        """Return what a state machine has to know of the calls that there are."""
        running: list[Event] = []
        waiting: list[Event] = []
        for slot in self._slots.values():
            slot.counts = False
            if slot.is_waiting:
                waiting.append(Arrive(slot.ticket))
            elif slot.is_running and slot.ticket.expert in self._resident:
                running.append(Arrive(replace(slot.ticket, deadline_s=None)))
        return [*running, *waiting]

    def _make_room(self, error: ValueError) -> None:
        """Unload who is idle where those in memory do not fit together; else wait."""
        busy = {slot.ticket.expert for slot in self._slots.values() if slot.is_running}
        busy |= {base for name in busy for base in self._family(name)}
        idle = [*self._parked] or [name for name in self._resident if name not in busy]
        if not idle:
            if not busy:  # nobody is in memory, and it is the setup that cannot be
                logger.error("backend %s cannot be scheduled: %s", self.name, error)
                self._refuse_all(f"backend `{self.name}` cannot be scheduled: {error}")
            return
        logger.info("backend %s: %s; %s leave", self.name, error, ", ".join(idle))
        self._begin(self._clear(idle), dict.fromkeys(idle, "unloading"))

    def _recover(self) -> None:
        """Go on after an error of ours: made anew, or with nobody waiting."""
        self._scheduler = None
        self._arm()
        self._refuse_all("the scheduler failed; the gateway's log has the details")
        self._rest()

    def _rest(self) -> None:
        self._is_resting = True
        asyncio.get_running_loop().call_later(REST_S, self._rested)

    def _rested(self) -> None:
        self._is_resting = False
        self._resume()

    def _refuse_all(self, message: str) -> None:
        for slot in tuple(self._slots.values()):
            slot.counts = False
            if slot.is_waiting:
                slot.error = CapacityError(message, retry_after_s=REST_S)
                slot.turn()

    def _strangers(self) -> list[str]:
        """Return who is in host memory and may not be, by the setup of now."""
        hosts = {pool.name for pool in self.setup.layout.pools if pool.host is not None}
        known = self.setup.experts
        return [n for n in self._parked if n not in known or known[n].pool not in hosts]

    def _take_over(self) -> None:
        """Take what the setup says of loads; of experts only where they were not measured yet."""
        self._porter.load_limit_s = self.setup.load_limit_s
        for name, expert in self.setup.experts.items():
            self._times.setdefault(name, LoadTimes()).guess(expert)

    def _needed(self) -> set[str]:
        """Return the experts that cannot be forgotten yet."""
        names = {slot.ticket.expert for slot in self._slots.values()}
        names |= {*self._resident, *self._moving}
        return names | {base for name in names for base in self._family(name)}

    # ------------------------------------------------------------ loads and unloads

    def _begin(
        self, work: Coroutine[Any, Any, list[Event]], moving: Mapping[str, str]
    ) -> asyncio.Task[list[Event]]:
        task = asyncio.get_running_loop().create_task(work)
        self._moving |= moving
        self._moves.add(task)
        self._move_number += 1
        task.add_done_callback(partial(self._moved, tuple(moving)))
        return task

    def _moved(self, names: tuple[str, ...], task: asyncio.Task[list[Event]]) -> None:
        """Take in what came of a move."""
        self._moves.discard(task)
        states = {name: self._moving.pop(name, "") for name in names}
        if self._is_closed or task.cancelled():
            return
        for event in self._came_of(task, states):
            self._note(event)
            if self._scheduler is not None:
                self._handle(event)
        self._resume()
        self._look_if_needed()

    def _note(self, event: Event) -> None:
        """Keep the books of who is where."""
        match event:
            case Loaded(expert=expert, memory=memory):
                self._resident[expert] = memory
                self._parked.pop(expert, None)
            case LoadFailed(expert=expert, parked=False) | Dropped(expert=expert):
                self._parked.pop(expert, None)
            case Unloaded(expert=expert, parked=parked, dropped=dropped):
                for name in (expert, *dropped):
                    self._parked.pop(name, None)
                if parked:
                    self._parked |= self._bytes(self._resident, [expert])
                self._forget(expert)
            case UnloadFailed(dropped=dropped):
                for name in dropped:
                    self._parked.pop(name, None)
            case Lost(expert=expert):
                self._forget(expert)

    def _bytes(self, sizes: Sizes, names: Iterable[str]) -> dict[str, int]:
        """Return what experts take, as the backend tells it, or else as it is declared."""
        known = self.setup.experts
        declared = {name: known[name].memory if name in known else 0 for name in names}
        told = {name: size for name in declared if (size := sizes.get(name)) is not None}
        return declared | told

    def _came_of(self, task: asyncio.Task[list[Event]], states: Mapping[str, str]) -> list[Event]:
        error = task.exception()
        if error is None:
            return task.result()
        logger.error("backend %s: a move failed", self.name, exc_info=error)
        return [
            LoadFailed(name) if state == "loading" else UnloadFailed(name)
            for name, state in states.items()
        ]

    def _forget(self, expert: str) -> None:
        """Note that an expert, and its adapters, are not in memory."""
        self._resident.pop(expert, None)
        for adapter in self.setup.layout.adapters(expert):
            self._resident.pop(adapter.name, None)

    async def _clear(self, names: Iterable[str]) -> list[Event]:
        """Unload experts while there is no state machine; adapters before their bases.

        Where one stays, nobody is let in for a moment, and it is tried again.
        """
        gone: list[Event] = []
        for name in sorted(names, key=lambda one: not self._family(one)):
            if reason := await self._porter.let_go(name):
                logger.warning(
                    "backend %s: `%s` has to leave, and does not: %s", self.name, name, reason
                )
            else:
                gone.append(Unloaded(name))
        if len(gone) < len(tuple(names)):
            self._refuse_all(f"backend `{self.name}` does not free its memory")
            self._rest()
        return gone

    # ------------------------------------------------------------ who is there

    async def _first_look(self) -> list[Event]:
        sizes, parked = await self._porter.resident() or {}, await self._porter.parked() or {}
        known = self.setup.experts
        strangers = [name for name in (*sizes, *parked) if name not in known]
        here = {name for name in sizes if name in known}
        here |= {base for name in here for base in self._family(name)}
        self._resident = {name: sizes.get(name) for name in known if name in here}
        self._parked = self._bytes(parked, [n for n in parked if n in known and n not in here])
        for name in strangers:
            await self._porter.let_go(name)
        return []

    def _look_if_needed(self) -> None:
        """Ask who is in memory after something failed, as soon as nothing moves."""
        idle = not self._moves and self._looking is None
        if self._porter.is_suspect and idle and not self._is_closed:
            self._porter.is_suspect = False
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        number = self._move_number
        sizes, parked = await self._porter.resident(), await self._porter.parked()
        self._looking = None
        # What was true before a load or an unload began says nothing after it.
        if self._move_number != number:
            self._porter.is_suspect = sizes is not None
            self._look_if_needed()
            return
        gone: list[Lost | Dropped] = []
        if sizes is not None:
            gone += [Lost(name) for name in self._resident if name not in sizes]
        if parked is not None:
            gone += [Dropped(name) for name in self._parked if name not in parked]
        for event in gone:
            is_known = event.expert in (self._resident if isinstance(event, Lost) else self._parked)
            if is_known:  # an adapter is forgotten with its base
                logger.warning("backend %s no longer has `%s` in memory", self.name, event.expert)
                self._note(event)
                if self._scheduler is not None:
                    self._handle(event)
        self._adopt(parked or {})

    def _adopt(self, parked: Sizes) -> None:
        """Count those that host memory has after all, as after an unload that parked and failed."""
        strangers = [n for n in parked if n not in {*self._parked, *self._resident, *self._moving}]
        if strangers:
            self._parked |= self._bytes(parked, strangers)
            self._pause()


def _merged(new: Setup, old: Setup, needed: set[str]) -> Layout:
    """Return the new layout with those of the old one that are still needed, no longer kept."""
    left = {
        name: replace(one, pinned=False, preferred=False)
        for name, one in old.experts.items()
        if name in needed and name not in new.experts
    }
    known = {**left, **new.experts}
    kept = [
        one
        for one in left.values()
        if one.base is None or (one.base in known and known[one.base].base is None)
    ]
    return (
        Layout(pools=new.layout.pools, experts=(*new.layout.experts, *kept)) if kept else new.layout
    )
