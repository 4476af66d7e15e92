"""The connection to a real Redis: what it answers, and what happens while it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redis._parsers.base import BaseParser

from coe.errors import ConfigError, StoreUnavailable
from coe.stores.redis import Redis, Script
from tests.conftest import RedisServer, free_port

_ADD = Script.of("return redis.call('INCRBY', KEYS[1], ARGV[1])")


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def _hold_up() -> None:
    """Have the loop do nothing, until all limits are over and all answers there."""
    time.sleep(0.5)


@asynccontextmanager
async def _address(leads_to: list[int]) -> AsyncIterator[int]:
    """Open a port that leads to the last of some others, as a name may; connections stay."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while sent := await reader.read(65_536):
                writer.write(sent)
        writer.close()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", leads_to[-1])
        await asyncio.gather(pass_on(reader, outer), pass_on(inner, writer))

    async with await asyncio.start_server(enter, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def older_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the client library raise as its 6th version does: nowhere is what it cuts off."""
    parse = BaseParser.parse_error

    def parse_error(response: str) -> Exception:
        error: Exception = parse(response)
        vars(error).pop("status_code", None)
        return error

    monkeypatch.setattr(BaseParser, "parse_error", staticmethod(parse_error))


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
async def test_a_mistake_of_ours_is_in_the_log_and_not_a_server_that_is_away(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Script.of("return 1 + redis.call('GET', KEYS[1])")
    redis = Redis(redis_server.url, wait_s=5)
    async with redis.running():
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="unknown command"):
                await redis.call("NONSENSE")
            with pytest.raises(StoreUnavailable, match="user_script"):
                await redis.run(wrong, ["none"])
        assert not redis.is_down
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "refuses NONSENSE: ERR unknown command" in caplog.messages[0]
    assert "user_script:1: attempt to perform arithmetic" in caplog.messages[1]


@pytest.mark.anyio
@pytest.mark.parametrize("why", ["OOM", "READONLY", "NOPERM"])
async def test_what_is_refused_is_as_without_redis_and_the_rest_is_answered(
    redis_server: RedisServer, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.tell("SET a 1")
    redis = Redis(redis_server.refuse(why), wait_s=5)
    async with redis.running():
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="refuses"):
                await redis.call("SET", "a", "a prompt")
            with pytest.raises(StoreUnavailable, match="refuses"):
                await redis.together([("SET", "a", "a prompt"), ("GET", "a")])
            with pytest.raises(StoreUnavailable, match="refuses"):
                await redis.run(_ADD, ["a"], 5)
            assert await redis.call("GET", "a") == b"1"
        assert not redis.is_down

        redis_server.accept()
        assert await redis.run(_ADD, ["a"], 5) == 6
    assert len(caplog.messages) == 3
    assert all("refuses" in said for said in caplog.messages)
    assert why in caplog.messages[0]
    assert "prompt" not in caplog.text


@pytest.mark.anyio
@pytest.mark.usefixtures("older_client")
@pytest.mark.parametrize("why", ["OOM", "READONLY", "NOPERM"])
async def test_what_an_older_client_cuts_off_is_known_all_the_same(
    redis_server: RedisServer, why: str
) -> None:
    redis = Redis(redis_server.refuse(why), wait_s=5)
    async with redis.running():
        with pytest.raises(StoreUnavailable, match=f"refuses this: {why} "):
            await redis.call("SET", "a", "1")
        with pytest.raises(StoreUnavailable, match=f"refuses this: {why} "):
            await redis.together([("SET", "a", "1")])
        with pytest.raises(StoreUnavailable, match="refuses this: unknown command"):
            await redis.call("NONSENSE")
        assert not redis.is_down


@pytest.mark.anyio
async def test_a_refusal_of_many_commands_is_told_once_however_many_they_are(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis = Redis(redis_server.refuse("OOM"), wait_s=5)
    async with redis.running():
        for count in (1, 3, 5):
            with pytest.raises(StoreUnavailable, match="refuses"):
                await redis.together([("SET", "a", "1"), ("EXPIRE", "a", 5)] * count)
    (said,) = caplog.messages
    assert "refuses SET EXPIRE: OOM" in said


@pytest.mark.anyio
@pytest.mark.parametrize("client", ["client", "older_client"])
@pytest.mark.parametrize("why", ["READONLY", "MASTERDOWN"])  # refuse what writes, or what reads
async def test_an_address_that_leads_to_another_server_by_now_is_followed(
    redis_server: RedisServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    why: str,
    client: str,
) -> None:
    """The server that led is there, and keeps its connections."""
    if client == "older_client":
        request.getfixturevalue(client)
    words = ("SET", "a", 1) if why == "READONLY" else ("GET", "a")
    other = RedisServer(tmp_path, free_port())
    leads_to = [redis_server.port]
    try:
        other.start()
        async with _address(leads_to) as port:
            redis = Redis(f"redis://127.0.0.1:{port}/0", wait_s=5, rest_s=0.02)

            async def is_answered() -> bool:
                """Ask by several connections at once; return whether all were answered."""
                asking = [redis.call(*words) for _ in range(8)]
                done = await asyncio.gather(*asking, return_exceptions=True)
                return not any(isinstance(one, StoreUnavailable) for one in done)

            async with redis.running():
                assert await is_answered()
                if why == "MASTERDOWN":
                    redis_server.tell("CONFIG SET replica-serve-stale-data no")
                redis_server.refuse("READONLY")
                with pytest.raises(StoreUnavailable, match=r"read only replica|Link with MASTER"):
                    await redis.call(*words)
                assert redis.is_down == (why == "MASTERDOWN")

                leads_to.append(other.port)
                async with asyncio.timeout(10):
                    while not await is_answered():
                        await asyncio.sleep(0.01)
                assert await is_answered()
    finally:
        other.stop()
        redis_server.tell("CONFIG SET replica-serve-stale-data yes")


@pytest.mark.anyio
async def test_a_key_of_somebody_elses_is_as_one_that_is_not_there(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis = Redis(redis_server.url, wait_s=5)
    async with redis.running():
        await redis.call("RPUSH", "a", "x")
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
                await redis.call("GET", "a")
        assert not redis.is_down
    assert len(caplog.messages) == 1


@pytest.mark.anyio
async def test_who_may_not_listen_is_told_so_once(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.tell("ACL SETUSER deaf on >secret ~* resetchannels +@all")
    url = redis_server.url.replace("//", "//deaf:secret@")
    redis = Redis(url, prefix="t:", wait_s=5, rest_s=0.02)
    heard: list[bytes] = []
    async with redis.running(), redis.listening("news", heard.append):
        await _until(lambda: "t:news" in caplog.text)
        await asyncio.sleep(0.2)
        redis_server.tell("ACL SETUSER deaf allchannels")
        async with asyncio.timeout(10):
            while not await redis.call("PUBLISH", redis.key("news"), "hello"):
                await asyncio.sleep(0.02)
        await _until(lambda: bool(heard))
    assert len([said for said in caplog.messages if "SUBSCRIBE" in said]) == 1


@pytest.mark.anyio
async def test_a_message_that_cannot_be_heard_does_not_end_the_listening(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis = Redis(redis_server.url, prefix="t:", wait_s=5)
    heard: list[int] = []
    async with redis.running(), redis.listening("news", lambda said: heard.append(int(said))):
        async with asyncio.timeout(10):
            while not await redis.call("PUBLISH", redis.key("news"), "nonsense"):
                await asyncio.sleep(0.02)
        await redis.call("PUBLISH", redis.key("news"), 7)
        await _until(lambda: heard == [7])
    assert "ValueError" in caplog.text


@pytest.mark.anyio
async def test_while_it_is_frozen_one_call_waits_and_the_others_are_told_at_once(
    redis_server: RedisServer,
) -> None:
    redis = Redis(redis_server.url, wait_s=1, rest_s=0.2)
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


@pytest.mark.anyio
@pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})],
    ids=["asyncio", "uvloop"],
)
@pytest.mark.parametrize("has_connection", [True, False])
async def test_an_event_loop_that_is_held_up_is_no_redis_that_is_gone(
    redis_server: RedisServer, *, has_connection: bool
) -> None:
    redis = Redis(redis_server.url, wait_s=0.4, most=8)
    async with redis.running():
        if has_connection:
            await asyncio.gather(*(redis.call("SET", "a", 1) for _ in range(8)))
        for turns in (0, 3):
            asking = [asyncio.create_task(redis.call("ECHO", "here")) for _ in range(8)]
            for _ in range(turns):
                await asyncio.sleep(0)
            _hold_up()
            assert await asyncio.gather(*asking) == [b"here"] * 8
        assert redis.failures == 0
