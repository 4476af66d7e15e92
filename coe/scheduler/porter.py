"""Carries experts in and out of a backend's memory, and says what came of it.

A backend may fail, hang, or do a thing and say that it did not; what is reported is as true as can
be found out.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from coe.errors import CoEError
from coe.protocols import Parking, Residency
from coe.scheduler.events import (
    Event,
    Load,
    Loaded,
    LoadFailed,
    Source,
    Unload,
    Unloaded,
    UnloadFailed,
)

logger = logging.getLogger(__name__)

LOOK_S = 10.0
"""How long a backend may take to say who is in its memory, and to clear up after a failed load."""

AGAIN_S = (0.05, 0.5)
"""When an unload that failed is tried again: one that fails for good keeps its place for long."""

Sizes = Mapping[str, int | None]


class Watcher(Protocol):
    """Whoever counts what is carried; see `coe.telemetry`."""

    def loaded(self, expert: str, took_s: float, *, source: Source, succeeded: bool) -> None:
        """A load ended."""

    def unloaded(self, expert: str, for_expert: str, *, parked: bool) -> None:
        """An expert left to make room for another one; parked is one that host memory has now."""

    def dropped(self, expert: str, for_expert: str) -> None:
        """An expert left host memory to make room for another one."""


class Porter:
    """The loads and unloads of one backend.

    Attributes:
        load_limit_s: a load that takes longer has failed; an unload, too.
        reasons: why experts could not be loaded when that was last tried.
        is_suspect: whether the backend may not have what it should; whoever looks resets it.
    """

    def __init__(
        self,
        name: str,
        residency: Residency,
        parking: Parking | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        """Store the parts; see `coe.scheduler.loop.Slots`."""
        self.load_limit_s = math.inf
        self.reasons: dict[str, str] = {}
        self.is_suspect = False
        self._name = name
        self._residency = residency
        self._parking = parking
        self._watcher = watcher

    def reach(self, residency: Residency, parking: Parking | None) -> None:
        """Carry by another way from now on, into the same memory."""
        self._residency, self._parking = residency, parking

    async def load(self, load: Load) -> list[Event]:
        """Load an expert; report `Loaded` or `LoadFailed`."""
        clock, expert = asyncio.get_running_loop().time, load.expert
        began_s = clock()
        residency = self._residency
        reason = await self._try(residency.load(expert), "loading it")
        if reason and residency is not self._residency:  # closed meanwhile, perhaps
            reason = await self._try(self._residency.load(expert), "loading it")
        sizes = await self.resident()
        if reason and (sizes is None or expert not in sizes):
            # Whether it takes memory is not known: it had better not, since none is counted for it.
            left = await self._try(self._residency.unload(expert), "unloading it", LOOK_S)
            parked = await self.parked() if left and load.source == "host" else {}
            logger.warning("backend %s: `%s` was not loaded: %s", self._name, expert, reason)
            self.reasons[expert] = reason
            self.is_suspect = True
            event: Event = LoadFailed(expert, parked=parked is None or expert in parked)
        else:
            self.reasons.pop(expert, None)
            event = Loaded(expert, None if sizes is None else sizes.get(expert))
        if self._watcher is not None:
            took_s, succeeded = clock() - began_s, isinstance(event, Loaded)
            self._watcher.loaded(expert, took_s, source=load.source, succeeded=succeeded)
        return [event]

    async def unload(self, unload: Unload) -> list[Event]:
        """Park or unload an expert, as asked; report `Unloaded` or `UnloadFailed`.

        Who is to be dropped goes first, so that host memory never has both. Where that fails, or
        parking does, the expert is unloaded.
        """
        expert, for_expert = unload.expert, unload.why.for_expert
        dropped = tuple([name for name in unload.drop if await self._drop(name, expert)])
        parked = unload.park and dropped == unload.drop and await self._park(expert)
        reason = "" if parked else await self.let_go(expert)
        if reason:
            logger.warning("backend %s: `%s` was not unloaded: %s", self._name, expert, reason)
            self.is_suspect = True
            return [UnloadFailed(expert, dropped=dropped)]
        if self._watcher is not None:
            self._watcher.unloaded(expert, for_expert, parked=parked)
        return [Unloaded(expert, parked=parked, dropped=dropped)]

    async def let_go(self, expert: str) -> str:
        """Unload an expert, wherever it is, trying again; return why it could not be."""
        reason = ""
        for pause_s in (*AGAIN_S, None):
            reason = await self._try(self._residency.unload(expert), "unloading it")
            if not reason:
                break
            sizes, parked = await self.resident(), await self.parked()
            if sizes is not None and parked is not None and expert not in {*sizes, *parked}:
                return ""
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        return reason

    async def resident(self) -> Sizes | None:
        """Return who is in memory; None where the backend cannot say."""
        return await self._ask(self._residency.resident)

    async def parked(self) -> Sizes | None:
        """Return who is in host memory; None where the backend cannot say."""
        return {} if self._parking is None else await self._ask(self._parking.parked)

    async def _park(self, expert: str) -> bool:
        """Return whether an expert is in host memory now, and nowhere else."""
        if self._parking is None:
            return False
        reason = await self._try(self._parking.park(expert), "parking it")
        if not reason:
            return True
        sizes, parked = await self.resident(), await self.parked()
        if sizes is not None and expert not in sizes and parked is not None and expert in parked:
            return True
        logger.warning("backend %s: `%s` is unloaded, not parked: %s", self._name, expert, reason)
        return False

    async def _drop(self, expert: str, for_expert: str) -> bool:
        """Return whether an expert that was parked is gone."""
        if reason := await self._try(self._residency.unload(expert), "dropping it"):
            parked = await self.parked()
            if parked is None or expert in parked:
                logger.warning("backend %s: `%s` stays parked: %s", self._name, expert, reason)
                return False
        if self._watcher is not None:
            self._watcher.dropped(expert, for_expert)
        return True

    async def _try(self, work: Awaitable[None], what: str, limit_s: float = math.inf) -> str:
        """Return why something failed; empty where it did not. Cancellation passes."""
        limit_s = min(limit_s, self.load_limit_s)
        try:
            async with asyncio.timeout(limit_s):
                await work
        except TimeoutError:
            return f"{what} took longer than {limit_s:g} s (batching.load_limit)"
        except CoEError as error:
            return error.message
        except Exception as error:  # the supervisor: a backend's bug must not leave calls waiting
            logger.exception("backend %s failed in %s", self._name, what)
            return f"{what} failed: {type(error).__name__}"
        return ""

    async def _ask(self, who: Callable[[], Awaitable[Sizes]]) -> Sizes | None:
        try:
            async with asyncio.timeout(LOOK_S):
                return await who()
        except (CoEError, TimeoutError):
            return None
        except Exception:
            logger.exception("backend %s cannot say who is in memory", self._name)
            return None
