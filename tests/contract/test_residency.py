"""Servers whose models are loaded and unloaded, against a server that speaks their addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from coe.backends.managed.vllm import VllmBackend
from coe.errors import (
    BackendError,
    BackendRejected,
    BackendUnreachable,
    CoEError,
    ConfigError,
    ExpertLoadFailed,
)
from coe.protocols import BackendSpec, ExpertSite
from coe.testing.model_server import Kind, ModelServer
from coe.testing.residency import (
    PARKING_CHECKS,
    RESIDENCY_CHECKS,
    ManagedBackend,
    ParkingCheck,
    ParkingSubject,
    ResidencyCheck,
    ResidencySubject,
    check_parking,
    check_residency,
)
from coe.testing.subject import Unchecked

pytestmark = pytest.mark.anyio

MODELS = {"org/alpha:7b": 100, "beta": 200}
KINDS: tuple[Kind, ...] = (
    "ollama",
    "vllm",
    "sglang",
    "llamacpp",
    "llama_cpp_python",
    "llama_swap",
)
ON_A_BASE = {"vllm", "sglang"}


def site(kind: Kind, expert: str, model: str) -> ExpertSite:
    if kind in ON_A_BASE:
        return ExpertSite(expert=expert, model="base", adapter=model)
    return ExpertSite(expert=expert, model=model)


@dataclass(frozen=True)
class Lab:
    """A server and the backend that manages it; the experts are `a`, `b` and `broken`."""

    server: ModelServer
    backend: ManagedBackend
    subject: ResidencySubject


@asynccontextmanager
async def lab(
    kind: Kind, *more: ExpertSite, options: Mapping[str, Any] | None = None, **server: Any
) -> AsyncIterator[Lab]:
    names = tuple(MODELS) if kind not in ON_A_BASE else ("alpha", "beta")
    sizes = dict(zip(names, MODELS.values(), strict=True))
    async with ModelServer(kind, models=sizes, **server) as up:
        sites = (site(kind, "a", names[0]), site(kind, "b", names[1]))
        spec = BackendSpec(
            name="up",
            type=kind,
            url=up.url,
            experts=(*sites, site(kind, "broken", "nowhere"), *more),
            options=options or {},
        )
        backend = import_module(f"coe.backends.managed.{kind}").build(spec)
        try:
            subject = ResidencySubject(
                backend=backend,
                sites=sites,
                broken="broken",
                together=kind != "llama_cpp_python",
            )
            yield Lab(server=up, backend=backend, subject=subject)
        finally:
            await backend.aclose()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", RESIDENCY_CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
async def test_a_server_keeps_the_contract(kind: Kind, check: ResidencyCheck) -> None:
    async with lab(kind, lasts_s=0.005) as made:
        try:
            await check(made.subject)
        except Unchecked as why:
            pytest.skip(str(why))


async def test_check_residency_names_the_checks_that_could_not_run() -> None:
    @asynccontextmanager
    async def make() -> AsyncIterator[ResidencySubject]:
        async with lab("llama_cpp_python") as made:
            yield made.subject

    skipped = await check_residency(make)

    assert skipped == ("check_calls_go_on_while_another_comes_and_goes",)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refused_load_says_why(kind: Kind) -> None:
    async with lab(kind) as made:
        made.server.spoil["load"] = "500"

        with pytest.raises(ExpertLoadFailed, match=r"expert `a`: cannot load .*made to fail"):
            await made.backend.load("a")
        del made.server.spoil["load"]
        await made.backend.load("a")

        assert "a" in await made.backend.resident()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "llama_cpp_python"])
async def test_a_yes_that_is_none_is_found_out(kind: Kind) -> None:
    async with lab(kind) as made:
        made.server.spoil["load"] = "says-yes"

        with pytest.raises(ExpertLoadFailed):
            await made.backend.load("a")

        assert not await made.backend.resident()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_dies_while_it_loads(kind: Kind) -> None:
    async with lab(kind) as made:
        made.server.spoil["load"] = "dies"

        with pytest.raises(BackendUnreachable):
            await made.backend.load("a")
        with pytest.raises(BackendError):
            await made.backend.load("a")


@pytest.mark.parametrize("kind", KINDS)
async def test_half_an_answer_leaves_it_open_and_a_second_load_finds_out(kind: Kind) -> None:
    async with lab(kind) as made:
        made.server.spoil["load"] = "half"
        with pytest.raises(BackendError):
            await made.backend.load("a")
        del made.server.spoil["load"]

        await made.backend.load("a")

        loads = [change for change in made.server.changes if change.startswith("load")]
        assert len(loads) <= 1  # the first one was done
        assert "a" in await made.backend.resident()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_late_server_is_waited_for_as_long_as_the_caller_likes(kind: Kind) -> None:
    async with lab(kind) as made:
        made.server.spoil["load"] = "late-5000ms"

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await made.backend.load("a")
        del made.server.spoil["load"]

        await made.backend.load("a")
        assert "a" in await made.backend.resident()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "llama_cpp_python"])
@pytest.mark.parametrize("how", ["404", "500", "dies", "half"])
async def test_a_list_that_cannot_be_had_is_an_error(kind: Kind, how: str) -> None:
    async with lab(kind) as made:
        made.server.spoil["list"] = how
        if kind == "vllm" and how == "404":
            made.server.allows = False

        with pytest.raises(BackendError):
            await made.backend.resident()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "llama_cpp_python"])
@pytest.mark.parametrize("how", ["404", "500"])
async def test_a_refused_unload_leaves_it_there(kind: Kind, how: str) -> None:
    async with lab(kind) as made:
        await made.backend.load("a")
        made.server.spoil["unload"] = how

        with pytest.raises(BackendRejected):
            await made.backend.unload("a")

        assert "a" in await made.backend.resident()


async def test_a_load_that_ends_badly_after_a_good_beginning() -> None:
    async with lab("llamacpp", lasts_s=0.01) as made:
        made.server.spoil["load"] = "fails"

        with pytest.raises(ExpertLoadFailed, match="its process ended with 1"):
            await made.backend.load("a")


@pytest.mark.parametrize("kind", ["ollama", "llamacpp"])
async def test_sizes_are_what_the_server_tells(kind: Kind) -> None:
    async with lab(kind) as made:
        await made.backend.load("a")
        await made.backend.load("b")

        assert await made.backend.resident() == {"a": 100, "b": 200}


async def test_ollama_keeps_what_was_loaded_until_it_is_told() -> None:
    async with lab("ollama") as made:
        await made.backend.load("a")
        sent = next(r for r in made.server.requests if r.method == "POST").json

    assert sent == {"model": "org/alpha:7b", "keep_alive": -1, "stream": False}


async def test_vllm_sleeps_and_wakes_with_its_base_and_the_adapters_on_it() -> None:
    async with lab("vllm", ExpertSite(expert="plain", model="base")) as made:
        await made.backend.load("a")
        await made.backend.unload("plain")
        gone = await made.backend.resident()
        await made.backend.load("a")

        assert gone == {}
        assert (await made.backend.resident()).keys() == {"a", "plain"}
        assert made.server.changes == ["load alpha", "unload base", "load base"]


@asynccontextmanager
async def sleeper(**server: Any) -> AsyncIterator[tuple[ModelServer, VllmBackend, ParkingSubject]]:
    """A vLLM without adapters, whose base two experts use."""
    sites = (ExpertSite(expert="plain", model="base"), ExpertSite(expert="twin", model="base"))
    async with ModelServer("vllm", models={}, **server) as up:
        backend = VllmBackend(BackendSpec(name="up", type="vllm", url=up.url, experts=sites))
        try:
            yield up, backend, ParkingSubject(backend=backend, sites=sites)
        finally:
            await backend.aclose()


@pytest.mark.parametrize("check", PARKING_CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
async def test_vllm_keeps_the_contract_of_parking(check: ParkingCheck) -> None:
    async with sleeper(lasts_s=0.005) as (_, backend, subject):
        await backend.unload("plain")  # it is there as soon as the server runs
        await check(subject)


async def test_check_parking_runs_all_checks() -> None:
    @asynccontextmanager
    async def make() -> AsyncIterator[ParkingSubject]:
        async with sleeper() as (_, backend, subject):
            await backend.unload("plain")
            yield subject

    assert await check_parking(make) == ()


async def test_vllm_parks_at_level_1_and_unloads_at_level_2_and_reads_only_after_that() -> None:
    async with sleeper() as (server, backend, subject):
        levels = []
        for leave in (backend.park, backend.unload, backend.park):
            await leave("plain")
            levels.append(server.level)
            await backend.load("plain")
            assert not server.is_garbled
            assert (await subject.ask(0)).error is None

    assert levels == [1, 2, 1]
    assert server.changes == [
        *("unload base", "load base"),
        *("unload base", "read base", "load base"),
        *("unload base", "load base"),
    ]


async def test_vllm_is_woken_to_let_go_of_what_it_has_in_host_memory() -> None:
    async with sleeper() as (server, backend, _):
        await backend.park("plain")
        await backend.unload("plain")

        assert server.changes == ["unload base", "load base", "unload base"]
        assert server.level == 2
        assert await backend.parked() == {}


async def test_vllm_that_somebody_else_put_to_sleep_reads_its_weights_again() -> None:
    async with sleeper() as (server, backend, _):
        await backend.unload("plain")
        again = VllmBackend(
            BackendSpec(
                name="up",
                type="vllm",
                url=server.url,
                experts=(ExpertSite(expert="plain", model="base"),),
            )
        )
        assert await again.parked() == {}
        await again.load("plain")
        await again.aclose()

        assert not server.is_garbled


async def test_vllm_under_adapters_keeps_its_base_in_host_memory_and_parks_no_adapter() -> None:
    async with lab("vllm", ExpertSite(expert="plain", model="base")) as made:
        assert isinstance(made.backend, VllmBackend)
        await made.backend.load("a")
        with pytest.raises(BackendRejected, match="by a rule of its own"):
            await made.backend.park("a")
        await made.backend.unload("plain")

        assert made.server.level == 1, "level 2 would be for good"
        assert (await made.backend.parked()).keys() == {"plain"}
        await made.backend.load("a")
        assert (await made.subject.ask(0)).error is None


@pytest.mark.parametrize("how", ["404", "500", "dies"])
async def test_vllm_that_refuses_to_sleep_is_not_parked(how: str) -> None:
    async with sleeper() as (server, backend, _):
        server.spoil["unload"] = how

        with pytest.raises(BackendError):
            await backend.park("plain")

        if how != "dies":
            assert await backend.parked() == {}
            assert "plain" in await backend.resident()
            with pytest.raises(BackendError):
                await backend.unload("plain")


async def test_vllm_that_falls_asleep_without_a_word_is_known_to_be_parked() -> None:
    async with sleeper() as (server, backend, subject):
        server.spoil["unload"] = "half"
        with pytest.raises(BackendError):
            await backend.park("plain")
        del server.spoil["unload"]

        assert await backend.resident() == {}
        assert (await backend.parked()).keys() == {"plain", "twin"}
        await backend.load("plain")
        assert (await subject.ask(0)).error is None


async def test_vllm_that_says_yes_and_stays_awake_is_waited_for() -> None:
    async with sleeper() as (server, backend, _):
        server.spoil["unload"] = "says-yes"

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await backend.park("plain")

        assert await backend.parked() == {}
        assert "plain" in await backend.resident()


async def test_vllm_without_sleep_says_how_to_start_it() -> None:
    async with sleeper(allows=False) as (_, backend, _subject):
        with pytest.raises(BackendRejected, match="start it with --enable-sleep-mode"):
            await backend.park("plain")

        assert await backend.parked() == {}


async def test_vllm_does_not_sleep_while_an_adapter_is_at_work() -> None:
    async with lab("vllm", ExpertSite(expert="plain", model="base")) as made:
        await made.backend.load("a")
        call = made.subject.open(0)
        await anext(call)

        with pytest.raises(BackendRejected, match="`plain` is not unloaded: a is at work"):
            await made.backend.unload("plain")
        await call.aclose()
        await made.backend.unload("plain")

        assert made.server.asleep


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("vllm", "start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"),
        ("sglang", "start it with --enable-lora"),
    ],
)
async def test_a_server_that_was_started_without_adapters(kind: Kind, words: str) -> None:
    async with lab(kind, allows=False) as made:
        with pytest.raises(ExpertLoadFailed, match=words):
            await made.backend.load("a")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("vllm", "start it with --enable-sleep-mode"), ("sglang", "as long as it runs")],
)
async def test_a_base_that_cannot_leave_says_so(kind: Kind, words: str) -> None:
    plain = ExpertSite(expert="plain", model="base")
    async with lab(kind, plain, allows=False) as made:
        await made.backend.load("plain")  # it is there already

        with pytest.raises(BackendRejected, match=words):
            await made.backend.unload("plain")


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_another_base_is_not_loaded(kind: Kind) -> None:
    async with lab(kind, ExpertSite(expert="else", model="other")) as made:
        with pytest.raises(ExpertLoadFailed, match="holds base and loads no other model"):
            await made.backend.load("else")


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_adapters_are_looked_for_in_the_folder_that_is_named(kind: Kind) -> None:
    async with lab(kind, options={"adapter_folder": "/srv/loras/"}) as made:
        await made.backend.load("a")
        sent = next(r for r in made.server.requests if r.method == "POST").json

    assert sent == {"lora_name": "alpha", "lora_path": "/srv/loras/alpha"}


async def test_sglang_is_told_the_adapter_beside_the_model() -> None:
    async with lab("sglang") as made:
        await made.backend.load("a")
        await made.subject.ask(0)
        sent = made.server.requests[-1].json

    assert (sent["model"], sent["lora_path"]) == ("base", "alpha")


async def test_llama_cpp_python_does_not_swap_under_a_call() -> None:
    async with lab("llama_cpp_python") as made:
        await made.backend.load("a")
        call = made.subject.open(0)
        await anext(call)

        with pytest.raises(ExpertLoadFailed, match="a is at work"):
            await made.backend.load("b")
        await call.aclose()
        await made.backend.load("b")

        assert (await made.backend.resident()).keys() == {"b"}


async def test_llama_cpp_python_forgets_what_a_failed_load_pushed_out() -> None:
    async with lab("llama_cpp_python") as made:
        await made.backend.load("a")
        made.server.spoil["load"] = "500"
        with pytest.raises(ExpertLoadFailed):
            await made.backend.load("b")

        assert await made.backend.resident() == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unknown_option_is_refused(kind: Kind) -> None:
    with pytest.raises(ConfigError, match=r"backends\.up: unknown key `keep`"):
        async with lab(kind, options={"keep": 1}):
            pass


@pytest.mark.parametrize("kind", KINDS)
async def test_experts_that_are_added_are_managed(kind: Kind) -> None:
    async with lab(kind) as made:
        more = (*made.subject.sites, site(kind, "twin", "beta"))
        serve = getattr(made.backend, "serve")  # noqa: B009 - an optional part of the protocol

        assert serve(more)
        await made.backend.load("twin")
        there = await made.backend.resident()

        assert there.keys() == {"twin", "b"}
        with pytest.raises(CoEError):
            await made.backend.load("broken")
