"""What is seen of the gateway, and what is never seen there: SEC-15, 16, 17 and 21."""

from __future__ import annotations

import asyncio
import re

import pytest

from benches.load_parts.labels import new_series
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Gateways, Serve

pytestmark = pytest.mark.anyio


async def test_sec_21_ten_thousand_random_labels_make_no_new_series(gateways: Gateways) -> None:
    async with gateways.start() as running:
        url = running.url.removesuffix("/v1")

        made = await new_series(url, 10_000)

        assert made == 0
        assert running.metric('coe_requests_total{endpoint="chat/completions",expert="good"') > 500


@pytest.mark.parametrize("more", ["", "fallbacks: {shed_after: 20s}\n"])
async def test_overhead_has_the_wait_for_a_busy_backend_in_it(
    serve: Serve, upstream: FakeUpstream, more: str
) -> None:
    """By its limit alone, or in a line: the second request waits for most of a second."""
    text = (
        f"version: 1\nbackends: {{up: {{url: '{upstream.url}', concurrency: 1}}}}\n"
        f"experts: {{slow: up/slow-first-1s}}\ndefault: slow\n{more}"
    )
    async with serve(text) as running:
        first = asyncio.create_task(running.chat())
        await upstream.arrived()
        second = await running.chat()
        await first

    timing = dict(re.findall(r"(\w+);dur=([\d.]+)", second.headers["server-timing"]))
    overhead_ms = float(second.headers["x-coe-overhead-ms"])
    assert float(timing["queue"]) > 200
    assert overhead_ms >= float(timing["queue"])
    assert float(timing["upstream"]) >= 990
    assert float(first.result().headers["x-coe-overhead-ms"]) < overhead_ms
