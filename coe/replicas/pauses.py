"""Pauses of experiments on all replicas: what a guardrail found on one holds on all of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from coe.composition import Composition, Experiment
from coe.errors import CoEError, StoreUnavailable
from coe.stores.redis import Redis
from coe.stores.redis_pauses import RedisPauses

logger = logging.getLogger(__name__)

EVERY_S = 0.5


class Pauses:
    """See the module. What is paused is what was defined so: another one of its name runs.

    Attributes:
        held: experiments that are paused here because another replica found harm, or this one
            before it was started anew.
    """

    def __init__(
        self,
        redis: Redis,
        current: Callable[[], Composition],
        pause: Callable[[str], Awaitable[None]],
        resume: Callable[[], Awaitable[object]],
    ) -> None:
        """Store the parts.

        Args:
            redis: what the replicas share.
            current: returns what is served now.
            pause: pauses an experiment in this process.
            resume: serves the file as it is, without such pauses.
        """
        self.held: set[str] = set()
        self._store = RedisPauses(redis)
        self._current = current
        self._pause = pause
        self._resume = resume
        self._owed: dict[str, str] = {}
        self._new = asyncio.Event()

    async def tell(self, experiment: str) -> None:
        """Have all replicas pause an experiment: now, or as soon as Redis answers."""
        one = self._current().experiments.get(experiment)
        if one is not None:
            self._owed[experiment] = definition(one)
            with suppress(StoreUnavailable):
                await self._pay()

    async def lift(self, experiment: str) -> bool:
        """Lift a pause on all replicas; return whether there was one. Raises StoreUnavailable.

        What a file says of the experiment holds from then on.
        """
        self._owed.pop(experiment, None)
        was = await self._store.lift(experiment)
        self._new.set()
        return was

    async def look(self) -> None:
        """Pause what is to be paused. Raises StoreUnavailable."""
        await self._pay()
        running = {one.name: one for one in self._current().experiments.values() if one.is_split}
        if not running and not self.held:
            return
        paused = await self._store.paused()
        for name, one in running.items():
            if paused.get(name) == definition(one):
                self.held.add(name)
                logger.warning(
                    "experiment %s is paused: a guardrail found harm; DELETE "
                    "/v1/replicas/pauses/%s lifts that",
                    name,
                    name,
                )
                await self._pause(name)
        if lifted := self.held - paused.keys():
            self.held -= lifted
            await self._resume()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look now and then meanwhile, and at once when there is news."""
        await self._try()
        task = asyncio.create_task(self._work())
        try:
            async with self._store.listening(lambda _: self._new.set()):
                yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._new.wait()
            self._new.clear()
            await self._try()

    async def _try(self) -> None:
        try:
            await self.look()
        except StoreUnavailable:
            return  # what is paused here stays so
        except CoEError as error:
            logger.warning("pauses of experiments: %s", error.message)
        except Exception:  # a supervisor: the next look may do
            logger.exception("pauses of experiments")

    async def _pay(self) -> None:
        while self._owed:
            name, defined = next(iter(self._owed.items()))
            await self._store.pause(name, defined)
            self._owed.pop(name, None)


def definition(one: Experiment) -> str:
    """Return what makes an experiment another one, whatever its name."""
    arms = ",".join(f"{arm.name}:{arm.share:g}" for arm in one.arms)
    return f"{one.salt}|{one.unit}|{arms}"
