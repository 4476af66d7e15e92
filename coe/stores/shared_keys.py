"""Keys in Redis, which all replicas share: a change is told to all of them at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from coe.access import key as keys
from coe.access.key import Key
from coe.errors import Conflict, StoreUnavailable
from coe.stores.keys import readable
from coe.stores.redis import Redis, Script

_KEYS, _VERSION, _CHANNEL = "keys", "keys:version", "keys"
_TRIES = 16

_EXCHANGE = Script.of(
    """
local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if before ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('INCR', KEYS[2])
redis.call('PUBLISH', ARGV[4], ARGV[1])
return 1
"""
)
"""Puts a record in the place of the one that was read, unless somebody was quicker."""

_READ = Script.of("return {redis.call('GET', KEYS[2]), redis.call('HGETALL', KEYS[1])}")
"""Both are of one moment. A Redis that is full refuses transactions, even such as only read."""


class RedisKeys:
    """The keys of all gateways with the same prefix; see `coe.access.ring.KeyStore`.

    The Redis should keep what it holds on its disk (`appendonly yes`): gateways that run know their
    keys without it, but one that starts does not.
    """

    def __init__(self, redis: Redis) -> None:
        """Store the connection."""
        self._redis = redis
        self._keys = redis.key(_KEYS)
        self._version = redis.key(_VERSION)

    async def version(self) -> int:
        """Return how many changes there were."""
        return self._number(await self._redis.call("GET", self._version))

    async def read(self) -> tuple[int, list[Key]]:
        """Return all keys, and how many changes there were."""
        version, flat = await self._redis.run(_READ, [self._keys, self._version])
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return self._number(version), readable((name.decode(), record) for name, record in pairs)

    async def add(self, key: Key) -> None:
        """Keep a new key. Raises Conflict where there is one of that id."""
        if not await self._exchange(key.id, b"", key):
            raise Conflict(f"there is a key `{key.id}` already: try again")

    async def change(self, key_id: str, change: Callable[[Key], Key]) -> Key | None:
        """Replace a key by what `change` makes of it; None where there is none.

        Raises:
            Conflict: others were quicker each time.
        """
        for _ in range(_TRIES):
            before = await self._redis.call("HGET", self._keys, key_id)
            if before is None:
                return None
            key = change(keys.read(before))
            if await self._exchange(key_id, before, key):
                return key
        raise Conflict(f"key `{key_id}` is changed by others at the same time: try again")

    @asynccontextmanager
    async def listening(self, told: Callable[[], None]) -> AsyncIterator[None]:
        """Have `told` called at changes, and when Redis is back, meanwhile."""
        self._redis.when_back(told)
        async with self._redis.listening(_CHANNEL, lambda _: told()):
            yield

    async def _exchange(self, key_id: str, before: bytes, key: Key) -> bool:
        words = (key_id, before, keys.written(key), self._redis.key(_CHANNEL))
        return bool(await self._redis.run(_EXCHANGE, [self._keys, self._version], *words))

    def _number(self, kept: bytes | None) -> int:
        """Return the number of changes. Raises StoreUnavailable: somebody else wrote there."""
        try:
            return int(kept or 0)
        except ValueError:
            raise StoreUnavailable(
                f"`{self._version}` in Redis is no number: another program uses the same keys;"
                " give each its own COE_REDIS_PREFIX"
            ) from None
