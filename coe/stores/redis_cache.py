"""Answers that several replicas share, in Redis. Keys begin with the partition that they are of.

| key | holds |
| --- | --- |
| `cache:{PARTITION}:e:ID` | an entry |
| `cache:{PARTITION}:ids` | when each entry expires, by its id; to count them, and no more |
| `cache:{PARTITION}:s:SCOPE` | vectors by id, of half precision; one goes after its entry |

All of them expire by themselves, what speaks of entries with the last of these. What Redis drops
when it is full may be any of them, so what is to be forgotten is looked for by its name.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from coe.cache.entry import Entry
from coe.cache.shelf import Fits, Near, Stock
from coe.stores.redis import Redis, Script

MOST_NEAR = 512
"""Vectors of one scope: all are fetched to look for a near one. Any of them goes for a new one."""
_TRIES = 3
_PAGE = 1000

_OUTLIVE = """
local function outlive(key, ms)
  if redis.call('PTTL', key) < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end
"""
_PUT = Script.of(
    _OUTLIVE
    + """
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1])
outlive(KEYS[2], ARGV[3])
return 1
"""
)
_PUT_NEAR = Script.of(
    _OUTLIVE
    + """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  while redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) do
    redis.call('HDEL', KEYS[1], redis.call('HRANDFIELD', KEYS[1]))
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
outlive(KEYS[1], ARGV[4])
return 1
"""
)
_SPECIAL = re.compile(r"([*?\[\]\\^-])")  # in a pattern of Redis'


class RedisShelf:
    """See `coe.cache.Shelf`. Redis' own limit bounds it: `maxmemory` with `volatile-lru`."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        """Args are the server, and what says the seconds since the epoch."""
        self._redis = redis
        self._clock = clock
        self._sweeping = asyncio.Lock()

    async def get(self, partition: str, name: str) -> Entry | None:
        """See `Shelf`."""
        raw = await self._redis.call("GET", self._entry(partition, name))
        return Entry.unpacked(raw) if raw is not None else None

    async def nearest(
        self, partition: str, near: Near, least: float, fits: Fits
    ) -> tuple[Entry, float] | None:
        """See `Shelf`."""
        key = self._key(partition, "s", near.scope)
        found: dict[bytes, bytes] = _pairs(await self._redis.call("HGETALL", key))
        for name, similarity in _ranked(found, near, least)[:_TRIES]:
            entry = await self.get(partition, name)
            if entry is None:
                await self._redis.call("HDEL", key, name)
            elif fits(entry):
                return entry, similarity
        return None

    async def put(self, entry: Entry, room: int, near: Near | None) -> None:
        """See `Shelf`."""
        del room
        now = self._clock()
        left_ms = int(1000 * (entry.until - now))
        if left_ms <= 0:
            return
        ids = self._key(entry.partition, "ids")
        places = [self._entry(entry.partition, entry.id), ids]
        await self._redis.run(_PUT, places, entry.id, entry.packed(), left_ms, now, entry.until)
        if near is not None:
            import numpy as np

            key = self._key(entry.partition, "s", near.scope)
            vector = near.vector.astype(np.float16).tobytes()
            await self._redis.run(_PUT_NEAR, [key], entry.id, vector, MOST_NEAR, left_ms)

    async def remove(self, partition: str, name: str) -> bool:
        """See `Shelf`."""
        removed, _ = await self._redis.together(
            [
                ("UNLINK", self._entry(partition, name)),
                ("ZREM", self._key(partition, "ids"), name),
            ]
        )
        return bool(removed)

    async def clear(self, partition: str | None) -> int:
        """See `Shelf`. Looks through all that Redis holds, one call after the other."""
        count = 0
        async with self._sweeping:
            async for keys in self._found(partition, "*"):
                entries = [key for key in keys if b"}:e:" in key]
                if entries:
                    count += await self._redis.call("UNLINK", *entries)
                if others := [key for key in keys if b"}:e:" not in key]:
                    await self._redis.call("UNLINK", *others)
        return count

    async def stock(self, partition: str | None) -> Stock:
        """See `Shelf`; it is not known how many bytes they take."""
        if partition is not None:
            since = (self._key(partition, "ids"), self._clock(), "+inf")
            return Stock(await self._redis.call("ZCOUNT", *since), None)
        async with self._sweeping:
            names = {name async for keys in self._found(None, "e:*") for name in keys}
        return Stock(len(names), None)

    async def _found(self, partition: str | None, rest: str) -> AsyncIterator[list[bytes]]:
        """Yield the keys of a partition, or of all, that end in a pattern; one may come twice."""
        before = self._redis.key("cache", "{")
        pattern = _SPECIAL.sub(r"\\\1", before) + (partition or "*") + "}:" + rest
        place: bytes | int = 0
        while True:
            place, keys = await self._redis.call("SCAN", place, "MATCH", pattern, "COUNT", _PAGE)
            if keys:
                yield keys
            if not int(place):
                return

    def _entry(self, partition: str, name: str) -> str:
        return self._key(partition, "e", name)

    def _key(self, partition: str, *parts: str) -> str:
        # In braces: a cluster keeps what is of one partition on one node.
        return self._redis.key("cache", f"{{{partition}}}", *parts)


def _pairs(flat: Any) -> dict[bytes, bytes]:
    """Return a hash as Redis answers it: a mapping, or its fields and values in turn."""
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))


def _ranked(found: dict[bytes, bytes], near: Near, least: float) -> list[tuple[str, float]]:
    """Return the names of vectors that are near enough, the nearest first."""
    import numpy as np

    from coe.cache.vectors import ranked

    size = 2 * near.vector.shape[0]
    held = {name.decode(): raw for name, raw in found.items() if len(raw) == size}
    if not held:
        return []
    rows = np.frombuffer(b"".join(held.values()), dtype=np.float16).reshape(len(held), -1)
    return ranked(list(held), rows.astype(np.float32), near.vector, least)
