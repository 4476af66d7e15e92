"""Who stays longer than one to two periods is named once; who leaves in time is not."""

import asyncio

import pytest

from coe.grace import Grace

pytestmark = pytest.mark.anyio

PERIOD_S = 0.02


async def test_names_only_those_who_stay() -> None:
    named: list[str] = []
    grace = Grace(PERIOD_S, named.append)
    grace.enter("stays")
    grace.enter("leaves")
    grace.leave("leaves")

    async with asyncio.timeout(5):
        while not named:
            await asyncio.sleep(PERIOD_S)
    await asyncio.sleep(4 * PERIOD_S)

    assert named == ["stays"]


async def test_nobody_is_named_before_a_whole_period() -> None:
    loop = asyncio.get_running_loop()
    at: list[float] = []
    grace: Grace[str] = Grace(PERIOD_S, lambda _: at.append(loop.time()))
    grace.enter("first")  # the clock runs already when the second one comes
    await asyncio.sleep(PERIOD_S / 2)
    grace.leave("first")
    entered = loop.time()

    grace.enter("second")
    async with asyncio.timeout(5):
        while not at:
            await asyncio.sleep(PERIOD_S / 4)

    assert at[0] - entered >= PERIOD_S


async def test_leaving_twice_or_after_being_named_is_fine() -> None:
    named: list[int] = []
    grace = Grace(PERIOD_S, named.append)
    grace.enter(1)
    async with asyncio.timeout(5):
        while not named:
            await asyncio.sleep(PERIOD_S)

    grace.leave(1)
    grace.leave(1)
    grace.enter(2)
    async with asyncio.timeout(5):
        while len(named) < 2:
            await asyncio.sleep(PERIOD_S)

    assert named == [1, 2]
