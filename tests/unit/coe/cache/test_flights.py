"""Who leads, who waits, and who is left to lead."""

from __future__ import annotations

import asyncio

import pytest

from coe.cache.flights import Flight, Flights

pytestmark = pytest.mark.anyio


async def led(flights: Flights, name: str = "x", partition: str = "p") -> Flight:
    flight = await flights.join(partition, name)
    assert flight is not None
    return flight


async def waiting(flights: Flights, count: int) -> list[asyncio.Task[Flight | None]]:
    tasks = [asyncio.create_task(flights.join("p", "x")) for _ in range(count)]
    await asyncio.sleep(0)
    assert flights.waiting == count
    return tasks


async def test_others_wait_until_it_has_landed_and_then_nobody_leads() -> None:
    flights = Flights()
    flight = await led(flights)
    tasks = await waiting(flights, 3)

    flight.land()

    assert await asyncio.gather(*tasks) == [None] * 3
    assert not len(flights)
    again = await led(flights)
    flight.land()
    flight.leave()
    assert len(flights) == 1
    again.land()
    assert not len(flights)


async def test_another_request_or_partition_is_another_flight() -> None:
    flights = Flights()
    await led(flights)
    await led(flights, name="y")
    await led(flights, partition="q")
    assert len(flights) == 3


async def test_who_leaves_leaves_the_lead_to_the_first_that_still_waits() -> None:
    flights = Flights()
    flight = await led(flights)
    gone, next_one, last = await waiting(flights, 3)
    gone.cancel()

    flight.leave()

    assert await next_one is flight
    assert not last.done()
    flight.leave()
    assert await last is flight
    flight.leave()
    assert not len(flights)


async def test_who_goes_away_as_it_is_told_to_lead_leaves_that_to_the_next() -> None:
    flights = Flights()
    flight = await led(flights)
    gone, next_one = await waiting(flights, 2)

    flight.leave()
    gone.cancel()

    assert await next_one is flight
    flight.leave()
    assert not len(flights)


async def test_who_goes_away_as_it_lands_takes_nobody_along() -> None:
    flights = Flights()
    flight = await led(flights)
    gone, other = await waiting(flights, 2)

    flight.land()
    gone.cancel()

    assert await other is None
    assert not len(flights)
