"""Shadow experiments through a gateway on a real socket: unseen, bounded, judged in both orders."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from coe.stores.decisions import FILE, DecisionStore, Feedback, Record
from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve

pytestmark = pytest.mark.anyio

BASE = """
version: 1
backends: {{up: "{url}"}}
experts:
  good: {{backend: up, model: ok, cost: {{input: 1 USD/M, output: 1 USD/M}}}}
  other: {{backend: up, model: ok, description: x}}
  judge: {{backend: up, model: ok, cost: {{input: 1 USD/M, output: 1 USD/M}}}}
  broken: {{backend: up, model: error-503}}
categories:
  code: {{keywords: [python], experts: [good, other]}}
default: good
experiments:
  beside:
    status: running
    mode: shadow
    sample: 100%
    metrics: judge
    judge: {{expert: judge{money}}}
    arms: {{control: {{}}, swapped: {{set: {{routing.routes.code: [{arm}]}}}}}}
"""


def text(upstream: FakeUpstream, arm: str = "other", money: str = "") -> str:
    return BASE.format(url=upstream.url, arm=arm, money=money)


async def settled(running: Running) -> None:
    async with asyncio.timeout(10):
        while running.metric("coe_shadows_total") < 1:
            await asyncio.sleep(0.02)


def read(tmp_path: Path) -> tuple[dict[str, Record], list[Feedback]]:
    store = DecisionStore.open(tmp_path / ".coe" / FILE)
    found = {record.arms["beside"]: record for record in store.records(experiment="beside")}
    said = list(store.feedback())
    store.close()
    return found, said


async def test_arms_answer_beside_and_a_judge_compares(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with serve(text(upstream)) as running:
        response = await running.chat(text="python, please")
        body = await response.json()
        assert response.headers["x-coe-expert"] == "good"
        assert "x-coe-experiment" not in response.headers
        await settled(running)
        asked = [request.json for request in upstream.requests]
    found, said = read(tmp_path)

    assert body["model"] == "good"
    assert {arm: record.expert for arm, record in found.items()} == {
        "control": "good",
        "swapped": "other",
    }
    assert {record.endpoint for record in found.values()} == {"shadow"}
    # The two answers are the same word for word, so that nobody has to compare them.
    assert sorted((one.value, one.tags["agreed"]) for one in said) == [(0.5, "yes")] * 2
    assert {one.source for one in said} == {"judge"}
    assert len(asked) == 3  # the client's, and one for each arm


async def test_the_same_question_is_not_asked_twice(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with serve(text(upstream, arm="good, other")) as running:
        await running.chat(text="python, please")
        await settled(running)
        assert upstream.received == 2
    found, said = read(tmp_path)
    assert set(found) == {"control", "swapped"}
    assert [one.value for one in said] == [0.5, 0.5]


async def test_an_arm_that_fails_is_written_down_and_not_judged(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = text(upstream, arm="broken").replace("default: good", "default: broken")
    async with serve(file) as running:
        response = await running.chat(text="python, please")
        assert response.status == 200
        await settled(running)
    found, said = read(tmp_path)
    assert found["swapped"].status == 502
    assert found["control"].status == 200
    assert not said


async def test_a_day_has_its_money(serve: Serve, upstream: FakeUpstream, tmp_path: Path) -> None:
    money = ", max_cost_per_day: 0.0035 USD"  # about three requests' worth
    async with serve(text(upstream, money=money)) as running:
        for _ in range(6):
            await (await running.chat(text="python, please")).read()
        async with asyncio.timeout(10):
            while running.metric("coe_shadows_total") < 6:
                await asyncio.sleep(0.02)
        done = running.metric('coe_shadows_total{result="done"}')
        refused = running.metric('coe_shadows_total{result="money"}')
    assert 1 <= done <= 4
    assert done + refused == 6
    records = len(read(tmp_path)[0])
    assert records == 2
    async with serve(text(upstream, money=money)) as running:  # a restart has no new money
        await (await running.chat(text="python, please")).read()
        await settled(running)
        assert running.metric('coe_shadows_total{result="done"}') <= 1


async def test_who_is_left_out(serve: Serve, upstream: FakeUpstream) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    async with serve(text(upstream)) as running:
        await (await running.chat(model="good", text="python")).read()
        await (await running.chat(text="python", tools=tools)).read()
        off = await running.request(
            "POST",
            f"{running.url}/chat/completions",
            json={"model": "coe/auto", "messages": [{"role": "user", "content": "python"}]},
            headers={"x-coe-experiment": "off"},
        )
        await off.read()
        await (await running.chat(text="python, at last")).read()
        await settled(running)
        assert running.metric("coe_shadows_total") == 1
        assert upstream.received == 4 + 2


async def test_the_judge_is_asked_blind_and_in_both_orders(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = text(upstream).replace(
        "other: {backend: up, model: ok,", "other: {backend: up, model: chunks-3,"
    )
    async with serve(file) as running:
        await (await running.chat(text="python, please")).read()
        await settled(running)
        questions = [
            request.json
            for request in upstream.requests
            if request.json["messages"][0]["role"] == "system"
        ]
    _, said = read(tmp_path)
    assert len(questions) == 2
    shown = [json.dumps(question) for question in questions]
    assert not any(name in text for text in shown for name in ('"good"', '"other"', "control"))
    first, second = (question["messages"][1]["content"] for question in questions)
    assert first != second
    assert sorted(first.split("\n")) == sorted(second.split("\n"))
    assert [one.value for one in said] == [0.5, 0.5]  # an echo is no verdict
