"""How many lines are in flight: as many as are allowed, and one while other requests are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coe.telemetry import Telemetry

_LOOK_S = 0.02
QUIET_S = 1.0
"""So long after the last request that is no line of a batch, there will be none for a while."""


class Traffic:
    """Whether requests are being served that are no lines of a batch. Belongs to one event loop.

    Somebody who asks one question after the other leaves gaps: they count as busy too, or each
    question would meet the lines that were begun in the gap before it.
    """

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        """Args are what counts the requests, and a clock in seconds."""
        self._telemetry = telemetry
        self._clock = clock
        self._begun = telemetry.begun
        self._busy_at = float("-inf")

    @property
    def is_busy(self) -> bool:
        """Whether there are any, or were a moment ago."""
        now = self._clock()
        if self._telemetry.in_flight or self._telemetry.begun != self._begun:
            self._begun, self._busy_at = self._telemetry.begun, now
        return now - self._busy_at < QUIET_S


class Gate:
    """Lets lines in. Belongs to one event loop.

    Beside other requests one line goes on: else a gateway that is never idle would never do a
    batch. Lines that are in flight when such a request comes are not taken back; they end within
    one answer's time.

    Attributes:
        inside: lines in flight.
    """

    def __init__(self, limit: int, traffic: Traffic) -> None:
        """Args are the most lines in flight, and what tells of other requests."""
        self.inside = 0
        self._limit = limit
        self._traffic = traffic
        self._left = asyncio.Event()

    async def enter(self, stopped: asyncio.Event) -> bool:
        """Wait for room and take it; False once `stopped` is set."""
        while not stopped.is_set():
            if self.inside < (1 if self._traffic.is_busy else self._limit):
                self.inside += 1
                return True
            self._left.clear()
            # Nothing tells of the end of another request, so that it costs none of its time: we
            # look, and only while there is something to wait for.
            await sleep(_LOOK_S, self._left)
        return False

    def leave(self) -> None:
        """Give the room back."""
        self.inside -= 1
        self._left.set()


async def breathe(traffic: Traffic, stopped: asyncio.Event) -> None:
    """Wait a moment where other requests are served, so that they go first."""
    if traffic.is_busy:
        await sleep(_LOOK_S, stopped)


async def sleep(seconds: float, until: asyncio.Event) -> bool:
    """Sleep, or return at once when the event is set: then True."""
    try:
        async with asyncio.timeout(seconds):
            return await until.wait()
    except TimeoutError:
        return False
