"""Several gateways in front of one server whose memory they share, over a real Redis.

The server is `SharedBox`, which speaks vLLM's addresses for adapters; the gateways are whole ones,
on sockets of their own, in this process. `tests/e2e/test_replica_kills.py` has them as processes.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn

from coe.api.app import App
from coe.composition import load
from coe.errors import ConfigError, StoreUnavailable
from coe.replicas.pauses import Pauses
from coe.replicas.pool import SharedSlots
from coe.settings import Settings
from coe.stores.redis import WAIT_S, Redis
from coe.stores.redis_spending import RedisSpending
from coe.telemetry import Telemetry
from coe.testing.shared_box import SharedBox, composition
from coe.testing.upstream import FakeUpstream
from coe.wiring import wire
from tests.conftest import RedisServer

from .conftest import _Server

pytestmark = pytest.mark.anyio

SECRET = "0123456789abcdef0123456789abcdef"
LEASE_S = 1.0
PATIENT_S = 2.0
"""For Redis, where it is there: a busy machine is not what is tested."""


class Gateway:
    """One replica."""

    def __init__(
        self,
        app: App,
        url: str,
        session: aiohttp.ClientSession,
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self.app, self.url, self.stop = app, url, stop
        self._session = session
        self._numbers = count()

    @property
    def redis(self) -> Redis | None:
        premises = self.app.live.current.gateway.premises
        return None if premises is None else premises.redis

    @property
    def pauses(self) -> Pauses:
        assert self.app.pauses is not None
        return self.app.pauses

    @property
    def slots(self) -> SharedSlots:
        slots = self.app.live.current.gateway.slots["box"]
        assert isinstance(slots, SharedSlots)
        return slots

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        async with self._session.post(f"{self.url}{path}", json=body, headers=headers) as answer:
            text = await answer.text()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text

    async def get(self, path: str) -> Any:
        async with self._session.get(f"{self.url}{path}") as answer:
            return await answer.json()

    async def delete(self, path: str) -> int:
        async with self._session.delete(f"{self.url}{path}") as answer:
            return answer.status

    async def chat(self, *turns: str, **more: str) -> tuple[str, str]:
        """Return the category and the expert of a conversation's last turn."""
        messages = [
            {"role": "assistant" if at % 2 else "user", "content": turn}
            for at, turn in enumerate(turns)
        ]
        body = {"model": "coe/auto", "messages": messages}
        url = f"{self.url}/v1/chat/completions"
        async with self._session.post(url, json=body, headers=more) as answer:
            assert answer.status == 200, await answer.text()
            return answer.headers["x-coe-category"], answer.headers["x-coe-expert"]

    async def ask(self, expert: str, *, text: str | None = None, **headers: str) -> tuple[int, Any]:
        prompt = text or f"to {expert}, {next(self._numbers)} of {self.url}"
        body = {"model": expert, "messages": [{"role": "user", "content": prompt}]}
        return await self.post("/v1/chat/completions", body, **headers)


class Site:
    """Replicas, their Redis and their model server."""

    def __init__(self, folder: Path, redis: RedisServer, box: SharedBox) -> None:
        self.folder, self.redis, self.box = folder, redis, box
        self.gateways: list[Gateway] = []
        self._stack = AsyncExitStack()

    async def start(self, text: str | None = None, **settings: Any) -> Gateway:
        """Start one more replica."""
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        folder = self.folder / f"replica-{len(self.gateways)}"
        folder.mkdir()
        file = folder / "experts.yaml"
        file.write_text(text or composition(self.box.url, "abc", room=self.box.room))
        given = {
            "redis_url": self.redis.url,
            "replica_url": url,
            "replica_secret": SECRET,
            "replica_lease_s": LEASE_S,
            "admin": "loopback",
        }
        configured = Settings(config=file, **(given | settings))
        app = App(wire(load(file), configured, Telemetry(log_requests=False)), configured)
        if (premises := app.live.current.gateway.premises) is not None and premises.redis:
            premises.redis._wait_s = PATIENT_S
        config = uvicorn.Config(app, ws="none", log_config=None, timeout_graceful_shutdown=0)
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await server.is_listening.wait()
        session = await self._stack.enter_async_context(aiohttp.ClientSession())

        async def stop() -> None:
            server.should_exit = True
            await running
            self.gateways.remove(gateway)

        gateway = Gateway(app, url, session, stop)
        self.gateways.append(gateway)
        return gateway

    def freeze(self) -> None:
        """Have Redis answer nothing; whoever asks it waits no longer than in earnest."""
        self._wait(WAIT_S)
        self.redis.freeze()

    async def thaw(self) -> None:
        """Have Redis answer again; return once all replicas know that."""
        self.redis.thaw()
        await until(lambda: not any(one.redis and one.redis.is_down for one in self.gateways))
        self._wait(PATIENT_S)

    def _wait(self, wait_s: float) -> None:
        for one in self.gateways:
            if one.redis is not None:
                one.redis._wait_s = wait_s

    async def close(self) -> None:
        for gateway in tuple(self.gateways):
            await gateway.stop()
        await self._stack.aclose()

    async def both(self) -> tuple[Gateway, Gateway]:
        """Return the owner, of two replicas, and the other one."""
        owner = await self.owner()
        return owner, next(one for one in self.gateways if one is not owner)

    async def owner(self) -> Gateway:
        """Return the replica that owns the pool and may load."""
        await until(lambda: any(one.slots._may_act() for one in self.gateways))
        return next(one for one in self.gateways if one.slots._may_act())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(folder: Path, redis: RedisServer, *, room: int) -> AsyncIterator[Site]:
    """Have a box of `room` experts, and no replica yet; those that are started end with it."""
    async with SharedBox("abc", room=room) as box:
        there = Site(folder, redis, box)
        try:
            yield there
        finally:
            redis.thaw()
            await there.close()


@pytest.fixture
async def site(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Site]:
    async with opened(tmp_path, redis_server, room=1) as there:
        yield there


async def test_one_replica_owns_the_memory_and_the_others_borrow_slots(site: Site) -> None:
    await site.start()
    await site.start()
    owner, other = await site.both()

    busy = asyncio.create_task(owner.ask("a", text="slowly " * 20))
    await until(lambda: any(view.running for view in owner.slots.views()))
    asked = [asyncio.create_task(one.ask(e)) for one in (owner, other) for e in "bcbcbc"]
    await until(lambda: sum(view.interactive for view in owner.slots.views()) == len(asked))
    done = await asyncio.gather(busy, *asked)

    assert [status for status, _ in done] == [200] * 13
    assert other.slots.counts["elsewhere"] == 6
    assert not other.slots.is_owned
    # All of them waited while the first one was answered: grouped over both replicas.
    assert sorted(change for change in site.box.changes if change.startswith("load")) == [
        "load a",
        "load b",
        "load c",
    ]
    assert len(site.box.held) == 1
    assert not site.box.wrongs
    await until(lambda: all(view.running == 0 for view in owner.slots.views()))


async def test_a_slot_that_is_lent_keeps_its_expert_in_memory_whoever_owns_the_pool(
    site: Site,
) -> None:
    await site.start()
    await site.start()
    owner, other = await site.both()
    await other.ask("a")

    stream = asyncio.create_task(other.ask("a", text="slowly " * 40))  # two seconds
    await until(lambda: any(view.running for view in owner.slots.views()))
    await owner.stop()  # whoever waits or runs there goes to the other one
    assert (await other.ask("b"))[0] == 200

    assert (await stream)[0] == 200
    assert other.slots.is_owned
    assert site.box.changes == ["load a", "unload a", "load b"]
    assert not site.box.wrongs


async def test_calls_that_wait_at_an_owner_that_leaves_are_asked_of_the_next(site: Site) -> None:
    await site.start()
    await site.start()
    owner, other = await site.both()
    await owner.ask("a")
    busy = asyncio.create_task(owner.ask("a", text="slowly " * 20))
    await until(lambda: owner.slots.views()[0].running == 1)
    waiting = [asyncio.create_task(other.ask("b", text=f"b {i}")) for i in range(3)]
    await until(lambda: owner.slots.views()[1].interactive == 3)

    await owner.app.live.current.gateway.premises.replica.resign()  # as when it begins to drain

    assert [status for status, _ in await asyncio.gather(*waiting)] == [200] * 3
    assert (await busy)[0] == 200
    assert other.slots.is_owned
    assert not owner.slots.is_owned
    assert set(site.box.asked.values()) == {1}
    assert not site.box.wrongs


async def test_who_waited_for_long_at_an_owner_that_leaves_has_all_the_patience_still(
    site: Site,
) -> None:
    await site.start()
    await site.start()
    owner, other = await site.both()
    await owner.ask("a")
    busy = asyncio.create_task(owner.ask("a", text="slowly " * 100))  # five seconds
    await until(lambda: owner.slots.views()[0].running == 1)
    waiting = [asyncio.create_task(one.ask("b")) for one in (owner, other)]
    await asyncio.sleep(3)  # longer than anybody waits for an owner

    await owner.app.live.current.gateway.premises.replica.resign()

    assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]
    assert (await busy)[0] == 200
    assert not site.box.wrongs


async def test_a_replica_with_another_secret_says_so(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await site.start()
    await site.owner()
    other = await site.start(replica_secret=SECRET[::-1])

    status, _ = await other.ask("b")

    assert status == 503
    assert sum("COE_REPLICA_SECRET is not the same" in text for text in caplog.messages) == 1


async def test_a_client_that_leaves_gives_its_place_at_the_owner_back(site: Site) -> None:
    await site.start()
    await site.start()
    owner, other = await site.both()
    await owner.ask("a")
    busy = asyncio.create_task(owner.ask("a", text="slowly " * 20))
    await until(lambda: owner.slots.views()[0].running == 1)
    waiting = asyncio.create_task(other.ask("b"))
    await until(lambda: owner.slots.views()[1].interactive == 1)

    waiting.cancel()

    await until(lambda: owner.slots.views()[1].interactive == 0)
    await busy
    assert "load b" not in site.box.changes


async def test_a_deadline_is_kept_at_the_owner(site: Site) -> None:
    await site.start()
    await site.start()
    owner, other = await site.both()
    await owner.ask("a")
    busy = asyncio.create_task(owner.ask("a", text="slowly " * 20))
    await until(lambda: owner.slots.views()[0].running == 1)

    status, body = await other.ask("b", **{"x-coe-deadline-ms": "200"})

    assert status == 504
    assert body["error"]["code"] == "deadline_exceeded"
    await busy


async def test_replicas_that_are_there_are_listed_with_what_they_own(site: Site) -> None:
    first = await site.start()
    second = await site.start()
    owner, _ = await site.both()

    async def listed() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await first.get("/v1/replicas"))["data"]
        return rows

    async with asyncio.timeout(10):
        while len(await listed()) < 2 or not any(row["owns"] for row in await listed()):
            await asyncio.sleep(0.05)
    rows = {row["url"]: row for row in await listed()}
    assert set(rows) == {first.url, second.url}
    assert rows[first.url]["is_this"]
    assert [len(row["owns"]) for url, row in rows.items() if url == owner.url] == [1]
    assert len({row["composition"] for row in rows.values()}) == 1
    await second.stop()
    assert len(await listed()) == 1


@pytest.mark.parametrize("verb", ["slots", "doubt", "other"])
async def test_the_internal_paths_are_for_replicas_alone(site: Site, verb: str) -> None:
    gateway = await site.start()
    path = f"/internal/replicas/{verb}"

    for shown in ("", "Bearer ", "Bearer wrong", f"Bearer {SECRET}x", SECRET, "Bearer \u00e9"):
        status, body = await gateway.post(path, {"pool": "x"}, authorization=shown)
        assert status == 401
        assert SECRET not in json.dumps(body)


async def test_what_is_no_errand_is_refused(site: Site) -> None:
    gateway = await site.start()
    bearer = f"Bearer {SECRET}"

    status, _ = await gateway.post("/internal/replicas/slots", {"x": 1}, authorization=bearer)
    assert status == 400
    status, said = await gateway.post(
        "/internal/replicas/slots", {"pool": "none", "expert": "a"}, authorization=bearer
    )
    assert (status, said) == (200, '{}\n{"moved":true}\n')


async def test_while_redis_is_frozen_experts_in_memory_answer_and_nobody_loads(site: Site) -> None:
    await site.start()
    await site.start()
    owner, other = await site.both()
    await other.ask("a")

    site.freeze()
    answered = await asyncio.gather(*(one.ask("a") for one in (owner, other) for _ in range(5)))
    await until(lambda: not owner.slots._may_act())
    refused = await asyncio.gather(owner.ask("b"), other.ask("b"))
    still = await asyncio.gather(owner.ask("a"), other.ask("a"))
    await site.thaw()

    assert [status for status, _ in answered] == [200] * 10
    assert [status for status, _ in refused] == [503] * 2
    assert [status for status, _ in still] == [200] * 2
    assert site.box.changes == ["load a"]
    await site.owner()
    assert (await owner.ask("b"))[0] == (await other.ask("c"))[0] == 200
    assert not site.box.wrongs


@pytest.mark.parametrize("is_alone", [True, False])
async def test_an_edit_of_a_backend_lets_nobody_throw_out_who_is_at_work(
    site: Site, *, is_alone: bool
) -> None:
    one = await site.start(**({"redis_url": ""} if is_alone else {}))
    await one.ask("a")  # it is in memory
    stream = asyncio.create_task(one.ask("a", text="slowly " * 40))
    await until(
        lambda: any(view.running for view in one.app.live.current.gateway.slots["box"].views())
    )
    file = site.folder / "replica-0" / "experts.yaml"
    file.write_text(file.read_text().replace("type: ollama,", "type: ollama, headers: {x-a: b},"))
    old = one.app.live.current.gateway
    await until(lambda: one.app.live.current.gateway is not old)

    assert one.app.live.current.gateway.backends["box"] is not old.backends["box"]
    (status, _), (streamed, _) = await asyncio.gather(one.ask("b"), stream)

    assert (status, streamed) == (200, 200)
    assert not site.box.wrongs
    assert site.box.changes == ["load a", "unload a", "load b"]


async def test_an_edit_that_comes_to_nothing_leaves_the_models_of_experts_as_they_were(
    site: Site,
) -> None:
    one = await site.start(redis_url="")
    file = site.folder / "replica-0" / "experts.yaml"
    other = file.with_name("other.yaml")
    other.write_text(file.read_text().replace("model: a,", "model: c,"))

    with pytest.raises(OSError, match="full"):
        async with one.app.live.replacing(load(other)):
            raise OSError("the disk is full")

    assert (await one.ask("a"))[0] == 200
    assert site.box.changes == ["load a"]


async def test_an_expert_that_only_one_composition_has_is_refused_by_the_other(site: Site) -> None:
    await site.start(composition(site.box.url, "ab", room=1))
    await site.owner()
    later = await site.start()

    assert (await later.ask("b"))[0] == 200
    status, body = await later.ask("c")

    assert status == 503
    assert "does not know" in body["error"]["message"]


async def test_a_pool_is_not_shared_by_who_cannot_be_reached(site: Site) -> None:
    file = site.folder / "experts.yaml"
    file.write_text(composition(site.box.url, "abc", room=1))
    settings = {"config": file, "redis_url": site.redis.url, "replica_secret": SECRET}

    with pytest.raises(ConfigError, match=r"backends\.box.*COE_REPLICA_URL"):
        wire(load(file), Settings(**settings), Telemetry(log_requests=False))
    with pytest.raises(ConfigError, match="COE_REPLICA_SECRET: at least 32 bytes"):
        wire(
            load(file),
            Settings(**settings | {"replica_secret": "short"}),
            Telemetry(log_requests=False),
        )


ROUTED = """\
version: 1
backends: {{up: "{url}"}}
experts:
  coder: {{backend: up, model: ok}}
  writer: {{backend: up, model: ok}}
categories:
  code: {{keywords: [compile], experts: [coder]}}
  prose: {{keywords: [poem], experts: [writer]}}
routers: {{default: {{type: keyword}}}}
routing: {{sessions: {{stick: always, key: [header:x-session, derived]}}}}
default: writer
{more}"""

SPLIT = """\
experiments:
  swap:
    status: running
    unit: request
    arms: {control: 50%, other: {share: 50%, set: {routing.routes.code: [writer]}}}
"""


def routed(upstream: FakeUpstream, more: str = "") -> str:
    return ROUTED.format(url=upstream.url, more=more)


async def shared(gateway: Gateway) -> None:
    """Return once Redis has what the replica decided."""
    premises = gateway.app.live.current.gateway.premises
    assert premises is not None
    sessions = premises.sessions
    assert sessions is not None
    await until(lambda: not sessions.owed)


async def listened(*gateways: Gateway) -> None:
    """Return once all of them would hear of sessions."""
    redis = gateways[0].redis
    assert redis is not None
    async with asyncio.timeout(15):
        while True:
            _, count = await redis.call("PUBSUB", "NUMSUB", redis.key("sessions"))
            if count == len(gateways):
                return
            await asyncio.sleep(0.01)


async def test_a_conversation_keeps_its_category_on_whichever_replica_it_comes_to(
    site: Site, upstream: FakeUpstream
) -> None:
    first, second = [await site.start(routed(upstream)) for _ in range(2)]
    begun = ["compile this", "done"]
    assert await first.chat(begun[0]) == ("code", "coder")
    await shared(first)

    assert await second.chat(*begun, "and a poem") == ("code", "coder")
    assert await second.chat("a poem") == ("prose", "writer")  # another conversation


async def test_a_decision_of_another_replica_replaces_the_one_that_is_remembered_here(
    site: Site, upstream: FakeUpstream
) -> None:
    text = routed(upstream).replace("stick: always", "stick: until_topic_change")
    first, second = [await site.start(text) for _ in range(2)]
    await listened(first, second)
    await first.chat("compile this", **{"x-session": "s"})
    await shared(first)
    await second.chat("compile this", "done", "a poem", **{"x-session": "s"})
    turns = first.app.live.current.gateway.turns
    assert turns is not None
    remembered = turns.sessions
    assert remembered is not None
    await until(lambda: not remembered._entries)  # it has heard of the other's

    said = ["compile this", "done", "a poem", "done", "go on"]
    assert await first.chat(*said, **{"x-session": "s"}) == ("prose", "writer")


async def test_while_redis_is_frozen_a_replica_goes_by_the_sessions_that_it_knows(
    site: Site, upstream: FakeUpstream
) -> None:
    first, second = [await site.start(routed(upstream)) for _ in range(2)]
    await first.chat("compile this")
    await shared(first)
    site.freeze()

    assert await first.chat("compile this", "done", "a poem") == ("code", "coder")
    await second.chat("compile this", "done", "a poem")  # it is answered, by its window alone
    assert await second.chat("compile that") == ("code", "coder")

    await site.thaw()
    await shared(second)
    assert await first.chat("compile that", "done", "a poem") == ("code", "coder")


async def test_an_experiment_that_is_paused_on_one_replica_is_paused_on_all_and_later_on(
    site: Site, upstream: FakeUpstream
) -> None:
    text = routed(upstream, SPLIT)
    first, second = [await site.start(text) for _ in range(2)]
    assert first.app.live.current.gateway.trials is not None

    await first.pauses.tell("swap")

    for gateway in (first, second):
        await until(lambda one=gateway: one.app.live.current.gateway.trials is None)  # type: ignore[misc]
    third = await site.start(text)
    assert third.app.live.current.gateway.trials is None
    again = await site.start(text.replace("unit: request", "unit: user"))  # another experiment
    assert again.app.live.current.gateway.trials is not None
    assert await second.delete("/v1/replicas/pauses/swap") == 200
    for gateway in (first, second, third):
        await until(lambda one=gateway: one.app.live.current.gateway.trials is not None)  # type: ignore[misc]
    assert await second.delete("/v1/replicas/pauses/swap") == 404


async def test_a_pause_while_redis_is_frozen_is_told_when_it_is_back(
    site: Site, upstream: FakeUpstream
) -> None:
    first, second = [await site.start(routed(upstream, SPLIT)) for _ in range(2)]
    site.freeze()
    await first.pauses.tell("swap")
    await site.thaw()

    await until(lambda: second.app.live.current.gateway.trials is None)


async def test_the_money_of_a_day_is_one_sum_and_none_where_nobody_can_say(site: Site) -> None:
    redis = Redis(site.redis.url, wait_s=PATIENT_S)
    one, two = RedisSpending(redis), RedisSpending(redis)
    async with redis.running():
        taken = await asyncio.gather(
            *(purse.spend("swap", "2026-01-01", 0.1, 1.0) for purse in (one, two) for _ in range(9))
        )

        assert sum(taken) == 10
        assert await one.spend("swap", "2026-01-02", 0.1, 1.0)
        assert not await one.spend("swap", "2026-01-02", float("inf"), 1.0)
        assert not await one.spend("swap", "2026-01-02", float("nan"), 1.0)
        site.redis.freeze()
        with pytest.raises(StoreUnavailable):
            await one.spend("swap", "2026-01-02", 0.1, 1.0)
