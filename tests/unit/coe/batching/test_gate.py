from __future__ import annotations

import asyncio

import pytest

from coe.batching.gate import QUIET_S, Gate, Traffic, breathe, sleep
from coe.telemetry import Telemetry

pytestmark = pytest.mark.anyio


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(log_requests=False)


@pytest.fixture
def traffic(telemetry: Telemetry, clock: Clock) -> Traffic:
    return Traffic(telemetry, clock)


def test_a_request_in_flight_is_traffic(traffic: Traffic, telemetry: Telemetry) -> None:
    assert not traffic.is_busy

    telemetry.in_flight = 1

    assert traffic.is_busy


def test_the_gap_after_a_request_is_traffic_for_a_while(
    traffic: Traffic, telemetry: Telemetry, clock: Clock
) -> None:
    telemetry.begun += 1  # it came and went between two looks
    assert traffic.is_busy

    clock.now += 0.9 * QUIET_S
    assert traffic.is_busy
    clock.now += 0.2 * QUIET_S
    assert not traffic.is_busy


async def test_no_more_than_the_limit_are_inside(traffic: Traffic) -> None:
    gate, stopped = Gate(2, traffic), asyncio.Event()
    assert await gate.enter(stopped)
    assert await gate.enter(stopped)

    third = asyncio.create_task(gate.enter(stopped))
    await asyncio.sleep(0)
    assert not third.done()
    gate.leave()

    assert await third
    assert gate.inside == 2


async def test_one_goes_on_beside_other_requests(
    traffic: Traffic, telemetry: Telemetry, clock: Clock
) -> None:
    telemetry.in_flight = 1
    gate, stopped = Gate(2, traffic), asyncio.Event()
    assert await gate.enter(stopped)
    second = asyncio.create_task(gate.enter(stopped))
    await asyncio.sleep(0)
    assert not second.done()

    telemetry.in_flight = 0
    clock.now += 2 * QUIET_S

    assert await second


async def test_who_waits_leaves_when_all_is_stopped(traffic: Traffic) -> None:
    gate, stopped = Gate(1, traffic), asyncio.Event()
    await gate.enter(stopped)
    second = asyncio.create_task(gate.enter(stopped))
    await asyncio.sleep(0)

    stopped.set()

    assert not await second
    assert gate.inside == 1


async def test_a_breath_is_taken_beside_other_requests_alone(
    traffic: Traffic, telemetry: Telemetry
) -> None:
    taken = asyncio.create_task(breathe(traffic, asyncio.Event()))
    await asyncio.sleep(0)
    assert taken.done()

    telemetry.in_flight = 1
    taken = asyncio.create_task(breathe(traffic, asyncio.Event()))
    await asyncio.sleep(0)
    assert not taken.done()
    await taken


async def test_a_sleep_ends_with_its_event() -> None:
    event = asyncio.Event()
    event.set()

    assert await sleep(60, event)
    assert not await sleep(0, asyncio.Event())
