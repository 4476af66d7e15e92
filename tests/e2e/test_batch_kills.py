"""A batch survives `kill -9` of its gateway: nothing finished is lost, nothing is asked again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from coe.testing.upstream import FakeUpstream

pytestmark = pytest.mark.anyio

COE = Path(sys.executable).with_name("coe")
FILE = """
version: 1
backends: {{up: "{url}"}}
experts:
  odd: {{backend: up, model: odd}}
  even: {{backend: up, model: even}}
routers: {{default: {{type: keyword}}}}
categories:
  odd: {{keywords: [odd], experts: [odd]}}
  even: {{keywords: [even], experts: [even]}}
default: even
"""
PANELS = """
version: 1
backends: {{up: "{url}"}}
experts:
  a: {{backend: up, model: a}}
  b: {{backend: up, model: b}}
  c: {{backend: up, model: c}}
  writer: {{backend: up, model: writer}}
aggregation:
  all: {{method: synthesize, experts: [a, b, c], writer: writer}}
routers: {{default: {{type: keyword}}}}
categories:
  odd: {{keywords: [odd], experts: [a], aggregate: all}}
  even: {{keywords: [even], experts: [b]}}
default: b
"""
LINES = 240
CONCURRENCY = 8


class Gateway:
    """A `coe serve` that is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return once it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *(str(COE), "serve", "--port", "0"),
            cwd=self.folder,
            env={
                **os.environ,
                "COE_BATCH_LEASE_S": "0.5",
                "COE_BATCH_CONCURRENCY": str(CONCURRENCY),
                "COE_LOG_LEVEL": "error",
            },
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if b"http://" in line:
                self.url = re.findall(r"http://\S+(?=/v1)", line.decode())[0]
                return
        raise AssertionError("it has ended")

    async def kill(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        # What is left in the pipe has to be read: the transport stays open otherwise.
        await self._process.communicate()

    @property
    def state(self) -> Path:
        return self.folder / ".coe" / "batches.sqlite"

    def holds(self) -> bool:
        """Whether this process has the batch."""
        assert self._process is not None
        with closing(sqlite3.connect(self.state)) as database:
            (owner,) = database.execute("SELECT owner FROM batches").fetchone()
        return f":{self._process.pid}:" in owner

    async def begin(self, lines: int) -> Any:
        """Begin a batch whose lines alternate between two experts."""
        content = b""
        for number in range(lines):
            text = f"line-{number} {'odd' if number % 2 else 'even'}"
            body = {"model": "coe/auto", "messages": [{"role": "user", "content": text}]}
            row = {"custom_id": f"line-{number}", "url": "/v1/chat/completions", "body": body}
            content += json.dumps(row).encode() + b"\n"
        form: dict[str, Any] = {
            "files": {"file": ("in.jsonl", content)},
            "data": {"purpose": "batch"},
        }
        file = await self.call("POST", "/v1/files", **form)
        wish = {
            "input_file_id": file["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        return await self.call("POST", "/v1/batches", json=wish)

    async def end(self, batch: Any) -> tuple[Any, list[Any]]:
        """Return the batch once it has ended, and its output."""
        while batch["status"] not in {"completed", "failed"}:
            await asyncio.sleep(0.05)
            batch = await self.call("GET", f"/v1/batches/{batch['id']}")
        rows = (await self.text(batch["output_file_id"])).splitlines()
        return batch, [json.loads(row) for row in rows]

    async def call(self, method: str, path: str, **options: Any) -> Any:
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
            response = await client.request(method, f"{self.url}{path}", **options)
        assert response.status_code == 200, response.text
        return response.json() if path.endswith(("files", "batches")) or "batch_" in path else None

    async def text(self, file_id: str) -> str:
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
            response = await client.get(f"{self.url}/v1/files/{file_id}/content")
        return response.text


def recorded(gateway: Gateway) -> set[str]:
    """The lines whose result stands in the database, as another process sees it."""
    with closing(sqlite3.connect(gateway.state)) as database:
        return {row[0] for row in database.execute("SELECT custom_id FROM lines WHERE done = 1")}


def said(gateway: Gateway) -> set[tuple[str, str]]:
    """The calls of panels whose answers stand there: of which line, by which expert."""
    query = (
        "SELECT custom_id, calls.expert FROM calls JOIN lines USING (batch, number) "
        "WHERE calls.done = 1"
    )
    with closing(sqlite3.connect(gateway.state)) as database:
        return set(database.execute(query))


async def chaos(
    gateway: Gateway,
    upstream: FakeUpstream,
    kills: int,
    seed: int,
    *,
    file: str = FILE,
    lines: int = LINES,
    calls: int = LINES,
) -> list[Any]:
    """Kill a gateway again and again; return the rows of the output.

    Args:
        gateway: that is killed.
        upstream: that it asks.
        kills: how often.
        seed: of the moments.
        file: the composition.
        lines: of the batch.
        calls: that these are answered by.
    """
    chance, delays = random.Random(seed), random.Random(seed)  # noqa: S311 - of kills, of answers
    asked: Counter[tuple[str, str]] = Counter()

    def says(body: Any) -> str:
        line = body["messages"][-1]["content"].split()[0]
        asked[line, body["model"]] += 1
        return f"{body['model']}: {line}"

    upstream.says = says
    upstream.latency = lambda: delays.uniform(0.005, 0.05)
    (gateway.folder / "experts.yaml").write_text(file.format(url=upstream.url))
    await gateway.start()
    batch = await gateway.begin(lines)
    finished: dict[tuple[str, str], int] = {}
    for kill in range(kills):
        if kill:  # the first one falls into the validation or the routing
            await upstream.arrived(
                min(calls, upstream.received + chance.randint(1, 2 * calls // kills))
            )
        await asyncio.sleep(chance.uniform(0, 0.03))
        await gateway.kill()
        done = recorded(gateway)
        for call in {call for call in asked if call[0] in done} | said(gateway):
            finished.setdefault(call, asked[call])
        await gateway.start()

    batch, rows = await gateway.end(batch)
    await gateway.kill()

    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": lines, "completed": lines, "failed": 0}
    assert [row["custom_id"] for row in rows] == [f"line-{number}" for number in range(lines)]
    for row in rows:
        text = row["response"]["body"]["choices"][0]["message"]["content"]
        assert text.split()[1] == row["custom_id"]
    assert len(asked) == calls
    assert len(finished) > calls // 4  # the kills did fall into the work
    again = {call: asked[call] for call, then in finished.items() if asked[call] != then}
    assert again == {}
    assert sum(asked.values()) <= calls + kills * CONCURRENCY
    return rows


@pytest.fixture
async def gateway(tmp_path: Path) -> Any:
    gateway = Gateway(tmp_path)
    yield gateway
    await gateway.kill()


@pytest.fixture
async def upstream() -> Any:
    async with FakeUpstream() as fake:
        yield fake


async def test_a_batch_survives_kills(gateway: Gateway, upstream: FakeUpstream) -> None:
    await chaos(gateway, upstream, kills=3, seed=1)


async def test_panels_in_a_batch_survive_kills(gateway: Gateway, upstream: FakeUpstream) -> None:
    rows = await chaos(gateway, upstream, kills=4, seed=2, file=PANELS, lines=60, calls=30 + 30 * 4)

    for number, row in enumerate(rows):
        body = row["response"]["body"]
        assert body["model"] == ("writer" if number % 2 else "b")
        if number % 2:
            calls = body["coe"]["provenance"]["calls"]
            assert [call["expert"] for call in calls] == ["a", "b", "c", "writer"]
            assert [call["status"] for call in calls] == ["used"] * 3 + ["answer"]


async def test_another_gateway_goes_on_when_one_is_killed(
    gateway: Gateway, upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.latency = lambda: 0.03
    (tmp_path / "experts.yaml").write_text(FILE.format(url=upstream.url))
    other = Gateway(tmp_path)
    try:
        await asyncio.gather(gateway.start(), other.start())
        batch = await gateway.begin(100)
        await upstream.arrived(30)
        holder, heir = (gateway, other) if gateway.holds() else (other, gateway)
        await holder.kill()
        done = recorded(gateway)
        asked = upstream.received
        batch, rows = await heir.end(batch)
    finally:
        await other.kill()

    assert batch["request_counts"] == {"total": 100, "completed": 100, "failed": 0}
    assert [row["custom_id"] for row in rows] == [f"line-{number}" for number in range(100)]
    assert 0 < len(done) < 100
    assert upstream.received == 100 + asked - len(done)  # only what was in flight is asked again
    assert asked - len(done) <= CONCURRENCY


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
async def test_a_batch_survives_many_kills(
    gateway: Gateway, upstream: FakeUpstream, seed: int
) -> None:
    await chaos(gateway, upstream, kills=15, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
async def test_panels_in_a_batch_survive_many_kills(
    gateway: Gateway, upstream: FakeUpstream, seed: int
) -> None:
    await chaos(gateway, upstream, kills=15, seed=seed, file=PANELS, lines=120, calls=60 + 60 * 4)
