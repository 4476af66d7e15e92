"""Who is asked in the place of a panel, and who pays for it; requirements have their numbers."""

from __future__ import annotations

import asyncio

import pytest

from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Running, Serve

pytestmark = pytest.mark.anyio


def panel(up: FakeUpstream, spare: FakeUpstream, fallbacks: str, model: str) -> str:
    """A composition with the panel `coe/two`; in its place another server's expert is asked."""
    return (
        f"version: 1\nbackends: {{up: {{url: '{up.url}', concurrency: 1}}, spare: '{spare.url}'}}\n"
        "experts:\n"
        "  a: {backend: spare, model: ok}\n"
        f"  b: {{backend: up, model: {model}}}\n"
        f"  c: {{backend: up, model: {model}}}\n"
        "routing: {none: [a]}\ndefault: a\ntimeouts: {}\n"
        f"fallbacks: {{retry_budget: 20%, {fallbacks}}}\n"
        "aggregation: {two: {method: vote, experts: [b, c]}}\n"
        "models: {coe/two: {aggregate: two}}\n"
    )


async def assert_nothing_is_paid(running: Running) -> None:
    """See to it that a panel is answered where nothing is left of the budget."""
    budget = running.gateway.standing.budget
    while budget.spend(0.0):
        pass
    before = budget.spent, budget.refused

    response = await running.chat(model="coe/two")

    assert (response.status, response.headers["x-coe-expert"]) == (200, "a")
    assert (budget.spent, budget.refused) == before


async def test_rel_02_in_the_place_of_a_panel_that_breakers_kept_out_it_is_no_further_call(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with FakeUpstream() as spare:
        text = panel(upstream, spare, "breaker: {failures: 1, open: 60s}", "error-503")
        async with serve(text) as running:
            assert (await running.chat(model="coe/two")).status == 200
            asked = upstream.received

            await assert_nothing_is_paid(running)

    assert (asked, upstream.received) == (2, 2)


async def test_rel_02_in_the_place_of_a_panel_that_the_crowd_kept_out_it_is_no_further_call(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with FakeUpstream() as spare:
        text = panel(upstream, spare, "shed_after: 50ms", "hang")
        async with serve(text) as running:
            first = asyncio.create_task(running.chat(model="b"))
            await upstream.arrived()

            await assert_nothing_is_paid(running)

            first.cancel()

    assert upstream.received == 1


async def test_rel_02_in_the_place_of_a_panel_that_was_asked_it_is_a_further_call(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with FakeUpstream() as spare:
        text = panel(upstream, spare, "breaker: {failures: 9, open: 60s}", "error-503")
        async with serve(text) as running:
            response = await running.chat(model="coe/two")
            budget = running.gateway.standing.budget

    assert (response.status, budget.spent) == (200, 1)
