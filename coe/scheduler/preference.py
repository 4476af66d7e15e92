"""Preferred experts come back when nobody needs the room. The scheduler's rule 5g; pure.

They are loaded at the start, and again whenever no call waits for anybody who is absent: into room
that is free, or that of experts which had nothing to do for `QUIET` times what bringing them back
takes. So a return in vain adds at most a tenth to the time between two calls of who left for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from coe.scheduler.events import LANES
from coe.scheduler.memory import fewest
from coe.scheduler.rooms import Incoming, Occupant, Room

QUIET = 10.0


def returning(
    room: Room, now_s: float, ranked: Callable[[Sequence[Occupant]], Sequence[Occupant]]
) -> Incoming | None:
    """Return which preferred expert comes into a room now, and who leaves for it.

    Args:
        room: a pool's, or that of a base's adapters.
        now_s: the time.
        ranked: orders experts, the best to unload first.
    """
    if not room.favourites or is_needed(room):
        return None
    for one in room.favourites:
        if one.status != "out" or one.owed or one.retry_s > now_s or not one.can_fit:
            continue
        quiet = ranked([other for other in _movable(room) if _is_quiet(other, now_s)])
        needed = one.size - room.free
        chosen = fewest([other.size for other in quiet], needed=needed) if needed > 0 else ()
        if chosen is not None:
            return Incoming(target=one, victims=[quiet[i] for i in chosen], is_returning=True)
    return None


def is_needed(room: Room) -> bool:
    """Whether calls wait for somebody who is absent."""
    return any(next(room.absent(lane), None) for lane in LANES)


def wake_times(room: Room) -> Iterator[float]:
    """Yield when a preferred expert may come in though nothing happens but time passing."""
    out = [one for one in room.favourites if one.status == "out"]
    yield from (one.retry_s for one in out)
    if out:
        yield from (_quiet_s(other) for other in _movable(room))


def last(ranked: Sequence[Occupant]) -> list[Occupant]:
    """Return those that may leave with the preferred ones behind all others."""
    return sorted(ranked, key=lambda one: one.expert.preferred)


def _movable(room: Room) -> Iterator[Occupant]:
    for one in room.residents.values():
        if one.status == "ready" and not (one.expert.pinned or one.expert.preferred):
            yield one


def _is_quiet(one: Occupant, now_s: float) -> bool:
    is_free = one.is_idle and not one.is_wanted() and one.kept_s <= now_s
    return is_free and _quiet_s(one) <= now_s


def _quiet_s(one: Occupant) -> float:
    return max(one.ended_s, one.loaded_s) + QUIET * one.reload_s()
