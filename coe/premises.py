"""What all gateways of a process share, and what outlives them when the composition changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from coe.settings import Settings
from coe.stores.redis import Redis


@dataclass(slots=True, kw_only=True)
class Premises:
    """See the module.

    Attributes:
        redis: what several replicas share; None where this process is alone.
    """

    redis: Redis | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the parts do their work in the background meanwhile."""
        async with AsyncExitStack() as stack:
            for part in (self.redis,):
                if part is not None:
                    await stack.enter_async_context(part.running())
            yield


def premises_of(settings: Settings) -> Premises:
    """Return the premises that the settings ask for.

    Raises:
        ConfigError: a setting cannot be used.
    """
    redis = None
    if settings.redis_url:
        redis = Redis(settings.redis_url, prefix=settings.redis_prefix)
    return Premises(redis=redis)
