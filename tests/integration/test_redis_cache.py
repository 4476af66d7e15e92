"""Answers in a real Redis: how long what speaks of them is there, and how they are forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from coe.cache.entry import Entry
from coe.cache.shelf import Near
from coe.stores.redis import Redis, Word
from coe.stores.redis_cache import RedisShelf
from tests.conftest import RedisServer

pytestmark = pytest.mark.anyio

NEAR = Near("scope", np.array([1, 0], dtype=np.float32))
OTHER = Near("other", np.array([1, 0], dtype=np.float32))


@dataclass
class Shelved:
    """A shelf, and the Redis that it is in."""

    shelf: RedisShelf
    redis: Redis

    async def put(
        self, name: str, ttl_s: float, *, partition: str = "aa", near: Near | None = None
    ) -> None:
        now = time.time()
        entry = Entry(
            partition=partition,
            id=name,
            expert="a",
            backend="b",
            experts=("a",),
            category="",
            at=now,
            until=now + ttl_s,
            body=b"{}",
        )
        await self.shelf.put(entry, 1 << 20, near)

    async def keys(self) -> set[str]:
        return {key.decode() for key in await self.redis.call("KEYS", "*")}

    async def left_s(self, *parts: str) -> float:
        return int(await self.redis.call("PTTL", self.redis.key("cache", "{aa}", *parts))) / 1000


@pytest.fixture
async def there(redis_server: RedisServer) -> AsyncIterator[Shelved]:
    redis = Redis(redis_server.url, prefix="c[o]e*:", wait_s=5)
    async with redis.running():
        yield Shelved(RedisShelf(redis), redis)


async def test_nothing_is_left_once_all_is_too_old(there: Shelved) -> None:
    for number in range(20):
        partition, near = f"a{number % 2}", (None, NEAR, OTHER)[number % 3]
        await there.put(f"{number}", 0.2 + 0.05 * number, partition=partition, near=near)
    assert (await there.shelf.stock(None)).entries > 0

    async with asyncio.timeout(10):
        while await there.keys():
            await asyncio.sleep(0.05)


async def test_what_speaks_of_entries_is_there_as_long_as_the_last_of_them(there: Shelved) -> None:
    await there.put("short", 30, near=NEAR)
    await there.put("long", 100, near=NEAR)
    await there.put("short", 30, near=NEAR)

    assert await there.left_s("ids") > 90
    assert await there.left_s("s", "scope") > 90
    assert (await there.shelf.stock("aa")).entries == 2


async def test_what_was_dropped_from_the_list_is_forgotten_all_the_same(there: Shelved) -> None:
    """As by a Redis that is full: it drops what was used least of late, whatever it is."""
    for partition in ("aa", "bb"):
        for number in range(30):
            await there.put(f"{number}", 100, partition=partition, near=NEAR)
    await there.redis.call("SET", "somebody's", "x")
    for partition in ("aa", "bb"):
        await there.redis.call("DEL", there.redis.key("cache", f"{{{partition}}}", "ids"))
    assert (await there.shelf.stock(None)).entries == 60

    assert await there.shelf.clear("aa") == 30
    assert await there.shelf.get("aa", "7") is None
    assert await there.shelf.get("bb", "7") is not None
    assert await there.shelf.clear(None) == 30
    assert await there.keys() == {"somebody's"}


class Observed(Redis):
    """Notes how many sweeps are under way, and how many were at most."""

    under_way = most = 0

    async def call(self, *words: Word) -> Any:
        begins = words[:2] == ("SCAN", 0)
        self.under_way += begins
        self.most = max(self.most, self.under_way)
        answer = await super().call(*words)
        self.under_way -= words[0] == "SCAN" and int(answer[0]) == 0
        return answer


async def test_redis_is_looked_through_by_one_at_a_time(redis_server: RedisServer) -> None:
    redis_server.tell(
        "EVAL \"for i = 1, 2500 do redis.call('SET', i, 1) end return {ok = 'OK'}\" 0"
    )
    redis = Observed(redis_server.url, wait_s=5)
    async with redis.running():
        shelved = Shelved(RedisShelf(redis), redis)
        for number in range(30):
            await shelved.put(f"{number}", 100, partition=f"{number % 3}")

        shelf = shelved.shelf
        one, rest, other, stock = await asyncio.gather(
            shelf.clear("0"), shelf.clear(None), shelf.clear("1"), shelf.stock(None)
        )

    assert redis.most == 1
    assert (one, rest, other, stock.entries) == (10, 20, 0, 0)
