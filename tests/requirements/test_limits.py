"""Limits and budgets: numbers, reservation, every route, and what survives."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from coe.access.key import Wish
from coe.identity import ANONYMOUS
from coe.limits.rules import read
from coe.limits.scopes import Limit, accounts_of, scope_of
from coe.limits.tally import Entry, Refusal
from coe.stores.ledger import LocalLedger
from coe.testing.upstream import FakeUpstream
from tests.conftest import RedisServer
from tests.integration.conftest import Running, Serve

pytestmark = pytest.mark.anyio

TWO = """
version: 1
backends: {{up: "{url}"}}
experts:
  dear: {{backend: up, model: ok, max_output: 100, cost: {{input: 10 USD/M, output: 10000 USD/M}}}}
  cheap: {{backend: up, model: small, max_output: 100, cost: {{input: 1 USD/M, output: 10 USD/M}}}}
  local: {{backend: up, model: ok, max_output: 100}}
routing: {{none: [dear, cheap]}}
default: dear
"""
PANEL = """
aggregation:
  both:
    method: best_of
    experts: [dear, cheap]
    judge: cheap
models:
  judged: {aggregate: both}
"""


def used(gateway: Running, what: str, kind: str = "all") -> float:
    """Return what was used of the limits on something, in the units of people."""
    meter = gateway.gateway.meter
    assert meter is not None
    rows = [row for row in meter.quota(ANONYMOUS).rows() if row["what"] == what]
    return float(next(row["used"] for row in rows if row["scope"] == kind))


@pytest.fixture
def limited(serve: Serve, upstream: FakeUpstream) -> Any:
    @asynccontextmanager
    async def start(sections: str, **settings: Any) -> AsyncIterator[Running]:
        async with serve(TWO.format(url=upstream.url) + sections, **settings) as gateway:
            yield gateway

    return start


ALL = """
limits: [{scope: all, requests: 1000/day, tokens: 10M/day, at_once: 50}]
budgets: [{scope: all, limit: 100 USD/day, unpriced: free}]
"""


async def test_requests_over_the_limit_are_refused_and_told_when_to_come_again(
    limited: Any,
) -> None:
    async with limited("limits: [{scope: all, requests: 2/min}]") as gateway:
        responses = [await gateway.chat("cheap") for _ in range(3)]
        refused = responses[-1]
        body = await refused.json()

    assert [one.status for one in responses] == [200, 200, 429]
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 120
    remaining = [one.headers["x-ratelimit-remaining-requests"] for one in responses]
    assert remaining == ["1", "0", "0"]
    assert refused.headers["x-ratelimit-limit-requests"] == "2"


async def test_a_budget_is_settled_by_what_the_backend_tells(limited: Any) -> None:
    async with limited("budgets: [{scope: all, limit: 100 USD/day}]") as gateway:
        response = await gateway.chat("dear", "one two three")
        told = (await response.json())["usage"]

        spent = used(gateway, "money")

    assert spent == pytest.approx(
        (10 * told["prompt_tokens"] + 10_000 * told["completion_tokens"]) / 1e6
    )
    assert float(response.headers["x-coe-cost-usd"]) == pytest.approx(spent)


async def test_a_streams_usage_is_asked_for_and_kept_from_who_did_not_ask(
    limited: Any, upstream: FakeUpstream
) -> None:
    async with limited("budgets: [{scope: all, limit: 100 USD/day}]") as gateway:
        quiet = await (await gateway.chat("dear", "one two three", stream=True)).text()
        first = used(gateway, "money")
        told = await (
            await gateway.chat(
                "dear", "one two three", stream=True, stream_options={"include_usage": True}
            )
        ).text()
        second = used(gateway, "money")

    assert upstream.requests[0].json["stream_options"] == {"include_usage": True}
    chunks = [json.loads(line[6:]) for line in quiet.splitlines() if line.startswith("data: {")]
    assert chunks
    assert all(chunk["choices"] for chunk in chunks)
    assert quiet.endswith("data: [DONE]\n\n")
    assert '"choices":[]' in told.replace(" ", "")
    assert 0 < first < 1  # 100 tokens were set aside, a dollar's worth
    assert second == pytest.approx(2 * first)


async def test_what_cannot_be_paid_for_is_refused_and_not_tried_again(
    limited: Any, upstream: FakeUpstream
) -> None:
    async with limited("budgets: [{scope: all, limit: 0.5 USD/day}]") as gateway:
        refused = await gateway.chat("dear")
        body = await refused.json()
        allowed = await gateway.chat("dear", max_tokens=10)

    assert refused.status == 429
    assert body["error"]["code"] == "budget_exceeded"
    assert "everybody may spend 0.5 USD per day" in body["error"]["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert allowed.status == 200
    assert upstream.received == 1


async def test_at_its_limit_the_cheapest_good_expert_answers(limited: Any) -> None:
    budget = "budgets: [{scope: all, limit: 0.5 USD/day, at_limit: cheapest_good}]"
    async with limited(budget) as gateway:
        routed = await gateway.chat("coe/auto")
        named = await gateway.chat("dear")

    assert routed.headers["x-coe-expert"] == "cheap"
    assert named.status == 429  # another expert would not be what was asked for


async def test_sec_22_an_expert_without_a_price_costs_nothing_or_is_not_asked(
    limited: Any,
) -> None:
    async with limited("budgets: [{scope: all, limit: 5 USD/day, unpriced: free}]") as gateway:
        free = await gateway.chat("local")
    async with limited("budgets: [{scope: all, limit: 5 USD/day, unpriced: refuse}]") as gateway:
        refused = await gateway.chat("local")
        body = await refused.json()

    assert free.status == 200
    assert refused.status == 429
    assert "has no price in USD" in body["error"]["message"]


async def test_sec_22_a_budget_in_another_currency_than_the_prices_lets_nothing_through(
    limited: Any, upstream: FakeUpstream
) -> None:
    async with limited("server: {auth: keys}") as gateway:
        premises = gateway.gateway.premises
        assert premises is not None
        assert premises.keys is not None
        _, key = await premises.keys.add(Wish(name="abroad", limits=("5 EUR/day",)), by="the test")
        asked: dict[str, Any] = {"headers": {"authorization": f"Bearer {key}"}}
        url, body = f"{gateway.url}/chat/completions", ROUTES["chat/completions"]
        refused = await gateway.request("POST", url, json=body, **asked)
        said = (await refused.json())["error"]
        free = await gateway.request("POST", url, json={**body, "model": "local"}, **asked)

    assert (refused.status, said["code"]) == (429, "budget_exceeded")
    assert "has no price in EUR" in said["message"]
    assert free.status == 200
    assert upstream.received == 1


async def test_sec_22_calls_that_come_together_cannot_take_a_budget_over_its_limit(
    limited: Any, upstream: FakeUpstream
) -> None:
    """Each may cost 0.1 USD and a little: nine fit at most, whatever comes of them."""
    upstream.latency = lambda: 0.05
    async with limited("budgets: [{scope: all, limit: 1 USD/day}]") as gateway:
        answers = await asyncio.gather(*(gateway.chat("dear", max_tokens=10) for _ in range(40)))
        served = sum(one.status == 200 for one in answers)

        assert 0 < served <= 9
        assert used(gateway, "money") <= 1
    assert upstream.received == served


async def test_sec_22_what_is_unknown_counts_in_full_and_what_never_worked_not_at_all(
    limited: Any, upstream: FakeUpstream
) -> None:
    async with limited("budgets: [{scope: all, limit: 100 USD/day}]") as gateway:
        upstream.plan(["error-503"])
        failed = await gateway.chat("dear")
        nothing = used(gateway, "money")
        upstream.plan(["truncate-after-2"])
        broken = await (await gateway.chat("dear", stream=True)).text()
        assert "data: [DONE]" not in broken
        full = used(gateway, "money")

    assert failed.status >= 500
    assert nothing == 0
    assert full > 1  # 100 tokens at 10,000 USD/M, and the prompt


async def test_sec_22_a_long_stream_that_is_cut_counts_for_what_came(
    serve: Serve, upstream: FakeUpstream
) -> None:
    """The usage comes last, and a client that has the answer by then may go."""
    upstream.plan(["truncate-after-8"])
    text = TWO.format(url=upstream.url).replace("max_output: 100", "max_output: 2")
    async with serve(text + "budgets: [{scope: all, limit: 100 USD/day}]") as gateway:
        answer = await gateway.chat("dear", stream=True)  # two tokens are set aside for it
        await answer.read()

        assert used(gateway, "money") > 0.08  # eight at 10,000 USD/M, and the prompt


async def test_requests_under_way_are_limited(limited: Any, upstream: FakeUpstream) -> None:
    upstream.latency = lambda: 0.2
    async with limited("limits: [{scope: all, at_once: 2}]") as gateway:
        answers = await asyncio.gather(*(gateway.chat("cheap") for _ in range(5)))
        later = await gateway.chat("cheap")

    assert sorted(one.status for one in answers) == [200, 200, 429, 429, 429]
    assert later.status == 200


async def test_a_key_is_limited_on_its_own(limited: Any) -> None:
    async with limited("limits: [{scope: key, requests: 1/min}]") as gateway:

        async def ask(token: str) -> int:
            answer = await gateway.request(
                "POST",
                f"{gateway.url}/chat/completions",
                json={"model": "cheap", "messages": [{"role": "user", "content": "hi"}]},
                headers={"authorization": f"Bearer {token}"},
            )
            return int(answer.status)

        assert [await ask("a"), await ask("b"), await ask("a")] == [200, 200, 429]


MESSAGES = [{"role": "user", "content": "hello there"}]
ROUTES: dict[str, dict[str, Any]] = {
    "chat/completions": {"model": "cheap", "messages": MESSAGES},
    "completions": {"model": "cheap", "prompt": "hello there"},
    "responses": {"model": "cheap", "input": "hello there"},
    "messages": {"model": "cheap", "messages": MESSAGES, "max_tokens": 20},
    "embeddings": {"model": "cheap", "input": "hello there"},
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
async def test_sec_23_every_inference_route_is_counted(
    limited: Any, route: str, *, stream: bool
) -> None:
    body = ROUTES[route]
    if stream and route != "embeddings":
        body = {**body, "stream": True}
    async with limited(ALL) as gateway:
        response = await gateway.request("POST", f"{gateway.url}/{route}", json=body)
        await response.read()
        assert response.status == 200

        assert used(gateway, "requests") == 1
        assert used(gateway, "tokens") > 0
        assert used(gateway, "money") > 0
        assert used(gateway, "at_once") == 0
        assert response.headers["x-ratelimit-remaining-requests"] == "999"


@pytest.mark.parametrize("route", ROUTES)
async def test_sec_23_every_inference_route_is_refused_at_the_limit(
    limited: Any, route: str, upstream: FakeUpstream
) -> None:
    async with limited("limits: [{scope: all, requests: 1/day}]") as gateway:
        await gateway.chat("cheap")
        refused = await gateway.request("POST", f"{gateway.url}/{route}", json=ROUTES[route])

        assert refused.status == 429
    assert upstream.received == 1


def _upload() -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", b"{}", filename="in.jsonl")
    return form


WITHOUT_EXPERTS: dict[str, Callable[[], dict[str, Any]]] = {
    "route": lambda: {"json": {"input": "hello"}},
    "files": lambda: {"data": _upload()},
    "batches": lambda: {"json": {"input_file_id": "unknown", "endpoint": "/v1/chat/completions"}},
    "cache": lambda: {"method": "DELETE"},
    "feedback": lambda: {"json": {"decision_id": "unknown", "value": True}},
    "messages/count_tokens": lambda: {
        "json": {"model": "cheap", "messages": [{"role": "user", "content": "hello"}]}
    },
}


@pytest.mark.parametrize("route", WITHOUT_EXPERTS)
async def test_sec_23_requests_that_ask_no_expert_count_too(limited: Any, route: str) -> None:
    """Once each, also those that fail, and none is under way when it has ended."""
    async with limited("limits: [{scope: all, requests: 2/day, at_once: 1}]") as gateway:
        answers = []
        for _ in range(3):
            sent = {"method": "POST", "url": f"{gateway.url}/{route}", **WITHOUT_EXPERTS[route]()}
            answer = await gateway.request(**sent)
            await answer.read()
            answers.append(answer)

        assert used(gateway, "at_once") == 0
    refused = answers[-1]
    expected = {"feedback": 404, "batches": 400}.get(route, 200)
    assert [one.status for one in answers] == [expected, expected, 429]
    remaining = [one.headers["x-ratelimit-remaining-requests"] for one in answers]
    assert remaining == ["1", "0", "0"]
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    error = (await refused.json())["error"]
    assert "everybody may send 2 requests per day" in error["message"]


async def test_sec_23_a_panel_and_its_judge_are_counted_call_by_call(
    limited: Any, upstream: FakeUpstream
) -> None:
    upstream.says = lambda body: f"I am {body['model']}"
    async with limited(ALL + PANEL) as gateway:
        response = await gateway.chat("judged")
        assert response.status == 200
        calls = int(response.headers["x-coe-calls"])

        assert calls == upstream.received > 2
        assert used(gateway, "requests") == 1
        cost = float(response.headers["x-coe-cost-usd"])
        assert used(gateway, "money") == pytest.approx(cost, rel=1e-4)


async def test_sec_23_lines_of_a_batch_are_counted_and_wait_where_a_limit_says_so(
    limited: Any,
) -> None:
    """Each line is one request; a second of them has room for two, so that the third waits."""
    lines = "\n".join(
        json.dumps(
            {
                "custom_id": str(number),
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": ROUTES["chat/completions"],
            }
        )
        for number in range(5)
    )
    sections = """
limits:
  - {scope: all, requests: 2/s}
  - {scope: all, tokens: 1M/day}
  - {scope: key, requests: 1000/day, tokens: 2M/day}
budgets: [{scope: all, limit: 100 USD/day}]
"""
    async with limited(sections) as gateway:
        client = openai.AsyncOpenAI(base_url=gateway.url, api_key="unused", max_retries=0)
        async with client:
            file = await client.files.create(file=("in.jsonl", lines.encode()), purpose="batch")
            batch = await client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
            )
            while batch.status not in {"completed", "failed", "expired"}:
                await asyncio.sleep(0.1)
                batch = await client.batches.retrieve(batch.id)

        assert batch.status == "completed"
        assert batch.request_counts is not None
        assert (batch.request_counts.completed, batch.request_counts.failed) == (5, 0)
        meter = gateway.gateway.meter
        assert meter is not None
        own = {row["limit"]: row["used"] for row in meter.rows([]) if row["used"]}
        assert own["1000 requests/day"] == 7  # the upload, the batch, and its lines
        assert own["2000000 tokens/day"] > 0
        assert used(gateway, "money") > 0


async def test_one_sees_ones_own_standing_and_admins_everybodys(limited: Any) -> None:
    async with limited(
        "limits: [{scope: key, requests: 5/day}, {scope: all, tokens: 10k/day}]", admin="loopback"
    ) as gateway:
        await gateway.chat("cheap")
        own = await (await gateway.request("GET", f"{gateway.url}/limits")).json()
        everybody = await (await gateway.request("GET", f"{gateway.url}/limits/all")).json()

    (tokens, requests) = own["data"][::-1]
    assert 0 < requests["reset_s"] <= 86_400
    assert requests | {"reset_s": 0} == {
        "scope": "key",
        "who": "key (none)",
        "what": "requests",
        "limit": "5 requests/day",
        "most": 5,
        "used": 1,
        "remaining": 4,
        "currency": None,
        "reset_s": 0,
    }
    assert tokens["used"] > 0
    assert len(everybody["data"]) == 2


async def test_what_limits_do_is_measured_without_a_name(limited: Any) -> None:
    sections = "limits: [{scope: key, requests: 1/day}]\nbudgets: [{scope: all, limit: 9 USD/day}]"
    async with limited(sections) as gateway:
        await gateway.chat("cheap")
        await gateway.chat("cheap")

        assert gateway.metric('coe_limit_refusals_total{scope="key",what="requests"}') == 1
        assert gateway.metric('coe_limit_spent_total{currency="USD",scope="all"}') > 0


async def test_rel_07_what_was_used_is_known_after_kill_9(tmp_path: Path) -> None:
    """What was counted before the last interval began is in the file; then windows go on."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _COUNTER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    kept = int(await child.stdout.readline())
    child.kill()
    await child.wait()

    limit = accounts_of([Limit(scope=scope_of("all"), rule=read("1000 tokens/day"))], ANONYMOUS)[0]
    ledger = LocalLedger(tmp_path, clock=lambda: _NOON)
    async with ledger.running():
        assert kept >= 100
        assert ledger.tally.used(limit, _NOON) >= kept  # all but the last interval's
        assert isinstance(await ledger.reserve([Entry(limit, 1000)], _NOON), Refusal)


_NOON = 1_774_958_400.0
_COUNTER = """
import asyncio, sys
from pathlib import Path
from coe.identity import ANONYMOUS
from coe.limits.rules import read
from coe.limits.scopes import Limit, accounts_of, scope_of
from coe.limits.tally import Entry
from coe.stores.ledger import LocalLedger

async def main():
    limit, = accounts_of([Limit(scope=scope_of("all"), rule=read("1000 tokens/day"))], ANONYMOUS)
    ledger = LocalLedger(Path(sys.argv[1]), clock=lambda: 1_774_958_400.0)
    async with ledger.running():
        for _ in range(100):
            await ledger.reserve([Entry(limit, 1)], 1_774_958_400.0)
        await asyncio.sleep(1.0)  # four intervals
        print(ledger.tally.used(limit, 1_774_958_400.0), flush=True)
        for _ in range(100):
            await ledger.reserve([Entry(limit, 1)], 1_774_958_400.0)
        await asyncio.sleep(60)

asyncio.run(main())
"""


ASKING = """
categories:
  sums: {{description: sums, experts: [cheap]}}
  words: {{description: words, experts: [dear]}}
routers: {{default: {{type: llm, expert: local}}}}
limits: [{{scope: all, requests: 1000/day, tokens: 10M/day}}, {{scope: key, tokens: 10M/day}}]
"""


async def test_sec_23_who_a_router_asks_is_counted_for_everybody(
    serve: Serve, upstream: FakeUpstream
) -> None:
    """Nobody asked for the router's own call, so that no key pays for it; everybody does."""
    upstream.says = lambda _: "sums"
    async with serve((TWO + ASKING).format(url=upstream.url)) as gateway:
        for _ in range(200):
            if (await gateway.request("GET", gateway.url[:-3] + "/health/ready")).status == 200:
                break
            await asyncio.sleep(0.02)
        before = used(gateway, "tokens")
        body = {"model": "coe/auto", "messages": [{"role": "user", "content": "a new text"}]}
        await (await gateway.request("POST", f"{gateway.url}/route", json=body)).read()
        routed = used(gateway, "tokens")

        assert upstream.received >= 1
        assert routed > before
        assert used(gateway, "tokens", "key") == 0
        assert used(gateway, "requests") == 1


async def test_sec_23_who_only_has_things_decided_is_limited_too(
    limited: Any, upstream: FakeUpstream
) -> None:
    """A router may ask an expert: without a limit anybody could spend everybody's money by it."""
    async with limited("limits: [{scope: all, requests: 2/day, at_once: 1}]") as gateway:
        url = f"{gateway.url}/route"
        answers = [await gateway.request("POST", url, json={"input": "hello"}) for _ in range(3)]

        assert [one.status for one in answers] == [200, 200, 429]
        assert used(gateway, "at_once") == 0
    assert upstream.received == 0


PROGRAM = """
version: 1
backends: {{up: "{url}"}}
experts:
  cheap: {{backend: up, model: small, max_output: 100, cost: {{input: 1 USD/M, output: 10 USD/M}}}}
  thrice: {{recipe: {{over: cheap, samples: 3, vote: text}}}}
default: thrice
"""


@pytest.mark.parametrize("stream", [False, True])
async def test_sec_23_a_program_costs_what_is_asked_under_it(
    serve: Serve, upstream: FakeUpstream, *, stream: bool
) -> None:
    async with serve(
        (PROGRAM + ALL.replace("{", "{{").replace("}", "}}")).format(url=upstream.url)
    ) as gateway:
        await (await gateway.chat("cheap", stream=stream)).read()
        once = used(gateway, "money")
        response = await gateway.chat("thrice", stream=stream)
        await response.read()

        assert response.status == 200
        assert upstream.received == 4
        assert used(gateway, "money") == pytest.approx(4 * once)


SHADOW = """
experiments:
  look:
    status: running
    mode: shadow
    sample: 100%
    metrics: {primary: latency}
    stop: {worth: 0.2s}
    arms: {control: {}, other: {set: {routing.none: [cheap]}}}
"""


async def test_sec_23_a_shadow_is_counted(limited: Any, upstream: FakeUpstream) -> None:
    async with limited(ALL + SHADOW) as gateway:
        await (await gateway.chat("dear")).read()  # whoever names an expert is in no experiment
        one = used(gateway, "money")
        await (await gateway.chat("coe/auto")).read()
        async with asyncio.timeout(10):
            while upstream.received < 4 or used(gateway, "money") > 100 * one:
                await asyncio.sleep(0.01)  # under way: set aside in full

        assert used(gateway, "money") > 3 * one
        assert used(gateway, "requests") == 2


@pytest.mark.parametrize("how", ["freeze", "stop"])
async def test_without_redis_requests_go_on_and_limits_hold_here(
    limited: Any, redis_server: RedisServer, how: str
) -> None:
    sections = "limits: [{scope: all, requests: 4/day}]"
    async with limited(sections, redis_url=redis_server.url) as gateway:
        assert (await gateway.chat("cheap")).status == 200
        getattr(redis_server, how)()

        statuses = [(await gateway.chat("cheap")).status for _ in range(5)]

    assert statuses == [200, 200, 200, 429, 429]


async def test_rel_07_a_gateway_that_cannot_know_what_is_spent_does_not_start(
    tmp_path: Path,
) -> None:
    state = tmp_path / ".coe"
    state.mkdir()
    (state / "limits.sqlite").write_bytes(b"no database at all " * 100)
    (tmp_path / "experts.yaml").write_text(TWO.format(url="http://127.0.0.1:9"))

    words = ("-m", "coe", "serve", "--port", "0", "--config", str(tmp_path / "experts.yaml"))
    child = await asyncio.create_subprocess_exec(
        sys.executable, *words, stderr=asyncio.subprocess.PIPE
    )
    _, said = await child.communicate()

    assert child.returncode == 2
    assert b"limits.sqlite: not a database, or damaged" in said
    assert b"Traceback" not in said
