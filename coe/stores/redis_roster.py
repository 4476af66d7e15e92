"""Who is there: every replica says so now and then, and is forgotten when it does not."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import orjson

from coe.stores.redis import Redis, Script

_ANNOUNCE = Script.of("""
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZADD', KEYS[1], at + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at)) do
  redis.call('HDEL', KEYS[2], gone)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', at)
return 1
""")

_PRESENT = Script.of("""
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
local names = redis.call('ZRANGEBYSCORE', KEYS[1], at, '+inf')
if #names == 0 then return {} end
return redis.call('HMGET', KEYS[2], unpack(names))
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A replica.

    Attributes:
        id: of the process.
        url: where the others reach it; empty where they do not.
        version: of the program.
        started_s: seconds since 1970.
        composition: fingerprint of what it serves.
        owns: the pools that it owns.
    """

    id: str
    url: str
    version: str
    started_s: float
    composition: str
    owns: tuple[str, ...] = ()


class RedisRoster:
    """See the module."""

    def __init__(self, redis: Redis) -> None:
        """Store the connection."""
        self._redis = redis
        self._keys = [redis.key("replicas"), redis.key("replicas", "cards")]

    async def announce(self, card: Card, *, lasts_s: float) -> None:
        """Say that a replica is there, and will be for so long. Raises StoreUnavailable."""
        lasts_ms = round(1000 * lasts_s)
        await self._redis.run(_ANNOUNCE, self._keys, card.id, orjson.dumps(asdict(card)), lasts_ms)

    async def leave(self, replica: str) -> None:
        """Forget a replica. Raises StoreUnavailable."""
        places, cards = self._keys
        await self._redis.together([("ZREM", places, replica), ("HDEL", cards, replica)])

    async def present(self) -> list[Card]:
        """Return who is there, in the order of their names. Raises StoreUnavailable."""
        rows = [orjson.loads(row) for row in await self._redis.run(_PRESENT, self._keys) if row]
        cards = [Card(**{**row, "owns": tuple(row["owns"])}) for row in rows]
        return sorted(cards, key=lambda card: card.id)
