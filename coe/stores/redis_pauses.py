"""Experiments that a guardrail paused, for all replicas and after their restart."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from coe.stores.redis import Redis

CHANNEL = "pauses"


class RedisPauses:
    """The experiments that are paused, by name, and as what they were defined then."""

    def __init__(self, redis: Redis) -> None:
        """Store the connection."""
        self._redis = redis
        self._key = redis.key("paused")

    async def pause(self, experiment: str, definition: str) -> None:
        """Pause an experiment everywhere. Raises StoreUnavailable, here and below."""
        await self._redis.together(
            [("HSET", self._key, experiment, definition), self._news(experiment)]
        )

    async def lift(self, experiment: str) -> bool:
        """Lift a pause; return whether there was one."""
        gone, _ = await self._redis.together(
            [("HDEL", self._key, experiment), self._news(experiment)]
        )
        return bool(gone)

    async def paused(self) -> dict[str, str]:
        """Return the definitions of those that are paused, by name."""
        flat = await self._redis.call("HGETALL", self._key)
        rows = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        return {name.decode(): definition.decode() for name, definition in rows}

    def listening(self, heard: Callable[[bytes], None]) -> AbstractAsyncContextManager[None]:
        """Have `heard` called when there is a pause more or less."""
        return self._redis.listening(CHANNEL, heard)

    def _news(self, experiment: str) -> tuple[str, ...]:
        return ("PUBLISH", self._redis.key(CHANNEL), experiment)
