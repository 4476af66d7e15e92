"""Replicas that tell each other of breakers through a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from coe.errors import BackendUnreachable
from coe.resilience.breakers import Breakers
from coe.resilience.rules import BreakerRules
from coe.resilience.sharing import Sharing
from coe.stores.redis import Redis
from coe.types import Call
from tests.conftest import RedisServer

pytestmark = pytest.mark.anyio

RULES = BreakerRules(failures=1, open_s=60.0)
CALL = Call(expert="a", backend="up", model="m", body={})


@asynccontextmanager
async def replica(server: RedisServer) -> AsyncIterator[Breakers]:
    breakers = Breakers()
    store = Redis(server.url, rest_s=0.2)
    async with store.running(), Sharing(store, breakers).running():
        yield breakers


@asynccontextmanager
async def connected(server: RedisServer) -> AsyncIterator[Redis]:
    store = Redis(server.url, wait_s=5)
    async with store.running():
        yield store


def fail(breakers: Breakers) -> None:
    breakers.enter(CALL, RULES, insists=True).ended(b"", BackendUnreachable("gone"))


def answer(breakers: Breakers) -> None:
    visit = breakers.enter(CALL, RULES, insists=True)
    visit.opened(b"data")
    visit.ended(b"data", None)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def both(server: RedisServer, stack: AsyncExitStack) -> tuple[Breakers, Breakers]:
    """Two replicas that hear each other."""
    one = await stack.enter_async_context(replica(server))
    other = await stack.enter_async_context(replica(server))
    probe = Redis(server.url)

    async def listeners() -> int:
        return int((await probe.call("PUBSUB", "NUMSUB", probe.key("breakers")))[1])

    async with probe.running(), asyncio.timeout(10):
        while await listeners() < 2:
            await asyncio.sleep(0.01)
    return one, other


async def test_what_one_saw_the_others_do(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        one, other = await both(redis_server, stack)

        fail(one)
        await until(lambda: other.bars("up", "a"))
        answer(one)
        await until(lambda: not other.bars("up", "a"))


async def test_who_comes_later_is_told_for_how_long(redis_server: RedisServer) -> None:
    async with replica(redis_server) as one:
        fail(one)
        async with replica(redis_server) as late:
            await until(lambda: late.bars("up", "a"))
            why = late.why("up", "a")

    assert why.startswith("its breaker is open for ")
    assert 50 <= int(why.split()[-2]) <= 60


async def test_without_redis_each_goes_by_what_it_saw(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        one, other = await both(redis_server, stack)
        redis_server.stop()

        fail(one)
        assert one.bars("up", "a")
        assert not other.bars("up", "a")

        redis_server.start()
        await until(lambda: other.bars("up", "a"))


@pytest.mark.parametrize("why", ["OOM", "READONLY", "WRONGTYPE"])
async def test_a_redis_that_refuses_does_not_end_the_sharing(
    redis_server: RedisServer, why: str
) -> None:
    async with AsyncExitStack() as stack:
        one, other = await both(redis_server, stack)
        if why == "WRONGTYPE":
            redis_server.tell("SET coe:breakers 1")
        else:
            redis_server.refuse(why)

        fail(one)
        await asyncio.sleep(0.1)
        assert one.bars("up", "a")
        assert not other.bars("up", "a")

        redis_server.accept()
        redis_server.clear()
        await until(lambda: other.bars("up", "a"))


async def test_a_row_that_cannot_be_read_does_not_end_the_sharing(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(connected(redis_server))
        await store.call("ZADD", store.key("breakers"), "+inf", "5")
        one = await stack.enter_async_context(replica(redis_server))
        await until(lambda: "breakers are not shared" in caplog.text)

        redis_server.clear()
        await store.call("ZADD", store.key("breakers"), "+inf", '["up", "a"]')
        await until(lambda: one.bars("up", "a"))
