from __future__ import annotations

import asyncio

import pytest

from coe.batching.gate import Gate, allowed, sleep

pytestmark = pytest.mark.anyio


def test_one_goes_on_beside_interactive_requests() -> None:
    assert [allowed(8, interactive) for interactive in (0, 1, 9)] == [8, 1, 1]


async def test_no_more_than_the_limit_are_inside() -> None:
    gate, stopped = Gate(2, lambda: 0), asyncio.Event()
    assert await gate.enter(stopped)
    assert await gate.enter(stopped)

    third = asyncio.create_task(gate.enter(stopped))
    await asyncio.sleep(0)
    assert not third.done()
    gate.leave()

    assert await third
    assert gate.inside == 2


async def test_who_waits_goes_on_when_the_interactive_request_has_ended() -> None:
    interactive = 1
    gate, stopped = Gate(2, lambda: interactive), asyncio.Event()
    assert await gate.enter(stopped)
    second = asyncio.create_task(gate.enter(stopped))
    await asyncio.sleep(0)
    assert not second.done()

    interactive = 0

    assert await second


async def test_who_waits_leaves_when_all_is_stopped() -> None:
    gate, stopped = Gate(1, lambda: 0), asyncio.Event()
    await gate.enter(stopped)
    second = asyncio.create_task(gate.enter(stopped))
    await asyncio.sleep(0)

    stopped.set()

    assert not await second
    assert gate.inside == 1


async def test_a_sleep_ends_with_its_event() -> None:
    event = asyncio.Event()
    event.set()

    assert await sleep(60, event)
    assert not await sleep(0, asyncio.Event())
