"""Metrics by OTLP: what a collector is told, over a real socket, and what a failing one costs."""

from __future__ import annotations

import asyncio
import logging
import socket
import time

import pytest

from coe.telemetry import names
from coe.testing.collector import Collector, TakenPoint
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Running, Serve

pytestmark = pytest.mark.anyio

COMPOSITION = """
version: 1
backends: {{up: "{url}"}}
experts: {{coder: up/slow-token-1ms, broken: up/error-503}}
default: coder
"""

EXPORTS = 'coe_metric_exports_total{{result="{}"}}'


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return what sets variables, with a short interval."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    return monkeypatch


async def counted(running: Running, result: str, more: int = 1) -> None:
    """Wait until something has come of so many intervals more."""
    name = EXPORTS.format(result)
    before = running.metric(name)
    async with asyncio.timeout(20):
        while running.metric(name) < before + more:
            await asyncio.sleep(0.02)


async def test_a_collector_is_told_what_prometheus_is(
    serve: Serve, upstream: FakeUpstream, often: pytest.MonkeyPatch
) -> None:
    began_ns = time.time_ns()
    async with Collector() as collector:
        often.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        often.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        async with serve(COMPOSITION.format(url=upstream.url)) as running:
            for _ in range(3):
                options = {"include_usage": True}
                response = await running.chat(
                    model="coder", text="one two three", stream=True, stream_options=options
                )
                await response.read()
            await (await running.chat(model="broken")).read()
            await counted(running, "sent", 2)  # the second was surely read after the last answer
            text = running.gateway.telemetry.exposition().decode()

    points = collector.exports[-1]
    asked = {names.OPERATION: "chat", names.PROVIDER: "openai", names.REQUEST_MODEL: "coder"}
    duration = one(points, names.DURATION, asked)
    assert (duration.kind, duration.unit) == ("histogram", "s")
    assert sum(duration.counts) == 3
    assert duration.bounds == names.DURATION_BOUNDS
    assert len(duration.counts) == len(duration.bounds) + 1
    failed = [point for point in points if point.attributes.get(names.ERROR)]
    assert [sum(point.counts) for point in failed] == [1]
    usage = one(points, names.USAGE, {**asked, names.TOKEN_TYPE: "output"})
    assert (usage.kind, usage.unit) == ("histogram", "{token}")
    label = 'gen_ai_request_model="coder",gen_ai_token_type="output"'
    line = next(row for row in text.splitlines() if "usage_sum{" in row and label in row)
    assert usage.value == float(line.rsplit(" ", 1)[1]) > 0
    assert one(points, names.FIRST_TOKEN, asked).unit == "s"
    assert one(points, names.PER_TOKEN, asked).unit == "s"
    answered = {"endpoint": "chat/completions", "expert": "coder", "status": "200"}
    requests = one(points, "coe_requests", answered)
    assert (requests.kind, requests.value) == ("counter", 3)
    assert one(points, "coe_inflight", {}).kind == "gauge"
    for point in points:
        assert point.resource["service.name"] == "coe"
        assert point.resource["deployment.environment.name"] == "test"
        assert point.resource["service.instance.id"]
        if point.kind != "gauge":
            assert began_ns <= point.started_ns <= point.at_ns
    starts = {point.started_ns for row in collector.exports for point in row} - {0}
    assert len(starts) == 1


def one(points: list[TakenPoint], name: str, attributes: dict[str, str]) -> TakenPoint:
    (found,) = [point for point in points if point.name == name and point.attributes == attributes]
    return found


async def test_without_a_word_nothing_is_sent(
    serve: Serve, upstream: FakeUpstream, often: pytest.MonkeyPatch
) -> None:
    async with Collector() as collector:
        often.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        often.setenv("OTEL_METRICS_EXPORTER", "none")
        async with serve(COMPOSITION.format(url=upstream.url)) as running:
            await (await running.chat()).read()
            await asyncio.sleep(0.3)
            assert running.metric("coe_metric_exports_total") == 0
    assert not collector.bodies


@pytest.mark.parametrize("mood", ["frozen", "absent"])
async def test_rel_04_no_request_notices_a_collector_that_is_slow_or_gone(
    serve: Serve, upstream: FakeUpstream, often: pytest.MonkeyPatch, mood: str
) -> None:
    """The exporter waits for the collector, or tries again, while intervals go by."""
    async with Collector("frozen") as collector:
        url = collector.url
        if mood == "absent":
            with socket.create_server(("127.0.0.1", 0)) as free:
                url = f"http://127.0.0.1:{free.getsockname()[1]}"
        often.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{url}/v1/metrics")
        async with serve(COMPOSITION.format(url=upstream.url)) as running:
            await counted(running, "dropped")
            for _ in range(20):
                response = await running.chat(stream=True)
                assert response.status == 200
                assert (await response.read()).endswith(b"data: [DONE]\n\n")
            assert running.metric(EXPORTS.format("sent")) == 0


async def test_rel_04_a_collector_that_refuses_is_counted_and_said_once(
    serve: Serve,
    upstream: FakeUpstream,
    often: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with Collector("refuses") as collector:
        often.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collector.url}/v1/metrics")
        async with serve(COMPOSITION.format(url=upstream.url)) as running:
            await counted(running, "failed", 3)
            assert (await running.chat()).status == 200
            assert told(caplog) == 1
            collector.mood = "ok"
            await counted(running, "sent")
            collector.mood = "refuses"
            await counted(running, "failed", 3)
            assert told(caplog) == 2


def told(caplog: pytest.LogCaptureFixture) -> int:
    """Return how often the log says that metrics are not taken."""
    return sum("does not take metrics" in row.message for row in caplog.records)
