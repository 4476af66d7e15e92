"""Money of experiments for a day, one sum over all replicas."""

from __future__ import annotations

from coe.stores.redis import Redis, Script

_SPEND = Script.of("""
local spent = tonumber(redis.call('GET', KEYS[1]) or '0') + tonumber(ARGV[1])
if not (spent <= tonumber(ARGV[2])) then return 0 end
redis.call('SET', KEYS[1], string.format('%.17g', spent), 'EX', 172800)
return 1
""")


class RedisSpending:
    """See the module."""

    def __init__(self, redis: Redis) -> None:
        """Store the connection."""
        self._redis = redis

    async def spend(self, experiment: str, day: str, amount: float, cap: float) -> bool:
        """Take an amount out of an experiment's money for a day; False where that passes the cap.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        key = self._redis.key("spent", experiment, day)
        return bool(await self._redis.run(_SPEND, [key], amount, cap))
