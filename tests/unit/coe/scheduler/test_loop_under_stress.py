"""Random callers, faults and changes: every call ends, and nobody who works is unloaded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from random import Random

import pytest

from coe.errors import BackendUnreachable, CapacityError
from coe.scheduler.loop import Setup, Slots
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options

pytestmark = pytest.mark.anyio

PLACES = 2
NAMES = "abcdef"


class Moody:
    """A memory that fails, lies and forgets now and then, by a seed."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.inside: set[str] = set()
        self.busy: Counter[str] = Counter()

    async def _mood(self, *, hangs: bool) -> None:
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)
        mood = self.rng.random()
        if mood < 0.1:
            raise BackendUnreachable("moody")
        if hangs and mood < 0.12:
            await asyncio.sleep(1)  # beyond the limit
        if mood < 0.14:
            raise ZeroDivisionError

    async def load(self, expert: str) -> None:
        await self._mood(hangs=True)
        self.inside.add(expert)

    async def unload(self, expert: str) -> None:
        assert not self.busy[expert], "somebody who works was unloaded"
        await self._mood(hangs=False)
        self.inside.discard(expert)

    async def resident(self) -> Mapping[str, int | None]:
        if self.rng.random() < 0.05:
            raise BackendUnreachable("moody")
        return dict.fromkeys(self.inside)


def setup(rng: Random) -> Setup:
    experts = rng.sample(NAMES, rng.randint(3, len(NAMES)))
    return Setup(
        layout=Layout(
            pools=(Pool(name="p", memory=PLACES),),
            experts=tuple(
                Expert(name=name, pool="p", memory=1, concurrency=rng.randint(1, 3))
                for name in experts
            ),
        ),
        options=Options(retry_first_s=0.001, max_wait_s=rng.choice([None, 0.05])),
        load_limit_s=0.01,
    )


@pytest.mark.parametrize("seed", range(12))
async def test_every_call_ends_and_nobody_who_works_is_unloaded(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - draws of a test
    memory = Moody(rng)
    slots = Slots("box", memory, setup(rng))
    ended: Counter[str] = Counter()

    async def call() -> None:
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        expert = rng.choice(NAMES)
        if not slots.manages(expert):
            return
        try:
            slot = await slots.take(expert, deadline_s=rng.choice([None, 0.02]))
        except CapacityError:
            ended["refused"] += 1
            return
        memory.busy[expert] += 1
        try:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        finally:
            memory.busy[expert] -= 1
            slot.release(failed=rng.random() < 0.1)
            ended["served"] += 1

    async def change() -> None:
        for _ in range(4):
            for _ in range(rng.randrange(30)):
                await asyncio.sleep(0)
            slots.change(setup(rng))

    calls = [asyncio.ensure_future(call()) for _ in range(80)]
    changing = asyncio.ensure_future(change())
    await slots.open()
    for one in rng.sample(calls, 10):
        one.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await asyncio.gather(*calls, return_exceptions=True)
        await changing

    assert ended["served"]
    assert sum(view.running + view.interactive + view.bulk for view in slots.views()) == 0
    assert not any(task.exception() for task in calls if not task.cancelled())
    await slots.aclose()
