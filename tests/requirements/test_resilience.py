"""What is promised where experts, clients and stores fail; requirements have their numbers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
import uvicorn

from coe.cli.protocol import limited
from coe.composition import load
from coe.composition.fallback_keys import FallbackKeys
from coe.errors import RouterUnavailable
from coe.resilience.budget import RESERVE
from coe.resilience.latencies import LEAST
from coe.stores.decisions import FILE
from coe.testing.collector import Collector
from coe.testing.upstream import FakeUpstream
from tests.e2e.conftest import Start
from tests.integration.conftest import Serve
from tests.integration.plugins import install
from tests.integration.test_scheduling import Held

pytestmark = pytest.mark.anyio

SHORT = "{connect: 300ms, first_token: 300ms, idle: 300ms, total: 2s}"


def experts(
    up: FakeUpstream, models: Mapping[str, str], more: str = "", timeouts: str = SHORT
) -> str:
    """A composition whose `coe/auto` asks experts in their order; each is a behaviour."""
    rows = "".join(f"  {name}: {{backend: up, {keys}}}\n" for name, keys in _keys(models).items())
    names = list(models)
    return (
        f"version: 1\nbackends: {{up: '{up.url}', gone: 'http://127.0.0.1:9'}}\n"
        f"experts:\n{rows}routing: {{none: [{', '.join(names)}]}}\ndefault: {names[-1]}\n"
        f"timeouts: {timeouts}\n{more}"
    )


def _keys(models: Mapping[str, str]) -> dict[str, str]:
    return {name: keys if ":" in keys else f"model: '{keys}'" for name, keys in models.items()}


def tried(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("x-coe-tried", "")


def who(response: aiohttp.ClientResponse) -> str:
    return response.headers["x-coe-expert"]


async def error_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    return dict((await response.json())["error"])


# ---------------------------------------------------------------- REL-01: four limits of time


@pytest.mark.parametrize(
    ("behaviour", "limit"),
    [("hang", "first token"), ("stall-after-2", "idle"), ("slow-token-100ms", "total")],
)
async def test_rel_01_each_limit_of_time_stands_alone(
    serve: Serve, upstream: FakeUpstream, behaviour: str, limit: str
) -> None:
    limits = {"connect": "9s", "first_token": "9s", "idle": "9s", "total": "9s"}
    limits[limit.replace(" ", "_")] = "250ms"
    written = "{" + ", ".join(f"{key}: {value}" for key, value in limits.items()) + "}"
    async with serve(experts(upstream, {"a": behaviour}, timeouts=written)) as running:
        response = await running.chat(stream=True, text="a b c d e f g h")
        said = await response.text()

    assert limit in said
    assert "[DONE]" not in said


async def test_rel_01_a_connection_that_nobody_accepts_is_given_up(
    serve: Serve, upstream: FakeUpstream
) -> None:
    with socket.socket() as deaf:  # its queue of connections is full: the next gets no answer
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)  # noqa: FBT003
            filler.connect_ex(address)
        text = experts(upstream, {"a": "ok", "b": "ok"}).replace(
            "http://127.0.0.1:9", f"http://127.0.0.1:{address[1]}"
        )
        text = text.replace("a: {backend: up", "a: {backend: gone")
        async with serve(text) as running:
            response = await running.chat()
        for filler in fillers:
            filler.close()

    assert (who(response), tried(response)) == ("b", "a=timeout")


# ---------------------------------------------------------------- REL-02: another try


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("error-429", "429"),
        ("error-503", "503"),
        ("error-404", "model_not_available"),
        ("error-400-context", "context_overflow"),
        ("reset", "connect"),
        ("garbage", "bad_answer"),
        ("hang", "timeout"),
    ],
)
async def test_rel_02_before_the_first_byte_the_next_expert_is_asked(
    serve: Serve, upstream: FakeUpstream, behaviour: str, kind: str
) -> None:
    async with serve(experts(upstream, {"a": behaviour, "b": "ok"})) as running:
        response = await running.chat(stream=True)

        assert "[DONE]" in await response.text()
    assert (who(response), tried(response)) == ("b", f"a={kind}")
    assert response.headers["x-coe-attempts"] == "2"
    assert response.headers["x-coe-reason"] == "fallback"


async def test_rel_02_after_the_first_byte_nobody_else_is_asked(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(experts(upstream, {"a": "drop-after-2", "b": "ok"})) as running:
        response = await running.chat(stream=True)
        said = await response.text()

    assert who(response) == "a"
    assert "[DONE]" not in said
    assert json.loads(said.strip().splitlines()[-1].removeprefix("data: "))["error"]["code"]
    assert upstream.received == 1


@pytest.mark.parametrize(
    ("rules", "behaviour", "status", "asked"),
    [
        ("never_retry: [503]", "error-503", 502, 1),
        ("retry_on: [timeout]", "error-503", 502, 1),
        ("retry_on: [5xx]", "error-503", 200, 2),
        ("retry_on: [4xx], never_retry: [403]", "error-403", 502, 1),
        ("never_retry: [model_not_available]", "error-404", 404, 1),
        ("attempts: 1", "error-503", 502, 1),
        ("use: none", "error-503", 502, 1),
        ("use: next_ranked, after_first_byte: stop", "error-503", 200, 2),
        ("retry_on: [400]", "error-400", 200, 2),
    ],
)
async def test_rel_02_the_composition_says_after_what(
    serve: Serve, upstream: FakeUpstream, rules: str, behaviour: str, status: int, asked: int
) -> None:
    text = experts(upstream, {"a": behaviour, "b": "ok"}, f"fallbacks: {{{rules}}}\n")
    async with serve(text) as running:
        response = await running.chat()

    assert (response.status, upstream.received) == (status, asked)


async def test_rel_02_the_last_resort_comes_after_all_attempts(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {"last": "ok", "a": "error-503", "b": "error-503", "c": "ok"}
    more = "fallbacks: {attempts: 2, last_resort: last}\n"
    async with serve(experts(upstream, models, more)) as running:
        response = await running.chat()

    assert who(response) == "last"
    assert tried(response) == "a=503, b=503"


async def test_rel_02_all_attempts_together_have_a_limit(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {"a": "error-503", "b": "hang", "c": "ok"}
    text = experts(upstream, models, "fallbacks: {total: 200ms}\n", "{}")
    async with serve(text) as running:
        response = await running.chat()

        assert "fallbacks.total" in (await error_of(response))["message"]
    assert response.status == 504
    assert tried(response) == "a=503, b=timeout"


@pytest.mark.parametrize("limits", ["{first_token: 30s}", "{first_token: 100ms}"])
async def test_rel_02_each_attempt_has_a_limit_to_its_first_byte(
    serve: Serve, upstream: FakeUpstream, limits: str
) -> None:
    """The shorter one of the two holds."""
    first_byte = "30s" if "100ms" in limits else "100ms"
    more = f"fallbacks: {{first_byte: {first_byte}}}\n"
    async with serve(experts(upstream, {"a": "hang", "b": "ok"}, more, limits)) as running:
        response = await asyncio.wait_for(running.chat(stream=True), 5)

        assert "[DONE]" in await response.text()
    assert (who(response), tried(response)) == ("b", "a=timeout")


async def test_rel_02_the_limit_to_the_first_byte_leaves_alone_what_is_not_streamed(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {first_byte: 50ms}\n"
    async with serve(experts(upstream, {"a": "slow-first-200ms", "b": "ok"}, more)) as running:
        response = await running.chat()

    assert (who(response), tried(response)) == ("a", "")


async def test_rel_02_a_panel_falls_back_to_nobody_where_nobody_is_to_be_asked(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = (
        "fallbacks: {use: none}\naggregation: {two: {method: vote, experts: [b, c]}}\n"
        "models: {coe/two: {aggregate: two}}\n"
    )
    models = {"a": "ok", "b": "error-503", "c": "error-503"}
    async with serve(experts(upstream, models, more)) as running:
        response = await running.chat(model="coe/two")

    assert (response.status, upstream.received) == (502, 2)


async def test_rel_02_who_asks_to_wait_a_moment_is_asked_once_more(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {retry_after: 1s}\n"
    async with serve(experts(upstream, {"a": "ok", "b": "ok"}, more)) as running:
        upstream.plan(["error-429-retry-after-ms-50"])
        again = await running.chat()
        upstream.plan(["error-429-retry-after-ms-50"] * 2)
        other = await running.chat()

    assert (who(again), tried(again)) == ("a", "a=429")
    assert again.headers["x-coe-reason"] != "fallback"
    assert (who(other), tried(other)) == ("b", "a=429, a=429")


async def test_rel_02_further_calls_are_a_fifth_of_the_requests(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {retry_budget: 20%}\n"
    requests = 100
    async with serve(experts(upstream, {"a": "error-503", "b": "ok"}, more)) as running:
        statuses = [(await running.chat()).status for _ in range(requests)]
        refused = running.gateway.standing.budget.refused

    further = upstream.received - requests
    assert further == statuses.count(200)
    # What time alone earns comes on top; it is seconds here, one call each.
    assert RESERVE + 0.2 * requests - 2 <= further <= RESERVE + 0.2 * requests + 10
    assert refused == statuses.count(502)


async def test_rel_02_who_is_asked_in_the_place_of_a_panel_is_a_further_call(
    serve: Serve, upstream: FakeUpstream
) -> None:
    """A panel's own calls are none: they are what was planned."""
    more = (
        "fallbacks: {retry_budget: 20%}\naggregation: {two: {method: vote, experts: [b, c]}}\n"
        "models: {coe/two: {aggregate: two}}\n"
    )
    models = {"a": "ok", "b": "error-503", "c": "error-503"}
    requests = 60
    async with serve(experts(upstream, models, more)) as running:
        statuses = [(await running.chat(model="coe/two")).status for _ in range(requests)]
        budget = running.gateway.standing.budget

    further = upstream.received - 2 * requests
    assert further == statuses.count(200) == budget.spent
    assert RESERVE + 0.2 * requests - 2 <= further <= RESERVE + 0.2 * requests + 10
    assert budget.refused == statuses.count(502) > 0


async def test_rel_02_a_panel_that_answers_earns_as_any_request(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = (
        "fallbacks: {retry_budget: 100%}\naggregation: {two: {method: vote, experts: [b, c]}}\n"
        "models: {coe/two: {aggregate: two}}\n"
    )
    async with serve(experts(upstream, {"a": "ok", "b": "ok", "c": "ok"}, more)) as running:
        budget = running.gateway.standing.budget
        while budget.spend(0.0):
            pass
        for _ in range(3):
            await running.chat(model="coe/two")
        earned = 0
        while budget.spend(0.0):
            earned += 1

    assert earned == 3


async def test_rel_02_what_was_tried_is_told_with_the_rule(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {never_retry: [503]}\nobserve: {decisions: true}\n"
    models = {"a": "error-429", "b": "error-503", "c": "ok"}
    async with serve(experts(upstream, models, more)) as running:
        response = await running.chat()
        name = response.headers.get("x-coe-decision-id") or ""

    assert response.status == 502
    assert tried(response) == "a=429, b=503"
    assert response.headers["x-should-retry"] == "false"
    assert name == ""


async def test_rel_02_too_long_a_prompt_goes_to_a_larger_context_only(
    serve: Serve, upstream: FakeUpstream
) -> None:
    models = {
        "a": "model: error-400-context, context: 8000",
        "small": "model: ok, context: 4000",
        "large": "model: ok, context: 32000",
    }
    async with serve(experts(upstream, models)) as running:
        response = await running.chat()

    assert (who(response), tried(response)) == ("large", "a=context_overflow")
    assert upstream.received == 2


async def test_rel_02_nobody_waits_beyond_the_requests_own_deadline(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {retry_after: 30s}\n"
    async with serve(experts(upstream, {"a": "error-429-retry-after-2", "b": "ok"}, more)) as one:
        body = {"model": "coe/auto", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"x-coe-deadline-ms": "1500"}
        response = await one.request(
            "POST", f"{one.url}/chat/completions", json=body, headers=headers
        )

    assert (who(response), tried(response)) == ("b", "a=429")


# ---------------------------------------------------------------- REL-03: the breaker

BREAKER = "fallbacks: {breaker: {failures: 3, open: 60s}}\n"


async def test_rel_03_an_expert_that_keeps_failing_is_left_alone(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(experts(upstream, {"a": "error-503", "b": "ok"}, BREAKER)) as running:
        first = [tried(await running.chat()) for _ in range(3)]
        then = await running.chat()
        told = await (
            await running.request("POST", f"{running.url}/route", json={"input": "hi"})
        ).json()

    assert first == ["a=503"] * 3
    assert (who(then), tried(then)) == ("b", "")
    assert then.headers["x-coe-reason"] == "fallback"
    assert upstream.received == 7
    assert (told["expert"], told["instead_of"]) == ("b", "a")
    assert told["set_back"][0]["rule"] == "breaker"
    assert "open for" in told["set_back"][0]["detail"]


async def test_rel_03_one_call_finds_out_whether_it_is_well(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {breaker: {failures: 1, open: 1ms}}\n"
    async with serve(experts(upstream, {"a": "slow-first-100ms", "b": "ok"}, more)) as running:
        upstream.plan(["error-503"])
        await running.chat()
        await asyncio.sleep(0.01)
        answers = await asyncio.gather(*(running.chat() for _ in range(8)))
        after = await running.chat()

    assert sorted(who(answer) for answer in answers) == ["a"] + ["b"] * 7
    assert who(after) == "a"


async def test_rel_03_the_last_one_is_asked_all_the_same(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(experts(upstream, {"a": "ok", "b": "ok"}, BREAKER)) as running:
        upstream.plan(["error-503"] * 6)
        for _ in range(3):
            assert (await running.chat()).status == 502
        answered = await running.chat()
        again = await running.chat(model="b")

    assert (answered.status, who(answered)) == (200, "a")
    assert (again.status, who(again)) == (200, "b")


async def test_rel_03_a_panels_member_with_an_open_breaker_is_not_asked(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = (
        f"{BREAKER}aggregation: {{three: {{method: vote, experts: [a, b, c]}}}}\n"
        "models: {coe/three: {aggregate: three}}\n"
    )
    models = {"a": "error-503", "b": "ok", "c": "ok"}
    async with serve(experts(upstream, models, more)) as running:
        for _ in range(3):
            assert (await running.chat(model="coe/three")).status == 200
        asked = upstream.received
        assert (await running.chat(model="coe/three")).status == 200

    assert (asked, upstream.received) == (9, 11)


async def test_rel_03_a_panel_whose_breakers_are_all_open_is_asked_all_the_same(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = (
        f"{BREAKER}aggregation: {{two: {{method: vote, experts: [a, b]}}}}\n"
        "models: {coe/two: {aggregate: two}}\n"
    )
    async with serve(experts(upstream, {"a": "ok", "b": "ok"}, more)) as running:
        upstream.plan(["error-503"] * 6)
        for _ in range(3):
            assert (await running.chat(model="coe/two")).status >= 500
        answered = await running.chat(model="coe/two")

    assert answered.status == 200


async def test_rel_03_a_reload_forgets_no_open_breaker(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(experts(upstream, {"a": "error-503", "b": "ok"}, BREAKER)) as running:
        for _ in range(3):
            await running.chat()
        file = running.live.composition.source
        file.write_text(file.read_text() + "learning: {mode: 'off'}\n")
        await running.live.edit()
        response = await running.chat()

    assert (who(response), tried(response)) == ("b", "")


# ---------------------------------------------------------------- hedging


async def test_a_slow_expert_is_overtaken_and_its_call_cancelled(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {hedge: 50ms}\n"
    limits = "{first_token: 30s}"
    async with serve(experts(upstream, {"a": "hang", "b": "ok"}, more, limits)) as running:
        response = await running.chat(stream=True)
        said = await response.text()
        await asyncio.wait_for(upstream.client_gone(), 1.0)
        hedges = dict(running.gateway.standing.hedges)

    assert (who(response), tried(response)) == ("b", "a=overtaken")
    assert "[DONE]" in said
    assert hedges == {"won": 1}


async def test_p95_waits_for_an_expert_as_long_as_it_used_to_take(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {hedge: p95}\n"
    async with serve(experts(upstream, {"a": "ok", "b": "ok"}, more, "{}")) as running:
        for _ in range(LEAST):  # too few are known: nobody is asked beside it
            await running.chat()
        asked = upstream.received
        upstream.plan(["hang"])
        response = await running.chat()

    assert asked == LEAST
    assert (who(response), tried(response)) == ("b", "a=overtaken")


async def test_a_hedge_that_loses_is_cancelled_and_told(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {hedge: 50ms}\n"
    models = {"a": "slow-first-200ms", "b": "hang"}
    async with serve(experts(upstream, models, more, "{first_token: 30s}")) as running:
        response = await running.chat()
        await asyncio.wait_for(upstream.client_gone(), 1.0)

    assert (who(response), tried(response)) == ("a", "b=overtaken")
    assert response.headers["x-coe-reason"] == "no-router"


async def test_who_is_asked_after_a_failure_is_no_hedge(
    serve: Serve, upstream: FakeUpstream
) -> None:
    """Nor is it told of as one; it may be slow and be overtaken itself."""
    more = "fallbacks: {hedge: 50ms}\n"
    models = {"a": "error-503", "b": "ok", "c": "ok"}
    async with serve(experts(upstream, models, more, "{first_token: 30s}")) as running:
        quick = await running.chat()
        before = dict(running.gateway.standing.hedges)
        upstream.plan(["error-503", "hang"])
        slow = await running.chat()
        hedges = dict(running.gateway.standing.hedges)

    assert (who(quick), tried(quick), before) == ("b", "a=503", {})
    assert (who(slow), tried(slow), hedges) == ("c", "a=503, b=overtaken", {"won": 1})


async def test_who_fails_beside_others_is_not_waited_for(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {hedge: {after: 50ms, most: 2}}\n"
    models = {"a": "slow-first-300ms", "b": "error-503", "c": "hang"}
    async with serve(experts(upstream, models, more, "{first_token: 30s}")) as running:
        response = await running.chat()

    assert (who(response), tried(response)) == ("a", "b=503, c=overtaken")


@pytest.mark.parametrize("most", [1, 2])
async def test_nobody_is_asked_beside_a_call_that_is_over(
    serve: Serve, upstream: FakeUpstream, most: int
) -> None:
    """It failed, and is to be made again in a while."""
    more = f"fallbacks: {{retry_after: 2s, hedge: {{after: 100ms, most: {most}}}}}\n"
    models = {"a": "ok", "b": "ok", "c": "ok"}
    async with serve(experts(upstream, models, more, "{first_token: 30s}")) as running:
        upstream.plan(["error-429-retry-after-ms-400"])
        response = await running.chat()
        hedges = dict(running.gateway.standing.hedges)

    assert (who(response), tried(response), hedges) == ("a", "a=429", {})
    assert upstream.received == 2


async def test_who_is_asked_beside_others_is_asked_for_the_request_itself(
    serve: Serve, upstream: FakeUpstream
) -> None:
    """Several requests share a timer, which is of whoever came first."""
    more = "fallbacks: {hedge: 100ms}\n"
    models = {"a": "hang", "b": "ok"}
    async with Collector() as collector:
        more += f"observe: {{traces: '{collector.url}', trace_sample: 100%}}\n"
        async with serve(experts(upstream, models, more, "{first_token: 30s}")) as running:
            traces = [f"{number:032x}" for number in range(1, 9)]
            body = {"model": "coe/auto", "messages": [{"role": "user", "content": "hi"}]}
            url = f"{running.url}/chat/completions"
            given = [{"traceparent": f"00-{trace}-{1:016x}-01"} for trace in traces]
            asked = [running.request("POST", url, json=body, headers=one) for one in given]
            for response in await asyncio.gather(*asked):
                assert who(response) == "b"

    sent = [request.headers["traceparent"].split("-")[1] for request in upstream.requests]
    assert sorted(sent) == sorted(2 * traces)


async def test_where_all_that_were_asked_side_by_side_fail_the_next_is_asked(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {hedge: 50ms}\n"
    models = {"a": "hang", "b": "error-503", "c": "ok"}
    async with serve(experts(upstream, models, more)) as running:
        response = await running.chat()

    assert (who(response), tried(response)) == ("c", "b=503, a=timeout")


@pytest.mark.parametrize(("rule", "asked"), [("50ms", 1), ("{after: 50ms, tools: true}", 2)])
async def test_requests_with_tools_are_asked_twice_only_where_that_is_said(
    serve: Serve, upstream: FakeUpstream, rule: str, asked: int
) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    models = {"a": "slow-first-200ms", "b": "ok"}
    more = f"fallbacks: {{hedge: {rule}}}\n"
    async with serve(experts(upstream, models, more, "{first_token: 9s}")) as running:
        await running.chat(tools=tools)

    assert upstream.received == asked


async def test_hedges_are_paid_from_the_retry_budget(serve: Serve, upstream: FakeUpstream) -> None:
    more = "fallbacks: {hedge: 1ms, retry_budget: 20%}\n"
    models = {"a": "slow-first-20ms", "b": "slow-first-20ms"}
    requests = 60
    async with serve(experts(upstream, models, more)) as running:
        for _ in range(requests):
            assert (await running.chat()).status == 200
        budget = running.gateway.standing.budget

    assert budget.refused > 0
    assert upstream.received - requests == budget.spent


async def test_who_leaves_cancels_all_that_were_asked_side_by_side(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {hedge: 20ms}\n"
    async with serve(experts(upstream, {"a": "hang", "b": "hang"}, more, "{}")) as running:
        asking = asyncio.create_task(running.chat(stream=True))
        await upstream.arrived(2)
        asking.cancel()
        await asyncio.wait_for(upstream.client_gone(2), 1.0)


# ---------------------------------------------------------------- who leaves


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_cancels_the_call_within_a_second(
    serve: Serve, upstream: FakeUpstream, *, stream: bool
) -> None:
    async with serve(experts(upstream, {"a": "hang"}, timeouts="{}")) as running:
        asking = asyncio.create_task(running.chat(stream=stream))
        await upstream.arrived()
        asking.cancel()
        await asyncio.wait_for(upstream.client_gone(), 1.0)


async def test_who_leaves_in_the_middle_cancels_the_call_within_a_second(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(experts(upstream, {"a": "stall-after-2"}, timeouts="{}")) as running:
        response = await running.chat(stream=True)
        await response.content.readany()
        response.close()
        await asyncio.wait_for(upstream.client_gone(), 1.0)


async def test_who_leaves_a_panel_cancels_all_of_its_calls_within_a_second(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = (
        "aggregation: {three: {method: vote, experts: [a, b, c]}}\n"
        "models: {coe/three: {aggregate: three}}\n"
    )
    models = {"a": "hang", "b": "hang", "c": "hang"}
    async with serve(experts(upstream, models, more, "{}")) as running:
        asking = asyncio.create_task(running.chat(model="coe/three"))
        await upstream.arrived(3)
        asking.cancel()
        await asyncio.wait_for(upstream.client_gone(3), 1.0)


@pytest.mark.parametrize("more", ["", "fallbacks: {shed_after: 60s}\n"])
async def test_who_leaves_a_line_is_never_asked_for(
    serve: Serve, upstream: FakeUpstream, more: str
) -> None:
    text = experts(upstream, {"a": "hang"}, more, "{}").replace(
        f"up: '{upstream.url}'", f"up: {{url: '{upstream.url}', concurrency: 1}}"
    )
    async with serve(text) as running:
        first = asyncio.create_task(running.chat())
        await upstream.arrived()
        second = asyncio.create_task(running.chat())
        while running.gateway.telemetry.in_flight < 2:
            await asyncio.sleep(0.01)
        second.cancel()
        while running.gateway.telemetry.in_flight > 1:
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait_for(upstream.client_gone(), 1.0)
        upstream.plan(["ok"])
        assert (await running.chat()).status == 200

    assert upstream.received == 2


# ---------------------------------------------------------------- SEC-19: limits of a request


def nested(depth: int) -> Any:
    return [] if depth == 0 else [nested(depth - 1)]


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"messages": [{"role": "user", "content": "a"}] * 4}, 400, "COE_MAX_MESSAGES"),
        ({"n": 17}, 400, "`n`"),
        ({"max_tokens": 1001}, 400, "`max_tokens`"),
        ({"max_completion_tokens": 1001}, 400, "`max_completion_tokens`"),
        ({"max_completion_tokens": 5, "max_tokens": 1001}, 400, "`max_tokens`"),
        ({"max_tokens": -1}, 400, "`max_tokens`"),
        ({"max_tokens": 10**30}, 400, "`max_tokens`"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 3}, 400, "`tools`"),
        ({"metadata": nested(40)}, 400, "COE_MAX_DEPTH"),
        ({"user": "a" * 20_000}, 413, "COE_MAX_BODY_BYTES"),
    ],
)
async def test_sec_19_what_is_too_much_is_refused_before_anybody_is_asked(
    serve: Serve, upstream: FakeUpstream, fields: dict[str, Any], status: int, named: str
) -> None:
    limits = {
        "max_messages": 3, "max_output_tokens": 1000, "max_tools": 2, "max_depth": 32,
        "max_body_bytes": 16_384,
    }  # fmt: skip
    async with serve(experts(upstream, {"a": "ok"}), **limits) as running:
        body = {"model": "a", "messages": [{"role": "user", "content": "hi"}], **fields}
        data = json.dumps(body).encode()
        response = await running.request("POST", f"{running.url}/chat/completions", data=data)

        assert named in (await error_of(response))["message"]
    assert (response.status, upstream.received) == (status, 0)


async def test_sec_19_a_head_without_end_is_refused() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    config = uvicorn.Config(answer, http=limited(4096), lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=[listener])
    try:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50000\r\n\r\n" + b"a" * 50_000)
        assert b"200 OK" in await reader.readuntil(b"fine")  # a body is no head
        writer.write(b"GET / HTTP/1.1\r\n")
        sent = 0
        try:
            while sent < 100 * 4096 and not reader.at_eof():
                writer.write(b"x-more: %s\r\n" % (b"a" * 1000))
                await writer.drain()
                sent += 1000
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        said = b""
        with contextlib.suppress(ConnectionError):
            said = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    finally:
        await server.shutdown(sockets=[listener])

    assert sent < 100 * 4096
    assert not said or said.startswith(b"HTTP/1.1 431 ")


# ---------------------------------------------------------------- SEC-20: too many requests


async def test_sec_20_more_than_fit_are_told_to_come_again_and_health_is_exempt(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(experts(upstream, {"a": "hang"}, timeouts="{}"), max_in_flight=4) as running:
        inside = [asyncio.create_task(running.chat()) for _ in range(4)]
        await upstream.arrived(4)
        over = [await running.chat() for _ in range(3)]
        root = running.url.removesuffix("/v1")
        health = [
            await running.request("GET", f"{root}/health/{kind}") for kind in ("live", "ready")
        ]
        for task in inside:
            task.cancel()

    assert [answer.status for answer in over] == [503] * 3
    assert {answer.headers["retry-after"] for answer in over} == {"1"}
    assert [answer.status for answer in health] == [200, 200]


async def test_sec_20_bulk_is_refused_before_interactive_requests_are(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(experts(upstream, {"a": "hang"}, timeouts="{}"), max_in_flight=10) as running:
        inside = [asyncio.create_task(running.chat()) for _ in range(8)]
        await upstream.arrived(8)
        upstream.plan(["ok"])
        body = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}
        bulk = await running.request(
            "POST", f"{running.url}/chat/completions", json=body, headers={"x-coe-lane": "bulk"}
        )
        interactive = await running.chat()
        for task in inside:
            task.cancel()

    assert (bulk.status, interactive.status) == (503, 200)


async def test_sec_20_under_overload_what_would_come_too_late_is_refused_at_once(
    serve: Serve, upstream: FakeUpstream
) -> None:
    text = experts(
        upstream, {"a": "slow-first-50ms"}, "fallbacks: {shed_after: 300ms}\n", "{}"
    ).replace(f"up: '{upstream.url}'", f"up: {{url: '{upstream.url}', concurrency: 2}}")
    async with serve(text) as running:
        answers = await asyncio.gather(*(running.chat() for _ in range(80)))
        codes = [(await error_of(one))["code"] for one in answers if one.status != 200]
        after = await running.chat()
        shed = running.metric("coe_shed_calls_total")

    statuses = [answer.status for answer in answers]
    refused = [answer for answer in answers if answer.status == 503]
    assert set(statuses) == {200, 503}
    assert set(codes) == {"overloaded"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert upstream.received == statuses.count(200) + 1  # who was refused cost nobody anything
    assert shed == len(refused)
    assert after.status == 200


async def test_sec_20_a_busy_backend_is_passed_by_where_another_one_can_answer(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {shed_after: 100ms}\n"
    async with FakeUpstream() as spare:
        text = (
            experts(upstream, {"a": "hang", "b": "ok"}, more, "{}")
            .replace(
                f"up: '{upstream.url}'",
                f"up: {{url: '{upstream.url}', concurrency: 1}}, spare: '{spare.url}'",
            )
            .replace("b: {backend: up", "b: {backend: spare")
        )
        async with serve(text) as running:
            first = asyncio.create_task(running.chat())
            await upstream.arrived()
            second = await running.chat()
            first.cancel()

    assert (second.status, who(second), tried(second)) == (200, "b", "a=busy")


# ---------------------------------------------------------------- REL-03: seen from outside


async def test_rel_03_an_open_breaker_is_seen(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(
        experts(upstream, {"a": "error-503", "b": "ok"}, BREAKER), admin="loopback"
    ) as running:
        for _ in range(3):
            await running.chat()
        listed = await (await running.request("GET", f"{running.url}/experts")).json()
        opened = running.metric('coe_breaker_opens_total{backend="up",expert="a"}')
        states = [
            running.metric(f'coe_breaker_state{{backend="up",expert="{name}"}}') for name in "ab"
        ]

    assert {row["name"]: row["breaker"] for row in listed["data"]} == {"a": "open", "b": "closed"}
    assert (opened, states) == (1, [2, 0])


# ---------------------------------------------------------------- REL-04, REL-05: what is asked


class Stuck:
    """An encoder that does what a test wants: hang, be slow, or be gone."""

    name = "stuck"
    dim = 4
    fingerprint = "stuck"
    way = "well"
    free = threading.Event()

    def __init__(self, spec: object) -> None:
        del spec

    def encode(self, texts: Any) -> Any:
        import numpy as np

        if Stuck.way == "gone":
            raise RouterUnavailable("the encoder is gone")
        if Stuck.way == "broken":
            raise ZeroDivisionError
        if Stuck.way == "hangs":
            Stuck.free.wait(20)
        return np.eye(1, 4, dtype=np.float32).repeat(len(texts), 0)


@pytest.mark.parametrize("way", ["hangs", "gone", "broken"])
async def test_rel_05_an_encoder_that_fails_leaves_the_default_expert(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    install(tmp_path, monkeypatch, {"coe.encoders": Stuck})
    monkeypatch.setattr(Stuck, "way", "well")
    monkeypatch.setattr(Stuck, "free", threading.Event())
    more = (
        "categories: {code: {utterances: [a, b, c, d, e], experts: [b]}}\n"
        "encoders: {stuck: {type: stuck}}\n"
        "routers: {near: {type: embedding, encoder: stuck}}\n"
    )
    text = experts(upstream, {"a": "ok", "b": "ok"}, more).replace("default: b", "default: a")
    async with serve(text, router_wait_s=0.2) as running:
        await running.gateway.classifier.load()  # type: ignore[union-attr]
        Stuck.way = way
        try:
            answers = await asyncio.gather(*(running.chat(text=f"a {n}") for n in range(5)))
        finally:
            Stuck.free.set()

    assert [answer.status for answer in answers] == [200] * 5
    assert {answer.headers["x-coe-reason"] for answer in answers} == {"router-failed"}
    assert {who(answer) for answer in answers} == {"a"}


@pytest.mark.parametrize("what", ["locked", "deleted", "no folder"])
async def test_rel_04_no_request_waits_for_the_state_folder(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, what: str
) -> None:
    state = tmp_path / "state"
    if what == "no folder":
        state.write_text("a file where the folder should be")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            serve(experts(upstream, {"a": "ok"}), state_dir=str(state))
        )
        first = await running.chat()
        log = running.live.telemetry.log
        if what != "no folder":
            async with asyncio.timeout(10):
                while log is None or not log.written:
                    await asyncio.sleep(0.02)
        if what == "locked":
            connection = stack.enter_context(contextlib.closing(sqlite3.connect(state / FILE)))
            connection.execute("BEGIN EXCLUSIVE")
        if what == "deleted":
            shutil.rmtree(state)
        # Longer than the log's own rhythm: it has tried to write by then.
        answers = []
        for _ in range(10):
            answers.append(await asyncio.wait_for(running.chat(), 2.0))
            await asyncio.sleep(0.05)

    assert [answer.status for answer in (first, *answers)] == [200] * 11


def test_rel_04_a_full_disk_stops_no_request(
    start: Start, client: httpx2.Client, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    upstream = subprocess.Popen(
        [sys.executable, "-m", "coe.testing.upstream", "--port", str(free)],
        stdout=subprocess.PIPE,
    )
    try:
        assert upstream.stdout is not None
        upstream.stdout.readline()
        (tmp_path / "experts.yaml").write_text(
            f"version: 1\nbackends: {{up: 'http://127.0.0.1:{free}'}}\n"
            "experts: {a: {backend: up, model: ok}}\ndefault: a\n"
        )
        server = start("--config", "experts.yaml")
        url = f"{server.url}/v1/chat/completions"
        body = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}
        before = client.post(url, json=body).status_code
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        pause = threading.Event()
        statuses = []
        for _ in range(10):
            statuses.append(client.post(url, json=body).status_code)
            pause.wait(0.05)
        ready = client.get(f"{server.url}/health/ready").status_code
        code = server.stop()
    finally:
        upstream.kill()
        upstream.wait()
        upstream.stdout.close()

    assert (before, statuses, ready) == (200, [200] * 10, 200)
    assert code == 0


# ---------------------------------------------------------------- REL-09: experts not in memory


@pytest.mark.parametrize(
    "case",
    [
        ("", None, "a"),
        ("", "reroute", "b"),
        ("cold: reroute", None, "b"),
        ("cold: reroute", "wait", "a"),
    ],
)
async def test_rel_09_the_client_chooses_to_wait_or_to_be_rerouted(
    serve: Serve,
    upstream: FakeUpstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[str, str | None, str],
) -> None:
    rule, header, answers = case
    install(tmp_path, monkeypatch, {"coe.backends": Held})
    async with serve(held(upstream, rule)) as running:
        await running.chat(model="b")  # now it is in memory
        body = {"model": "coe/auto", "messages": [{"role": "user", "content": "hi"}]}
        headers = {} if header is None else {"x-coe-cold": header}
        response = await running.request(
            "POST", f"{running.url}/chat/completions", json=body, headers=headers
        )
        named = await running.chat(model="a")

    assert who(response) == answers
    assert response.headers["x-coe-reason"] == ("fallback" if answers == "b" else "no-router")
    assert who(named) == "a"


async def test_rel_09_who_waits_waits_until_its_deadline(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, {"coe.backends": Held})
    async with serve(held(upstream, "attempts: 1")) as running:
        box = running.gateway.backends["box"]
        assert isinstance(box, Held)
        box.gate.clear()  # a load that does not end
        body = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}
        late = await running.request(
            "POST",
            f"{running.url}/chat/completions",
            json=body,
            headers={"x-coe-deadline-ms": "200"},
        )
        odd = await running.request(
            "POST", f"{running.url}/chat/completions", json=body, headers={"x-coe-cold": "maybe"}
        )
        box.gate.set()

        assert (late.status, (await error_of(late))["code"]) == (504, "deadline_exceeded")
        assert (odd.status, (await error_of(odd))["param"]) == (400, "x-coe-cold")


def held(up: FakeUpstream, rule: str) -> str:
    """Two experts, of which one fits into memory."""
    rows = "".join(f"  {name}: {{backend: box, model: echo, memory: 1GiB}}\n" for name in "ab")
    return (
        f"version: 1\nbackends: {{box: {{type: held, url: '{up.url}', memory: 1GiB}}}}\n"
        f"experts:\n{rows}routing: {{none: [a, b]}}\ndefault: b\nfallbacks: {{{rule}}}\n"
    )


# ---------------------------------------------------------------- the page

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "survive-failing-backends.md"


def test_the_pages_keys_are_keys(tmp_path: Path) -> None:
    rules = PAGE.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    file = tmp_path / "experts.yaml"
    file.write_text(
        "version: 1\nbackends: {up: 'http://127.0.0.1:9'}\n"
        f"experts: {{frontier: {{backend: up, model: m}}}}\ndefault: frontier\n{rules}"
    )

    fallbacks = load(file).fallbacks

    assert fallbacks.hedge is not None
    assert (fallbacks.last_resort, fallbacks.hedge.after_s) == ("frontier", "p95")
    written = {line.partition(":")[0].strip() for line in rules.splitlines()[1:]}
    assert written == set(FallbackKeys.model_fields)


async def test_the_pages_example_does_what_it_says(serve: Serve, upstream: FakeUpstream) -> None:
    text = PAGE.read_text(encoding="utf-8").split("<<'EOF'\n")[1].split("EOF")[0]
    async with serve(text.replace("http://127.0.0.1:9100", upstream.url)) as running:
        answers = [tried(await running.chat()) for _ in range(4)]

    assert answers == ["shaky=503"] * 3 + [""]
