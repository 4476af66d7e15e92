"""Replicas tell each other of breakers that open and close.

What one saw is told at once over a channel, and stands in a sorted set until the breaker's time is
over, for replicas that come later or were away: they look now and then. No request waits for any of
that; without the store, each replica goes by what it saw itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol
from uuid import uuid4

import orjson

from coe.errors import StoreUnavailable
from coe.resilience.breakers import Breakers, Change

logger = logging.getLogger(__name__)

CHANNEL = "breakers"
LOOK_S = 2.0
"""So often the set is looked at."""


class Store(Protocol):
    """What is asked of the store; see `coe.stores.redis.Redis`."""

    def key(self, *parts: str) -> str: ...  # noqa: D102 - see the class
    async def call(self, *words: str | bytes | float) -> Any: ...  # noqa: D102
    def when_back(self, told: Callable[[], None]) -> None: ...  # noqa: D102
    def listening(  # noqa: D102
        self, channel: str, heard: Callable[[bytes], None]
    ) -> AbstractAsyncContextManager[None]: ...


class Sharing:
    """See the module. Belongs to one event loop."""

    def __init__(self, store: Store, breakers: Breakers) -> None:
        """Args are the store, and what is shared."""
        self._store = store
        self._breakers = breakers
        self._name = uuid4().hex  # what it told itself is no news
        self._news: dict[tuple[str, str], Change] = {}
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell and listen meanwhile."""
        self._breakers.on_change = self._note
        self._store.when_back(self._wake.set)
        async with self._store.listening(CHANNEL, self._heard):
            task = asyncio.create_task(self._work())
            try:
                yield
            finally:
                self._breakers.on_change = None
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def _note(self, change: Change) -> None:
        self._news[change.backend, change.expert] = change
        self._wake.set()

    def _heard(self, message: bytes) -> None:
        with suppress(ValueError, KeyError, TypeError):  # of another version, perhaps
            said = orjson.loads(message)
            if said["by"] != self._name:
                open_s = float(said["open_s"])
                self._breakers.heard(Change(str(said["backend"]), str(said["expert"]), open_s))

    async def _work(self) -> None:
        """Tell what is news, and look at what others told while this one was not listening."""
        while True:
            try:
                await self._tell_and_look()
            except StoreUnavailable:
                pass  # the next look is soon
            except Exception:  # a supervisor: the next look may do
                logger.exception("breakers are not shared")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            self._wake.clear()

    async def _tell_and_look(self) -> None:
        """Tell what is news, then look. Raises StoreUnavailable; what was not told stays news."""
        while self._news:
            key, change = next(iter(self._news.items()))
            await self._tell(change)
            if self._news.get(key) is change:
                del self._news[key]
        await self._look()

    async def _tell(self, change: Change) -> None:
        table, member = self._store.key(CHANNEL), orjson.dumps([change.backend, change.expert])
        if change.open_s > 0:
            now_ms = await self._now_ms()
            until_ms = now_ms + int(change.open_s * 1000)
            await self._store.call("ZADD", table, "GT", until_ms, member)
            await self._store.call("ZREMRANGEBYSCORE", table, "-inf", now_ms)
        else:
            await self._store.call("ZREM", table, member)
        row = {"by": self._name, **change._asdict()}
        await self._store.call("PUBLISH", table, orjson.dumps(row))

    async def _look(self) -> None:
        now_ms = await self._now_ms()
        words = ("ZRANGEBYSCORE", self._store.key(CHANNEL), now_ms + 1, "+inf", "WITHSCORES")
        rows = await self._store.call(*words)
        # A list of members and scores in turn, or of pairs, by the protocol's version.
        is_paired = bool(rows) and isinstance(rows[0], list | tuple)
        pairs = rows if is_paired else zip(rows[::2], rows[1::2], strict=True)
        for member, score in pairs:
            with suppress(ValueError):
                backend, expert = orjson.loads(member)
                self._breakers.heard(Change(backend, expert, (float(score) - now_ms) / 1000))

    async def _now_ms(self) -> int:
        """Return the time by the store's clock, which is the same for all replicas."""
        seconds, microseconds = await self._store.call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000
