"""A backend's memory behind a fence: nobody passes whose lease does not say so at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from coe.errors import ExpertLoadFailed
from coe.protocols import Parking, Residency

LOOK_S = 0.05


class Fence:
    """Lets loads and unloads pass while this replica may make them.

    Attributes:
        refused: that did not pass.
    """

    def __init__(self, pool: str, may_act: Callable[[], bool], wait_s: float) -> None:
        """Store the parts.

        Args:
            pool: for messages.
            may_act: whether this replica may load and unload now.
            wait_s: how long a move waits for that.
        """
        self.refused = 0
        self._pool = pool
        self._may_act = may_act
        self._wait_s = wait_s

    async def passed(self) -> None:
        """Return when a move may be made; looked at last just before.

        Raises:
            ExpertLoadFailed: it may not, and not soon.
        """
        end_s = asyncio.get_running_loop().time() + self._wait_s
        while not self._may_act():
            if asyncio.get_running_loop().time() >= end_s:
                self.refused += 1
                raise ExpertLoadFailed(
                    f"this replica may not load or unload on `{self._pool}` now: "
                    "Redis does not confirm that it owns the memory",
                    retry_after_s=self._wait_s,
                )
            await asyncio.sleep(LOOK_S)


class Fenced:
    """`Residency` behind a fence. What changes nothing passes freely."""

    def __init__(self, residency: Residency, fence: Fence) -> None:
        """Store the parts."""
        self._residency = residency
        self._fence = fence

    async def load(self, expert: str) -> None:
        """See `Residency.load`."""
        await self._fence.passed()
        await self._residency.load(expert)

    async def unload(self, expert: str) -> None:
        """See `Residency.unload`."""
        await self._fence.passed()
        await self._residency.unload(expert)

    async def resident(self) -> Mapping[str, int | None]:
        """See `Residency.resident`."""
        return await self._residency.resident()


class FencedParking:
    """`Parking` behind a fence."""

    def __init__(self, parking: Parking, fence: Fence) -> None:
        """Store the parts."""
        self._parking = parking
        self._fence = fence

    async def park(self, expert: str) -> None:
        """See `Parking.park`."""
        await self._fence.passed()
        await self._parking.park(expert)

    async def parked(self) -> Mapping[str, int | None]:
        """See `Parking.parked`."""
        return await self._parking.parked()
