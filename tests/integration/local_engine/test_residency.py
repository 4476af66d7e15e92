"""Experts that are loaded and unloaded while the engine runs."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coe.errors import BackendError, BackendRejected, ExpertLoadFailed
from coe.protocols import ExpertSite
from coe.testing.residency import (
    PARKING_CHECKS,
    RESIDENCY_CHECKS,
    ParkingCheck,
    ParkingSubject,
    ResidencyCheck,
    ResidencySubject,
)

pytestmark = [
    pytest.mark.anyio,
    # peft 0.21 reads a property that transformers 5.23 has renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

PLAIN = ExpertSite(expert="plain", model="base")
OTHER = ExpertSite(expert="else", model="other")
RED = ExpertSite(expert="red", model="base", adapter="red")
GREEN = ExpertSite(expert="green", model="base", adapter="green")
WRONG = ExpertSite(expert="wrong", model="base", adapter="misfit")
PAIRS = {"models": (PLAIN, OTHER), "adapters": (RED, GREEN), "both": (RED, OTHER)}


@asynccontextmanager
async def subject(lab: Any, pair: str) -> AsyncIterator[ResidencySubject]:
    async with lab.running(*PAIRS[pair], WRONG) as backend:
        yield ResidencySubject(
            backend=backend, sites=PAIRS[pair], broken="wrong", body={"max_tokens": 200}
        )


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("check", RESIDENCY_CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
async def test_the_engine_keeps_the_contract(lab: Any, check: ResidencyCheck, pair: str) -> None:
    async with subject(lab, pair) as made:
        await check(made)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("check", PARKING_CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
async def test_the_engine_keeps_the_contract_of_parking(
    lab: Any, check: ParkingCheck, pair: str
) -> None:
    async with lab.running(*PAIRS[pair]) as backend:
        await check(ParkingSubject(backend=backend, sites=PAIRS[pair], body={"max_tokens": 200}))


async def test_what_was_parked_is_not_read_again_and_answers_as_before(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab.running() as backend:
        for name in ("plain", "red", "else"):
            await backend.load(name)
        before = await backend.resident()
        answer = await lab.ask(backend, "red")
        for name in ("red", "plain", "else"):
            await backend.park(name)
        parked = await backend.parked()
        from coe.backends.local import weights

        def read(*source: Any) -> Any:
            raise AssertionError(f"{source} is read")

        monkeypatch.setattr(weights, "_read_model", read)
        monkeypatch.setattr(weights, "_read_pairs", read)
        monkeypatch.setattr(weights, "fingerprint", read)
        for name in ("plain", "red", "else"):
            await backend.load(name)
        again = await lab.ask(backend, "red")

        assert parked == before == await backend.resident()
        assert again["choices"] == answer["choices"]
        assert again["system_fingerprint"] == answer["system_fingerprint"]
        assert lab.text(again) == lab.oracle("base", "red")
        assert await lab.tell(backend, "else") == lab.oracle("other")
        assert await backend.parked() == {}


async def test_a_base_leaves_with_its_adapters_and_only_itself_is_parked(lab: Any) -> None:
    async with lab.running() as backend:
        for name in ("plain", "red", "green"):
            await backend.load(name)
        await backend.park("green")
        await backend.park("plain")

        assert await backend.resident() == {}
        assert (await backend.parked()).keys() == {"plain", "green"}
        assert await lab.tell(backend, "red") == lab.oracle("base", "red")  # brings its base
        assert (await backend.parked()).keys() == {"green"}
        assert await lab.tell(backend, "green") == lab.oracle("base", "green")


async def test_a_model_that_others_use_is_not_parked(lab: Any) -> None:
    twin = ExpertSite(expert="twin", model="base")
    async with lab.running(PLAIN, twin) as backend:
        await backend.load("plain")
        await backend.load("twin")

        with pytest.raises(BackendRejected, match="'plain' is not parked: twin uses the same"):
            await backend.park("plain")

        assert (await backend.resident()).keys() == {"plain", "twin"}


async def test_an_adapter_that_does_not_fit_leaves_a_parked_base_where_it_is(lab: Any) -> None:
    async with lab.running(PLAIN, RED, WRONG) as backend:
        await backend.load("plain")
        await backend.park("plain")

        with pytest.raises(ExpertLoadFailed, match="wrong"):
            await backend.load("wrong")

        assert (await backend.parked()).keys() == {"plain"}
        assert await backend.resident() == {}
        await backend.load("plain")
        assert await lab.tell(backend, "plain") == lab.oracle("base")


async def test_an_engine_that_cannot_park_goes_on_with_what_it_has(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab.running() as backend:
        await backend.load("plain")
        from coe.backends.local import weights

        def full(_: Any) -> None:
            raise MemoryError("no host memory is left")

        monkeypatch.setattr(weights.Base, "to_host", full)
        with pytest.raises(BackendError, match="no host memory is left"):
            await backend.park("plain")

        assert (await backend.resident()).keys() == {"plain"}
        assert await lab.tell(backend, "plain") == lab.oracle("base")


async def test_sizes_are_those_of_the_weights_and_a_base_counts_once(lab: Any) -> None:
    async with lab.running() as backend:
        await backend.load("red")
        alone = await backend.resident()
        await backend.load("plain")
        await backend.load("green")
        sizes = await backend.resident()

    floats = (lab.folder / "base" / "model.safetensors").stat().st_size
    assert 0.9 * floats < sizes["plain"] < 1.3 * floats
    assert alone == {"red": sizes["plain"] + sizes["red"]}
    # Rank 4 and 6 on the same layers.
    assert sizes["green"] / sizes["red"] == pytest.approx(6 / 4)


async def test_a_base_takes_its_adapters_along_unless_one_is_at_work(lab: Any) -> None:
    async with lab.running() as backend:
        for name in ("plain", "red", "green", "else"):
            await backend.load(name)
        call = backend.generate(lab.dispatch("red", stream=True, max_tokens=500))
        await anext(call)

        with pytest.raises(BackendRejected, match="'plain' is not unloaded: red is at work"):
            await backend.unload("plain")
        await backend.unload("green")
        assert (await backend.resident()).keys() == {"plain", "red", "else"}
        await call.aclose()
        await backend.unload("plain")

        assert (await backend.resident()).keys() == {"else"}
        assert await lab.tell(backend, "red") == lab.oracle("base", "red")


async def test_two_experts_on_the_same_weights_hold_them_together(lab: Any) -> None:
    async with lab.running(PLAIN, replace(PLAIN, expert="twin"), RED) as backend:
        for name in ("plain", "twin", "red"):
            await backend.load(name)
        whole = sum((await backend.resident()).values())

        await backend.unload("plain")

        left = await backend.resident()
        assert left.keys() == {"twin", "red"}
        assert sum(left.values()) == whole


async def test_who_is_unloaded_leaves_the_others_answers_as_they_were(lab: Any) -> None:
    async with lab.running() as backend:
        await asyncio.gather(*(lab.tell(backend, name) for name in lab.skills))
        answering = asyncio.ensure_future(lab.tell(backend, "blue"))
        await backend.unload("red")

        assert await answering == lab.oracle("base", "blue")
        assert await lab.tell(backend, "green") == lab.oracle("base", "green")
        assert await lab.tell(backend, "red") == lab.oracle("base", "red")  # comes back by itself


async def test_an_expert_that_could_not_be_loaded_is_tried_again(lab: Any, tmp_path: Path) -> None:
    adapter = shutil.copytree(lab.folder / "red", tmp_path / "late")
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    (adapter / "adapter_model.safetensors").write_bytes(b"half of it")
    site = ExpertSite(expert="late", model="base", adapter=str(adapter))

    async with lab.running(site) as backend:
        with pytest.raises(ExpertLoadFailed, match="late"):
            await backend.load("late")
        (adapter / "adapter_model.safetensors").write_bytes(weights)
        await backend.load("late")

        assert await lab.tell(backend, "late") == lab.oracle("base", "red")


async def test_who_is_there_answers_while_another_is_read(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab.running() as backend:
        await backend.load("red")
        from coe.backends.local import weights

        opened, read = threading.Event(), weights._read_model

        def read_from_a_slow_disk(*source: Any) -> Any:
            assert opened.wait(30)
            return read(*source)

        monkeypatch.setattr(weights, "_read_model", read_from_a_slow_disk)
        loading = asyncio.ensure_future(backend.load("else"))
        waiting = asyncio.ensure_future(lab.tell(backend, "else"))
        await asyncio.sleep(0)  # let them ask

        assert await lab.tell(backend, "red") == lab.oracle("base", "red")
        assert not loading.done()
        assert not waiting.done()
        opened.set()
        await loading
        assert await waiting == lab.oracle("other")


async def test_a_call_goes_before_loads_that_nobody_waits_for(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab.running() as backend:
        await backend.load("plain")
        from coe.backends.local import weights

        opened, order, read = threading.Event(), [], weights.Weights.read

        def read_slowly(self: Any, expert: str) -> Any:
            order.append(expert)
            assert opened.wait(30)
            return read(self, expert)

        monkeypatch.setattr(weights.Weights, "read", read_slowly)
        starting = asyncio.ensure_future(backend.start())
        await asyncio.sleep(0)  # let it ask
        waiting = asyncio.ensure_future(lab.tell(backend, "else"))
        await asyncio.sleep(0)
        await lab.tell(backend, "plain")  # the engine has seen all of them then
        opened.set()
        await asyncio.gather(starting, waiting)

    assert "else" in order[:2]  # the engine may have begun with another one
    assert [one for one in order if one != "else"] == ["red", "green", "blue"]


async def test_reading_changes_no_answer_in_half_precision(lab: Any) -> None:
    async with lab.running(dtype="bfloat16") as backend:
        quiet = await lab.tell(backend, "red", max_tokens=100)
        answering = asyncio.ensure_future(lab.tell(backend, "red", max_tokens=100))
        while not answering.done():
            await backend.load("else")
            await backend.unload("else")

        assert await answering == quiet


async def test_an_adapter_that_is_merged_is_parked_with_its_model(lab: Any) -> None:
    lab.save_adapter("base", lab.folder / "merged", seed=5, r=4, use_dora=True)
    async with lab.running(ExpertSite(expert="merged", model="base", adapter="merged")) as backend:
        await backend.load("merged")
        before, said = await backend.resident(), await lab.tell(backend, "merged")
        await backend.park("merged")
        parked = await backend.parked()
        await backend.load("merged")

        assert parked == before == await backend.resident()
        assert await lab.tell(backend, "merged") == said


@pytest.mark.parametrize("parked", [False, True])
def test_the_memory_is_given_back_at_once(lab: Any, parked: bool) -> None:  # noqa: FBT001
    import torch

    from coe.backends.local.options import Options
    from coe.backends.local.places import find
    from coe.backends.local.weights import Weights

    places = {site.expert: find(site, lab.folder) for site in (PLAIN, RED)}
    with torch.inference_mode():
        weights = Weights(places=places, options=Options(), failures={}, tell=lambda *_: None)
        base = weights.settle("plain", weights.read("plain")).base
        weights.settle("red", weights.read("red"))
        model, bank = base.model, base.bank
        bank.select((1,))

        if parked:
            weights.park("plain")
        weights.unload("plain")

    held = [*model.parameters(), *model.buffers()]
    assert sum(tensor.untyped_storage().nbytes() for tensor in held) == 0
    assert bank.size(1) == 0
