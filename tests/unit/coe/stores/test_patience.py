"""What a limit of time counts while the event loop is held up."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from coe.stores.patience import MOST_TICKS, TICKS, Patience, Ticks


def test_ticks_on_time_are_counted_and_late_ones_up_to_a_bound() -> None:
    ticks = Ticks()
    for _ in range(TICKS - 1):
        ticks = ticks.after(late_s=0.4, tick_s=1.0)
    for _ in range(MOST_TICKS - TICKS):
        ticks = ticks.after(late_s=0.6, tick_s=1.0)
        assert not ticks.are_enough

    assert ticks.after(late_s=0.0, tick_s=1.0).are_enough
    assert ticks.after(late_s=9.0, tick_s=1.0).are_enough


@pytest.mark.anyio
async def test_what_never_comes_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        async with Patience(0.02):
            await asyncio.Event().wait()


@pytest.mark.anyio
async def test_what_came_while_the_loop_was_held_up_is_taken() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)

    def hold_up() -> None:
        theirs.sendall(b"late\n")
        time.sleep(0.5)

    async with Patience(0.1):
        asyncio.get_running_loop().call_later(0.01, hold_up)
        assert await reader.readline() == b"late\n"
    writer.close()
    theirs.close()


@pytest.mark.anyio
async def test_who_is_cancelled_is_told_that_and_no_timeout() -> None:
    async def wait() -> None:
        async with Patience(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
