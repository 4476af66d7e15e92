"""Arms are dealt to real requests, kept, told and logged."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coe.composition import load
from coe.errors import ConfigError
from coe.stores.decisions import FILE, DecisionStore
from coe.testing.upstream import FakeUpstream
from coe.types import Query

from .conftest import Running, Serve

pytestmark = pytest.mark.anyio

BASE = """
version: 1
backends: {{up: "{url}"}}
experts: {{good: {{backend: up, model: ok}}, other: {{backend: up, model: ok}}}}
categories:
  code: {{keywords: [python], experts: [good, other]}}
  prose: {{keywords: [poem], experts: [good]}}
default: good
"""
SPLIT = """
experiments:
  swap:
    status: running
    unit: user
    arms:
      control: 50%
      swapped: {share: 50%, set: {routing.routes.code: [other, good]}}
"""


async def asked(running: Running, user: str, text: str = "python", **fields: Any) -> Any:
    response = await running.chat(text=text, user=user, **fields)
    assert response.status == 200
    await response.read()
    return response


def arm_of(response: Any) -> str:
    return str(response.headers.get("x-coe-experiment", "")).removeprefix("swap:")


async def test_an_arm_is_kept_and_serves_what_it_says(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = BASE.format(url=upstream.url) + SPLIT
    async with serve(file) as running:
        arms: Counter[str] = Counter()
        first = {}
        for user in map(str, range(60)):
            response = await asked(running, user)
            arm = first[user] = arm_of(response)
            arms[arm] += 1
            expected = "other" if arm == "swapped" else "good"
            assert response.headers["x-coe-expert"] == expected
        again = {user: arm_of(await asked(running, user)) for user in list(first)[:20]}
        assert again == {user: first[user] for user in again}
        assert set(arms) == {"control", "swapped"}
        assert 15 <= arms["swapped"] <= 45  # 60 fair coins: outside once in 10,000
        # another category is in the experiment too, though its arms do not differ there
        assert arm_of(await asked(running, "7", text="a poem")) == first["7"]
    async with serve(file) as running:  # a restart deals the same
        assert arm_of(await asked(running, "7")) == first["7"]
    store = DecisionStore.open(tmp_path / ".coe" / FILE)
    logged = Counter(record.arms["swap"] for record in store.records(experiment="swap"))
    composition = load(tmp_path / "experts.yaml")
    by_arm = {record.arms["swap"]: record.composition for record in store.records()}
    store.close()
    assert sum(logged.values()) == 60 + 20 + 2
    (variant,) = composition.variants.values()
    assert by_arm == {"control": composition.fingerprint, "swapped": variant.fingerprint}


async def test_replicas_name_a_user_alike_in_their_logs(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    units = []
    for state, secret in (("a", "s" * 32), ("b", "s" * 32), ("c", "")):
        file = BASE.format(url=upstream.url) + SPLIT
        folder = tmp_path / state
        async with serve(file, state_dir=str(folder), replica_secret=secret) as running:
            await asked(running, "7")
        with DecisionStore.open(folder / FILE) as store:
            (record,) = store.records()
        units.append(record.detail["units"]["swap"])

    assert units[0] == units[1] != units[2]


async def test_who_takes_no_part(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(BASE.format(url=upstream.url) + SPLIT) as running:
        named = await asked(running, "7", model="other")
        assert arm_of(named) == ""
        assert named.headers["x-coe-expert"] == "other"
        nobody = await running.chat(text="python")
        assert "x-coe-experiment" not in nobody.headers
        body = {"model": "coe/auto", "messages": [{"role": "user", "content": "python"}]}
        for user in "123456789":
            off = await running.request(
                "POST",
                f"{running.url}/chat/completions",
                json={**body, "user": user},
                headers={"x-coe-experiment": "off"},
            )
            assert off.headers["x-coe-expert"] == "good"
            assert "x-coe-experiment" not in off.headers


async def test_an_audience_of_a_category(serve: Serve, upstream: FakeUpstream) -> None:
    split = SPLIT.replace("unit: user", "unit: user\n    audience: {categories: [code]}")
    async with serve(BASE.format(url=upstream.url) + split) as running:
        assert arm_of(await asked(running, "7")) in {"control", "swapped"}
        assert arm_of(await asked(running, "7", text="a poem")) == ""


async def test_a_conversation_stays_in_its_arm(serve: Serve, upstream: FakeUpstream) -> None:
    split = SPLIT.replace("unit: user", "unit: session")
    async with serve(BASE.format(url=upstream.url) + split) as running:
        arms = set()
        for opening in range(12):
            messages = [{"role": "user", "content": f"python {opening}"}]
            seen = set()
            for turn in range(3):
                response = await running.request(
                    "POST",
                    f"{running.url}/chat/completions",
                    json={"model": "coe/auto", "messages": messages},
                )
                seen.add(arm_of(response))
                messages += [
                    {"role": "assistant", "content": "yes"},
                    {"role": "user", "content": f"and {turn}?"},
                ]
            assert len(seen) == 1
            arms |= seen
        assert arms == {"control", "swapped"}


async def test_failures_are_logged_with_their_arm(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = BASE.format(url=upstream.url).replace(
        "other: {backend: up, model: ok}", "other: {backend: up, model: error-400-context}"
    )
    split = SPLIT.replace("[other, good]", "[other]")
    async with serve(file + split) as running:
        for user in map(str, range(12)):
            await (await running.chat(text="python", user=user)).read()
    store = DecisionStore.open(tmp_path / ".coe" / FILE)
    experts = {record.arms["swap"]: record.detail.get("attempts") for record in store.records()}
    store.close()
    assert experts["control"] is None
    assert experts["swapped"][0]["expert"] == "other"


async def test_a_reload_ends_and_begins_experiments(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    base = BASE.format(url=upstream.url)
    path = tmp_path / "experts.yaml"
    async with serve(base) as running:
        assert arm_of(await asked(running, "7")) == ""
        await asyncio.to_thread(path.write_text, base + SPLIT)
        await running.live.edit()
        arm = arm_of(await asked(running, "7"))
        assert arm in {"control", "swapped"}
        await asyncio.to_thread(path.write_text, base + SPLIT.replace("running", "paused"))
        await running.live.edit()
        assert arm_of(await asked(running, "7")) == ""
        await asyncio.to_thread(path.write_text, base + SPLIT)
        await running.live.edit()
        assert arm_of(await asked(running, "7")) == arm


async def test_a_reload_leaves_an_arm_its_router_until_its_requests_have_ended(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = BASE.format(url=upstream.url) + SPLIT.replace(
        "{routing.routes.code: [other, good]}", "{routing.threshold: 0.4}"
    )
    async with serve(file) as running:
        parts = {"router", "router of swap:swapped"}
        async with asyncio.timeout(10):
            while set(running.live.readiness.values()) != {"ready"}:
                await asyncio.sleep(0.02)
        assert running.live.readiness.keys() == parts
        with running.live.current as old:
            ((arms, variant),) = old.variants
            assert arms == (("swap", "swapped"),)
            own, its = old.classifier, variant.classifier
            assert own is not None
            assert its is not None
            assert its is not own
            paused = file.replace("running", "paused")
            await asyncio.to_thread((tmp_path / "experts.yaml").write_text, paused)
            await running.live.edit()
            assert running.live.readiness.keys() == {"router"}
            assert (await its.classify("python, under way")).category == "code"
        async with asyncio.timeout(10):
            while not its._threads._shutdown:
                await asyncio.sleep(0.02)
        assert running.live.current.gateway.classifier is own
        assert (await own.classify("python, afterwards")).category == "code"


async def test_an_arm_that_a_plugin_refuses_is_named(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    panel = "aggregation: {jury: {method: vote, experts: [good, other]}}\n"
    base = BASE.format(url=upstream.url) + panel
    odd = SPLIT.replace(
        "{routing.routes.code: [other, good]}", "{aggregation.jury.options: {nonsense: 1}}"
    )
    words = r"^experiments\.swap\.arms\.swapped: with this arm, aggregation\.jury\.options: "
    async with serve(base) as running:
        await asyncio.to_thread((tmp_path / "experts.yaml").write_text, base + odd)
        with pytest.raises(ConfigError, match=words):
            await running.live.edit()
        assert arm_of(await asked(running, "7")) == ""  # it is served as before


async def test_a_user_who_leaves_before_the_first_word_stays_in_the_arm(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = BASE.format(url=upstream.url).replace("model: ok", "model: hang") + SPLIT
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": "python"}]}
    async with serve(file) as running:
        for fields in ({"user": "7"}, {"user": "7", "model": "good"}, {}):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await running.request(
                        "POST", f"{running.url}/chat/completions", json={**body, **fields}
                    )
        async with asyncio.timeout(10):
            while running.metric("coe_decisions_logged_total") < 3:
                await asyncio.sleep(0.05)
        assert running.gateway.trials is not None
        query = Query(id="q", model="coe/auto", body={**body, "user": "7"})
        dealt = running.gateway.trials.dealt(query)
    store = DecisionStore.open(tmp_path / ".coe" / FILE)
    found = [(record.status, dict(record.arms)) for record in store.records()]
    store.close()

    assert found == [(499, dealt), (499, {}), (499, {})]
    assert dealt
