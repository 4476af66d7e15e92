"""Panels whose members do not fit into memory together: slots are taken, and all given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve
from .plugins import install
from .test_batches import Desk, request
from .test_panels import HELLO, Scripted, ask, provenance, statuses, until
from .test_scheduling import Held

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install `Held` as the backend type `held`, and `Scripted` as the method `scripted`."""
    install(tmp_path, monkeypatch, {"coe.backends": Held, "coe.aggregators": Scripted})


@asynccontextmanager
async def served(
    serve: Serve, upstream: FakeUpstream, panel: str = "", model: str = "echo"
) -> AsyncIterator[tuple[Running, Held, openai.AsyncOpenAI]]:
    rows = "".join(f"  {name}: {{backend: box, model: {model}, memory: 1GiB}}\n" for name in "abc")
    text = (
        "version: 1\nbackends:\n"
        f"  box: {{type: held, url: {upstream.url}, memory: 1GiB, concurrency: 2}}\n"
        f"experts:\n{rows}default: a\n"
        f"aggregation: {{trio: {{method: scripted, experts: [a, b, c]{panel}}}}}\n"
        "models: {coe/trio: {aggregate: trio}}\n"
    )
    async with (
        serve(text) as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="none", max_retries=0) as sdk,
    ):
        backend = running.gateway.backends["box"]
        assert isinstance(backend, Held)
        yield running, backend, sdk


def busy(running: Running) -> int:
    """Return how many calls wait or run."""
    views = running.live.current.gateway.slots["box"].views()
    return sum(view.interactive + view.bulk + view.running for view in views)


async def test_two_panels_at_once_swap_no_more_than_they_must(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream, ", how: write") as (running, backend, sdk):
        answers = await asyncio.gather(ask(sdk), ask(sdk))

        for answer in answers:
            assert [status for *_, status in statuses(answer)] == ["used", "used", "used", "answer"]
        loads = [move for move in backend.moves if move[0] == "+"]
        assert len(loads) <= 5
        assert busy(running) == 0


async def test_in_a_batch_each_member_is_loaded_once_and_then_the_writer(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with (
        served(serve, upstream, ", how: write") as (running, backend, _),
        Desk(running) as desk,
    ):
        lines = [request(number, f"question {number}", "coe/trio") for number in range(12)]
        done = await desk.end(await desk.begin(lines))

        assert done.request_counts is not None
        assert done.request_counts.completed == 12
        assert [name for sign, name in backend.moves if sign == "+"] == ["a", "b", "c", "a"]
        assert upstream.received == 48
        assert busy(running) == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_gives_every_slot_back(
    serve: Serve, upstream: FakeUpstream, *, stream: bool
) -> None:
    async with served(serve, upstream, model="hang") as (running, _, sdk):
        asking = asyncio.create_task(ask(sdk, stream=stream))
        await upstream.arrived()
        asking.cancel()

        await asyncio.wait_for(upstream.client_gone(), 1)
        await until(lambda: busy(running) == 0)


async def test_who_waits_for_memory_past_the_deadline_is_late(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream, ", deadline: 200ms") as (running, backend, sdk):
        await sdk.chat.completions.create(model="a", messages=HELLO)
        backend.gate.clear()
        try:
            answer = await asyncio.wait_for(ask(sdk), 5)
        finally:
            backend.gate.set()

        assert [status for *_, status in statuses(answer)] == ["answer", "late", "late"]
        await until(lambda: busy(running) == 0)


async def test_a_stream_says_what_it_waits_for_and_then_who_answers(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream) as (running, backend, sdk):
        backend.gate.clear()
        response = await running.chat("coe/trio", stream=True)
        try:
            assert await response.content.readline() == b": a is being loaded\n"
        finally:
            backend.gate.set()
        text = await response.text()

        assert ": x-coe-panel: trio\n" in text
        assert ": x-coe-calls: 3\n" in text
        assert text.endswith("data: [DONE]\n\n")
        chunks: list[Any] = [
            chunk
            async for chunk in await sdk.chat.completions.create(
                model="coe/trio", messages=HELLO, stream=True
            )
        ]
        assert provenance(chunks[-1])["panel"] == "trio"
