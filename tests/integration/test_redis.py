"""The connection to a real Redis: what it answers, and what happens while it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from coe.errors import ConfigError, StoreUnavailable
from coe.stores.redis import Redis, Script
from tests.conftest import RedisServer

_ADD = Script.of("return redis.call('INCRBY', KEYS[1], ARGV[1])")


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_commands_scripts_and_transactions_are_answered(redis_server: RedisServer) -> None:
    redis = Redis(redis_server.url, prefix="t:", wait_s=5)
    async with redis.running():
        await redis.call("SET", redis.key("a", "b"), "1")
        assert await redis.call("GET", "t:a:b") == b"1"
        assert await redis.run(_ADD, [redis.key("n")], 5) == 5
        assert await redis.run(_ADD, [redis.key("n")], 5) == 10
        assert await redis.together([("INCR", "t:n"), ("GET", "t:n")]) == [11, b"11"]
    assert redis.calls == 5


@pytest.mark.anyio
async def test_a_mistake_of_ours_is_an_error_and_not_a_server_that_is_away(
    redis_server: RedisServer,
) -> None:
    redis = Redis(redis_server.url, wait_s=5)
    async with redis.running():
        with pytest.raises(Exception, match="unknown command"):
            await redis.call("NONSENSE")
        assert not redis.is_down


@pytest.mark.anyio
async def test_while_it_is_frozen_one_call_waits_and_the_others_are_told_at_once(
    redis_server: RedisServer,
) -> None:
    redis = Redis(redis_server.url, wait_s=0.2, rest_s=0.2)
    back: list[str] = []
    redis.when_back(lambda: back.append("back"))
    async with redis.running():
        await redis.call("SET", "a", 1)
        redis_server.freeze()
        with pytest.raises(StoreUnavailable):
            await redis.call("GET", "a")
        assert redis.is_down
        calls = redis.failures
        for _ in range(100):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await redis.call("GET", "a")
        assert redis.failures <= calls + 1  # the probe's, at most
        redis_server.thaw()
        await _until(lambda: not redis.is_down)
        assert await redis.call("GET", "a") == b"1"
    assert back == ["back"]


@pytest.mark.anyio
async def test_a_server_that_was_killed_is_found_again(redis_server: RedisServer) -> None:
    redis = Redis(redis_server.url, wait_s=1, rest_s=0.1)
    async with redis.running():
        await redis.call("SET", "a", 1)
        redis_server.stop()
        with pytest.raises(StoreUnavailable):
            await redis.call("GET", "a")
        redis_server.start()
        await _until(lambda: not redis.is_down)
        assert await redis.call("GET", "a") is None


@pytest.mark.anyio
async def test_who_listens_hears_what_is_said(redis_server: RedisServer) -> None:
    redis = Redis(redis_server.url, prefix="t:", wait_s=5)
    heard: list[bytes] = []
    async with redis.running(), redis.listening("news", heard.append):
        until = time.monotonic() + 10
        while not heard and time.monotonic() < until:  # it takes a moment to subscribe
            await redis.call("PUBLISH", redis.key("news"), "hello")
            await asyncio.sleep(0.02)
    assert heard[0] == b"hello"


@pytest.mark.anyio
async def test_who_listens_is_told_that_messages_may_have_been_lost(
    redis_server: RedisServer,
) -> None:
    redis = Redis(redis_server.url, prefix="t:", wait_s=5, rest_s=0.05)
    heard: list[bytes] = []
    backs: list[float] = []
    redis.when_back(lambda: backs.append(time.monotonic()))
    async with redis.running(), redis.listening("news", heard.append):
        while not await redis.call("PUBLISH", redis.key("news"), "hello"):
            await asyncio.sleep(0.01)
        assert not backs

        await redis.call("CLIENT", "KILL", "TYPE", "pubsub")

        await _until(lambda: bool(backs))
        assert await redis.call("PUBLISH", redis.key("news"), "again") == 1


def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError, match="COE_REDIS_URL") as caught:
        Redis("http://:secret@127.0.0.1")
    assert "secret" not in str(caught.value)
    assert "secret" not in Redis("redis://:secret@127.0.0.1:7/0").name
