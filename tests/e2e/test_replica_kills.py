"""Two gateways as processes share a model server; one is killed, or stopped, under load."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coe.testing.shared_box import SharedBox, composition
from tests.conftest import RedisServer, free_port

pytestmark = pytest.mark.anyio

COE = Path(sys.executable).with_name("coe")
SECRET = "0123456789abcdef0123456789abcdef"
LEASE_S = 2.0
EVERY_S = 0.2


class Replica:
    """A `coe serve`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder, self._port = folder, port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, redis_url: str) -> None:
        """Return once it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *(str(COE), "serve", "--port", str(self._port)),
            cwd=self._folder,
            env={
                **os.environ,
                "COE_REDIS_URL": redis_url,
                "COE_REPLICA_URL": self.url,
                "COE_REPLICA_SECRET": SECRET,
                "COE_REPLICA_LEASE_S": str(LEASE_S),
                "COE_ADMIN": "loopback",
                "COE_LOG_LEVEL": "error",
            },
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if re.search(rb"http://\S+/v1", line):
                break
        else:
            raise RuntimeError("a replica ended before it listened")
        self._reading = asyncio.create_task(self._process.stderr.read())

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self.send(signal.SIGCONT)
            self._process.kill()
            await self._process.wait()
        await self._reading


@dataclass
class Seen:
    """What came of the requests to one replica.

    Attributes:
        begun: streams of which something has come.
        good: whole answers.
        bad: statuses of refusals, and what else went wrong.
        cut: streams and answers that did not end as they should, and did not look so either.
    """

    begun: int = 0
    good: int = 0
    bad: list[str] = field(default_factory=list)
    cut: int = 0


class Site:
    """The replicas, and who asks them."""

    def __init__(self, box: SharedBox, replicas: list[Replica], web: aiohttp.ClientSession) -> None:
        self.box, self.replicas, self.web = box, replicas, web
        self.numbers = count()

    async def owner(self) -> tuple[Replica, Replica]:
        """Return who owns the pool, and who does not."""
        async with asyncio.timeout(20):
            while True:
                for one, other in (self.replicas, self.replicas[::-1]):
                    rows = await self.listed(one)
                    if rows and rows[0]["owns"]:
                        return one, other
                await asyncio.sleep(0.05)

    async def listed(self, replica: Replica) -> list[dict[str, Any]]:
        async with self.web.get(f"{replica.url}/v1/replicas") as answer:
            rows: list[dict[str, Any]] = (await answer.json())["data"]
            return rows

    async def ask(self, replica: Replica, expert: str, seen: Seen, *, slowly: bool = False) -> None:
        """Ask, and note what came of it."""
        number = next(self.numbers)
        prompt = f"{number} " + ("slowly " * 8 if slowly else "quickly")
        body = {
            "model": expert,
            "messages": [{"role": "user", "content": prompt}],
            "stream": slowly,
        }
        try:
            async with self.web.post(f"{replica.url}/v1/chat/completions", json=body) as answer:
                seen.begun += slowly
                text = await answer.text()
        except (aiohttp.ClientError, OSError):
            seen.cut += 1
            return
        if answer.status != 200:
            seen.bad.append(f"{answer.status} {text[:200]}")
        elif not slowly:
            assert str(number) in json.loads(text)["choices"][0]["message"]["content"]
            seen.good += 1
        elif text.endswith("data: [DONE]\n\n") and "error" not in text:
            seen.good += text.count("slowly") >= 8
            if text.count("slowly") < 8:
                seen.bad.append("a stream that ended well and is not whole")
        else:
            seen.cut += 1

    async def load(self, replica: Replica, seen: Seen, until: asyncio.Event) -> None:
        """Ask every `EVERY_S`, whatever becomes of those before."""
        experts, slowly = cycle("aabbaabbaac"), cycle([True, False])
        async with asyncio.TaskGroup() as tasks:
            while not until.is_set():
                tasks.create_task(self.ask(replica, next(experts), seen, slowly=next(slowly)))
                await asyncio.sleep(EVERY_S)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


async def at_work(seen: Seen) -> None:
    """Return when there were answers, and a stream has just begun."""
    await until(lambda: seen.good > 3)
    before = seen.begun
    await until(lambda: seen.begun > before)


Start = Callable[[], Awaitable[Site]]


@pytest.fixture
async def site(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Site]:
    async with (
        SharedBox("abc", room=2, lasts_s=0.1) as box,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as web,
    ):
        replicas: list[Replica] = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "experts.yaml").write_text(composition(box.url, "abc", room=2))
            replicas.append(Replica(folder, free_port()))
        await asyncio.gather(*(one.start(redis_server.url) for one in replicas))
        there = Site(box, replicas, web)
        try:
            await asyncio.gather(*(there.ask(one, "a", Seen()) for one in replicas))
            yield there
        finally:
            for one in replicas:
                await one.end()


async def test_when_the_owner_is_killed_the_other_answers_all_and_takes_over(site: Site) -> None:
    victim, other = await site.owner()
    lost, kept = Seen(), Seen()
    stop_lost, stop_kept = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
        tasks.create_task(site.load(victim, lost, stop_lost))
        tasks.create_task(site.load(other, kept, stop_kept))
        await at_work(lost)

        stop_lost.set()
        victim.send(signal.SIGKILL)
        async with asyncio.timeout(5 * LEASE_S):  # it runs out, and is asked for
            while not (await site.listed(other))[0]["owns"]:
                await asyncio.sleep(0.05)
        before = kept.good
        await until(lambda: kept.good > before + 10)
        stop_kept.set()

    assert lost.cut > 0  # streams in flight, and none of them looked whole
    assert not lost.bad
    assert (kept.bad, kept.cut) == ([], 0)
    assert max(site.box.asked.values()) == 1
    assert not site.box.wrongs


async def test_when_another_replica_is_killed_its_slots_come_back(site: Site) -> None:
    owner, victim = await site.owner()
    lost, kept = Seen(), Seen()
    stop_lost, stop_kept = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
        tasks.create_task(site.load(victim, lost, stop_lost))
        tasks.create_task(site.load(owner, kept, stop_kept))
        await at_work(lost)

        stop_lost.set()
        victim.send(signal.SIGKILL)
        before = kept.good
        await until(lambda: kept.good > before + 5)
        stop_kept.set()

    assert not lost.bad
    assert (kept.bad, kept.cut) == ([], 0)
    assert max(site.box.asked.values()) == 1
    async with site.web.get(f"{owner.url}/v1/scheduling") as answer:
        rows = (await answer.json())["pools"][0]["experts"]
    assert [row["running"] + row["waiting"] for row in rows] == [0, 0, 0]


async def test_an_owner_that_was_stopped_finds_that_it_is_none_any_more(site: Site) -> None:
    stale, other = await site.owner()
    kept, late = Seen(), Seen()
    stop = asyncio.Event()
    async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(site.ask(stale, "c", late)) for _ in range(3)]
        tasks.create_task(site.load(other, kept, stop))
        stale.send(signal.SIGSTOP)
        while not (await site.listed(other))[0]["owns"]:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)

        stale.send(signal.SIGCONT)
        await asyncio.gather(*waiting)
        await asyncio.sleep(1.0)
        stop.set()

    assert not (await site.listed(stale))[0]["owns"]
    assert (late.good, late.bad, late.cut) == (3, [], 0)
    assert (kept.bad, kept.cut) == ([], 0)
    assert max(site.box.asked.values()) == 1
    assert not site.box.wrongs
