"""Answers that several replicas share, in Redis. Keys begin with the partition that they are of.

| key | holds |
| --- | --- |
| `cache:{PARTITION}:e:ID` | an entry; it expires by itself |
| `cache:{PARTITION}:ids` | when each entry expires, by its id |
| `cache:{PARTITION}:s:SCOPE` | vectors by id, of half precision; one goes after its entry |
| `cache:{PARTITION}:scopes`, `cache:partitions` | what there is, to be cleared |
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from coe.cache.entry import Entry
from coe.cache.shelf import Fits, Near, Stock
from coe.stores.redis import Redis, Script

MOST_NEAR = 512
"""Vectors of one scope: all are fetched to look for a near one. Any of them goes for a new one."""
_TRIES = 3
_PAGE = 200

_PUT_NEAR = Script.of("""
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  while redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) do
    redis.call('HDEL', KEYS[1], redis.call('HRANDFIELD', KEYS[1]))
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
redis.call('SADD', KEYS[2], KEYS[1])
return 1
""")


class RedisShelf:
    """See `coe.cache.Shelf`. Redis' own limit bounds it: `maxmemory` with `volatile-lru`."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        """Args are the server, and what says the seconds since the epoch."""
        self._redis = redis
        self._clock = clock

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
        await self._redis.together(
            [
                ("SET", self._entry(entry.partition, entry.id), entry.packed(), "PX", left_ms),
                ("ZREMRANGEBYSCORE", ids, "-inf", now),
                ("ZADD", ids, entry.until, entry.id),
                ("SADD", self._redis.key("cache", "partitions"), entry.partition),
            ]
        )
        if near is not None:
            import numpy as np

            keys = self._key(entry.partition, "s", near.scope), self._key(entry.partition, "scopes")
            vector = near.vector.astype(np.float16).tobytes()
            await self._redis.run(_PUT_NEAR, keys, entry.id, vector, MOST_NEAR, left_ms)

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
        """See `Shelf`."""
        if partition is None:
            named = await self._redis.call("SMEMBERS", self._redis.key("cache", "partitions"))
            return sum([await self.clear(one.decode()) for one in named])
        ids, scopes = self._key(partition, "ids"), self._key(partition, "scopes")
        count = 0
        while names := await self._redis.call("ZRANGE", ids, 0, _PAGE - 1):
            entries = [self._entry(partition, name.decode()) for name in names]
            removed, _ = await self._redis.together([("UNLINK", *entries), ("ZREM", ids, *names)])
            count += removed
        while keys := await self._redis.call("SPOP", scopes, _PAGE):
            await self._redis.call("UNLINK", *keys)
        return count

    async def stock(self, partition: str | None) -> Stock:
        """See `Shelf`; it is not known how many bytes they take."""
        if partition is not None:
            since = (self._key(partition, "ids"), self._clock(), "+inf")
            return Stock(await self._redis.call("ZCOUNT", *since), None)
        named = await self._redis.call("SMEMBERS", self._redis.key("cache", "partitions"))
        stocks = [await self.stock(one.decode()) for one in named]
        return Stock(sum(one.entries for one in stocks), None)

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
