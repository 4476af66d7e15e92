"""Experts that do not fit into memory together, over real sockets, as the openai SDK sees them.

The backend is a plugin that is found as a third party's is: an OpenAI-compatible client whose
memory is a dictionary. It refuses a call for an expert that is not in it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest

from coe.backends.http import client
from coe.backends.openai import OpenAIBackend
from coe.checkup import check
from coe.cli.plan import read_trace
from coe.cli.scheduling import show
from coe.composition import load
from coe.errors import BackendRejected, BackendUnreachable, ConfigError
from coe.protocols import BackendSpec
from coe.scheduler.recorded import read
from coe.settings import Settings
from coe.testing.model_server import ModelServer
from coe.testing.upstream import FakeUpstream
from coe.types import Dispatch

from .conftest import Running, Serve
from .plugins import install

pytestmark = pytest.mark.anyio


class Held(OpenAIBackend):
    """A backend with a memory of its own.

    Attributes:
        inside: who is in memory.
        moves: what was loaded (`+`) and unloaded (`-`), in order.
        gate: loads end while it is set.
        failing: experts that cannot be loaded.
        is_gone: whether everything fails.
    """

    def __init__(self, spec: BackendSpec) -> None:
        super().__init__(spec, client(spec))
        self.inside: set[str] = set()
        self.moves: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing: set[str] = set()
        self.is_gone = False

    async def generate(self, dispatch: Dispatch):  # type: ignore[no-untyped-def]  # noqa: ANN201
        if self.is_gone:
            raise BackendUnreachable("gone")
        if dispatch.call.expert not in self.inside:
            raise BackendRejected("not in memory", backend_status=500)
        async for piece in super().generate(dispatch):
            yield piece

    async def load(self, expert: str) -> None:
        self.moves.append(f"+{expert}")
        await self.gate.wait()
        if self.is_gone or expert in self.failing:
            raise BackendUnreachable("gone")
        self.inside.add(expert)

    async def unload(self, expert: str) -> None:
        if self.is_gone:
            raise BackendUnreachable("gone")
        self.moves.append(f"-{expert}")
        self.inside.discard(expert)

    async def resident(self) -> Mapping[str, int | None]:
        if self.is_gone:
            raise BackendUnreachable("gone")
        return dict.fromkeys(self.inside)


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install `Held` as the backend type `held`."""
    install(tmp_path, monkeypatch, {"coe.backends": Held})


@asynccontextmanager
async def served(
    serve: Serve,
    upstream: FakeUpstream,
    *,
    batching: str = "",
    memory: int = 1,
    experts: str = "abcd",
) -> AsyncIterator[tuple[Running, Held, openai.AsyncOpenAI]]:
    async with serve(composition(upstream, batching, memory, experts)) as gateway:
        backend = gateway.gateway.backends["box"]
        assert isinstance(backend, Held)
        async with openai.AsyncOpenAI(
            base_url=gateway.url, api_key="none", max_retries=0, timeout=30
        ) as sdk:
            yield gateway, backend, sdk


def composition(
    upstream: FakeUpstream, batching: str = "", memory: int = 1, experts: str = "abcd"
) -> str:
    rows = "".join(f"  {name}: {{backend: box, model: echo, memory: 1GiB}}\n" for name in experts)
    return (
        "version: 1\nbackends:\n"
        f"  box: {{type: held, url: {upstream.url}, memory: {memory}GiB, concurrency: 2}}\n"
        f"experts:\n{rows}default: a\nfallbacks: {{attempts: 1}}\n{batching}"
    )


async def ask(sdk: openai.AsyncOpenAI, expert: str, **more: str) -> str:
    answer = await sdk.chat.completions.with_raw_response.create(
        model=expert, messages=[{"role": "user", "content": f"to {expert}"}], extra_headers=more
    )
    assert answer.parse().model == expert
    return answer.headers["x-coe-swap"]


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.002)


def waiting(gateway: Running) -> int:
    return sum(
        view.interactive + view.bulk for view in gateway.live.current.gateway.slots["box"].views()
    )


async def test_interleaved_requests_are_grouped_by_expert(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream) as (gateway, backend, sdk):
        swaps = await asyncio.gather(*(ask(sdk, expert) for expert in "abcd" * 6))

        loads = [move for move in backend.moves if move[0] == "+"]
        assert sorted(loads) == ["+a", "+b", "+c", "+d"]
        assert len(backend.inside) == 1
        assert any(swap != "none" for swap in swaps)
        named = 'coe_expert_loads_total{expert="a",result="loaded",source="disk"}'
        assert gateway.metric(named) == 1
        assert gateway.metric("coe_expert_unloads_total") == 3
        assert gateway.metric("coe_queue_wait_seconds_count") == 24
        assert gateway.metric("coe_expert_resident") == 1
        assert gateway.metric("coe_queue_depth") == 0


async def test_an_answer_says_how_long_it_waited(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream) as (gateway, _, _sdk):
        first = await gateway.chat("a")
        second = await gateway.chat("a")

        assert first.headers["x-coe-swap"] != "none"
        assert float(first.headers["x-coe-wait-ms"]) >= float(first.headers["x-coe-swap"])
        assert second.headers["x-coe-swap"] == "none"


async def test_a_backend_without_memory_is_not_scheduled(
    serve: Serve, upstream: FakeUpstream
) -> None:
    text = composition(upstream).replace("memory: 1GiB, concurrency", "concurrency")
    async with serve(text.replace("type: held, ", "")) as gateway:
        response = await gateway.chat("a")

        assert response.status == 200
        assert "x-coe-wait-ms" not in response.headers
        assert not gateway.gateway.slots


async def test_a_load_that_fails_is_503_and_others_go_on(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream) as (_, backend, sdk):
        backend.failing.add("b")

        done = await asyncio.gather(*(ask(sdk, e) for e in "abab"), return_exceptions=True)

        refused = [one for one in done if isinstance(one, openai.APIStatusError)]
        assert len(refused) == 2
        assert {one.status_code for one in refused} == {503}
        assert all(one.response.headers["retry-after"] for one in refused)
        assert {one.response.headers["x-coe-error-origin"] for one in refused} == {"gateway"}
        assert "`b`" in str(refused[0])


async def test_another_expert_answers_where_the_first_cannot_be_loaded(
    serve: Serve, upstream: FakeUpstream
) -> None:
    text = composition(upstream).replace("attempts: 1", "attempts: 2") + (
        "categories: {code: {utterances: [u, v, w, x, y], experts: [b, c]}}\n"
        "routers: {default: {type: keyword}}\n"
    )
    async with serve(text.replace("utterances: [u, v, w, x, y]", "keywords: [compile]")) as gateway:
        backend = gateway.gateway.backends["box"]
        assert isinstance(backend, Held)
        backend.failing.add("b")

        response = await gateway.chat("coe/code")

        assert response.status == 200
        assert response.headers["x-coe-expert"] == "c"


async def test_a_load_that_hangs_is_given_up(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream, batching="batching: {load_limit: 50ms}\n") as (_, box, sdk):
        box.gate.clear()

        with pytest.raises(openai.APIStatusError, match=r"batching\.load_limit") as caught:
            await ask(sdk, "a")

        assert caught.value.status_code == 503


async def test_a_server_that_dies_and_comes_back_leaves_nobody_waiting(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream) as (gateway, backend, sdk):
        await ask(sdk, "a")
        backend.is_gone = True
        backend.inside.clear()

        died = await asyncio.gather(*(ask(sdk, "a") for _ in range(6)), return_exceptions=True)
        assert all(isinstance(one, openai.APIStatusError) for one in died)
        assert waiting(gateway) == 0

        backend.is_gone = False
        with pytest.raises(openai.APIStatusError):
            await ask(sdk, "a")  # believed to be there: its failure has somebody look
        await until(lambda: gateway.live.current.gateway.slots["box"].views()[0].state == "out")
        assert await ask(sdk, "a") != "none"


async def test_a_client_that_leaves_the_queue_causes_no_load(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream) as (gateway, backend, sdk):
        backend.gate.clear()
        first = asyncio.ensure_future(ask(sdk, "a"))
        await until(lambda: backend.moves == ["+a"])
        second = asyncio.ensure_future(ask(sdk, "b"))
        await until(lambda: waiting(gateway) == 2)

        second.cancel()
        await until(lambda: waiting(gateway) == 1)
        backend.gate.set()
        await first
        await ask(sdk, "a")

        assert backend.moves == ["+a"]


async def test_a_stream_says_what_it_waits_for(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream) as (gateway, backend, sdk):
        backend.gate.clear()
        response = await gateway.chat("a", stream=True)  # its headers come with the first comment
        assert response.status == 200
        assert await response.content.readline() == b": a is being loaded\n"
        backend.gate.set()

        rest = await response.text()

        assert "\n: x-coe-expert: a\n" in rest
        assert rest.endswith("data: [DONE]\n\n")
        stream = await sdk.chat.completions.create(
            model="a", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        assert [chunk.model async for chunk in stream]


@pytest.mark.parametrize(
    ("path", "asked", "last"),
    [
        ("completions", {"prompt": "hi"}, "data: "),
        ("responses", {"input": "hi"}, "event: response.failed"),
        (
            "messages",
            {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
            "event: error",
        ),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
async def test_streams_of_every_api_say_what_they_wait_for(
    serve: Serve,
    upstream: FakeUpstream,
    path: str,
    asked: dict[str, object],
    last: str,
    fails: bool,  # noqa: FBT001
) -> None:
    async with served(serve, upstream) as (gateway, backend, _):
        backend.gate.clear()
        if fails:
            backend.failing.add("a")
        body = {"model": "a", "stream": True, **asked}
        response = await gateway.request("POST", f"{gateway.url}/{path}", json=body)
        assert await response.content.readline() == b": a is being loaded\n"
        backend.gate.set()

        rest = (await response.text()).strip().split("\n\n")

        assert (": x-coe-expert: a" in rest[0]) != fails
        assert rest[-1].startswith(last) == (fails or path == "completions")
        assert ("expert" in rest[-1]) == fails


async def test_a_stream_that_waits_and_fails_ends_with_an_error(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream) as (gateway, backend, _):
        backend.gate.clear()
        backend.failing.add("a")
        response = await gateway.chat("a", stream=True)
        await response.content.readline()
        backend.gate.set()

        rest = await response.text()

        assert '"expert_load_failed"' in rest
        assert "[DONE]" not in rest


async def test_streams_say_nothing_where_they_are_told_not_to(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream, batching="batching: {status_frames: false}\n") as (
        gateway,
        _,
        _sdk,
    ):
        response = await gateway.chat("a", stream=True)

        assert response.headers["x-coe-expert"] == "a"
        assert b"\n:" not in await response.read()


async def test_a_deadline_and_a_full_queue_are_told(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream, batching="batching: {queue: 1}\n") as (gateway, box, sdk):
        box.gate.clear()
        late = asyncio.ensure_future(ask(sdk, "a", **{"x-coe-deadline-ms": "100"}))
        await until(lambda: waiting(gateway) == 1)

        full = await gateway.chat("b")

        assert full.status == 429
        assert full.headers["retry-after"]
        with pytest.raises(openai.APIStatusError) as caught:
            await late
        assert caught.value.status_code == 504


@pytest.mark.parametrize(
    ("header", "value"), [("x-coe-lane", "fast"), ("x-coe-deadline-ms", "soon")]
)
async def test_a_header_that_means_nothing_is_refused(
    serve: Serve, upstream: FakeUpstream, header: str, value: str
) -> None:
    async with served(serve, upstream) as (_, _box, sdk):
        with pytest.raises(openai.BadRequestError, match=header):
            await ask(sdk, "a", **{header: value})


async def test_host_memory_needs_a_backend_that_parks(serve: Serve, upstream: FakeUpstream) -> None:
    text = composition(upstream).replace("memory: 1GiB,", "memory: 1GiB, host_memory: 1GiB,", 1)

    with pytest.raises(ConfigError, match=r"backends\.box\.host_memory: type `held` cannot park"):
        async with serve(text):
            pass


async def test_bulk_goes_behind_the_others(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream) as (gateway, backend, sdk):
        backend.gate.clear()
        calls = [asyncio.ensure_future(ask(sdk, "a"))]
        await until(lambda: waiting(gateway) == 1)
        calls.append(asyncio.ensure_future(ask(sdk, "b", **{"x-coe-lane": "bulk"})))
        await until(lambda: waiting(gateway) == 2)
        calls.append(asyncio.ensure_future(ask(sdk, "c")))
        await until(lambda: waiting(gateway) == 3)
        assert gateway.metric('coe_queue_depth{expert="b",lane="bulk"}') == 1

        backend.gate.set()
        await asyncio.gather(*calls)

        assert [move for move in backend.moves if move[0] == "+"] == ["+a", "+c", "+b"]


async def test_route_explains_who_is_in_memory(serve: Serve, upstream: FakeUpstream) -> None:
    async with served(serve, upstream) as (gateway, _, sdk):
        await ask(sdk, "b")

        response = await gateway.request(
            "POST", f"{gateway.url}/route", json={"model": "a", "input": "hello"}
        )

        scheduling = (await response.json())["scheduling"]
        assert scheduling["state"] == "out"
        assert scheduling["resident"] == ["b"]
        assert scheduling["parked"] == []
        a, b, *_ = scheduling["experts"]
        assert a["loads"] == {"disk": {"expected_s": 5.0, "measured": 0}}
        assert b.pop("loads")["disk"]["measured"] == 1
        assert b == {
            "expert": "b",
            "state": "ready",
            "running": 0,
            "waiting": {"interactive": 0, "bulk": 0},
        }


async def test_another_composition_takes_over_while_calls_wait(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with served(serve, upstream, experts="ab") as (gateway, backend, sdk):
        backend.gate.clear()
        calls = [asyncio.ensure_future(ask(sdk, expert)) for expert in "ab"]
        await until(lambda: waiting(gateway) == 2)

        (tmp_path / "experts.yaml").write_text(
            composition(upstream, memory=2, experts="bcd"[::-1] + "a")
        )
        await gateway.live.replace(load(tmp_path / "experts.yaml"))
        calls.append(asyncio.ensure_future(ask(sdk, "c")))
        backend.gate.set()
        await asyncio.gather(*calls)

        assert backend is gateway.live.current.gateway.backends["box"]
        assert sorted(move for move in backend.moves if move[0] == "+") == ["+a", "+b", "+c"]
        assert len(backend.inside) == 2


async def test_an_expert_is_taken_out_while_calls_of_it_wait(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with served(serve, upstream, experts="ab") as (gateway, backend, sdk):
        backend.gate.clear()
        call = asyncio.ensure_future(ask(sdk, "b"))
        await until(lambda: waiting(gateway) == 1)

        (tmp_path / "experts.yaml").write_text(composition(upstream, experts="ac"))
        await gateway.live.replace(load(tmp_path / "experts.yaml"))
        backend.gate.set()
        await call
        await ask(sdk, "c")

        assert backend.inside == {"c"}


GIB = 2**30
OLLAMA = """\
version: 1
backends: {{box: {{type: ollama, url: {url}, memory: 1GiB, concurrency: 4}}}}
experts:
  a: {{backend: box, model: a, memory: 1GiB}}
  b: {{backend: box, model: b, memory: 1GiB}}
  c: {{backend: box, model: c, memory: 1GiB}}
  d: {{backend: box, model: d, memory: 1GiB}}
default: a
fallbacks: {{attempts: 1}}
"""


async def test_a_server_that_speaks_ollamas_addresses_loads_each_model_once(serve: Serve) -> None:
    async with (
        ModelServer("ollama", models=dict.fromkeys("abcd", GIB)) as server,
        serve(OLLAMA.format(url=server.url)) as gateway,
        openai.AsyncOpenAI(base_url=gateway.url, api_key="none", max_retries=0) as sdk,
    ):
        await asyncio.gather(*(ask(sdk, expert) for expert in "abcd" * 10))

        loads = [change for change in server.changes if change.startswith("load")]
        assert sorted(loads) == ["load a", "load b", "load c", "load d"]
        assert len(server.held) == 1


@pytest.mark.parametrize("fault", ["500", "half", "dies", "says-yes"])
async def test_a_load_that_goes_wrong_on_the_server_leaves_nobody_waiting(
    serve: Serve, fault: str
) -> None:
    async with (
        ModelServer("ollama", models=dict.fromkeys("abcd", GIB)) as server,
        serve(OLLAMA.format(url=server.url)) as gateway,
        openai.AsyncOpenAI(base_url=gateway.url, api_key="none", max_retries=0, timeout=20) as sdk,
    ):
        await ask(sdk, "a")
        server.spoil["load"] = fault

        done = await asyncio.gather(*(ask(sdk, e) for e in "abcdabcd"), return_exceptions=True)

        wrong = [one for one in done if isinstance(one, Exception)]
        assert bool(wrong) == (fault != "half")  # that one was loaded, whatever the answer said
        assert all(isinstance(one, openai.APIStatusError) for one in wrong)
        assert waiting(gateway) == 0


async def test_what_happened_is_told_and_not_a_word_of_anybody(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with served(serve, upstream) as (gateway, _, sdk):
        begun_s = time.time()
        for expert in "aabb":
            await ask(sdk, expert)

        answer = await gateway.request("GET", f"{gateway.url}/scheduling")
        said = await answer.text()

        (pool,) = json.loads(said)["pools"]
        record = read(pool)
        assert (pool["backend"], pool["memory"]) == ("box", 2**30)
        assert [(one["expert"], one["state"]) for one in pool["experts"]] == [
            *(("a", "out"), ("b", "ready"), ("c", "out"), ("d", "out")),
        ]
        assert [(mark.expert, mark.what) for mark in record.marks] == [
            *(("a", "loading"), ("a", "ready"), ("a", "leaving"), ("a", "left")),
            *(("b", "loading"), ("b", "ready")),
        ]
        assert record.marks[2].for_expert == "b"
        assert begun_s - 0.1 <= record.marks[0].at_s <= record.until_s <= time.time() + 0.1
        assert {spell.expert: spell.calls for spell in record.spells} == {"a": 2, "b": 2}
        assert "to a" not in said


async def test_a_gateway_whose_memory_nobody_manages_tells_of_no_pool(
    serve: Serve, upstream: FakeUpstream
) -> None:
    text = composition(upstream).replace("memory: 1GiB, concurrency", "concurrency")
    async with serve(text.replace("type: held, ", "")) as gateway:
        answer = await gateway.request("GET", f"{gateway.url}/scheduling")

        assert (await answer.json())["pools"] == []


async def test_a_command_shows_a_gateway_that_runs(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(serve, upstream) as (gateway, _, sdk):
        for expert in "aabb":
            await ask(sdk, expert)

        files = {"html": tmp_path / "live.html", "calls": tmp_path / "calls.jsonl"}
        await asyncio.to_thread(show, gateway.url, **files)

    said = capsys.readouterr().out
    assert "box: 1GiB, 2 loads within" in said
    assert re.search(r"b +ready +0 +0 +1GiB +1 ", said)
    assert "a leaves for b; 1 wait" in said
    page = (tmp_path / "live.html").read_text(encoding="utf-8")
    assert "Backend “box”" in page
    assert "a: loads 1" in page
    trace = read_trace(tmp_path / "calls.jsonl", 1.0)
    assert [call.expert for call in trace] == ["a", "a", "b", "b"]
    assert trace[0].at_s == 0.0


async def test_an_address_that_is_no_gateway_that_manages_memory_is_named(
    serve: Serve, upstream: FakeUpstream
) -> None:
    text = composition(upstream).replace("memory: 1GiB, concurrency", "concurrency")
    async with serve(text.replace("type: held, ", "")) as gateway:
        with pytest.raises(ConfigError, match="no backend's memory is managed there"):
            await asyncio.to_thread(show, gateway.url)
    with pytest.raises(ConfigError, match=r"404 .*an older gateway, or none"):
        await asyncio.to_thread(show, upstream.url)
    with pytest.raises(ConfigError, match="no gateway answers there"):
        show("http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="is no address"):
        show("127.0.0.1:8088")


async def test_a_checkup_goes_through_the_experts_without_holding_more_than_fits(
    tmp_path: Path,
) -> None:
    async with ModelServer("ollama", models=dict.fromkeys("abcd", GIB)) as server:
        file = tmp_path / "checked.yaml"
        file.write_text(OLLAMA.format(url=server.url), encoding="utf-8")

        found = await check(load(file), Settings(), list("abcd"))

    assert [row.is_well for row in found] == [True] * 4, found
    assert [one.what for row in found for one in row.findings if one.what == "load"] == ["load"] * 4
    inside: set[str] = set()
    for change in server.changes:
        what, name = change.split()
        (inside.add if what == "load" else inside.discard)(name)
        assert len(inside) <= 1, server.changes
    assert server.changes[::2] == ["load a", "load b", "load c", "load d"]


async def test_a_checkup_names_an_expert_that_cannot_be_loaded(tmp_path: Path) -> None:
    async with ModelServer("ollama", models=dict.fromkeys("abcd", GIB)) as server:
        server.spoil["load"] = "500"
        file = tmp_path / "checked.yaml"
        file.write_text(OLLAMA.format(url=server.url), encoding="utf-8")

        (found,) = await check(load(file), Settings(), ["a"])

    (failed,) = [one for one in found.findings if one.state == "failed"]
    assert failed.what == "load"
    assert "expert `a`" in failed.detail
