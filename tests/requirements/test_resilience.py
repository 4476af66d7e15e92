"""What is promised where experts, clients and stores fail; requirements have their numbers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from coe.resilience.budget import RESERVE
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Serve

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
    import socket

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


async def test_who_fails_beside_others_is_not_waited_for(
    serve: Serve, upstream: FakeUpstream
) -> None:
    more = "fallbacks: {hedge: {after: 50ms, most: 2}}\n"
    models = {"a": "slow-first-300ms", "b": "error-503", "c": "hang"}
    async with serve(experts(upstream, models, more, "{first_token: 30s}")) as running:
        response = await running.chat()

    assert (who(response), tried(response)) == ("a", "b=503, c=overtaken")


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
