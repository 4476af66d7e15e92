"""Lines one by one against a batch, and what a batch does to others: `python -m benches.batches`.

200 requests, interleaved over the nine embedded experts, three times:

1. on the embedded engine, which keeps every adapter in memory;
2. on a server that holds one model at a time and takes a while to load another one, first come
   first served, as model swappers do (simulated: it waits, it does not compute);
3. on the embedded engine while somebody else asks one question after the other.

Each is done by a client that sends the lines in the order of the file, eight at a time, and as a
batch. Writes build/bench/batches.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from benches.report import console, table
from coe.testing.serving import Received
from coe.testing.steps import Step, Wait
from coe.testing.upstream import FakeUpstream

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "bench" / "batches.json"
AT_ONCE = 8
LOAD_S, SERVICE_S = 0.2, 0.05


class OneModel(FakeUpstream):
    """A server that has one model in memory; a request for another one waits for those in flight.

    Attributes:
        loads: models brought into memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0
        self._resident = ""
        self._loaded_at = 0.0
        self._idle_at = 0.0

    def answer(self, request: Received) -> list[Step]:
        """See `FakeUpstream`."""
        now = time.monotonic()
        model = request.json["model"]
        if model != self._resident:
            self._loaded_at = max(now, self._idle_at) + LOAD_S
            self._resident = model
            self.loads += 1
        ends = max(now, self._loaded_at) + SERVICE_S
        self._idle_at = max(self._idle_at, ends)
        return [Wait(ends - now), *super().answer(request)]


class Gateway:
    """A `coe serve` and a client of it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def ask(self, body: dict[str, Any]) -> tuple[str, float]:
        """Return who answered a request, and after how many seconds."""
        started = time.perf_counter()
        async with self._session.post(f"{self.url}/v1/chat/completions", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
        return answer["model"], time.perf_counter() - started

    async def batch(self, bodies: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch of requests that has ended."""
        form = aiohttp.FormData({"purpose": "batch"})
        rows = (
            {"custom_id": str(place), "url": "/v1/chat/completions", "body": body}
            for place, body in enumerate(bodies)
        )
        form.add_field("file", "".join(json.dumps(row) + "\n" for row in rows), filename="in")
        async with self._session.post(f"{self.url}/v1/files", data=form) as response:
            file = await response.json()
        wish = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions"}
        async with self._session.post(f"{self.url}/v1/batches", json=wish) as response:
            batch = await response.json()
        while batch["status"] not in {"completed", "failed"}:
            await asyncio.sleep(0.05)
            async with self._session.get(f"{self.url}/v1/batches/{batch['id']}") as response:
                batch = await response.json()
        assert batch["request_counts"]["completed"] == len(bodies), batch
        return dict(batch)

    async def cancel(self) -> None:
        """Cancel the batch that runs, and return once it has ended."""
        async with self._session.get(f"{self.url}/v1/batches") as response:
            batch = (await response.json())["data"][0]
        url = f"{self.url}/v1/batches/{batch['id']}"
        async with self._session.post(f"{url}/cancel"):
            pass
        while batch["status"] != "cancelled":
            await asyncio.sleep(0.05)
            async with self._session.get(url) as response:
                batch = await response.json()

    async def one_by_one(self, bodies: Sequence[dict[str, Any]]) -> list[str]:
        """Send requests in their order, some at a time; return who answered each."""
        left, experts = iter(enumerate(bodies)), [""] * len(bodies)

        async def send() -> None:
            for place, body in left:
                experts[place], _ = await self.ask(body)

        await asyncio.gather(*(send() for _ in range(AT_ONCE)))
        return experts

    async def ready(self) -> None:
        """Return once everything is loaded."""
        while True:
            async with self._session.get(f"{self.url}/health/ready") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.2)


@asynccontextmanager
async def serving(composition: Path) -> AsyncIterator[Gateway]:
    """Serve a composition with a state folder of its own."""
    with tempfile.TemporaryDirectory() as state:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "coe", "serve", "--port", "0", "--config", str(composition)),
            env={**os.environ, "COE_STATE_DIR": state, "COE_LOG_LEVEL": "error"},
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        found = None
        while found is None:
            line = (await process.stderr.readline()).decode()
            assert line, "the gateway has ended"
            found = re.search(r"http://\S+(?=/v1)", line)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            gateway = Gateway(found[0], session)
            await gateway.ready()
            yield gateway
        process.terminate()
        await process.communicate()


def interleaved(count: int) -> list[dict[str, Any]]:
    """Return requests whose experts alternate, from the held-out prompts of each."""
    files = sorted((ROOT / "experts" / "heldout").glob("*.jsonl"))
    prompts = [
        [json.loads(line)["prompt"] for line in file.read_text("utf-8").splitlines()]
        for file in files
    ]
    return [
        {
            "model": "coe/auto",
            "messages": [
                {"role": "user", "content": prompts[n % len(files)][n // len(files)]},
            ],
        }
        for n in range(count)
    ]


def changes(experts: Sequence[str]) -> int:
    """Return how often another expert is next, the first one included."""
    return 1 + sum(a != b for a, b in pairwise(experts))


async def timed(work: Awaitable[Any]) -> tuple[Any, float]:
    """Return what a piece of work gives, and the seconds that it took."""
    started = time.perf_counter()
    return await work, time.perf_counter() - started


def one_model(url: str) -> Path:
    """Return a composition like the repository's, with its experts on a server."""
    text = (ROOT / "experts.yaml").read_text("utf-8")
    text = text.replace("type: local ", f"{{type: openai, url: '{url}'}} #")
    text = re.sub(r"  embedded:\n    \{", "  embedded: {", text)
    experts = re.compile(r"base: tiny\n    adapter: experts/adapters/(\w+)")
    text = experts.sub(r"backend: embedded\n    model: m-\1", text)
    file = OUT.with_name("one_model.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.replace("experts/", f"{ROOT}/experts/"), "utf-8")
    return file


async def embedded(bodies: list[dict[str, Any]]) -> dict[str, float]:
    """Run the lines on the embedded engine, both ways, each with a gateway that knows none."""
    async with serving(ROOT / "experts.yaml") as gateway:
        experts, alone_s = await timed(gateway.one_by_one(bodies))
    async with serving(ROOT / "experts.yaml") as gateway:
        batch, batch_s = await timed(gateway.batch(bodies))
    return {
        "embedded_file_order_s": alone_s,
        "embedded_batch_s": batch_s,
        "embedded_file_order_switches": changes(experts),
        "embedded_batch_switches": len(batch["coe"]["experts"]),
    }


async def swapped(bodies: list[dict[str, Any]]) -> dict[str, float]:
    """Run the lines on the server with one model in memory, both ways."""
    found: dict[str, float] = {}
    for way in ("file_order", "batch"):
        async with OneModel() as server, serving(one_model(server.url)) as gateway:
            work = gateway.batch if way == "batch" else gateway.one_by_one
            _, took_s = await timed(work(bodies))
        found[f"swapping_{way}_s"] = took_s
        found[f"swapping_{way}_loads"] = server.loads
    return found


async def beside(bodies: list[dict[str, Any]], questions: int) -> dict[str, float]:
    """Ask one question after the other: alone, beside a batch, beside a client that sends it."""
    found: dict[str, float] = {}
    many = bodies * 4
    async with serving(ROOT / "experts.yaml") as gateway:
        await gateway.one_by_one(bodies[:18])
        works: dict[str, Callable[[], Awaitable[Any]] | None] = {
            "idle": None,
            "beside_batch": lambda: gateway.batch(many),
            "beside_client": lambda: gateway.one_by_one(many),
        }
        for name, work in works.items():
            task = None if work is None else asyncio.ensure_future(work())
            await asyncio.sleep(1.5)
            took_s = []
            for place in range(questions):
                took_s.append((await gateway.ask(bodies[place]))[1])
                await asyncio.sleep(0.05)
            assert task is None or not task.done(), "the work was over too soon"
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            quantiles = statistics.quantiles(took_s, n=20)
            found[f"interactive_{name}_p50_ms"] = quantiles[9] * 1000
            found[f"interactive_{name}_p95_ms"] = quantiles[18] * 1000
            if name == "beside_batch":
                await gateway.cancel()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benches.batches", description=__doc__)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--questions", type=int, default=60)
    options = parser.parse_args(arguments)
    bodies = interleaved(options.lines)

    async def measure() -> dict[str, float]:
        return {
            **await embedded(bodies),
            **await swapped(bodies),
            **await beside(bodies, options.questions),
        }

    found = asyncio.run(measure())
    out = console()
    out.print(
        table(
            f"{options.lines} lines over nine experts",
            ("", "loads or switches", "seconds"),
            [
                (
                    f"{place}, {way.replace('_', ' ')}",
                    f"{found[f'{key}_{way}_{counted}']:.0f}",
                    f"{found[f'{key}_{way}_s']:.1f}",
                )
                for key, place, counted in (
                    ("embedded", "embedded engine", "switches"),
                    ("swapping", f"one model at a time, {LOAD_S:g} s a load", "loads"),
                )
                for way in ("file_order", "batch")
            ],
        )
    )
    out.print(
        table(
            "one question after the other, embedded engine",
            ("", "p50 ms", "p95 ms"),
            [
                (
                    name.replace("_", " "),
                    f"{found[f'interactive_{name}_p50_ms']:.0f}",
                    f"{found[f'interactive_{name}_p95_ms']:.0f}",
                )
                for name in ("idle", "beside_batch", "beside_client")
            ],
        )
    )
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
