"""The experts of a backend that several replicas call: one of them owns its memory at a time.

The owner schedules, for all; see `coe.scheduler.loop`. The others ask it for slots, and call the
backend themselves: what is generated never passes through the owner.

1. The owner is this replica: its own scheduler lets the call in. In the grace after it became the
   owner, nothing is loaded, and calls of experts in memory are let in at once.
2. The owner is another one: it lends a slot. Calls that wait when it goes ask its successor.
3. Nobody can be asked: calls of experts that were in memory by the last owner's word go on, loose.
   Others wait for an owner, for as long as a new one takes to come, and are refused then.

Slots that are loose are shown to the next owner before it loads or unloads anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Unpack

from coe.errors import (
    BackendError,
    CapacityError,
    ConfigError,
    DeadlineExceeded,
    StoreUnavailable,
)
from coe.protocols import Parking, Residency
from coe.replicas.errand import Errand, Moved
from coe.replicas.fence import Fence, Fenced, FencedParking
from coe.replicas.grips import Grip, Lent, Loose, borrow
from coe.replicas.lease import Sight, Tenure, heard
from coe.replicas.replica import Replica
from coe.scheduler.chronicle import Chronicle
from coe.scheduler.events import Ticket
from coe.scheduler.loop import (
    TELL_S,
    Asks,
    LocalSlots,
    Setup,
    Slot,
    Told,
    View,
    Watcher,
    ticket_of,
)
from coe.scheduler.memory import LoadTimes
from coe.stores.redis_leases import Claim, Grant

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Held:
    """A call that was let in, and what holds its slot now."""

    slot: Slot
    grip: Grip


class _Term:
    """The time in which this replica owns the pool.

    Attributes:
        slots: lets calls in.
        token: of the lease.
        over: set at its end.
        has_begun: whether the grace is over.
    """

    def __init__(self, slots: LocalSlots, token: int) -> None:
        self.slots = slots
        self.token = token
        self.over = asyncio.Event()
        self.has_begun = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lending:
    """See `coe.replicas.replica.Lending`."""

    slot: Slot
    term: _Term

    @property
    def swap_s(self) -> float:
        return self.slot.swap_s

    async def ended(self) -> None:
        await self.term.over.wait()

    def release(self) -> None:
        self.slot.release()


class SharedSlots:
    """See the module, and `coe.scheduler.loop.Slots`.

    Attributes:
        name: of the backend.
        residency: the backend.
        identity: of its memory, among all replicas.
        counts: calls that were let in, by `here`, `elsewhere` and `loose`.
    """

    def __init__(  # noqa: PLR0913 - as `LocalSlots`, and whose they are
        self,
        name: str,
        residency: Residency,
        setup: Setup,
        watcher: Watcher | None = None,
        parking: Parking | None = None,
        *,
        identity: str,
        replica: Replica,
    ) -> None:
        """Store the parts; see `coe.scheduler.loop.LocalSlots`."""
        self.name = name
        self.residency = residency
        self.identity = identity
        self.counts = {"here": 0, "elsewhere": 0, "loose": 0}
        self.fence = Fence(name, self._may_act, replica.terms.lease_s)
        self._replica = replica
        self._terms = replica.terms
        self._given = setup
        self._watcher = watcher
        self._parking = parking
        self._tenure = Tenure(me=replica.id)
        self._term: _Term | None = None
        self._resident: frozenset[str] = frozenset()
        self._held: dict[str, _Held] = {}
        self._waiting: dict[str, Ticket] = {}
        self._alone_s: dict[str, float] = {}  # since when nobody manages one that waits, at most
        self._trouble = ""
        self._asking: set[asyncio.Timeout] = set()
        self._silent_until_s = 0.0
        self._numbers = count()
        self._quiet = Chronicle()
        self._news = asyncio.Event()
        self._wake = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = self._has_resigned = False

    # ------------------------------------------------------------ calls

    def manages(self, expert: str) -> bool:
        """See `Slots.manages`."""
        return expert in self.setup.experts

    async def take(self, expert: str, **asks: Unpack[Asks]) -> Slot:
        """See `Slots.take`."""
        now_s = self._now_s()
        ticket = ticket_of(next(self._numbers), expert, asks, now_s)
        told, tell_every_s = asks.get("told"), asks.get("tell_every_s", TELL_S)
        slot = Slot(self, ticket, now_s)
        self._waiting[ticket.id] = ticket
        self._alone_s[ticket.id] = now_s
        try:
            while (grip := await self._grip(ticket, told, tell_every_s)) is None:
                if self._is_closed:
                    message = f"backend `{self.name}` is being closed"
                    raise CapacityError(message, retry_after_s=1.0)
                await self._wait(ticket)
        finally:
            del self._waiting[ticket.id], self._alone_s[ticket.id]
        slot.is_running = True
        slot.queued_s = self._now_s() - now_s
        slot.swap_s = min(grip.swap_s, slot.queued_s)
        held = _Held(slot, grip)
        self._held[ticket.id] = held
        self._watch(held)
        return slot

    def release(self, slot: Slot, *, failed: bool = False) -> None:
        """See `Slot.release`."""
        held = self._held.pop(slot.ticket.id, None)
        if held is not None:
            held.grip.release(failed=failed)

    async def _grip(self, ticket: Ticket, told: Told | None, tell_every_s: float) -> Grip | None:
        """Return a slot; None where it has to be asked for again."""
        left_s = None if ticket.deadline_s is None else ticket.deadline_s - self._now_s()
        term, owner = self._term, self._tenure.seen
        if term is not None:  # 1
            with suppress(Moved):
                return await self._from(term, ticket, left_s, told, tell_every_s)
            if term.over.is_set():
                self._alone_s[ticket.id] = self._now_s()
            return None
        is_here = ticket.expert in self._resident
        is_silent = is_here and self._now_s() < self._silent_until_s
        if owner is not None and owner.replica != self._replica.id and not is_silent:  # 2
            try:
                lent = await self._borrow(owner, ticket, left_s, told)
            except (Moved, TimeoutError):
                self._wake.set()
                return None
            except (BackendError, ConfigError) as error:
                if error.message != self._trouble:
                    self._trouble = error.message
                    logger.warning(
                        "pool %s: its owner cannot be asked: %s", self.name, self._trouble
                    )
                self._silent_until_s = self._now_s() + self._terms.renew_s
                self._wake.set()
            else:
                self._trouble = ""
                self.counts["elsewhere"] += 1
                return lent
        if is_here:  # 3
            self.counts["loose"] += 1
            return Loose()
        return None

    async def _borrow(
        self, owner: Sight, ticket: Ticket, left_s: float | None, told: Told | None
    ) -> Lent:
        """Return a slot of the owner's. Raises as `borrow`, and TimeoutError where it is not it."""
        errand = self._errand(ticket, deadline_s=left_s)
        client = self._replica.client(owner.url)

        async def heard_of(sentence: str) -> None:  # it is in the owner's line
            self._alone_s[ticket.id] = self._now_s()
            if told is not None:
                await told(sentence)

        async with asyncio.timeout(None) as limit:
            self._asking.add(limit)
            try:
                return await borrow(client, errand, owner.replica, heard_of)
            finally:
                self._asking.discard(limit)

    def _errand(
        self, ticket: Ticket, *, deadline_s: float | None = None, is_held: bool = False
    ) -> Errand:
        """Return what the owner is asked for a call."""
        return Errand(
            pool=self.identity,
            expert=ticket.expert,
            key=ticket.key,
            team=ticket.team,
            lane=ticket.lane,
            deadline_s=deadline_s,
            is_held=is_held,
        )

    async def _from(
        self,
        term: _Term,
        ticket: Ticket,
        left_s: float | None,
        told: Told | None,
        tell_every_s: float = TELL_S,
    ) -> Slot:
        """Return a slot of one's own.

        Raises Moved where the term ends meanwhile, or the expert would have to be loaded and must
        not: the lease was not renewed, and may be.
        """
        expert = ticket.expert
        if not term.has_begun and expert in self._resident:
            self.counts["here"] += 1
            return term.slots.adopt(ticket)
        if term.has_begun and not self._may_act() and expert not in _ready(term.slots):
            raise Moved
        try:
            slot = await term.slots.take(
                expert,
                key=ticket.key,
                team=ticket.team,
                lane=ticket.lane,
                deadline_s=left_s,
                told=told,
                tell_every_s=tell_every_s,
            )
        except CapacityError:
            if term.over.is_set():
                raise Moved from None
            raise
        self.counts["here"] += 1
        return slot

    async def _wait(self, ticket: Ticket) -> None:
        """Wait for news, a moment at the most. Raises where that was long enough."""
        now_s = self._now_s()
        if ticket.deadline_s is not None and now_s >= ticket.deadline_s:
            message = f"the deadline passed while nobody managed the memory of `{self.name}`"
            raise DeadlineExceeded(message, retry_after_s=1.0)
        terms = self._terms
        alone_s = now_s - self._alone_s[ticket.id]
        if alone_s >= terms.lease_s + terms.grace_s + 2 * terms.renew_s:
            message = (
                f"expert `{ticket.expert}` may not be in memory, and no replica can load it now: "
                f"the one that owns `{self.name}` does not answer, nor does Redis name another"
            )
            raise CapacityError(message, retry_after_s=self._terms.lease_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._terms.renew_s):
                await self._news.wait()

    def _watch(self, held: _Held) -> None:
        """Have a lent slot become loose when its owner no longer holds it."""
        if isinstance(held.grip, Lent):
            grip = held.grip

            def lost() -> None:
                if held.grip is grip:
                    held.grip = Loose()
                    self._wake.set()

            grip.watch(lost)

    # ------------------------------------------------------------ calls of other replicas

    @property
    def is_owned(self) -> bool:
        """Whether this replica owns the pool."""
        return self._term is not None

    @property
    def refused(self) -> int:
        """See `coe.replicas.replica.Pool`."""
        return self.fence.refused

    async def lend(self, errand: Errand, told: Told) -> _Lending:
        """See `coe.replicas.replica.Pool.lend`."""
        term = self._term
        if term is None:
            raise Moved
        if not term.slots.manages(errand.expert):
            message = f"the owner of `{self.name}` does not know an expert `{errand.expert:.80}`"
            raise CapacityError(message, retry_after_s=1.0)
        ticket = Ticket(
            id="", expert=errand.expert, key=errand.key, team=errand.team, lane=errand.lane
        )
        if errand.is_held:
            slot = term.slots.adopt(ticket)
        else:
            slot = await self._from(term, ticket, errand.deadline_s, told)
        return _Lending(slot=slot, term=term)

    def doubt(self) -> None:
        """See `coe.replicas.replica.Pool.doubt`."""
        if self._term is not None:
            self._term.slots.doubt()

    # ------------------------------------------------------------ life

    async def open(self) -> None:
        """Find out who owns the pool, and go on doing so."""
        if self._work is None and not self._is_closed:
            self._replica.pools[self.identity] = self
            await self._try_look()
            self._work = self._begin(self._watch_lease())

    def change(self, setup: Setup) -> None:
        """See `Slots.change`."""
        self._given = setup
        if self._term is not None:
            self._term.slots.change(setup)

    def reach(self, residency: Residency, parking: Parking | None) -> None:
        """See `Slots.reach`."""
        if residency is self.residency:
            return
        self.residency, self._parking = residency, parking
        if self._term is not None:
            self._term.slots.reach(*self._fenced())

    async def resign(self) -> None:
        """See `coe.replicas.replica.Pool.resign`."""
        self._has_resigned = True
        token = self._tenure.token
        self._tenure = Tenure(me=self._replica.id, highest=self._tenure.highest)
        self._end_term()
        if token:
            with suppress(StoreUnavailable):
                await self._replica.leases.resign(self.identity, self._replica.id, token)
        self._wake.set()

    async def aclose(self) -> None:
        """See `Slots.aclose`; another replica may own the pool then."""
        self._is_closed = True
        term = self._term
        await self.resign()
        if self._replica.pools.get(self.identity) is self:
            del self._replica.pools[self.identity]
        for held in self._held.values():
            held.grip.release()
        self._held.clear()
        self._tell()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if term is not None:
            await term.slots.aclose()

    # ------------------------------------------------------------ seen from outside

    @property
    def setup(self) -> Setup:
        """See `Slots.setup`."""
        return self._given if self._term is None else self._term.slots.setup

    @property
    def chronicle(self) -> Chronicle:
        """What happened of late, where this replica owns the pool."""
        return self._quiet if self._term is None else self._term.slots.chronicle

    def views(self) -> tuple[View, ...]:
        """Return how every expert stands: the owner knows of all calls, the others of theirs."""
        if self._term is not None:
            return self._term.slots.views()
        running = [held.slot.ticket.expert for held in self._held.values()]
        waiting = [(one.expert, one.lane) for one in self._waiting.values()]
        return tuple(
            View(
                expert=name,
                state="ready" if name in self._resident else "out",
                running=running.count(name),
                interactive=waiting.count((name, "interactive")),
                bulk=waiting.count((name, "bulk")),
                times=LoadTimes(),
            )
            for name in self.setup.experts
        )

    @property
    def parks(self) -> bool:
        """See `Slots.parks`."""
        return any(pool.host is not None for pool in self.setup.layout.pools)

    @property
    def parked_bytes(self) -> int:
        """See `Slots.parked_bytes`."""
        return 0 if self._term is None else self._term.slots.parked_bytes

    # ------------------------------------------------------------ the lease

    def _may_act(self) -> bool:
        return self._tenure.may_act(self._now_s(), self._terms)

    async def _watch_lease(self) -> None:
        while True:
            self._wake.clear()
            wait_s = self._terms.renew_s
            if self._term is not None and not self._term.has_begun:
                wait_s = min(wait_s, max(0.0, self._tenure.acts_from_s - self._now_s()))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
                # Many wake it at once, and again and again while it does not help.
                await asyncio.sleep(self._terms.renew_s / 4)
            await self._try_look()

    async def _try_look(self) -> None:
        try:
            await self._look()
        except Exception:  # a supervisor: the next look may do
            logger.exception("pool %s", self.name)

    async def _look(self) -> None:
        """Ask who owns the pool, be it or try to, and act on what is new."""
        asked_s = self._now_s()
        try:
            grant = await self._ask()
        except StoreUnavailable:
            grant = None
        if grant is not None:
            sight = Sight(
                replica=grant.replica,
                token=grant.token,
                left_s=grant.left_s,
                url=grant.url,
                resident=grant.resident,
                doubtful_s=grant.doubtful_s,
            )
            before = self._tenure.seen
            self._tenure = heard(self._tenure, sight, asked_s, self._now_s(), self._terms)
            if before is not None and before.replica != sight.replica:
                for limit in self._asking:  # who was asked is not the owner any more
                    limit.reschedule(self._now_s())
            self._settle()
        self._tell()

    async def _ask(self) -> Grant | None:
        leases = self._replica.leases
        if self._has_resigned:
            return await leases.holder(self.identity)
        if self._term is not None and self._term.has_begun:
            self._resident = _ready(self._term.slots)
        return await leases.claim(
            Claim(
                pool=self.identity,
                replica=self._replica.id,
                url=self._replica.url,
                lease_s=self._terms.lease_s,
                highest=self._tenure.highest,
                resident=tuple(sorted(self._resident)),
            )
        )

    def _settle(self) -> None:
        """Become what the lease says."""
        token = self._tenure.token
        if token and not self._has_resigned:
            if self._term is not None and token > self._term.token + 1:
                self._end_term()  # somebody had it in between
            term = self._term or self._begin_term(token)
            term.token = token
            if not term.has_begun and self._may_act():
                term.has_begun = True
                self._begin(term.slots.open())
            return
        if self._term is not None:
            logger.warning("pool %s: another replica owns it now", self.name)
            self._end_term()
        owner = self._tenure.seen
        if owner is not None and owner.replica != self._replica.id:
            self._resident = frozenset(owner.resident)
            self._show(owner)

    def _begin_term(self, token: int) -> _Term:
        logger.info("pool %s: this replica owns it (%d)", self.name, token)
        residency, parking = self._fenced()
        slots = LocalSlots(self.name, residency, self._given, self._watcher, parking)
        term = self._term = _Term(slots, token)
        for held in self._held.values():
            grip, held.grip = held.grip, slots.adopt(held.slot.ticket)
            grip.release()
        return term

    def _fenced(self) -> tuple[Fenced, FencedParking | None]:
        parking = None if self._parking is None else FencedParking(self._parking, self.fence)
        return Fenced(self.residency, self.fence), parking

    def _end_term(self) -> None:
        """Own the pool no more: calls that wait ask elsewhere, those that run go on."""
        term, self._term = self._term, None
        if term is None:
            return
        for held in self._held.values():
            held.grip = Loose()
        term.over.set()
        self._begin(term.slots.aclose())

    def _show(self, owner: Sight) -> None:
        """Show the owner the slots that it does not hold."""
        for held in tuple(self._held.values()):
            if not (isinstance(held.grip, Lent) and held.grip.replica == owner.replica):
                self._begin(self._register(held, owner))

    async def _register(self, held: _Held, owner: Sight) -> None:
        ticket, before = held.slot.ticket, held.grip
        errand = self._errand(ticket, is_held=True)
        try:
            client = self._replica.client(owner.url)
            lent = await borrow(client, errand, owner.replica, None)
        except (BackendError, CapacityError, ConfigError, Moved):
            return  # it is tried again at the next look
        if self._held.get(ticket.id) is not held or held.grip is not before:
            lent.release()  # the call ended meanwhile
            return
        held.grip = lent
        before.release()
        self._watch(held)

    # ------------------------------------------------------------

    def _tell(self) -> None:
        """Wake who waits for news."""
        self._news.set()
        self._news = asyncio.Event()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def _ready(slots: LocalSlots) -> frozenset[str]:
    """Return the experts in memory."""
    return frozenset(view.expert for view in slots.views() if view.state == "ready")
