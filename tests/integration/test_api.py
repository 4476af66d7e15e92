"""What clients see of routing, fallbacks, limits, disconnects and bad input."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import struct
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import pytest

from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve

Gateway = AbstractAsyncContextManager[Running]

pytestmark = pytest.mark.anyio

ROUTED = """
version: 1
backends:
  up:
    url: "{url}"
    timeouts: {{connect: 1s, first_token: {first_token}, idle: 300ms, total: 3s}}
  gone: http://127.0.0.1:9
experts:
  general: {{backend: up, model: ok, context: 100k, capabilities: [chat]}}
  coder: {{backend: up, model: "{coder}", context: 8000, capabilities: [chat, tools]}}
  absent: {{backend: gone, model: ok}}
  behaves: {{backend: up, model: "{coder}"}}
categories:
  code:
    utterances:
      - write a python function
      - fix the bug in this python function
      - explain this python stack trace
      - refactor this python class
      - write a python unit test
    keywords: [traceback]
    experts: [coder, general]
  travel:
    utterances:
      - book a flight to Rome
      - find a hotel in Rome
      - a train from Rome to Milan
      - what to see in Rome
      - a weekend in Rome by train
    experts: [absent, general]
encoders: {{small: {{type: hashed}}}}
routers:
  rules: {{type: keyword}}
  near: {{type: embedding, encoder: small}}
  default: {{type: chain, stages: [rules, near]}}
routing: {{threshold: 0.3}}
default: general
"""


class Routed:
    def __init__(self, serve: Serve, upstream: FakeUpstream) -> None:
        self._serve = serve
        self.upstream = upstream

    def __call__(self, coder: str = "ok", first_token: str = "1s", **settings: Any) -> Gateway:
        text = ROUTED.format(url=self.upstream.url, coder=coder, first_token=first_token)
        return self._serve(text, **settings)


@pytest.fixture
def routed(serve: Serve, upstream: FakeUpstream) -> Routed:
    return Routed(serve, upstream)


async def error_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body = await response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]
    assert response.headers["x-coe-error-origin"] in {"gateway", "upstream"}
    return dict(body["error"])


async def post(running: Running, raw: bytes, path: str = "chat/completions", **headers: str) -> Any:
    body = io.BytesIO(raw)  # aiohttp warns of large bodies that are plain bytes
    return await running.request("POST", f"{running.url}/{path}", data=body, headers=headers)


# ---------------------------------------------------------------- two steps


async def test_a_prompt_is_routed_to_its_categorys_expert(routed: Routed) -> None:
    async with routed() as running:
        response = await running.chat(text="write a python function that sorts")
        body = await response.json()

    assert response.headers["x-coe-category"] == "code"
    assert response.headers["x-coe-expert"] == "coder"
    assert response.headers["x-coe-reason"] == "matched"
    assert response.headers["x-coe-router"] == "near"
    assert response.headers["x-coe-confidence"]
    assert body["model"] == "coder"


async def test_a_keyword_decides_before_the_encoder(routed: Routed) -> None:
    async with routed() as running:
        response = await running.chat(text="Traceback (most recent call last)")

    assert response.headers["x-coe-category"] == "code"
    assert response.headers["x-coe-router"] == "rules"


async def test_what_belongs_nowhere_is_answered_by_the_default(routed: Routed) -> None:
    async with routed() as running:
        response = await running.chat(text="zzz qqq xxx")

    assert "x-coe-category" not in response.headers
    assert response.headers["x-coe-expert"] == "general"
    assert response.headers["x-coe-reason"] == "below-threshold"


@pytest.mark.parametrize("text", ["", " ", "\n", "🙂", "نص عربي", "\x00"])
async def test_odd_prompts_are_answered(routed: Routed, text: str) -> None:
    async with routed() as running:
        response = await running.chat(text=text)

    assert response.status == 200
    assert response.headers["x-coe-expert"] == "general"


async def test_a_category_can_be_named(routed: Routed) -> None:
    async with routed() as running:
        response = await running.chat(model="coe/code", text="a weekend in Rome by train")

    assert response.headers["x-coe-category"] == "code"
    assert response.headers["x-coe-expert"] == "coder"
    assert response.headers["x-coe-reason"] == "pinned"


async def test_an_unreachable_expert_is_replaced_by_the_next_one(routed: Routed) -> None:
    async with routed() as running:
        response = await running.chat(text="book a flight to Rome")
        body = await response.json()

    assert response.headers["x-coe-category"] == "travel"
    assert response.headers["x-coe-expert"] == "general"
    assert response.headers["x-coe-reason"] == "fallback"
    assert response.headers["x-coe-attempts"] == "2"
    assert body["model"] == "general"


@pytest.mark.parametrize(
    "behaviour",
    ["error-500", "error-401-secret", "reset", "garbage", "error-frame-first", "hang", "empty"],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_every_failure_before_the_first_byte_falls_back(
    routed: Routed, behaviour: str, *, stream: bool
) -> None:
    if behaviour == "error-frame-first" and not stream:
        pytest.skip("a frame needs a stream")
    async with routed(behaviour, first_token="200ms") as running:
        response = await running.chat(model="coe/code", stream=stream)
        text = await response.text()

    assert response.status == 200, text
    assert response.headers["x-coe-expert"] == "general"
    assert response.headers["x-coe-attempts"] == "2"
    assert "echo" in text


async def test_a_request_that_is_wrong_is_not_tried_elsewhere(routed: Routed) -> None:
    async with routed("error-400") as running:
        response = await running.chat(model="coe/code")
        error = await error_of(response)

    assert response.status == 400
    assert error["type"] == "invalid_request_error"
    assert routed.upstream.received == 1


async def test_an_expert_that_was_named_is_not_replaced(routed: Routed) -> None:
    async with routed() as running:
        response = await running.chat(model="absent")
        error = await error_of(response)

    assert response.status == 502
    assert error["code"] == "backend_unreachable"
    assert "gone" in error["message"]
    assert response.headers["x-should-retry"] == "false"


async def test_tools_go_to_who_has_them(routed: Routed) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    async with routed() as running:
        able = await running.chat(model="coe/code", tools=tools)
        unable = await running.chat(model="general", tools=tools)
        error = await error_of(unable)

    assert able.headers["x-coe-expert"] == "coder"
    assert unable.status == 422
    assert error["code"] == "no_eligible_expert"
    assert "general: it does not declare the capability `tools`" in error["message"]


async def test_a_prompt_longer_than_a_context_goes_to_a_larger_one(routed: Routed) -> None:
    async with routed() as running:
        response = await running.chat(model="coe/code", text="word " * 10_000)

    assert response.headers["x-coe-expert"] == "general"


async def test_a_prompt_longer_than_every_context_says_so(routed: Routed) -> None:
    async with routed() as running:
        response = await running.chat(model="coder", text="word " * 10_000)
        error = await error_of(response)

    assert response.status == 400
    assert error["code"] == "context_length_exceeded"
    assert "8000" in error["message"]


async def test_route_decides_without_calling_anyone(routed: Routed) -> None:
    async with routed() as running:
        response = await post(running, b'{"input": "fix the bug in this python function"}', "route")
        decision = await response.json()

    assert decision["category"] == "code"
    assert decision["expert"] == "coder"
    assert decision["fallbacks"] == ["general"]
    assert [row["name"] for row in decision["categories"]] == ["code", "travel"]
    assert decision["evidence"][0]["text"] == "fix the bug in this python function"
    assert decision["evidence"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert routed.upstream.received == 0


async def test_route_names_who_is_excluded_and_why(routed: Routed) -> None:
    body = {"model": "travel", "input": "x", "tools": [{"type": "function"}]}
    async with routed() as running:
        response = await post(running, json.dumps(body).encode(), "route")
        decision = await response.json()

    assert decision["excluded"][0]["expert"] == "general"
    assert decision["excluded"][0]["rule"] == "tools"


# ---------------------------------------------------------------- honest streams


async def test_the_headers_wait_for_the_first_content(routed: Routed) -> None:
    async with routed("role-only-then-drop") as running:
        response = await running.chat(model="behaves", stream=True)
        error = await error_of(response)

    assert response.status == 502
    assert error["code"]


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_cancels_the_upstream(routed: Routed, *, stream: bool) -> None:
    async with routed("hang", first_token="30s") as running:
        asking = asyncio.create_task(running.chat(model="behaves", stream=stream))
        await routed.upstream.arrived()
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(1):
            await routed.upstream.client_gone()


async def test_who_leaves_in_the_middle_cancels_the_upstream(routed: Routed) -> None:
    async with routed("slow-token-100ms") as running:
        response = await running.chat(model="behaves", text="word " * 100, stream=True)
        await response.content.readline()
        response.close()
        async with asyncio.timeout(1):
            await routed.upstream.client_gone()
        await asyncio.sleep(0)
        assert running.metric('coe_stream_aborts_total{side="client"}') == 1


async def test_a_stall_ends_the_stream_with_an_error(routed: Routed) -> None:
    async with routed("stall-after-2") as running:
        response = await running.chat(model="behaves", stream=True)
        text = await response.text()

    assert response.status == 200
    assert '"code":"backend_timeout"' in text
    assert "idle" in text
    assert "[DONE]" not in text


@pytest.mark.parametrize(
    ("behaviour", "word"), [("hang", "first token"), ("slow-first-5s", "first token")]
)
async def test_a_late_first_token_is_a_timeout(routed: Routed, behaviour: str, word: str) -> None:
    async with routed(behaviour, first_token="100ms") as running:
        response = await running.chat(model="behaves", stream=True)
        error = await error_of(response)

    assert response.status == 504
    assert word in error["message"]


async def test_chunks_arrive_as_they_are_made(routed: Routed) -> None:
    async with routed("slow-token-100ms") as running:
        response = await running.chat(model="behaves", text="a b c", stream=True)
        first = await response.content.readany()
        assert b"[DONE]" not in first
        rest = await response.content.read()

    assert rest.endswith(b"data: [DONE]\n\n")


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("raw", "status", "message"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"model": "general", "messages": [{"role": "user", "content": "\xff"}]}', 400, "JSON"),
        (b'{"model": "a", "model": "b", "messages": []}', 400, "`model` stands twice"),
        (b"[]", 400, "JSON object"),
        (b'{"messages": []}', 400, "`model` must be a string"),
        (b'{"model": "nobody", "messages": [{"role": "user", "content": ""}]}', 404, "nobody"),
        (b'{"model": "general", "messages": []}', 400, "at least one"),
    ],
)
async def test_a_bad_body_gets_a_clear_error(
    routed: Routed, raw: bytes, status: int, message: str
) -> None:
    async with routed() as running:
        response = await post(running, raw)
        error = await error_of(response)

    assert response.status == status
    assert message in error["message"]
    assert routed.upstream.received == 0


TEN_MEGABYTES = b'{"model": "behaves", "messages": [{"role": "user", "content": "%s"}]}' % (
    b"a" * 10_000_000
)


async def test_ten_megabytes_are_refused_by_size(routed: Routed) -> None:
    async with routed() as running:
        response = await post(running, TEN_MEGABYTES)
        error = await error_of(response)

    assert response.status == 413
    assert error["code"] == "request_too_large"
    assert "COE_MAX_BODY_BYTES" in error["message"]


@pytest.mark.parametrize("path", ["route", "batches", "experts"])
async def test_bodies_beside_the_hot_path_have_the_same_limit(routed: Routed, path: str) -> None:
    async with routed(admin="loopback") as running:
        response = await post(running, TEN_MEGABYTES, path)
        error = await error_of(response)

    assert response.status == 413
    assert error["code"] == "request_too_large"


async def test_a_large_body_under_the_limit_passes(routed: Routed) -> None:
    async with routed(max_body_bytes=16_000_000) as running:
        response = await post(running, TEN_MEGABYTES)
        status = response.status

    assert status == 200


async def test_bad_requests_do_not_disturb_others(routed: Routed) -> None:
    async with routed("slow-token-100ms") as running:
        good = await running.chat(model="behaves", text="a b c", stream=True)
        for raw in (b"{", b"[]", b'{"model": "nobody", "messages": []}'):
            assert (await post(running, raw)).status >= 400
        text = await good.text()

    assert text.endswith("data: [DONE]\n\n")


async def test_too_many_requests_at_once_are_told_to_wait(routed: Routed) -> None:
    async with routed("hang", first_token="2s", max_in_flight=1) as running:
        first = asyncio.create_task(running.chat(model="behaves"))
        await routed.upstream.arrived()
        second = await running.chat(model="general")
        error = await error_of(second)
        first.cancel()

    assert second.status == 503
    assert error["code"] == "overloaded"
    assert second.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "chat/completions", 405), ("GET", "nothing", 404), ("DELETE", "models", 405)],
)
async def test_other_paths_and_methods_get_openais_error_shape(
    routed: Routed, method: str, path: str, status: int
) -> None:
    async with routed() as running:
        response = await running.request(method, f"{running.url}/{path}")
        await error_of(response)

    assert response.status == status


# ---------------------------------------------------------------- the rest


async def test_no_secret_of_the_upstream_reaches_the_client(routed: Routed) -> None:
    async with routed("error-401-secret") as running:
        response = await running.chat(model="behaves")
        text = await response.text()

    assert response.status == 502
    for secret in ("sk-", "Traceback", "127.0.0.1"):
        assert secret not in text


async def test_embeddings_of_the_encoder(routed: Routed) -> None:
    async with routed() as running:
        plain = await post(running, b'{"model": "small", "input": ["a b", "c"]}', "embeddings")
        encoded = await post(
            running,
            b'{"model": "small", "input": "a b", "encoding_format": "base64"}',
            "embeddings",
        )
        vectors = [row["embedding"] for row in (await plain.json())["data"]]
        raw = base64.b64decode((await encoded.json())["data"][0]["embedding"])

    assert sum(value * value for value in vectors[0]) == pytest.approx(1, abs=1e-3)
    assert struct.unpack(f"<{len(vectors[0])}f", raw) == pytest.approx(vectors[0])


@pytest.mark.parametrize(
    "body", [b'{"model": "small", "input": [[1, 2]]}', b'{"model": "x", "input": "a"}']
)
async def test_bad_embeddings_requests(routed: Routed, body: bytes) -> None:
    async with routed() as running:
        response = await post(running, body, "embeddings")
        await error_of(response)

    assert response.status in {400, 404}


async def test_health_and_metrics(routed: Routed) -> None:
    async with routed() as running:
        await (await running.chat(text="write a python function")).read()
        root = running.url.removesuffix("/v1")
        live = await running.request("GET", f"{root}/health/live")
        ready = await running.request("GET", f"{root}/health/ready")
        metrics = await (await running.request("GET", f"{root}/metrics")).text()
        state = await ready.json()

    assert live.status == 200
    assert ready.status == 200
    assert state["parts"] == {"router": "ready"}
    assert 'coe_requests_total{endpoint="chat/completions",expert="coder",status="200"}' in metrics
    assert 'reason="matched"' in metrics


async def test_unknown_names_make_no_metric_series(routed: Routed) -> None:
    async with routed() as running:
        await (await running.chat(model="nobody")).read()
        before = len(running.gateway.telemetry.exposition().splitlines())
        for index in range(50):
            await (await running.chat(model=f"nobody-{index}")).read()
        after = len(running.gateway.telemetry.exposition().splitlines())

    assert after == before


async def test_the_document_names_every_endpoint(routed: Routed) -> None:
    async with routed() as running:
        root = running.url.removesuffix("/v1")
        document = await (await running.request("GET", f"{root}/openapi.json")).json()

    assert {"/v1/chat/completions", "/v1/embeddings", "/v1/models", "/v1/route"} <= set(
        document["paths"]
    )
