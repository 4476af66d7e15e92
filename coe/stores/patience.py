"""How long an answer is waited for, by the pace of the event loop and not by the clock.

A loop that was held up, by a collection of garbage or a large text that was parsed, finds its
timers over and the answers that came meanwhile still in their sockets. A limit of time would say
that they never came. So the time is counted in ticks, and one that comes late does not count:

    limit   ----|----|----|----|   four ticks on time, then one more turn for what is in the socket
    held up ----|--############|----|----|----|
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import NamedTuple, Self

TICKS = 4
"""On time: a limit is divided into so many."""
MOST_TICKS = 20
"""Late ones too, so that a loop that is always late does not wait for ever."""
_TURN_S = 0.001


class Ticks(NamedTuple):
    """Those of one wait so far: on time, and late."""

    on_time: int = 0
    late: int = 0

    def after(self, late_s: float, tick_s: float) -> Ticks:
        """Return them with one more, which came so many seconds late."""
        if late_s > tick_s / 2:
            return Ticks(self.on_time, self.late + 1)
        return Ticks(self.on_time + 1, self.late)

    @property
    def are_enough(self) -> bool:
        """Whether the wait is over."""
        return self.on_time >= TICKS or self.on_time + self.late >= MOST_TICKS


class Patience:
    """Ends a block as `asyncio.timeout` does, with TimeoutError; see the module."""

    __slots__ = ("_limit", "_loop", "_tick_s", "_ticks", "_timer")

    def __init__(self, limit_s: float) -> None:
        """Take the seconds that the block may take in a loop that is not held up."""
        self._tick_s = limit_s / TICKS
        self._ticks = Ticks()
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        """Begin to count."""
        await self._limit.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Count no more. Raises TimeoutError where the block was ended."""
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _tick(self) -> None:
        now_s = self._loop.time()
        self._ticks = self._ticks.after(now_s - self._timer.when(), self._tick_s)
        if self._ticks.are_enough:
            self._limit.reschedule(now_s + _TURN_S)
        else:
            self._timer = self._loop.call_later(self._tick_s, self._tick)
