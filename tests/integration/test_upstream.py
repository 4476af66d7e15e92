"""The fake upstream is a test tool that others build on: what it promises is tested too."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from itertools import islice
from statistics import median

import aiohttp
import pytest

from coe.testing import behaviours
from coe.testing.upstream import FakeUpstream, fixed, lognormal

pytestmark = pytest.mark.anyio

BODY = {"model": "ok", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}


def documented() -> list[str]:
    """Return the behaviours that the module's docstring names."""
    lines = (behaviours.__doc__ or "").splitlines()
    table = [line.strip().partition("  ")[0] for line in lines if line.startswith("    ")]
    return [name for names in table for name in names.split(", ") if name != "ok"]


@pytest.mark.parametrize("name", ["tools", "hang", "reset", "usage-is-no-behaviour"])
async def test_a_name_that_is_no_behaviour_is_an_ordinary_model(name: str) -> None:
    assert behaviours.is_special(name) == (name != "usage-is-no-behaviour")


async def test_requests_are_recorded_without_their_key() -> None:
    async with FakeUpstream() as upstream, aiohttp.ClientSession() as session:
        headers = {"authorization": "Bearer sk-1", "x-a": "1"}
        await session.post(f"{upstream.url}/chat/completions", json=BODY, headers=headers)

        request = upstream.requests[-1]

        assert request.has_key("sk-1")
        assert not request.has_key("sk-2")
        assert "sk-1" not in repr(request) + str(request.headers)
        assert request.headers["x-a"] == "1"
        assert request.json == BODY


async def test_a_plan_goes_before_the_models_name() -> None:
    async with FakeUpstream() as upstream, aiohttp.ClientSession() as session:
        upstream.plan(["error-503", "error-429-retry-after-2"])

        url = f"{upstream.url}/chat/completions"
        answers = [await session.post(url, json=BODY) for _ in range(3)]

        assert [answer.status for answer in answers] == [503, 429, 200]
        assert answers[1].headers["retry-after"] == "2"
        assert (await answers[2].json())["choices"][0]["message"]["content"] == "echo: hi"


async def test_what_is_not_served_is_refused() -> None:
    async with FakeUpstream() as upstream, aiohttp.ClientSession() as session:
        missing = await session.post(f"{upstream.url}/nothing", json=BODY)
        broken = await session.post(f"{upstream.url}/chat/completions", data=b"nonsense")
        listed = await session.post(f"{upstream.url}/chat/completions", json=[1])

        assert (missing.status, broken.status, listed.status) == (404, 400, 400)


async def test_a_client_that_goes_away_is_noticed() -> None:
    async with FakeUpstream() as upstream:
        async with aiohttp.ClientSession() as session:
            asking = asyncio.ensure_future(
                session.post(f"{upstream.url}/chat/completions", json={**BODY, "model": "hang"})
            )
            await upstream.arrived()
            assert upstream.connections == 1
            asking.cancel()

            await upstream.client_gone()

        await upstream.disconnected()
        assert (upstream.aborted, upstream.connections, upstream.accepted) == (1, 0, 1)


async def test_a_restart_listens_on_the_same_port() -> None:
    upstream = FakeUpstream()
    async with upstream:
        first = upstream.url

    async with upstream, aiohttp.ClientSession() as session:
        answer = await session.get(f"{upstream.url}/models")

        assert upstream.url == first
        assert (await answer.json())["data"][0]["id"] == "ok"


async def test_a_latency_comes_before_the_answer() -> None:
    async with FakeUpstream(latency=fixed(0.05)) as upstream, aiohttp.ClientSession() as session:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await session.post(f"{upstream.url}/chat/completions", json=BODY)

        assert loop.time() - start >= 0.045


def test_a_latency_with_a_tail_has_the_median_and_the_tail_that_were_asked_for() -> None:
    draw = lognormal(0.02, 0.5, seed=1)
    drawn = sorted(islice(iter(draw, None), 4000))

    assert median(drawn) == pytest.approx(0.02, rel=0.1)
    assert drawn[3960] == pytest.approx(0.02 * math.exp(2.33 * 0.5), rel=0.2)
    assert lognormal(0.02, 0.5, seed=1)() == lognormal(0.02, 0.5, seed=1)()


async def test_it_runs_as_a_command() -> None:
    command = [sys.executable, "-m", "coe.testing.upstream", "--port", "0", "--model", "m"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = line.removeprefix("fake upstream on ").strip()
            async with aiohttp.ClientSession() as session:
                answer = await session.get(f"{url}/models")

                assert (await answer.json())["data"][0]["id"] == "m"
        finally:
            process.terminate()


@pytest.mark.parametrize("name", documented())
async def test_every_documented_behaviour_exists(name: str) -> None:
    assert behaviours.is_special(name), name


@pytest.mark.parametrize("model", ["ok", "slow-first-1ms", "spaced"])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_it_says_can_be_chosen(model: str, stream: bool) -> None:  # noqa: FBT001
    async with FakeUpstream() as upstream, aiohttp.ClientSession() as session:
        body = {**BODY, "model": model, "stream": stream}
        upstream.says = lambda asked: f"chosen:{asked['model']}"
        chosen = await (await session.post(f"{upstream.url}/chat/completions", json=body)).text()
        upstream.says = lambda _: None
        echoed = await (await session.post(f"{upstream.url}/chat/completions", json=body)).text()

    assert f"chosen:{model}" in chosen
    assert "echo:" in echoed
