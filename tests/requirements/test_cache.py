"""Answers that are given again: to whom, when, in which form, and never to another tenant."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from coe.cache.entry import Entry
from coe.stores.redis import REST_S
from coe.testing.upstream import FakeUpstream
from tests.conftest import RedisServer
from tests.integration.conftest import Running, Serve

pytestmark = pytest.mark.anyio

FILE = """\
version: 1
backends: {{up: "{url}"}}
experts:
  good: {{backend: up, model: ok, cost: {{input: 1 USD/M, output: 2 USD/M}}}}
  other: up/other
  cut: up/length
  broken: up/drop-after-2
  judge: up/ok
  secret: {{backend: up, model: ok, tags: [inner]}}
aggregation:
  all: {{method: best_of, experts: [other, secret], judge: judge}}
models:
  panel: {{aggregate: all}}
encoders: {{small: {{type: hashed}}}}
default: good
"""
EXACT = "cache: exact\n"
SEMANTIC = "cache: {mode: exact_then_semantic, encoder: small, similarity: 0.7}\n"
QUESTION = "how do I reset the password of my account please"
ECHO = f"echo: {QUESTION}"
NEAR = "please how do I reset the password of my account"
FAR = "which planets of the solar system have rings"
MODES = [pytest.param(EXACT, id="exact"), pytest.param(SEMANTIC, id="semantic")]
STREAMS = [pytest.param(False, id="whole"), pytest.param(True, id="streamed")]


@dataclass
class Said:
    """What a client was answered."""

    text: str
    cache: str
    expert: str
    raw: list[dict[str, Any]]

    @property
    def is_hit(self) -> bool:
        return self.cache.startswith("hit")

    @property
    def id(self) -> str:
        return self.cache.split("id=")[1].split(";")[0]


async def ask(
    running: Running,
    text: str = QUESTION,
    key: str = "alice",
    *,
    model: str = "good",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Said:
    """Ask as somebody, and wait until what is kept of the answer is there."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    answer = await running.request(
        "POST",
        f"{running.url}/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {key}", **(headers or {})},
    )
    raw = await answer.text()
    assert answer.status == 200, raw
    found = answer.headers.get("x-coe-cache", "")
    cache = running.live.current.gateway.cache
    if cache is not None:
        await cache.settle()
    expert = answer.headers["x-coe-expert"]
    if not fields.get("stream"):
        whole = json.loads(raw)
        return Said(whole["choices"][0]["message"]["content"], found, expert, [whole])
    assert raw.endswith("data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    pieces = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    return Said("".join(pieces), found, expert, chunks)


Start = Callable[..., Any]


@pytest.fixture
def start(serve: Serve, upstream: FakeUpstream) -> Start:
    @asynccontextmanager
    async def starting(
        sections: str = EXACT, *, redis_wait_s: float = 5.0, **settings: Any
    ) -> AsyncIterator[Running]:
        async with serve(FILE.format(url=upstream.url) + sections, **settings) as running:
            premises = running.gateway.premises
            if premises is not None and premises.redis is not None:
                premises.redis._wait_s = redis_wait_s  # a busy machine is not what is tested
            yield running

    return starting


@pytest.fixture(params=["memory", "redis"])
def shelf(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of a gateway that keeps answers in memory, and of one that does so in Redis."""
    if request.param == "memory":
        return {}
    return {"redis_url": request.getfixturevalue("redis_server").url}


@pytest.mark.parametrize("stored", STREAMS)
@pytest.mark.parametrize("given", STREAMS)
async def test_the_same_request_is_answered_once_in_either_form(
    start: Start, upstream: FakeUpstream, shelf: dict[str, Any], *, stored: bool, given: bool
) -> None:
    async with start(**shelf) as running:
        usage = {"stream_options": {"include_usage": True}} if stored else {}
        first = await ask(running, stream=stored, **usage)
        again = await ask(running, stream=given)

        assert upstream.received == 1
        assert (first.cache, again.is_hit) == ("miss", True)
        assert again.text == first.text == ECHO
        assert again.expert == "good"
        assert again.raw[0]["id"] != first.raw[0]["id"]
        assert running.metric('coe_cache_lookups_total{result="hit"}') == 1


def everybody_waits(running: Running, count: int) -> Callable[[], bool]:
    cache = running.gateway.cache
    assert cache is not None
    return lambda: cache.flights.waiting == count


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("mode", MODES)
async def test_the_same_request_at_the_same_moment_is_asked_once(
    start: Start, upstream: FakeUpstream, shelf: dict[str, Any], mode: str
) -> None:
    async with start(mode, **shelf) as running:
        upstream.plan(["slow-first-500ms"])
        asking = [asyncio.create_task(ask(running)) for _ in range(8)]
        await until(everybody_waits(running, 7))
        said = await asyncio.gather(*asking)

        assert upstream.received == 1
        assert [one.text for one in said] == [ECHO] * 8
        assert sorted(one.is_hit for one in said) == [False] + [True] * 7
        assert not len(running.gateway.cache.flights)  # type: ignore[union-attr]


async def test_the_wait_for_another_ones_answer_is_no_time_of_the_gateway(
    start: Start, upstream: FakeUpstream
) -> None:
    async with start() as running:
        upstream.plan(["slow-first-300ms"])
        first = asyncio.create_task(running.chat("good", QUESTION))
        await upstream.arrived()
        began = time.perf_counter()
        second = asyncio.create_task(running.chat("good", QUESTION))
        await until(everybody_waits(running, 1))
        waits = seen = time.perf_counter()
        while everybody_waits(running, 1)():
            seen = time.perf_counter()
            await asyncio.sleep(0.001)
        headers = (await second).headers
        whole_ms, waited_ms = 1000 * (time.perf_counter() - began), 1000 * (seen - waits)
        await first

    spent = headers["server-timing"].split(", ")
    upstream_ms = next(float(one.split("=")[1]) for one in spent if one.startswith("upstream"))
    assert headers["x-coe-cache"].startswith("hit")
    assert upstream_ms > 0
    assert waited_ms <= upstream_ms + 0.01
    assert float(headers["x-coe-overhead-ms"]) <= whole_ms - waited_ms + 0.02


async def test_sec_24_nobody_waits_for_the_answer_of_another_tenant(
    start: Start, upstream: FakeUpstream
) -> None:
    async with start() as running:
        upstream.plan(["slow-first-500ms"] * 2)
        said = await asyncio.gather(*(ask(running, key=name) for name in ("alice", "bob")))

        assert upstream.received == 2
        assert [one.cache for one in said] == ["miss"] * 2


@pytest.mark.parametrize("how", ["refresh", "stream", "lane", "deadline", "off"])
async def test_who_asks_in_another_way_waits_for_nobody(
    start: Start, upstream: FakeUpstream, how: str
) -> None:
    headers = {
        "refresh": {"x-coe-cache": "refresh"},
        "off": {"x-coe-cache": "off"},
        "lane": {"x-coe-lane": "bulk"},
        "deadline": {"x-coe-deadline-ms": "9000"},
    }
    async with start() as running:
        upstream.plan(["slow-first-500ms"])
        first = asyncio.create_task(ask(running))
        await upstream.arrived()

        said = await ask(running, headers=headers.get(how), stream=how == "stream")

        assert not said.is_hit
        assert upstream.received == 2
        assert (await first).text == ECHO


@pytest.mark.parametrize("wrong", ["error-400-context", "length"])
async def test_where_the_first_answer_comes_to_nothing_all_that_wait_ask_at_once(
    start: Start, upstream: FakeUpstream, wrong: str
) -> None:
    async with start() as running:
        gate = asyncio.Event()
        upstream.plan([wrong] + ["hang"] * 3)
        shelf = running.gateway.premises.shelf  # type: ignore[union-attr]
        look = shelf.get

        async def look_later(partition: str, name: str) -> Entry | None:
            await gate.wait()
            return await look(partition, name)

        shelf.get = look_later  # type: ignore[method-assign]
        asking = [asyncio.create_task(running.chat("good", QUESTION)) for _ in range(4)]
        await until(everybody_waits(running, 3))
        gate.set()

        async with asyncio.timeout(15):
            await upstream.arrived(4)  # none of them is answered
        for one in asking:
            one.cancel()
        await upstream.client_gone(3)


async def test_a_client_that_leaves_leaves_the_asking_to_the_next(
    start: Start, upstream: FakeUpstream
) -> None:
    async with start() as running:
        upstream.plan(["hang", "slow-first-500ms"])
        first = asyncio.create_task(ask(running))
        await upstream.arrived()
        others = [asyncio.create_task(ask(running)) for _ in range(4)]
        await until(everybody_waits(running, 4))

        first.cancel()
        await upstream.arrived(2)
        await until(everybody_waits(running, 3))
        said = await asyncio.gather(*others)

        assert upstream.received == 2
        assert [one.text for one in said] == [ECHO] * 4
        assert [one.cache for one in said].count("miss") == 1


async def test_a_client_that_leaves_while_it_waits_ends_nothing(
    start: Start, upstream: FakeUpstream
) -> None:
    async with start() as running:
        upstream.plan(["slow-first-500ms"])
        asking = [asyncio.create_task(ask(running)) for _ in range(3)]
        await until(everybody_waits(running, 2))

        asking[1].cancel()
        await until(everybody_waits(running, 1))

        assert {(await one).text for one in (asking[0], asking[2])} == {ECHO}
        assert upstream.received == 1


async def test_usage_is_shown_as_it_was_and_only_where_it_is_asked_for(start: Start) -> None:
    async with start() as running:
        whole = await ask(running)
        plain = await ask(running, stream=True)
        told = await ask(running, stream=True, stream_options={"include_usage": True})

        assert plain.is_hit
        assert told.is_hit
        assert all(chunk["choices"] for chunk in plain.raw)
        assert told.raw[-1]["usage"] == whole.raw[0]["usage"]


@pytest.mark.parametrize("mode", [EXACT, SEMANTIC])
async def test_who_is_told_the_usage_is_not_given_an_answer_that_says_none(
    start: Start, shelf: dict[str, Any], mode: str
) -> None:
    async with start(mode, **shelf) as running:
        stream = await ask(running, stream=True)
        whole = await ask(running)
        told = await ask(running, stream=True, stream_options={"include_usage": True})
        again = await ask(running, stream=True)

        assert (stream.cache, whole.cache) == ("miss", "miss")
        assert whole.raw[0]["usage"]["total_tokens"] > 0
        assert told.is_hit
        assert told.raw[-1]["usage"] == whole.raw[0]["usage"]
        assert again.is_hit


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.5},
        {"max_tokens": 99},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"seed": 1},
        {"response_format": {"type": "text"}},
        {"user": "somebody"},
        {"a_field_of_tomorrow": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("mode", MODES)
async def test_what_may_change_an_answer_is_part_of_the_request(
    start: Start, upstream: FakeUpstream, mode: str, fields: dict[str, Any]
) -> None:
    async with start(mode) as running:
        await ask(running)
        assert not (await ask(running, **fields)).is_hit
        assert upstream.received == 2


async def test_another_model_system_prompt_or_earlier_turn_is_another_request(
    start: Start,
) -> None:
    async with start(SEMANTIC) as running:
        turn = {"role": "user", "content": QUESTION}
        system = {"role": "system", "content": "you are a pirate"}
        earlier = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]

        for messages in ([turn], [system, turn], [*earlier, turn]):
            assert not (await ask(running, messages=messages)).is_hit
        assert not (await ask(running, model="other")).is_hit
        for messages in ([turn], [system, turn], [*earlier, turn]):
            assert (await ask(running, messages=messages)).is_hit


async def test_keys_of_a_body_may_come_in_any_order(start: Start, upstream: FakeUpstream) -> None:
    async with start() as running:
        await ask(running, temperature=0.5, seed=1)
        await ask(running, seed=1, temperature=0.5)

        assert upstream.received == 1


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("mode", MODES)
async def test_sec_24_nobody_is_given_what_another_tenant_was_told(
    start: Start, upstream: FakeUpstream, shelf: dict[str, Any], mode: str, *, stream: bool
) -> None:
    async with start(mode, **shelf) as running:
        await ask(running, key="alice", stream=stream)

        others = [(text, form) for text in (QUESTION, NEAR) for form in (False, True)]
        for number, (text, form) in enumerate(others):
            assert not (await ask(running, text, key=f"bob {number}", stream=form)).is_hit
        assert upstream.received == 5
        kept = await ask(running, key="alice", stream=stream)
        assert kept.is_hit
        theirs = await running.request(
            "DELETE",
            f"{running.url}/cache/{kept.id}",
            headers={"authorization": "Bearer bob 1"},
        )
        assert theirs.status == 404
        assert (await ask(running, key="alice", stream=stream)).is_hit


async def test_sec_24_an_entry_of_another_partition_is_never_given_away(start: Start) -> None:
    """Even where the store mixes partitions up."""
    async with start() as running:
        await ask(running, key="alice")
        shelf = running.gateway.premises.shelf  # type: ignore[union-attr]
        ((_, kept),) = shelf._kept.items()  # type: ignore[attr-defined]

        async def mixed_up(partition: str, name: str) -> Entry:
            del partition, name
            return kept.entry  # type: ignore[no-any-return]

        shelf.get = mixed_up  # type: ignore[method-assign]

        assert (await ask(running, key="alice")).is_hit
        assert not (await ask(running, key="bob")).is_hit


async def test_a_request_that_means_the_same_is_given_the_answer_and_told_how_near(
    start: Start, upstream: FakeUpstream, shelf: dict[str, Any]
) -> None:
    async with start(SEMANTIC, **shelf) as running:
        await ask(running)

        near = await ask(running, NEAR)
        far = await ask(running, FAR)

        similarity = float(near.cache.split("similarity=")[1])
        assert near.text == ECHO
        assert 0.7 <= similarity <= 1
        assert not far.is_hit
        assert upstream.received == 2
        assert running.metric('coe_cache_lookups_total{result="similar"}') == 1


async def test_other_numbers_never_mean_the_same(start: Start) -> None:
    async with start(SEMANTIC) as running:
        text = "what do I pay for the large room in the old house for {} nights"
        await ask(running, text.format(7))

        assert not (await ask(running, text.format(8))).is_hit
        assert (await ask(running, text.format(7) + " please")).is_hit


async def test_tools_and_images_are_never_looked_for_by_meaning(start: Start) -> None:
    async with start(SEMANTIC) as running:
        tools = [{"type": "function", "function": {"name": "f"}}]
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}

        def shown(text: str) -> list[dict[str, Any]]:
            return [{"role": "user", "content": [{"type": "text", "text": text}, image]}]

        for fields in (
            {"tools": tools},
            {"messages": shown(QUESTION)},
        ):
            await ask(running, **fields)
            assert not (await ask(running, NEAR, **{**fields, **_near(fields, shown)})).is_hit


def _near(fields: dict[str, Any], shown: Callable[[str], Any]) -> dict[str, Any]:
    return {"messages": shown(NEAR)} if "messages" in fields else {}


@pytest.mark.parametrize("stream", STREAMS)
async def test_an_answer_that_a_limit_cut_is_not_kept(
    start: Start, upstream: FakeUpstream, *, stream: bool
) -> None:
    async with start() as running:
        for _ in range(2):
            assert not (await ask(running, model="cut", stream=stream)).is_hit
        assert upstream.received == 2
        assert running.metric('coe_cache_answers_total{result="dropped"}') == 2


async def test_an_answer_that_broke_is_not_kept(start: Start, upstream: FakeUpstream) -> None:
    async with start() as running:
        for _ in range(2):
            answer = await running.chat("broken", stream=True)
            assert b"[DONE]" not in await answer.read()
        assert upstream.received == 2
        assert (await running.gateway.premises.shelf.stock(None)).entries == 0  # type: ignore[union-attr]


async def test_an_answer_that_its_client_left_is_not_kept(
    start: Start, upstream: FakeUpstream
) -> None:
    sections = EXACT + "timeouts: {total: 20s}\n"
    async with start(sections) as running:
        answer = await running.chat("good", "one two three", stream=True)
        answer.close()
        upstream_was = upstream.received
        await asyncio.sleep(0.1)

        said = await ask(running, "something else")

        assert (said.is_hit, upstream_was) == (False, 1)


async def test_a_client_may_stay_out_or_ask_anew(start: Start, upstream: FakeUpstream) -> None:
    async with start() as running:
        off = await ask(running, headers={"x-coe-cache": "off"})
        assert (off.cache, (await ask(running)).cache) == ("off", "miss")
        fresh = await ask(running, headers={"x-coe-cache": "refresh"})
        assert (fresh.cache, (await ask(running)).is_hit) == ("refresh", True)
        assert upstream.received == 3

        wrong = await running.request(
            "POST",
            f"{running.url}/chat/completions",
            json={"model": "good", "messages": [{"role": "user", "content": "x"}]},
            headers={"x-coe-cache": "perhaps"},
        )
        assert wrong.status == 400
        assert "use, refresh or off" in await wrong.text()


@pytest.mark.parametrize("excluded", ["secret", "judge", "tag:inner"])
async def test_an_answer_with_a_part_of_an_expert_that_is_kept_out_is_not_given(
    start: Start, excluded: str
) -> None:
    async with start() as running:
        first = await ask(running, model="panel")
        assert first.cache == "miss"
        assert (await ask(running, model="panel")).is_hit

        without = await ask(running, model="panel", headers={"x-coe-exclude": excluded})

        assert not without.is_hit


async def test_sec_24_who_had_a_part_is_looked_at_whatever_the_key_says(start: Start) -> None:
    async with start() as running:
        await ask(running, model="panel")
        shelf = running.gateway.premises.shelf  # type: ignore[union-attr]
        ((_, kept),) = shelf._kept.items()  # type: ignore[attr-defined]
        assert {"other", "secret", "judge"} <= set(kept.entry.experts)

        async def found(partition: str, name: str) -> Entry:
            del partition, name
            return kept.entry  # type: ignore[no-any-return]

        shelf.get = found  # type: ignore[method-assign]
        assert (await ask(running, model="panel")).is_hit

        said = await ask(running, model="panel", headers={"x-coe-exclude": "secret"})

        assert not said.is_hit
        assert running.metric('coe_cache_lookups_total{result="barred"}') == 1


async def test_an_answer_is_forgotten_by_its_id_or_all_are(
    start: Start, shelf: dict[str, Any]
) -> None:
    async with start(SEMANTIC, **shelf, admin="loopback") as running:
        url, alice = f"{running.url}/cache", {"authorization": "Bearer alice"}
        for key, text in (("alice", QUESTION), ("alice", FAR), ("bob", QUESTION)):
            await ask(running, text, key=key)
        stock = await (await running.request("GET", url, headers=alice)).json()
        assert (stock["entries"], stock["mode"]) == (2, "exact_then_semantic")

        one = (await ask(running)).id
        gone = await running.request("DELETE", f"{url}/{one}", headers=alice)
        again = await running.request("DELETE", f"{url}/{one}", headers=alice)
        assert (gone.status, again.status) == (204, 404)
        assert not (await ask(running, NEAR)).is_hit

        cleared = await (await running.request("DELETE", url, headers=alice)).json()
        assert cleared["forgotten"] == 2
        assert (await ask(running, key="bob")).is_hit
        everyone = await running.request("DELETE", f"{url}?everyone=true", headers=alice)
        assert (await everyone.json())["forgotten"] == 1
        assert not (await ask(running, key="bob")).is_hit


async def test_what_is_everyones_is_for_admins_alone(start: Start) -> None:
    async with start() as running:
        for method in ("GET", "DELETE"):
            answer = await running.request(method, f"{running.url}/cache?everyone=true")
            assert answer.status == 403


async def test_answers_outlive_a_reload_that_does_not_concern_them(
    start: Start, upstream: FakeUpstream
) -> None:
    async with start() as running:
        file, text = running.live.composition.source, FILE.format(url=upstream.url)
        await ask(running)
        file.write_text(text + EXACT + "timeouts: {total: 30s}\nobserve: {keep_prompts: none}\n")
        await running.live.edit()
        assert (await ask(running)).is_hit

        file.write_text(text.replace("good: {", "good: {force: {top_p: 0.1}, ") + EXACT)
        await running.live.edit()
        assert not (await ask(running)).is_hit


async def test_an_old_answer_is_forgotten(start: Start, shelf: dict[str, Any]) -> None:
    async with start("cache: {mode: exact, ttl: 1500ms}\n", **shelf) as running:
        await ask(running)
        assert (await ask(running)).is_hit
        async with asyncio.timeout(10):
            while (await ask(running)).is_hit:
                await asyncio.sleep(0.05)


async def test_memory_is_bounded(start: Start) -> None:
    async with start("cache: {mode: exact, most: 20KiB}\n") as running:
        for number in range(40):
            await ask(running, f"{number} " + "word " * 100)

        stock = await running.gateway.premises.shelf.stock(None)  # type: ignore[union-attr]
        assert 0 < stock.entries < 20
        assert stock.bytes <= 20 * 1024
        assert (await ask(running, "39 " + "word " * 100)).is_hit


async def test_rel_04_with_redis_frozen_each_request_is_asked_after_one_wait_at_most(
    start: Start, redis_server: RedisServer, upstream: FakeUpstream
) -> None:
    async with start(SEMANTIC, redis_url=redis_server.url, redis_wait_s=0.1) as running:
        async with asyncio.timeout(10):
            while not (await ask(running)).is_hit:
                await asyncio.sleep(0.1)
        asked = upstream.received
        redis = running.gateway.premises.redis  # type: ignore[union-attr]
        assert redis is not None
        failures, began_s = redis.failures, time.monotonic()
        redis_server.freeze()

        said = [await ask(running, stream=number % 2 == 0) for number in range(6)]

        assert [one.cache for one in said] == ["unavailable"] * 6
        assert upstream.received == asked + 6
        assert running.metric('coe_cache_lookups_total{result="unavailable"}') >= 6
        probes = 1 + (time.monotonic() - began_s) / REST_S
        assert redis.failures - failures <= 1 + probes  # of the requests, the first one waited
        redis_server.thaw()
        async with asyncio.timeout(10):
            while not (await ask(running)).is_hit:
                await asyncio.sleep(0.1)


async def test_replicas_share_what_redis_holds(
    start: Start, redis_server: RedisServer, upstream: FakeUpstream
) -> None:
    async with (
        start(redis_url=redis_server.url) as one,
        start(redis_url=redis_server.url) as two,
    ):
        await ask(one)
        asked = upstream.received
        assert (await ask(two)).is_hit
        assert upstream.received == asked


async def test_a_panels_own_calls_are_no_requests_of_the_cache(
    start: Start, upstream: FakeUpstream
) -> None:
    async with start() as running:
        part = {"x-coe-part": "1"}
        for _ in range(2):
            assert (await ask(running, headers=part)).cache == "off"
        assert upstream.received == 2


async def test_embeddings_of_an_expert_are_kept_too(start: Start, upstream: FakeUpstream) -> None:
    async with start() as running:
        answers = []
        for _ in range(2):
            answer = await running.request(
                "POST", f"{running.url}/embeddings", json={"model": "good", "input": "hello"}
            )
            answers.append(await answer.json())
            await running.gateway.cache.settle()  # type: ignore[union-attr]

        assert answers[0] == answers[1]
        assert upstream.received == 1


async def test_the_decision_log_says_that_an_answer_was_kept_and_cost_nothing(
    start: Start,
) -> None:
    async with start() as running:
        await ask(running)
        again = await running.chat("good", QUESTION)
        again = await running.request(
            "POST",
            f"{running.url}/chat/completions",
            json={"model": "good", "messages": [{"role": "user", "content": QUESTION}]},
            headers={"authorization": "Bearer alice"},
        )
        name = again.headers["x-coe-decision-id"]
        async with asyncio.timeout(10):
            while True:
                found = await running.request(
                    "GET",
                    f"{running.url}/decisions/{name}",
                    headers={"authorization": "Bearer alice"},
                )
                if found.status == 200:
                    break
                await asyncio.sleep(0.1)
        record = await found.json()
        assert (record["reason"], record["cost"]) == ("cached", 0)
        assert record["expert"] == "good"


async def test_real_clients_read_what_was_kept(start: Start) -> None:
    async with (
        start() as running,
        openai.AsyncOpenAI(base_url=running.url, api_key="alice", max_retries=0) as client,
    ):
        await ask(running)

        stream = await client.chat.completions.create(
            model="good", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        chunks = [chunk async for chunk in stream]
        legacy = await client.chat.completions.with_raw_response.create(
            model="good", messages=[{"role": "user", "content": QUESTION}]
        )

        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ECHO
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert legacy.headers["x-coe-cache"].startswith("hit; id=")
        assert legacy.parse().choices[0].message.content == ECHO


async def test_nothing_is_kept_where_the_composition_says_nothing(
    start: Start, upstream: FakeUpstream
) -> None:
    async with start("") as running:
        assert running.gateway.cache is None
        for _ in range(2):
            assert (await ask(running)).cache == ""
        assert upstream.received == 2
