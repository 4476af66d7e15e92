"""Who works, where not every expert in memory may: the scheduler's rule 3."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from coe.protocols import Ordering
from coe.scheduler.events import LANES, Lane
from coe.scheduler.residency import Residency
from coe.scheduler.rooms import Occupant, Room


@dataclass(frozen=True, slots=True)
class Turns:
    """Hands the floor of a room from one resident expert to the next.

    A turn lasts for the calls that waited when it began, as many as there are slots; then the
    ordering says whether another one is wanted more. Handing on costs no load.

    Attributes:
        start: starts what waits for a unit, as far as it has slots.
    """

    ordering: Ordering
    residency: Residency
    start: Callable[[Occupant], None]

    def hand_on(self, room: Room, width: int, now_s: float) -> None:
        """Let other resident experts work where some have had their turn."""
        for unit in [one for one in room.floor if not one.in_flight]:
            del room.floor[unit]
            unit.is_turn_over = False
        if self._is_kept_free(room, now_s):
            return
        while len(room.floor) < width:
            ready = _contenders(room)
            if not ready:
                break
            unit = self._heir(room, ready, now_s)
            room.heir = None
            room.floor[unit] = None
            waiting = unit.waiting("interactive")
            unit.turn = min(waiting, unit.expert.concurrency) if self.ordering.groups else 0
            self.start(unit)
            if not unit.in_flight:  # bulk that may not start now
                del room.floor[unit]
                break
        if len(room.floor) == width and not any(unit.is_turn_over for unit in room.floor):
            for unit in room.floor:
                self._end_turn(room, unit, now_s)
                if unit.is_turn_over:
                    break

    def _is_kept_free(self, room: Room, now_s: float) -> bool:
        """Whether the next turn belongs to an overdue expert that is still on its way."""
        if self.residency.options.max_wait_s is None:
            return False
        inner = (one.inner for one in room.residents.values() if one.inner)
        coming = [place.incoming for place in (room, *inner) if place.incoming]
        if not any(self.residency.is_overdue(one.target, now_s) for one in coming):
            return False
        if room.heir is not None and not self.residency.is_overdue(room.heir, now_s):
            room.heir = None
        return room.heir is None

    def _end_turn(self, room: Room, unit: Occupant, now_s: float) -> None:
        others = _contenders(room)
        if not others:
            return
        lane = _lane(others)
        pressing = self.residency.presses(room, others[0], lane, now_s)
        if unit.turn > 0 and not pressing and (lane == "bulk" or unit.has_waiting(lane)):
            return
        heir = self._heir(room, others, now_s)
        pair = [one.pending(lane, now_s) for one in (heir, unit) if one.has_waiting(lane)]
        if pressing or self.ordering.pick(pair, now_s) is pair[0]:
            unit.is_turn_over = True
            room.heir = heir

    def _heir(self, room: Room, ready: Sequence[Occupant], now_s: float) -> Occupant:
        if room.heir is not None and room.heir in ready:
            return room.heir
        lane = _lane(ready)
        if self.residency.presses(room, ready[0], lane, now_s):
            return ready[0]
        most = self.residency.options.candidates
        pending = [one.pending(lane, now_s) for one in ready[:most]]
        return room.everybody[self.ordering.pick(pending, now_s).expert]


def _lane(ready: Sequence[Occupant]) -> Lane:
    return "interactive" if ready[0].first("interactive") < math.inf else "bulk"


def _contenders(room: Room) -> list[Occupant]:
    """Return the resident experts that could work now, the oldest call first.

    Those with interactive calls; where there are none, those with bulk.
    """
    for lane in LANES:
        found = [
            (number, one)
            for one in room.residents.values()
            if (number := one.first(lane)) < math.inf and one not in room.floor
        ]
        if found:
            return [one for _, one in sorted(found, key=itemgetter(0))]
    return []
