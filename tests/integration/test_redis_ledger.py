"""Limits that several replicas keep together, with a real Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from coe.limits.rules import read
from coe.limits.scopes import Account
from coe.limits.tally import Entry, Held, Refusal, Tally
from coe.stores import redis_ledger
from coe.stores.redis import Redis
from coe.stores.redis_ledger import RedisLedger
from tests.conftest import RedisServer, free_port

pytestmark = pytest.mark.anyio

NOON = 1_774_958_400.0


class Clock:
    """A clock that is set."""

    now = NOON

    def __call__(self) -> float:
        return self.now


def account(text: str) -> Account:
    rule = read(text)
    return Account(f"all/{rule.what}/{rule.period or 'now'}", "all", "everybody", rule)


@asynccontextmanager
async def replicas(
    server: RedisServer, count: int = 2
) -> AsyncIterator[tuple[list[RedisLedger], list[Redis]]]:
    clients = [Redis(server.url, wait_s=5, rest_s=0.2) for _ in range(count)]
    async with AsyncExitStack() as stack:
        for one in clients:
            await stack.enter_async_context(one.running())
        ledgers = [RedisLedger(one, clock=Clock()) for one in clients]
        for ledger in ledgers:
            await stack.enter_async_context(ledger.running())
        yield ledgers, clients


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.01)


async def take(ledger: RedisLedger, limit: Account, amount: int, now_s: float = NOON) -> Held:
    held = await ledger.reserve([Entry(limit, amount)], now_s)
    assert not isinstance(held, Refusal), held
    return held[0]


async def handed_in(ledger: RedisLedger) -> None:
    await until(lambda: not ledger._owed and ledger._batch is None)


async def test_replicas_share_one_account(redis_server: RedisServer) -> None:
    limit = account("5 USD/day")
    async with replicas(redis_server) as ((one, other), _):
        held = await take(one, limit, 3 * 10**9)
        refused = await other.reserve([Entry(limit, 3 * 10**9)], NOON)
        assert isinstance(refused, Refusal)
        assert refused.used == 3 * 10**9

        one.settle(held, 10**9)
        await handed_in(one)

        await take(other, limit, 4 * 10**9)
        assert isinstance(await one.reserve([Entry(limit, 1)], NOON), Refusal)


async def test_all_or_nothing(redis_server: RedisServer) -> None:
    wide, narrow = account("9 requests/min"), account("10 tokens/min")
    async with replicas(redis_server, 1) as ((ledger,), _):
        refused = await ledger.reserve([Entry(wide, 1), Entry(narrow, 11)], NOON)
        assert isinstance(refused, Refusal)
        assert refused.wait_s is None

        await ledger.reserve([Entry(wide, 9), Entry(narrow, 10)], NOON)
        assert ledger.tally.used(wide, NOON) == 9


async def test_a_script_decides_as_the_tally_does(redis_server: RedisServer) -> None:
    chance = random.Random(7)  # noqa: S311 - the same each time
    async with replicas(redis_server, 1) as ((ledger,), _):
        for text in ("20 tokens/s", "30 tokens/min", "40 tokens/day", "50 USD/month"):
            limit, tally, now_s = account(text), Tally(), NOON
            unit = 10**9 if "USD" in text else 1
            for _ in range(60):
                now_s += chance.choice([0.0, 0.3, 7.0, 3600.0, 40_000.0])
                amount = chance.randint(1, 20) * unit
                expected = tally.reserve([Entry(limit, amount)], now_s)
                got = await ledger.reserve([Entry(limit, amount)], now_s)
                assert isinstance(got, Refusal) == isinstance(expected, Refusal), (text, now_s)
                if isinstance(got, Refusal) or isinstance(expected, Refusal):
                    assert got == expected
                    continue
                actual = chance.randint(0, 25) * unit
                ledger.settle(got[0], actual)
                tally.settle(expected[0], actual)
                await handed_in(ledger)


async def test_a_large_amount_is_exact(redis_server: RedisServer) -> None:
    limit = account("1000000 USD/month")
    async with replicas(redis_server) as ((one, other), _):
        await take(one, limit, limit.rule.most - 1)
        await take(other, limit, 1)

        assert isinstance(await one.reserve([Entry(limit, 1)], NOON), Refusal)


async def test_requests_under_way_are_counted_together_and_given_back(
    redis_server: RedisServer,
) -> None:
    limit = account("2 at once")
    async with replicas(redis_server) as ((one, other), _):
        held = await take(one, limit, 1)
        await take(other, limit, 1)
        assert isinstance(await one.reserve([Entry(limit, 1)], NOON), Refusal)

        one.settle(held, 0)
        await handed_in(one)

        await take(other, limit, 1)


async def test_what_a_replica_that_is_gone_had_under_way_is_dropped(
    redis_server: RedisServer,
) -> None:
    limit = account("1 at once")
    async with replicas(redis_server, 1) as ((ledger,), (redis,)):
        long_ago = int((await redis.call("TIME"))[0]) - 60
        await redis.call("HSET", redis.key(f"limits:{limit.key}"), "gone", f"1 {long_ago}")

        await take(ledger, limit, 1)


@pytest.mark.parametrize("how", ["freeze", "stop"])
async def test_without_redis_a_replica_goes_on_from_what_it_knew_and_hands_it_in(
    redis_server: RedisServer, how: str
) -> None:
    limit = account("100 tokens/day")
    async with replicas(redis_server) as ((one, other), (redis, _)):
        await take(other, limit, 60)
        held = await take(one, limit, 10)

        redis._wait_s = 0.3
        getattr(redis_server, how)()
        with pytest.raises(AssertionError, match="Refusal"):
            await take(one, limit, 31)
        await take(one, limit, 20)
        one.settle(held, 5)
        assert redis.is_down
        assert one.tally.used(limit, NOON) == 85

        if how == "freeze":
            redis_server.thaw()
        else:
            redis_server.start()  # it has forgotten everything: only what is handed in is known
        await until(lambda: not redis.is_down)
        redis._wait_s = 5
        await handed_in(one)
        known = await one.reserve([Entry(limit, 1000)], NOON)
        assert isinstance(known, Refusal)
        # A reservation that came to a frozen server was carried out later, and counts once more.
        assert known.used in ({85, 105} if how == "freeze" else {15})


async def test_while_redis_is_away_only_what_counts_is_owed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_ledger, "ALIVE_S", 0.01)
    second, day, now = account("5 requests/s"), account("900 requests/day"), account("900 at once")
    redis, clock = Redis(f"redis://127.0.0.1:{free_port()}/0"), Clock()
    ledger = RedisLedger(redis, clock=clock)
    async with redis.running(), ledger.running():
        for later_s in range(100):
            for limit in (second, day, now):
                await take(ledger, limit, 1, NOON + later_s)
        assert len(ledger._owed) > 90

        clock.now = NOON + 99

        await until(lambda: len(ledger._owed) <= 4)
        owed = {(key, number): amount for (key, number), (_, amount) in ledger._owed.items()}
        assert owed[second.key, int(NOON) + 99] == owed[second.key, int(NOON) + 98] == 1
        assert sum(count for (key, _), count in owed.items() if key == day.key) > 90
        assert sum(count for (key, _), count in owed.items() if key == now.key) > 90


@pytest.mark.parametrize("why", ["OOM", "READONLY"])
async def test_a_redis_that_refuses_is_handed_in_what_was_used_when_it_takes_it(
    redis_server: RedisServer, why: str
) -> None:
    limit = account("100 tokens/day")
    async with replicas(redis_server) as ((one, other), (redis, _)):
        held = await take(one, limit, 10)
        redis_server.refuse(why)

        with pytest.raises(AssertionError, match="Refusal"):
            await take(one, limit, 91)
        await take(one, limit, 20)
        one.settle(held, 5)
        assert not redis.is_down

        redis_server.accept()
        await handed_in(one)
        known = await other.reserve([Entry(limit, 1000)], NOON)
        assert isinstance(known, Refusal)
        assert known.used == 25


async def test_a_batch_that_is_sent_twice_counts_once(redis_server: RedisServer) -> None:
    limit = account("100 tokens/day")
    async with replicas(redis_server) as ((one, other), (redis, _)):
        held = await take(one, limit, 50)
        redis._wait_s = 0.3
        redis_server.freeze()
        one.settle(held, 20)  # sent, not answered, sent again
        await until(lambda: redis.is_down)
        redis_server.thaw()
        await until(lambda: not redis.is_down)
        redis._wait_s = 5
        await handed_in(one)

        known = await one.reserve([Entry(limit, 1000)], NOON)
        assert isinstance(known, Refusal)
        assert known.used == 20
        assert other.is_running


async def test_who_goes_away_while_redis_is_asked_leaves_nothing_set_aside(
    redis_server: RedisServer,
) -> None:
    limits = account("5 USD/day"), account("2 at once")
    async with replicas(redis_server) as ((one, other), _):
        for limit in limits:
            one.settle(await take(one, limit, 1), 0)  # there is a connection, and the script
        await handed_in(one)
        redis_server.freeze()
        entries = [Entry(limits[0], 5 * 10**9), Entry(limits[1], 2)]
        asking = asyncio.create_task(one.reserve(entries, NOON))
        await asyncio.sleep(0.05)  # it is on its way
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        redis_server.thaw()

        async def is_free() -> bool:
            return not isinstance(await other.reserve(entries, NOON), Refusal)

        async with asyncio.timeout(4):  # before what is under way is told again
            while not await is_free():
                await asyncio.sleep(0.02)
