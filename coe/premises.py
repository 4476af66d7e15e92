"""What all gateways of a process share, and what outlives them when the composition changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from coe.access.ring import Keyring
from coe.cache import Counts, MemoryShelf, Shelf
from coe.limits.ledger import Ledger
from coe.replicas.lease import Terms
from coe.replicas.replica import Replica, read_secret
from coe.resilience.standing import Standing, standing_of
from coe.settings import Settings
from coe.stores.keys import FileKeys
from coe.stores.ledger import LocalLedger
from coe.stores.redis import Redis
from coe.stores.redis_cache import RedisShelf
from coe.stores.redis_ledger import RedisLedger
from coe.stores.redis_sessions import RedisSessions
from coe.stores.shared_keys import RedisKeys


@dataclass(slots=True, kw_only=True)
class Premises:
    """See the module.

    Attributes:
        redis: what several replicas share; None where this process is alone.
        keys: who may ask; None where nobody made any place for them, as in tests.
        replica: this process among the others; None where it is alone.
        sessions: what the others remember of sessions, likewise.
        standing: what is known of the experts' health.
        shelf: where answers are kept, and `cache_counts` what became of looking for them.
        ledger: what was used of limits and budgets; None where nobody made a place for it.
    """

    redis: Redis | None = None
    keys: Keyring | None = None
    replica: Replica | None = None
    sessions: RedisSessions | None = None
    ledger: Ledger | None = None
    standing: Standing = field(default_factory=Standing)
    shelf: Shelf = field(default_factory=MemoryShelf)
    cache_counts: Counts = field(default_factory=Counts)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the parts do their work in the background meanwhile."""
        async with AsyncExitStack() as stack:
            for part in (
                self.redis,
                self.keys,
                self.ledger,
                self.replica,
                self.sessions,
                self.standing,
            ):
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
    return Premises(
        shelf=RedisShelf(redis) if redis is not None else MemoryShelf(),
        redis=redis,
        keys=keyring(settings, redis),
        standing=standing_of(redis),
        ledger=RedisLedger(redis) if redis is not None else LocalLedger(settings.state_folder),
        replica=None if redis is None else replica(settings, redis),
        sessions=None if redis is None else RedisSessions(redis),
    )


def replica(settings: Settings, redis: Redis) -> Replica:
    """Return this process among the others. Raises ConfigError."""
    return Replica(
        redis,
        url=settings.replica_url,
        secret=read_secret(settings.replica_secret),
        terms=Terms(lease_s=settings.replica_lease_s),
    )


def keyring(settings: Settings, redis: Redis | None) -> Keyring:
    """Return the keys: those that all replicas share, or those of the state folder."""
    return Keyring(RedisKeys(redis) if redis is not None else FileKeys(settings.state_folder))
