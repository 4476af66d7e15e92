"""Traces of what is done behind the answers: lines of batches, arms of shadows, judges."""

from __future__ import annotations

import asyncio

import pytest

from coe.telemetry import names
from coe.testing.collector import Collector, TakenSpan
from coe.testing.upstream import FakeUpstream

from . import test_shadows
from .conftest import Serve
from .test_batches import Desk, request

pytestmark = pytest.mark.anyio

BATCHES = """
version: 1
backends: {{up: "{url}"}}
experts:
  coder: up/ok
  broken: up/error-400
  writer: up/ok
aggregation:
  both: {{method: concat, experts: [coder, writer]}}
models:
  coe/both: {{aggregate: both}}
default: coder
"""
OBSERVE = 'observe: {{traces: "{collector}", trace_sample: {sample}}}\n'
SELDOM = "0.0001%"
WORDS = "words that a client wrote"


def observed(collector: Collector, sample: str = "100%") -> str:
    return OBSERVE.format(collector=collector.url, sample=sample)


def below(collector: Collector, root: TakenSpan) -> list[TakenSpan]:
    """Return the calls of a piece of work."""
    found = [span for span in collector.spans if span.parent_id == root.span_id]
    assert {span.trace_id for span in found} <= {root.trace_id}
    return [span for span in found if span.kind == "CLIENT"]


async def test_each_line_of_a_batch_is_a_trace(serve: Serve, upstream: FakeUpstream) -> None:
    lines = [request(0, WORDS), request(1, WORDS, "broken"), request(2, WORDS, "coe/both")]
    async with Collector() as collector:
        text = BATCHES.format(url=upstream.url) + observed(collector)
        async with serve(text) as running, Desk(running) as desk:
            batch = await desk.end(await desk.begin(lines))
            sent = [dict(one.headers).get("traceparent", "") for one in upstream.requests]

    roots = collector.named("batch chat")
    assert {root.kind for root in roots} == {"INTERNAL"}
    assert {root.parent_id for root in roots} == {""}
    assert {root.attributes[names.BATCH] for root in roots} == {batch.id}
    assert not any(names.STATUS in root.attributes for root in roots)
    assert len({root.trace_id for root in roots}) == len(roots)
    plain, broken, *panel = sorted(roots, key=lambda root: root.attributes[names.BATCH_LINE])
    assert plain.attributes[names.EXPERT] == "coder"
    assert plain.attributes[names.OUTPUT_TOKENS] > 0
    assert not plain.has_failed
    assert broken.has_failed
    assert broken.attributes[names.ERROR] == "BackendRejected"
    # Calls of a panel are made in rounds, by whichever process comes to them: each is a trace.
    assert {root.attributes[names.BATCH_LINE] for root in panel} == {
        plain.attributes[names.BATCH_LINE] + 2
    }
    assert {root.attributes[names.EXPERT] for root in panel} == {"coder", "writer"}
    calls = [below(collector, root) for root in roots]
    assert [len(made) for made in calls] == [1, 1, 1, 1]
    headers = {f"00-{call.trace_id}-{call.span_id}-01" for made in calls for call in made}
    assert headers == set(sent)
    assert not any(WORDS.encode() in body or b"line-0" in body for body in collector.bodies)


async def test_lines_are_drawn_as_requests_are(serve: Serve, upstream: FakeUpstream) -> None:
    async with Collector() as collector:
        text = BATCHES.format(url=upstream.url) + observed(collector, SELDOM)
        async with serve(text) as running, Desk(running) as desk:
            await desk.end(await desk.begin([request(0)]))
            assert "traceparent" not in dict(upstream.requests[-1].headers)

    assert not collector.spans


async def test_arms_of_a_shadow_and_its_judge_are_linked_to_the_request(
    serve: Serve, upstream: FakeUpstream
) -> None:
    file = test_shadows.text(upstream).replace(
        "other: {backend: up, model: ok,", "other: {backend: up, model: chunks-3,"
    )
    async with Collector() as collector, serve(file + observed(collector)) as running:
        await (await running.chat(text=f"python, {WORDS}")).read()
        async with asyncio.timeout(20):
            while not collector.named("judge"):
                await asyncio.sleep(0.02)

    (asked,) = [span for span in collector.spans if span.kind == "SERVER"]
    arms, (judge,) = collector.named("shadow chat"), collector.named("judge chat")
    assert {tuple(root.attributes[names.EXPERIMENTS]) for root in arms} == {
        ("beside:control",),
        ("beside:swapped",),
    }
    assert judge.attributes[names.EXPERIMENTS] == ["beside:swapped"]
    for root in (*arms, judge):
        assert (root.kind, root.parent_id) == ("INTERNAL", "")
        assert root.links == [(asked.trace_id, asked.span_id)]
        assert root.trace_id != asked.trace_id
    assert [root.attributes[names.EXPERT] for root in arms] == ["good", "other"]
    called = [[call.attributes[names.EXPERT] for call in below(collector, root)] for root in arms]
    assert called == [["good"], ["other"]]
    assert len(below(collector, judge)) == 2  # in both orders
    assert len(below(collector, asked)) == 1
    assert not any(WORDS.encode() in body for body in collector.bodies)


async def test_an_arm_that_fails_says_so_and_a_request_that_is_not_traced_has_no_traced_shadow(
    serve: Serve, upstream: FakeUpstream
) -> None:
    file = test_shadows.text(upstream, arm="broken").replace("default: good", "default: broken")
    async with Collector() as collector, serve(file + observed(collector, SELDOM)) as running:
        url = f"{running.url}/chat/completions"
        body = {"model": "coe/auto", "messages": [{"role": "user", "content": "python"}]}
        await (await running.request("POST", url, json=body)).read()
        await test_shadows.settled(running)
        headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        await (await running.request("POST", url, json=body, headers=headers)).read()
        async with asyncio.timeout(20):
            while len(collector.named("shadow")) < 2:
                await asyncio.sleep(0.02)

    failed = {root.attributes[names.EXPERIMENTS][0]: root for root in collector.named("shadow")}
    assert failed["beside:swapped"].has_failed
    assert failed["beside:swapped"].attributes[names.ERROR] == "BackendRejected"
    assert not failed["beside:control"].has_failed
    assert {root.links[0][0] for root in failed.values()} == {"a" * 32}
