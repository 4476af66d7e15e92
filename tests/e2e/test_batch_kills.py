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


async def chaos(gateway: Gateway, upstream: FakeUpstream, kills: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    asked: Counter[str] = Counter()

    def count(body: Any) -> None:
        asked[body["messages"][0]["content"].split()[0]] += 1

    upstream.says = count  # returns None: the prompt is echoed
    upstream.latency = lambda: chance.uniform(0.005, 0.05)
    (gateway.folder / "experts.yaml").write_text(FILE.format(url=upstream.url))
    await gateway.start()
    batch = await gateway.begin(LINES)
    finished: dict[str, int] = {}
    for kill in range(kills):
        if kill:  # the first one falls into the validation or the routing
            await upstream.arrived(
                min(LINES, upstream.received + chance.randint(1, 2 * LINES // kills))
            )
        await asyncio.sleep(chance.uniform(0, 0.03))
        await gateway.kill()
        for name in recorded(gateway):
            finished.setdefault(name, asked[name])
        await gateway.start()

    batch, rows = await gateway.end(batch)
    await gateway.kill()

    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    assert [row["custom_id"] for row in rows] == [f"line-{number}" for number in range(LINES)]
    for row in rows:
        said = row["response"]["body"]["choices"][0]["message"]["content"]
        assert said.split()[1] == row["custom_id"]
    assert len(finished) > LINES // 4  # the kills did fall into the work
    again = {name: asked[name] for name, then in finished.items() if asked[name] != then}
    assert again == {}
    assert sum(asked.values()) <= LINES + kills * CONCURRENCY


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
