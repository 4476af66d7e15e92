"""Leases in Redis: one replica has a pool at a time, and every grant has a greater number."""

from __future__ import annotations

from dataclasses import dataclass

from coe.stores.redis import Redis, Script

_CLAIM = Script.of("""
local held = redis.call('HMGET', KEYS[1], 'replica', 'token', 'url', 'resident')
if held[1] and held[1] ~= ARGV[1] then
  return {held[1], tonumber(held[2]), redis.call('PTTL', KEYS[1]), 0, held[3], held[4]}
end
local token = tonumber(held[2] or '0')
if not held[1] then
  local last = redis.call('GET', KEYS[2])
  if not last then redis.call('SET', KEYS[3], 1, 'PX', ARGV[2]) end
  token = math.max(tonumber(last or '0'), tonumber(ARGV[3])) + 1
  redis.call('SET', KEYS[2], token)
end
redis.call('HSET', KEYS[1], 'replica', ARGV[1], 'token', token, 'url', ARGV[4], 'resident', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local doubtful = redis.call('PTTL', KEYS[3])
return {ARGV[1], token, tonumber(ARGV[2]), doubtful, ARGV[4], ARGV[5]}
""")
"""A lease that nobody has is taken, and one's own renewed: its whole time is left from now on.

Where no grant is known, there was none, or Redis forgot it: for as long as it could last, whoever
is granted the lease is told so.
"""

_RESIGN = Script.of("""
local held = redis.call('HMGET', KEYS[1], 'replica', 'token')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then return 0 end
return redis.call('DEL', KEYS[1])
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks for a lease.

    Attributes:
        pool: whose lease.
        replica: who asks.
        url: where it is reached.
        lease_s: for how long.
        highest: token that it saw; a new one is greater, whatever the store remembers.
        resident: experts that are in memory, as far as it knows.
    """

    pool: str
    replica: str
    url: str
    lease_s: float
    highest: int = 0
    resident: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Who has a lease; see `coe.replicas.lease.Sight`."""

    replica: str
    token: int
    left_s: float
    doubtful_s: float
    url: str
    resident: tuple[str, ...]


class RedisLeases:
    """The leases of pools."""

    def __init__(self, redis: Redis) -> None:
        """Store the connection."""
        self._redis = redis

    async def claim(self, claim: Claim) -> Grant:
        """Take or renew a lease where it is free or one's own; return who has it.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        who, token, left_ms, doubtful_ms, url, names = await self._redis.run(
            _CLAIM,
            self._keys(claim.pool),
            claim.replica,
            round(claim.lease_s * 1000),
            claim.highest,
            claim.url,
            "\n".join(claim.resident),
        )
        return Grant(
            replica=who.decode(),
            token=int(token),
            left_s=max(0, left_ms) / 1000,
            doubtful_s=max(0, doubtful_ms) / 1000,
            url=url.decode(),
            resident=_names(names),
        )

    async def holder(self, pool: str) -> Grant | None:
        """Return who has a lease; None where nobody has. Raises as `claim`."""
        key = self._keys(pool)[0]
        (who, token, url, names), left_ms = await self._redis.together(
            [("HMGET", key, "replica", "token", "url", "resident"), ("PTTL", key)]
        )
        if who is None:
            return None
        return Grant(
            replica=who.decode(),
            token=int(token),
            left_s=max(0, left_ms) / 1000,
            doubtful_s=0.0,
            url=url.decode(),
            resident=_names(names),
        )

    async def resign(self, pool: str, replica: str, token: int) -> None:
        """Give a lease back; one that is another's by now stays. Raises as `claim`."""
        await self._redis.run(_RESIGN, self._keys(pool), replica, token)

    def _keys(self, pool: str) -> list[str]:
        return [self._redis.key(kind, pool) for kind in ("lease", "token", "doubtful")]


def _names(listed: bytes) -> tuple[str, ...]:
    return tuple(listed.decode().split("\n")) if listed else ()
