"""Adapters that wait in host memory: a real gateway, real sockets, real weights."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytestmark = [
    pytest.mark.anyio,
    # peft 0.21 reads a property that transformers 5.23 has renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]


def composition(lab: Any, host: int, batching: str = "") -> str:
    """One adapter in memory at a time; host memory of so many KiB."""
    adapters = "".join(
        f"  {name}: {{base: plain, adapter: {lab.folder / name}, memory: 16KiB,"
        " load_time: {disk: 3s, host: 0.1ms}}\n"
        for name in lab.skills
    )
    return (
        "version: 1\nbackends:\n"
        f"  here: {{type: local, memory: 1MiB, host_memory: {host}KiB, max_loras: 1,"
        " concurrency: 2}\n"
        f"experts:\n  plain: {{backend: here, model: {lab.folder / 'base'}, memory: 512KiB}}\n"
        f"{adapters}default: plain\n{batching}"
    )


async def ask(gateway: Any, lab: Any, expert: str) -> tuple[str, str]:
    """Return what an expert says, and what the gateway says that it took to load it."""
    answer = await gateway.chat(expert, "the cat", max_tokens=24)
    body = await answer.json()
    assert answer.status == 200, body
    return lab.text(body), answer.headers["x-coe-swap"]


async def scheduling(gateway: Any) -> Any:
    answer = await gateway.request(
        "POST", f"{gateway.url}/route", json={"model": "red", "input": "hello"}
    )
    return (await answer.json())["scheduling"]


def sources(gateway: Any, expert: str) -> list[float]:
    """Return how often an expert was loaded from disk, and from host memory."""
    line = 'coe_expert_loads_total{{expert="{}",result="loaded",source="{}"}}'
    return [gateway.metric(line.format(expert, source)) for source in ("disk", "host")]


async def test_an_evicted_adapter_is_parked_and_comes_back_without_its_file(
    serve: Any, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(composition(lab, host=1024)) as gateway:
        before = (await scheduling(gateway))["experts"][1]
        for name in lab.skills:
            said, swap = await ask(gateway, lab, name)
            assert said == lab.oracle("base", name)
            assert float(swap) > 0
        there = await scheduling(gateway)
        from coe.backends.local import weights

        monkeypatch.delattr(weights, "_read_pairs")  # whoever reads an adapter now, fails
        for name in ("red", "green", "red"):
            said, swap = await ask(gateway, lab, name)
            assert said == lab.oracle("base", name)
            assert float(swap) > 0
        said, swap = await ask(gateway, lab, "red")
        after = await scheduling(gateway)

        assert swap == "none"
        assert before["loads"] == {
            "disk": {"expected_s": 3.0, "measured": 0},
            "host": {"expected_s": 0.0001, "measured": 0},
        }
        assert (there["resident"], there["parked"]) == (["plain", "blue"], ["red", "green"])
        assert (after["resident"], after["parked"]) == (["plain", "red"], ["green", "blue"])
        assert after["state"] == "ready"
        loads = after["experts"][1]["loads"]
        assert (loads["disk"]["measured"], loads["host"]["measured"]) == (1, 2)
        assert 0 < loads["disk"]["expected_s"] < 3.0
        assert loads["host"]["expected_s"] > 0
        assert [sources(gateway, name) for name in lab.skills] == [[1, 2], [1, 1], [1, 0]]
        assert gateway.metric('coe_expert_load_seconds_count{expert="red",source="host"}') == 2
        assert gateway.metric('coe_expert_unloads_total{expert="red",to="host"}') == 2
        assert gateway.metric("coe_expert_parked{") == 2
        assert gateway.metric("coe_expert_drops_total{") == 0


async def test_host_memory_is_not_exceeded_and_who_is_needed_least_is_dropped(
    serve: Any, lab: Any
) -> None:
    """The adapters take 13, 20 and 26 KiB: there is room for one of the first two."""
    # By times of use alone: the first adapter that is read takes longer than the others, so far.
    async with serve(composition(lab, 22, "batching: {evict: lru}\n")) as gateway:
        for name in ("red", "green", "blue", "green", "red"):
            said, _ = await ask(gateway, lab, name)
            assert said == lab.oracle("base", name)
            parked = await gateway.gateway.backends["here"].parked()
            assert sum(parked.values()) == gateway.metric("coe_host_memory_used_bytes")
            assert sum(parked.values()) <= 22 * 1024

        assert gateway.metric("coe_expert_drops_total{") == 1
        assert gateway.metric('coe_expert_drops_total{expert="red"}') == 1, "green was used later"
        assert gateway.metric('coe_expert_unloads_total{expert="blue",to="disk"}') == 1
        assert [sources(gateway, name) for name in lab.skills] == [[2, 0], [1, 1], [1, 0]]


async def test_a_crowd_is_answered_while_adapters_come_and_go(serve: Any, lab: Any) -> None:
    async with serve(composition(lab, host=40)) as gateway:
        said = await asyncio.gather(*(ask(gateway, lab, name) for name in (*lab.skills,) * 8))

        expected = {name: lab.oracle("base", name) for name in lab.skills}
        assert [text for text, _ in said] == [expected[name] for name in (*lab.skills,) * 8]
        assert gateway.metric("coe_host_memory_used_bytes") <= 40 * 1024


async def test_what_cannot_be_parked_any_more_is_unloaded(
    serve: Any, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(composition(lab, host=1024)) as gateway:
        from coe.backends.local import lora

        def full(*_: Any) -> Any:
            raise MemoryError("no host memory is left")

        monkeypatch.setattr(lora.AdapterBank, "copied", full)
        for name in ("red", "green", "red"):
            assert (await ask(gateway, lab, name))[0] == lab.oracle("base", name)

        assert sources(gateway, "red") == [2, 0]
        assert gateway.metric('coe_expert_unloads_total{expert="red",to="disk"}') == 1
