"""Random callers, faults, changes: every call ends, who works stays, and memory is enough."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from random import Random

import pytest

from coe.errors import BackendUnreachable, CapacityError
from coe.scheduler.loop import LocalSlots, Setup
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options

pytestmark = pytest.mark.anyio

PLACES = 2
BESIDE = 2
NAMES = "abcdef"


class Moody:
    """A memory of two tiers that fails, lies and forgets now and then, by a seed.

    Nothing is in it that it was not asked for, and it never holds more than there is.
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.inside: set[str] = set()
        self.beside: set[str] = set()
        self.coming: set[str] = set()
        self.busy: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

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

    def check(self) -> None:
        assert len(self.inside | self.coming) <= PLACES, "memory is exceeded"
        assert len(self.beside) <= BESIDE, "host memory is exceeded"

    async def load(self, expert: str) -> None:
        self.coming.add(expert)
        try:
            self.check()
            await self._mood(hangs=True)
        finally:
            self.coming.discard(expert)
        self.inside.add(expert)
        self.beside.discard(expert)

    async def unload(self, expert: str) -> None:
        assert not self.busy[expert], "somebody who works was unloaded"
        assert expert not in self.coming, "somebody who is on the way was unloaded"
        self.asked[expert] += 1
        if self.asked[expert] < 3:  # who never leaves keeps others waiting for a minute
            await self._mood(hangs=False)
        self.asked[expert] = 0
        self.inside.discard(expert)
        self.beside.discard(expert)

    async def resident(self) -> Mapping[str, int | None]:
        if self.rng.random() < 0.05:
            raise BackendUnreachable("moody")
        return dict.fromkeys(self.inside)

    async def park(self, expert: str) -> None:
        assert not self.busy[expert], "somebody who works was parked"
        await self._mood(hangs=True)
        if expert in self.inside:
            self.inside.discard(expert)
            self.beside.add(expert)
            self.check()
        if self.rng.random() < 0.1:
            raise BackendUnreachable("it is parked, and nobody hears of it")

    async def parked(self) -> Mapping[str, int | None]:
        if self.rng.random() < 0.05:
            raise BackendUnreachable("moody")
        if self.rng.random() < 0.05:
            self.beside.clear()  # somebody else needed it
        return dict.fromkeys(self.beside)


def setup(rng: Random, *, parks: bool) -> Setup:
    experts = rng.sample(NAMES, rng.randint(3, len(NAMES)))
    host = rng.choice((None, 1, BESIDE, BESIDE)) if parks else None
    return Setup(
        layout=Layout(
            pools=(Pool(name="p", memory=PLACES, host=host),),
            experts=tuple(
                Expert(name=name, pool="p", memory=1, concurrency=rng.randint(1, 3))
                for name in experts
            ),
        ),
        options=Options(retry_first_s=0.001, max_wait_s=rng.choice([None, 0.05])),
        load_limit_s=0.01,
    )


class Crowd:
    """Callers of all experts, one call after the other, by a seed."""

    def __init__(self, rng: Random, slots: LocalSlots, memory: Moody) -> None:
        self.rng, self.slots, self.memory = rng, slots, memory
        self.served = 0

    async def caller(self) -> None:
        for _ in range(self.rng.randrange(1, 8)):
            await self.pause(6)
            expert = self.rng.choice(NAMES)
            if self.slots.manages(expert):
                with suppress(CapacityError):
                    await self.call(expert)

    async def call(self, expert: str) -> None:
        slot = await self.slots.take(expert, deadline_s=self.rng.choice([None, 0.02]))
        self.memory.busy[expert] += 1
        try:
            await self.pause(4)
        finally:
            self.memory.busy[expert] -= 1
            slot.release(failed=self.rng.random() < 0.1)
            self.served += 1

    async def pause(self, most: int) -> None:
        for _ in range(self.rng.randrange(most)):
            await asyncio.sleep(0)


@pytest.mark.parametrize("parks", [False, True])
@pytest.mark.parametrize("seed", range(12))
async def test_every_call_ends_and_nobody_who_works_is_unloaded(
    seed: int,
    parks: bool,  # noqa: FBT001 - pytest gives it
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = Random(seed)  # noqa: S311 - draws of a test
    memory = Moody(rng)
    slots = LocalSlots("box", memory, setup(rng, parks=parks), parking=memory)
    crowd = Crowd(rng, slots, memory)

    async def change() -> None:
        for _ in range(4):
            await crowd.pause(30)
            slots.change(setup(rng, parks=parks))

    calls = [asyncio.ensure_future(crowd.caller()) for _ in range(40)]
    changing = asyncio.ensure_future(change())
    await slots.open()
    for one in rng.sample(calls, 5):
        one.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await asyncio.gather(*calls, return_exceptions=True)
        await changing

    assert crowd.served
    assert sum(view.running + view.interactive + view.bulk for view in slots.views()) == 0
    assert not any(task.exception() for task in calls if not task.cancelled())
    await slots.aclose()
    # The loop outlives what its backend raises, so a foul is found in the log.
    assert "AssertionError" not in caplog.text
