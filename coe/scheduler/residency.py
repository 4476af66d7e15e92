"""Who comes into a room, who leaves for it, and why. Pure decisions on rooms.

The scheduler's rule 5; the letters are those of `coe.scheduler.state`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from coe.protocols import Eviction, Ordering
from coe.scheduler import preference
from coe.scheduler.events import Action, Lane, Load, Unload, Why
from coe.scheduler.memory import fewest
from coe.scheduler.options import Options
from coe.scheduler.parking import who_leaves
from coe.scheduler.rooms import Incoming, Occupant, Room

CLOSED = -math.inf  # no call's number is smaller
HARD = 1.5
"""After so many times its patience, an expert that presses also closes one that fills its slots."""

LOOK_AHEAD = 4  # heads of a room's queue that are asked when they will press


@dataclass(slots=True)
class Residency:
    """Decides who is in memory.

    Attributes:
        actions: what is to be done, in order; whoever asks takes them away.
        reopened: experts that may start calls again; whoever asks takes them away.
    """

    options: Options
    ordering: Ordering
    eviction: Eviction
    actions: list[Action] = field(default_factory=list)
    reopened: list[Occupant] = field(default_factory=list)

    def settle(self, room: Room, now_s: float) -> None:
        """Move on who is on the way, and choose the next one."""
        if room.owner and (room.owner.status != "ready" or room.owner.before < math.inf):
            self._stand_by(room)
            return
        while True:
            if room.incoming:  # 5a
                self.progress(room, now_s)
                if room.incoming:
                    return
            if room.is_stuck:
                return
            incoming = self._choose(room, now_s)
            if incoming is None:
                room.is_stuck = True
                return
            room.incoming = incoming
            for victim in incoming.victims:
                victim.before = CLOSED if incoming.is_overdue else incoming.before

    def _stand_by(self, room: Room) -> None:
        """Begin nothing for the adapters of a base that is about to leave; it has to be still."""
        incoming = room.incoming
        if incoming is None or incoming.phase == "loading":
            return
        if all(victim.status != "unloading" for victim in incoming.victims):
            self.abandon(room)

    def progress(self, room: Room, now_s: float) -> None:
        """Take the next step of who is on the way, if it can be taken."""
        incoming = room.incoming
        if incoming is None or incoming.phase == "loading":
            return
        target = incoming.target
        if incoming.phase == "draining":
            if not _is_called_for(incoming):  # 5e
                self.abandon(room)
                return
            self._note_overdue(incoming, now_s)
            incoming.victims = [one for one in incoming.victims if one.status == "ready"]
            if not all(victim.is_idle for victim in incoming.victims):
                return
            for victim in incoming.victims:
                self._unload(victim, target, now_s)
            incoming.phase = "unloading"
        if any(victim.status == "unloading" for victim in incoming.victims):
            return
        room.incoming = None
        if _is_called_for(incoming):
            room.incoming = incoming
            self._load(incoming, now_s)

    def abandon(self, room: Room) -> None:
        """Give up bringing somebody in; whoever was to leave stays."""
        incoming, room.incoming = room.incoming, None
        room.is_stuck = False
        for victim in incoming.victims if incoming else ():
            if victim.status == "ready":
                victim.before = math.inf
                self.reopened.append(victim)

    def is_overdue(self, unit: Occupant, now_s: float) -> bool:
        """Whether a call of it has waited for as long as was promised, or longer."""
        most_s = self.options.max_wait_s
        return most_s is not None and _oldest_s(unit, "interactive") + most_s <= now_s

    def presses(
        self, room: Room, unit: Occupant, lane: Lane, now_s: float, *, times: float = 1.0
    ) -> bool:
        """Whether others may take no more calls until this expert had its turn.

        With `times`, whether it would still press if the patience were so many times as long.
        """
        if lane == "interactive":
            patience_s = self.options.patience_s(room.p95_wait_s, unit.reload_s(), unit.call_s)
        else:
            patience_s = self.options.bulk_max_wait_s
        return self.ordering.presses(unit.pending(lane, now_s), now_s, times * patience_s)

    def wake_s(self, room: Room, now_s: float) -> float:
        """Return when something may follow though nothing happens but time passing."""
        options = self.options
        times = [_later(room, "bulk", options.bulk_max_wait_s, now_s)]
        if options.max_wait_s is not None:
            times.append(_later(room, "interactive", options.max_wait_s, now_s))
        for arrived_s, _, occupant in islice(room.heads["interactive"], LOOK_AHEAD):
            one = room.here(occupant)
            patience_s = options.patience_s(room.p95_wait_s, one.reload_s(), one.call_s)
            times += (arrived_s + patience_s, arrived_s + HARD * patience_s)
            if arrived_s + patience_s > now_s:
                break
        if options.min_residency_s and any(room.waiting.values()):
            residents = room.residents.values()
            times += (one.loaded_s + options.min_residency_s for one in residents)
        times += (one.retry_s for one in room.pins if one.status == "out")
        times += (one.kept_s for one in room.residents.values() if one.kept_s > now_s)
        times += preference.wake_times(room)
        return min((time_s for time_s in times if time_s > now_s), default=math.inf)

    # ------------------------------------------------------------ who comes

    def _choose(self, room: Room, now_s: float) -> Incoming | None:
        for occupant in room.pins:
            is_due = occupant.status == "out" and occupant.retry_s <= now_s and not occupant.owed
            if is_due and (incoming := self._plan(room, occupant, "interactive", now_s)):
                return incoming
        for lane in self._lanes(room, now_s):
            if incoming := self._pressing(room, lane, now_s):  # 5b
                return incoming
            if not self._may_fit(room, lane) or (room.floor and not self.options.prefetch):
                continue
            absent = islice(room.absent(lane), self.options.candidates)
            pending = [one.pending(lane, now_s) for _, one in absent]
            if not pending:
                continue
            target = room.everybody[self.ordering.pick(pending, now_s).expert]
            if incoming := self._plan(room, target, lane, now_s):  # 5c
                return incoming
        if room.floor and not self.options.prefetch:
            return None
        return preference.returning(room, now_s, lambda some: self._ranked(some, now_s))  # 5g

    def _lanes(self, room: Room, now_s: float) -> Iterator[Lane]:
        """Yield whose calls may bring somebody in: bulk only where nobody else is absent.

        A bulk call that waited for long enough is not made to wait for that.
        """
        if self._is_bulk_due(room, now_s):
            yield "bulk"
        first = next(room.absent("interactive"), None)
        yield "interactive" if first else "bulk"

    def _is_bulk_due(self, room: Room, now_s: float) -> bool:
        bulk = room.heads["bulk"]
        due_s = bulk[0][0] + self.options.bulk_max_wait_s if bulk else math.inf
        return self.ordering.groups and due_s <= now_s

    def _pressing(self, room: Room, lane: Lane, now_s: float) -> Incoming | None:
        first = next(room.absent(lane), None)
        if first is None:
            return None
        if lane == "bulk" and room.waiting["interactive"] and not self._is_bulk_due(room, now_s):
            return None  # bulk closes nobody who serves others
        if self.presses(room, first[1], lane, now_s):
            return self._plan(room, first[1], lane, now_s, is_forced=True)
        for unit in [one for one in room.urgent if not one.has_waiting(lane)]:
            del room.urgent[unit]
        for unit in room.urgent:
            if unit.status == "out" and not unit.owed and self.presses(room, unit, lane, now_s):
                return self._plan(room, unit, lane, now_s, is_forced=True)
        return None

    @staticmethod
    def _may_fit(room: Room, lane: Lane) -> bool:
        """Whether looking for somebody to bring in can be worth it. Cheap; may say yes wrongly."""
        if room.free >= room.smallest:
            return True
        for one in room.residents.values():
            works = one.in_flight > (one.bulk_in_flight if lane == "interactive" else 0)
            if not works and one.status == "ready" and (one.stay <= 0 or not one.is_wanted()):
                return True
        return False

    # ------------------------------------------------------------ who leaves

    def _plan(
        self, room: Room, target: Occupant, lane: Lane, now_s: float, *, is_forced: bool = False
    ) -> Incoming | None:
        """Return who leaves for a target; None where not enough of them may."""
        needed = target.size - room.free
        is_overdue = lane == "interactive" and self.is_overdue(target, now_s)
        victims: list[Occupant] = []
        if needed > 0:
            ranked = self._leavers(room, target, lane, now_s, is_forced=is_forced, now=is_overdue)
            chosen = fewest([one.size for one in ranked], needed=needed)
            if chosen is None:
                return None
            victims = [ranked[i] for i in chosen]
        return Incoming(
            target=target,
            victims=victims,
            is_overdue=is_overdue,
            before=_oldest(target, lane) if is_forced else CLOSED,
            is_promoted=is_forced and lane == "bulk",
        )

    def _leavers(
        self,
        room: Room,
        target: Occupant,
        lane: Lane,
        now_s: float,
        *,
        is_forced: bool,
        now: bool,
    ) -> list[Occupant]:
        """Return who may leave, the best to unload first: the free ones before all others."""
        movable = [
            one
            for one in room.residents.values()
            if one.status == "ready" and not one.expert.pinned and one.kept_s <= now_s
        ]
        free = [one for one in movable if self._leaves_freely(one, lane)]
        if not is_forced:
            return self._ranked(free, now_s)
        is_hard = self.presses(room, target, lane, now_s, times=HARD)
        rest = [
            one
            for one in movable
            if one not in free and (now or self._may_be_closed(one, now_s, is_hard=is_hard))
        ]
        return [*self._ranked(free, now_s), *self._ranked(rest, now_s)]

    def _may_be_closed(self, one: Occupant, now_s: float, *, is_hard: bool) -> bool:
        """5b, 5d. Whether an expert had what it was owed, and no longer fills its slots."""
        if one.stay > 0 or one.loaded_s + self.options.min_residency_s > now_s:
            return False
        return is_hard or not one.has_waiting("interactive")

    def _leaves_freely(self, one: Occupant, lane: Lane) -> bool:
        """5c. Whether an expert does nothing that counts; bulk does not where others wait."""
        if one.status != "ready" or one.expert.pinned:
            return False
        if lane == "bulk":
            return one.is_idle and not one.is_wanted()
        if one.stay > 0 and one.has_waiting("bulk"):
            return False  # bulk that waited for long enough brought it in
        return one.in_flight == one.bulk_in_flight and not one.has_waiting("interactive")

    def _ranked(self, some: Sequence[Occupant], now_s: float) -> list[Occupant]:
        if len(some) < 2:  # noqa: PLR2004 - one needs no order
            return list(some)
        seen = [one.resident(now_s) for one in some]
        by_name = {one.name: one for one in some}
        return preference.last([by_name[one.expert] for one in self.eviction.order(seen, now_s)])

    def _note_overdue(self, incoming: Incoming, now_s: float) -> None:
        if not incoming.is_overdue and self.is_overdue(incoming.target, now_s):
            incoming.is_overdue = True
            for victim in incoming.victims:
                victim.before = CLOSED

    # ------------------------------------------------------------ moving

    def _unload(self, victim: Occupant, target: Occupant, now_s: float) -> None:
        seen = victim.resident(now_s)
        room = victim.room
        why = Why(
            for_expert=target.name,
            needs=target.size,
            free=room.free,
            waiting=seen.waiting,
            idle_s=max(0.0, now_s - max(victim.used_s, victim.loaded_s)),
            reload_s=seen.reload_s,
        )
        victim.status = "unloading"
        room.floor.pop(victim, None)
        drop = who_leaves(victim, self.eviction, now_s)
        if room.host is None or drop is None:
            self.actions.append(Unload(victim.name, why))
            return
        room.host.expect(victim, drop)
        names = tuple(one.name for one in drop)
        self.actions.append(Unload(victim.name, why, park=True, drop=names))

    def _load(self, incoming: Incoming, now_s: float) -> None:
        target, room = incoming.target, incoming.target.room
        incoming.source = target.source
        incoming.phase = "loading"
        target.status = "loading"
        target.loading_s = now_s
        room.admit(target)
        self.actions.append(Load(target.name, incoming.source))


def _later(room: Room, lane: Lane, most_s: float, now_s: float) -> float:
    """Return when the next oldest call will have waited for so long."""
    times = (arrived_s + most_s for arrived_s, _, _ in room.heads[lane])
    return next((time_s for time_s in times if time_s > now_s), math.inf)


def _is_called_for(incoming: Incoming) -> bool:
    target = incoming.target
    if incoming.is_returning and not preference.is_needed(target.room):
        return True
    return target.is_wanted() or target.expert.pinned


def _oldest(occupant: Occupant, lane: Lane) -> float:
    """Return the number of the oldest call that waits for an expert or its adapters."""
    oldest = (member.lanes[lane].oldest for member in occupant.members)
    return min((one.number for one in oldest if one), default=math.inf)


def _oldest_s(occupant: Occupant, lane: Lane) -> float:
    oldest = (member.lanes[lane].oldest for member in occupant.members)
    return min((one.arrived_s for one in oldest if one), default=math.inf)
