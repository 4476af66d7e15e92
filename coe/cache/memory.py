"""Answers in the memory of this process, the least recently used of which go first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from coe.cache.entry import Entry
from coe.cache.shelf import Fits, Near, Stock

if TYPE_CHECKING:
    from coe.cache.vectors import Vectors

_FLOAT = 4  # bytes


class _Kept(NamedTuple):
    entry: Entry
    size: int
    scope: str = ""


class MemoryShelf:
    """See `Shelf`. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin empty; the clock says seconds since the epoch."""
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._scopes: dict[tuple[str, str], Vectors] = {}
        self._size = 0

    async def get(self, partition: str, name: str) -> Entry | None:
        """See `Shelf`."""
        kept = self._kept.get((partition, name))
        if kept is None:
            return None
        if kept.entry.until <= self._clock():
            self._forget((partition, name))
            return None
        self._kept.move_to_end((partition, name))
        return kept.entry

    async def nearest(
        self, partition: str, near: Near, least: float, fits: Fits
    ) -> tuple[Entry, float] | None:
        """See `Shelf`."""
        vectors = self._scopes.get((partition, near.scope))
        if vectors is None:
            return None
        for name, similarity in vectors.nearest(near.vector, least):
            entry = await self.get(partition, name)
            if entry is not None and fits(entry):
                return entry, similarity
        return None

    async def put(self, entry: Entry, room: int, near: Near | None) -> None:
        """See `Shelf`."""
        key = (entry.partition, entry.id)
        self._forget(key)
        size = entry.size + (near.vector.shape[0] * _FLOAT if near is not None else 0)
        self._kept[key] = _Kept(entry, size, near.scope if near is not None else "")
        self._size += size
        if near is not None:
            self._vectors(entry.partition, near).put(entry.id, near.vector)
        while self._size > room and self._kept:
            self._forget(next(iter(self._kept)))

    async def remove(self, partition: str, name: str) -> bool:
        """See `Shelf`."""
        return self._forget((partition, name))

    async def clear(self, partition: str | None) -> int:
        """See `Shelf`."""
        keys = [key for key in self._kept if partition in {None, key[0]}]
        for key in keys:
            self._forget(key)
        return len(keys)

    async def stock(self, partition: str | None) -> Stock:
        """See `Shelf`."""
        if partition is None:
            return Stock(len(self._kept), self._size)
        sizes = [kept.size for key, kept in self._kept.items() if key[0] == partition]
        return Stock(len(sizes), sum(sizes))

    def _vectors(self, partition: str, near: Near) -> Vectors:
        from coe.cache.vectors import Vectors  # numpy is loaded by whoever wants it

        key = (partition, near.scope)
        if key not in self._scopes:
            self._scopes[key] = Vectors(near.vector.shape[0])
        return self._scopes[key]

    def _forget(self, key: tuple[str, str]) -> bool:
        kept = self._kept.pop(key, None)
        if kept is None:
            return False
        self._size -= kept.size
        scope = (key[0], kept.scope)
        if kept.scope and scope in self._scopes:
            self._scopes[scope].remove(key[1])
            if not len(self._scopes[scope]):
                del self._scopes[scope]
        return True
