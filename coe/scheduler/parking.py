"""Who stays in host memory when experts leave the accelerator. A pure decision; rule 5f."""

from __future__ import annotations

from coe.protocols import Eviction, Resident
from coe.scheduler.memory import fewest
from coe.scheduler.rooms import Occupant


def who_leaves(victim: Occupant, eviction: Eviction, now_s: float) -> tuple[Occupant, ...] | None:
    """Return who is dropped from host memory so that a victim can be parked there.

    Dropped are only those that the eviction would rather do without than the victim, counting for
    each what host memory saves it: the difference between a load from disk and one from there; and
    nobody who is about to come in, from there.

    Args:
        victim: leaves the accelerator.
        eviction: who is needed least.
        now_s: the time.

    Returns:
        None where it is not parked: there is no host memory, nobody knows its size, or those that
        are there are needed more.
    """
    host = victim.room.host
    if host is None or not victim.memory:
        return None
    needed = victim.memory - host.free
    if needed <= 0:
        return ()
    there = {one.name: one for one in host.sizes if _may_be_dropped(one)}
    seen = [_seen(one, now_s) for one in (*there.values(), victim)]
    names = [one.expert for one in eviction.order(seen, now_s)]
    before = [there[name] for name in names[: names.index(victim.name)]]
    chosen = fewest([host.sizes[one] for one in before], needed=needed)
    return None if chosen is None else tuple(before[i] for i in chosen)


def _may_be_dropped(one: Occupant) -> bool:
    incoming = one.room.incoming
    return one.status == "out" and not one.owed and (not incoming or incoming.target is not one)


def _seen(one: Occupant, now_s: float) -> Resident:
    """Return what an eviction sees of one whose place in host memory is asked for."""
    saved_s = max(0.0, one.times.disk_s - one.times.host_s)
    return one.resident(now_s)._replace(reload_s=saved_s, size=one.memory)
