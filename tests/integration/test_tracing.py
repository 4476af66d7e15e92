"""Traces: what a collector is told, over a real socket, and what nobody feels of one that fails."""

from __future__ import annotations

import asyncio
import socket

import pytest

from coe.errors import CompositionError
from coe.telemetry import names
from coe.testing.collector import Collector, TakenSpan
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Serve

pytestmark = pytest.mark.anyio

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SELDOM = "0.0001%"
UNSAMPLED = f"00-{TRACE}-{PARENT}-00"

COMPOSITION = """
version: 1
backends: {{up: "{url}"}}
experts:
  coder: up/ok
  broken: up/error-503
  late: up/error-frame-after-2
  writer: up/slow-token-1ms
categories:
  code: {{keywords: [python], experts: [coder]}}
  poems: {{keywords: [poem], experts: [broken, writer]}}
aggregation:
  both: {{method: concat, experts: [coder, writer]}}
models:
  coe/both: {{aggregate: both}}
default: coder
observe: {{traces: "{collector}", trace_sample: {sample}}}
"""


def composition(upstream: FakeUpstream, collector: str, sample: str = "100%") -> str:
    return COMPOSITION.format(url=upstream.url, collector=collector, sample=sample)


def root(collector: Collector) -> TakenSpan:
    (found,) = [span for span in collector.spans if span.kind == "SERVER"]
    return found


def calls(collector: Collector) -> list[TakenSpan]:
    return [span for span in collector.spans if span.kind == "CLIENT"]


async def test_a_streamed_request_is_a_tree_of_spans(serve: Serve, upstream: FakeUpstream) -> None:
    async with Collector() as collector, serve(composition(upstream, collector.url)) as running:
        response = await running.chat(
            text="python please",
            stream=True,
            temperature=0.5,
            max_tokens=7,
            stream_options={"include_usage": True},
        )
        await response.read()
        decision = response.headers["x-coe-decision-id"]

    request = root(collector)
    assert request.name == "chat coe/auto"
    assert request.service == "coe"
    assert request.parent_id == ""
    assert (
        request.attributes.items()
        >= {
            names.OPERATION: "chat",
            names.PROVIDER: "coe",
            names.REQUEST_MODEL: "coe/auto",
            names.RESPONSE_MODEL: "coder",
            names.REQUEST_STREAM: True,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": 7,
            names.FINISH_REASONS: ["stop"],
            names.STATUS: 200,
            names.PATH: "/v1/chat/completions",
            names.DECISION: decision,
            names.STATE: names.CONVENTIONS,
        }.items()
    )
    assert request.attributes[names.INPUT_TOKENS] > 0
    assert request.attributes[names.OUTPUT_TOKENS] > 0
    assert request.attributes[names.FIRST_CHUNK] > 0
    (route,) = collector.named("route")
    assert route.attributes.items() >= {names.CATEGORY: "code", names.REASON: "matched"}.items()
    (plan,) = collector.named("plan")
    assert plan.attributes[names.EXPERTS][0] == "coder"
    (call,) = calls(collector)
    assert call.name == "chat ok"
    assert (
        call.attributes.items()
        >= {
            names.PROVIDER: "openai",
            names.REQUEST_MODEL: "ok",
            names.EXPERT: "coder",
            names.BACKEND: "up",
            names.ADDRESS: "127.0.0.1",
            names.FINISH_REASONS: ["stop"],
        }.items()
    )
    assert call.attributes[names.OUTPUT_TOKENS] == request.attributes[names.OUTPUT_TOKENS]
    assert {span.parent_id for span in (route, plan, call)} == {request.span_id}
    assert {span.trace_id for span in collector.spans} == {request.trace_id}
    assert request.started_ns <= route.started_ns <= route.ended_ns <= plan.started_ns
    assert plan.ended_ns <= call.started_ns <= call.ended_ns <= request.ended_ns


@pytest.mark.parametrize("client", ["lean", "aiohttp"])
async def test_the_clients_trace_goes_on_to_the_backend(
    serve: Serve, upstream: FakeUpstream, client: str
) -> None:
    async with Collector() as collector:
        text = composition(upstream, collector.url, sample=SELDOM)
        async with serve(text, http_client=client) as running:
            url = f"{running.url}/chat/completions"
            body = {"model": "coder", "messages": [{"role": "user", "content": "hi"}]}
            headers = {"traceparent": TRACEPARENT}
            await (await running.request("POST", url, json=body, headers=headers)).read()
            sent = dict(upstream.requests[-1].headers)

    request, (call,) = root(collector), calls(collector)
    assert (request.trace_id, request.parent_id) == (TRACE, PARENT)
    assert sent["traceparent"] == f"00-{TRACE}-{call.span_id}-01"


@pytest.mark.parametrize("header", [None, UNSAMPLED, "00-0-0-01", "ff" + TRACEPARENT[2:]])
async def test_what_is_not_drawn_is_not_traced(
    serve: Serve, upstream: FakeUpstream, header: str | None
) -> None:
    async with Collector() as collector:
        async with serve(composition(upstream, collector.url, sample=SELDOM)) as running:
            body = {"model": "coder", "messages": [{"role": "user", "content": "hi"}]}
            headers = {"traceparent": header} if header else {}
            url = f"{running.url}/chat/completions"
            # One that is traced goes ahead, on the same connection.
            for given in ({"traceparent": TRACEPARENT}, headers):
                await (await running.request("POST", url, json=body, headers=given)).read()
            assert "traceparent" not in dict(upstream.requests[-1].headers)

        assert len([span for span in collector.spans if span.kind == "SERVER"]) == 1


async def test_every_try_is_a_span_and_says_what_went_wrong(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with Collector() as collector, serve(composition(upstream, collector.url)) as running:
        assert (await running.chat(text="a poem")).status == 200

    first, second = calls(collector)
    assert first.has_failed
    assert first.attributes[names.ERROR] == "BackendRejected"
    assert first.attributes[names.EXPERT] == "broken"
    assert not second.has_failed
    assert second.attributes[names.EXPERT] == "writer"
    assert root(collector).attributes[names.REASON] == "fallback"
    assert not root(collector).has_failed


@pytest.mark.parametrize(("stream", "status"), [(False, 502), (True, 200)])
async def test_a_failure_is_told_by_its_class(
    serve: Serve, upstream: FakeUpstream, *, stream: bool, status: int
) -> None:
    model = "late" if stream else "broken"
    async with Collector() as collector, serve(composition(upstream, collector.url)) as running:
        response = await running.chat(model=model, stream=stream)
        await response.read()
        assert response.status == status

    request, (call,) = root(collector), calls(collector)
    assert request.has_failed
    assert request.attributes[names.ERROR] == "BackendRejected"
    assert call.attributes[names.ERROR] == "BackendRejected"


async def test_a_request_that_cannot_be_read_and_a_model_that_nobody_has_are_traced_without_them(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with Collector() as collector, serve(composition(upstream, collector.url)) as running:
        url = f"{running.url}/chat/completions"
        await running.request("POST", url, data=b"{")
        await running.chat(model="nobody-has-this")

    assert [span.name for span in collector.spans] == ["chat", "chat"]
    kinds = [span.attributes[names.ERROR] for span in collector.spans]
    assert kinds == ["InvalidRequest", "UnknownModel"]
    assert not any(b"nobody-has-this" in body for body in collector.bodies)


async def test_each_call_of_a_panel_is_a_span(serve: Serve, upstream: FakeUpstream) -> None:
    async with Collector() as collector, serve(composition(upstream, collector.url)) as running:
        response = await running.chat(model="coe/both")
        await response.read()
        assert response.headers["x-coe-panel"] == "both"

    assert {span.attributes[names.EXPERT] for span in calls(collector)} <= {"coder", "writer"}
    assert calls(collector)
    assert {span.parent_id for span in calls(collector)} == {root(collector).span_id}
    (plan,) = collector.named("plan")
    assert plan.attributes[names.PANEL] == "both"


async def test_another_composition_traces_elsewhere_and_then_nothing(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with Collector() as one, Collector() as other:
        async with serve(composition(upstream, one.url)) as running:
            file = running.live.composition.source
            await (await running.chat()).read()
            await asyncio.wait_for(one.asked.wait(), 10)
            file.write_text(composition(upstream, other.url))
            await running.live.edit()
            await (await running.chat()).read()
            await asyncio.wait_for(other.asked.wait(), 10)
            file.write_text(composition(upstream, "").partition("observe:")[0])
            await running.live.edit()
            await (await running.chat()).read()
            assert "traceparent" not in dict(upstream.requests[-1].headers)
        assert (len(calls(one)), len(calls(other))) == (1, 1)


@pytest.mark.parametrize("mood", ["frozen", "refuses", "absent"])
async def test_rel_04_a_collector_that_fails_fails_no_request_and_holds_none_up(
    serve: Serve, upstream: FakeUpstream, mood: str
) -> None:
    """The requests after the first run while the exporter waits for the collector."""
    async with Collector("frozen" if mood == "frozen" else "refuses") as collector:
        url = collector.url
        if mood == "absent":
            with socket.create_server(("127.0.0.1", 0)) as free:
                url = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with serve(composition(upstream, url)) as running:
            tracing = running.gateway.telemetry.tracing
            tracing._most = 20  # white box: a queue that is full soon
            await (await running.chat()).read()
            if mood != "absent":
                await asyncio.wait_for(collector.asked.wait(), 10)
            for _ in range(60):
                response = await running.chat(stream=True)
                assert response.status == 200
                assert (await response.read()).endswith(b"data: [DONE]\n\n")
            if mood == "frozen":
                assert running.metric('coe_traces_total{result="dropped"}') == 40
                assert running.metric('coe_traces_total{result="sent"}') == 0

    assert not collector.spans


async def test_an_address_that_is_none_is_refused_with_its_place(
    serve: Serve, upstream: FakeUpstream
) -> None:
    for wrong in ("collector:4318", "ftp://x", "http://user:secret@x:4318"):
        with pytest.raises(CompositionError) as found:
            async with serve(composition(upstream, wrong)):
                pass
        assert "observe.traces" in found.value.message
        assert "secret" not in found.value.message


async def test_the_address_may_be_a_reference(
    serve: Serve, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Collector() as collector:
        monkeypatch.setenv("OTEL_URL", collector.url)
        async with serve(composition(upstream, "${env:OTEL_URL:-}")) as running:
            await (await running.chat()).read()
        assert calls(collector)
        monkeypatch.delenv("OTEL_URL")
        async with serve(composition(upstream, "${env:OTEL_URL:-}")) as running:
            await (await running.chat()).read()
            assert running.gateway.telemetry.tracing.share == 0
