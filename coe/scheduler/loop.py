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
from typing import Any, NamedTuple, Protocol

from coe.errors import CapacityError, CoEError, DeadlineExceeded, ExpertLoadFailed, QueueFull
from coe.protocols import Eviction, Ordering, Residency
from coe.scheduler.chronicle import Chronicle
from coe.scheduler.events import (
    Action,
    Arrive,
    Cancel,
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
from coe.scheduler.memory import Expert, Layout
from coe.scheduler.options import Options
from coe.scheduler.policies import Affinity, NextUse
from coe.scheduler.state import Scheduler

logger = logging.getLogger(__name__)

LOOK_S = 10.0
"""How long a backend may take to say who is in its memory, and to clear up after a failed load."""

AGAIN_S = (0.05, 0.5)
"""When an unload that failed is tried again: one that fails for good keeps its place for long."""

REST_S = 1.0
"""How long nobody is let in after an error of ours."""

Told = Callable[[str], Awaitable[None]]


class Watcher(Protocol):
    """Whoever counts what happens; see `coe.telemetry`."""

    def waited(self, expert: str, lane: str, waited_s: float) -> None:
        """A call was let in after so long."""

    def refused(self, expert: str, reason: str) -> None:
        """A call was refused."""

    def loaded(self, expert: str, took_s: float, *, succeeded: bool) -> None:
        """A load ended."""

    def unloaded(self, expert: str, for_expert: str) -> None:
        """An expert left to make room for another one."""


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
        state: `out`, `loading`, `ready` or `unloading`.
        interactive, bulk: calls that wait, by lane.
    """

    expert: str
    state: str
    running: int
    interactive: int
    bulk: int


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

    def __init__(self, owner: Slots, ticket: Ticket, arrived_s: float) -> None:
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


class Slots:
    """The experts of one backend, and who may use them when.

    Attributes:
        setup: what it works by; of the composition that came last.
        chronicle: what it did of late.
    """

    def __init__(
        self, name: str, residency: Residency, setup: Setup, watcher: Watcher | None = None
    ) -> None:
        """Store the parts; calls wait until `open`.

        Args:
            name: of the backend.
            residency: the backend.
            setup: what to work by.
            watcher: told what happens.
        """
        self.name = name
        self.residency = residency
        self.setup = setup
        self.chronicle = Chronicle()
        self._given = setup
        self._watcher = watcher
        self._scheduler: Scheduler | None = None
        self._slots: dict[str, Slot] = {}
        self._resident: dict[str, None] = {}
        self._moving: dict[str, str] = {}
        self._moves: set[asyncio.Task[list[Event]]] = set()
        self._move_number = 0
        self._looking: asyncio.Task[None] | None = None
        self._is_suspect = False
        self._is_open = self._is_closed = self._is_resting = False
        self._reasons: dict[str, str] = {}
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf

    # ------------------------------------------------------------ calls

    def manages(self, expert: str) -> bool:
        """Whether calls of an expert need a slot."""
        return expert in self.setup.experts

    async def take(
        self,
        expert: str,
        *,
        key: str = "",
        lane: Lane = "interactive",
        deadline_s: float | None = None,
        told: Told | None = None,
        tell_every_s: float = 2.0,
    ) -> Slot:
        """Return a slot once the expert is in memory and has one free. Release it in the end.

        Cancelling it gives the place in the queue back.

        Args:
            expert: one that is managed.
            key: whose call it is, for fair shares.
            lane: `bulk` waits for what the others leave.
            deadline_s: seconds from now in which it must have been let in.
            told: is told in a sentence what it waits for, every now and then.
            tell_every_s: how often that is.

        Raises:
            QueueFull: too many calls wait.
            DeadlineExceeded: the deadline, or the promise of `max_wait`, cannot be kept.
            ExpertLoadFailed: the expert cannot be brought into memory.
            CapacityError: the gateway stops.
        """
        if self._is_closed:
            message = f"backend `{self.name}` is being closed"
            raise CapacityError(message, retry_after_s=REST_S)
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        due_s = None if deadline_s is None else now_s + deadline_s
        number = str(next(self._numbers))
        ticket = Ticket(id=number, expert=expert, key=key, lane=lane, deadline_s=due_s)
        slot = Slot(self, ticket, now_s)
        self._slots[ticket.id] = slot
        self._handle(Arrive(ticket))
        try:
            if slot.is_waiting:
                slot.turned = loop.create_future()
                if told is None:
                    await slot.turned
                while not slot.turned.done() and told is not None:
                    await asyncio.wait((slot.turned,), timeout=tell_every_s)
                    if not slot.turned.done():
                        await told(self._status(slot))
            if slot.error is not None:
                raise slot.error
        except BaseException:
            self.release(slot)
            raise
        return slot

    def release(self, slot: Slot, *, failed: bool = False) -> None:
        """See `Slot.release`."""
        if self._slots.pop(slot.ticket.id, None) is None:
            return
        if failed:
            self._is_suspect = True
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
        if self._is_open:
            self._pause()

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
            )
            for name in self.setup.experts
        )

    def _state(self, expert: str) -> str:
        return self._moving.get(expert, "ready" if expert in self._resident else "out")

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
                    self._begin(self._load(expert), {expert: "loading"})
                case Unload(expert=expert, why=why):
                    logger.info("backend %s: `%s` leaves: %s", self.name, expert, why)
                    if self._watcher is not None:
                        self._watcher.unloaded(expert, why.for_expert)
                    self._begin(self._unload(expert), {expert: "unloading"})

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
        why = self._reasons.get(expert) or next(
            (self._reasons[name] for name in self._family(expert) if name in self._reasons),
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
        try:
            scheduler = Scheduler(
                setup.layout,
                setup.options,
                ordering=setup.ordering,
                eviction=setup.eviction,
                resident=self._resident,
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
        idle = [name for name in self._resident if name not in busy]
        if not idle:
            if not busy:  # nobody is in memory, and it is the setup that cannot be
                logger.error("backend %s cannot be scheduled: %s", self.name, error)
                self._refuse_all(f"backend `{self.name}` cannot be scheduled: {error}")
            return
        logger.info("backend %s: %s; %s leave", self.name, error, ", ".join(idle))
        for name in idle:
            del self._resident[name]
        self._begin(self._clear(idle), dict.fromkeys(idle, "unloading"))

    def _recover(self) -> None:
        """Go on after an error of ours: made anew, or with nobody waiting."""
        self._scheduler = None
        self._arm()
        self._refuse_all("the scheduler failed; the gateway's log has the details")
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
            match event:
                case Loaded(expert=expert):
                    self._resident[expert] = None
                case Unloaded(expert=expert) | Lost(expert=expert):
                    self._forget(expert)
            if self._scheduler is not None:
                self._handle(event)
        self._resume()
        self._look_if_needed()

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

    async def _load(self, expert: str) -> list[Event]:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        reason = await self._try(self.residency.load(expert), "loading it")
        sizes = await self._sizes()
        if reason and (sizes is None or expert not in sizes):
            # Whether it takes memory is not known: it had better not, since none is counted for it.
            await self._try(self.residency.unload(expert), "unloading it", LOOK_S)
            logger.warning("backend %s: `%s` was not loaded: %s", self.name, expert, reason)
            self._reasons[expert] = reason
            self._is_suspect = True
            event: Event = LoadFailed(expert)
        else:
            self._reasons.pop(expert, None)
            event = Loaded(expert, None if sizes is None else sizes.get(expert))
        if self._watcher is not None:
            succeeded = isinstance(event, Loaded)
            self._watcher.loaded(expert, clock() - began_s, succeeded=succeeded)
        return [event]

    async def _unload(self, expert: str) -> list[Event]:
        reason = ""
        for pause_s in (*AGAIN_S, None):
            reason = await self._try(self.residency.unload(expert), "unloading it")
            if not reason:
                return [Unloaded(expert)]
            sizes = await self._sizes()
            if sizes is not None and expert not in sizes:
                return [Unloaded(expert)]
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        logger.warning("backend %s: `%s` was not unloaded: %s", self.name, expert, reason)
        self._is_suspect = True
        return [UnloadFailed(expert)]

    async def _clear(self, names: Iterable[str]) -> list[Event]:
        """Unload experts of which the state machine knows nothing; adapters before their bases."""
        for name in sorted(names, key=lambda one: not self._family(one)):
            if reason := await self._try(self.residency.unload(name), "unloading it"):
                logger.warning(
                    "backend %s: `%s` may be in memory beside the others: %s",
                    self.name, name, reason,
                )  # fmt: skip
        return []

    async def _try(self, work: Awaitable[None], what: str, limit_s: float = math.inf) -> str:
        """Return why something failed; empty where it did not. Cancellation passes."""
        limit_s = min(limit_s, self.setup.load_limit_s)
        try:
            async with asyncio.timeout(limit_s):
                await work
        except TimeoutError:
            return f"{what} took longer than {limit_s:g} s (batching.load_limit)"
        except CoEError as error:
            return error.message
        except Exception as error:  # the supervisor: a backend's bug must not leave calls waiting
            logger.exception("backend %s failed in %s", self.name, what)
            return f"{what} failed: {type(error).__name__}"
        return ""

    # ------------------------------------------------------------ who is there

    async def _sizes(self) -> Mapping[str, int | None] | None:
        """Return who is in memory; None where the backend cannot say."""
        try:
            async with asyncio.timeout(LOOK_S):
                return await self.residency.resident()
        except (CoEError, TimeoutError):
            return None
        except Exception:
            logger.exception("backend %s cannot say who is in memory", self.name)
            return None

    async def _first_look(self) -> list[Event]:
        sizes = await self._sizes() or {}
        known = self.setup.experts
        strangers = [name for name in sizes if name not in known]
        here = {name for name in sizes if name in known}
        here |= {base for name in here for base in self._family(name)}
        self._resident = {name: None for name in known if name in here}
        for name in strangers:
            await self._try(self.residency.unload(name), "unloading it")
        return []

    def _look_if_needed(self) -> None:
        """Ask who is in memory after something failed, as soon as nothing moves."""
        idle = not self._moves and self._looking is None
        if self._is_suspect and idle and not self._is_closed:
            self._is_suspect = False
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        number = self._move_number
        sizes = await self._sizes()
        self._looking = None
        # What was true before a load or an unload began says nothing after it.
        if self._move_number != number:
            self._is_suspect = sizes is not None
            self._look_if_needed()
            return
        if sizes is None:
            return
        for name in tuple(self._resident):
            if name not in sizes and name in self._resident:
                logger.warning("backend %s no longer has `%s` in memory", self.name, name)
                self._forget(name)
                if self._scheduler is not None:
                    self._handle(Lost(name))


def _merged(new: Setup, old: Setup, needed: set[str]) -> Layout:
    """Return the new layout with those of the old one that are still needed, no longer pinned."""
    left = {
        name: replace(one, pinned=False)
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
