"""From a layout to rooms with their occupants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coe.scheduler.memory import Expert, Kept, Layout, LoadTimes, footprint
from coe.scheduler.rooms import HostMemory, Occupant, Room


def furnish(
    layout: Layout, kept: Kept, resident: Sequence[str] = ()
) -> tuple[tuple[Room, ...], dict[str, Occupant]]:
    """Return one room per pool and all experts by name; those that are resident are in.

    Args:
        layout: what there is.
        kept: who is parked, and what was measured of loads; who is new is added.
        resident: who is in.

    Raises:
        ValueError: a resident expert is unknown, lacks its base, or does not fit; a parked one is
            unknown, resident, or does not fit.
    """
    pools = {
        pool.name: Room(
            name=pool.name,
            capacity=pool.memory,
            width=pool.width,
            host=None if pool.host is None else HostMemory(pool.host),
        )
        for pool in layout.pools
    }
    occupants: dict[str, Occupant] = {}
    for expert in sorted(layout.experts, key=lambda one: one.base is not None):
        times = kept.times.setdefault(expert.name, LoadTimes())
        if expert.base is None:
            size = footprint(expert, layout.adapters(expert.name))
            occupant = Occupant(expert, pools[expert.pool], None, size, times)
        else:
            occupant = _adapter(expert, occupants[expert.base], layout, times)
        occupants[expert.name] = occupant
        occupant.room.everybody[expert.name] = occupant
    rooms = tuple(pools.values())
    for room in all_rooms(rooms):
        everybody = room.everybody.values()
        room.smallest = min((one.size for one in everybody), default=0)
        room.pins = tuple(one for one in everybody if one.expert.pinned)
        room.favourites = tuple(one for one in everybody if one.expert.preferred)
    for name in sorted(resident, key=lambda one: one in occupants and occupants[one].is_adapter):
        _settle_in(name, occupants)
    for name, size in kept.parked.items():
        _park(name, size, occupants)
    return rooms, occupants


def all_rooms(pools: Sequence[Room]) -> tuple[Room, ...]:
    """Return the pools' rooms, and those of the bases in them."""
    inner = [one.inner for room in pools for one in room.everybody.values() if one.inner]
    return (*pools, *inner)


def _adapter(expert: Expert, base: Occupant, layout: Layout, times: LoadTimes) -> Occupant:
    if base.inner is None:
        most = base.expert.max_loras or len(layout.adapters(base.name))
        base.inner = Room(name=base.name, capacity=most, owner=base, host=base.room.host)
    occupant = Occupant(expert, base.inner, base, 1, times)
    base.adapters.append(occupant)
    base.members = (base, *base.adapters)
    return occupant


def _settle_in(name: str, occupants: dict[str, Occupant]) -> None:
    if name not in occupants:
        raise ValueError(f"`{name}` is resident and no expert of the layout")
    occupant = occupants[name]
    if occupant.is_adapter and occupant.unit.status != "ready":
        raise ValueError(f"the adapter `{name}` is resident and its base is not")
    if occupant.size > occupant.room.free:
        raise ValueError(f"`{name}` is resident and does not fit: {occupant.room.free} is free")
    occupant.room.admit(occupant)
    occupant.status = "ready"


def _park(name: str, size: int, occupants: Mapping[str, Occupant]) -> None:
    occupant = occupants.get(name)
    host = occupant.room.host if occupant else None
    if occupant is None or host is None or occupant.status != "out":
        raise ValueError(f"`{name}` is parked and cannot be")
    if size > host.free:
        raise ValueError(f"`{name}` is parked and does not fit: {host.free} is free")
    host.sizes[occupant] = size
