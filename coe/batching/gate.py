"""How many lines are in flight: as many as are allowed, and one while interactive requests are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LOOK_S = 0.02


def allowed(limit: int, interactive: int) -> int:
    """Return how many lines may be in flight beside so many interactive requests.

    One goes on: else a gateway that is never idle would never do a batch. Those that are in flight
    when an interactive request comes are not taken back, and end within one answer's time.
    """
    return limit if interactive == 0 else 1


class Gate:
    """Lets lines in. Belongs to one event loop.

    Attributes:
        inside: lines in flight.
    """

    def __init__(self, limit: int, interactive: Callable[[], int]) -> None:
        """Args are the most lines in flight, and what tells of interactive requests in flight."""
        self.inside = 0
        self._limit = limit
        self._interactive = interactive
        self._left = asyncio.Event()

    @property
    def is_alone(self) -> bool:
        """Whether no interactive request is in flight."""
        return self._interactive() == 0

    async def enter(self, stopped: asyncio.Event) -> bool:
        """Wait for room and take it; False once `stopped` is set."""
        while not stopped.is_set():
            if self.inside < allowed(self._limit, self._interactive()):
                self.inside += 1
                return True
            self._left.clear()
            # Nothing tells of an interactive request's end, so that it costs none of its time: we
            # look, and only while there is something to wait for.
            await sleep(_LOOK_S, self._left)
        return False

    def leave(self) -> None:
        """Give the room back."""
        self.inside -= 1
        self._left.set()

    async def breathe(self, stopped: asyncio.Event) -> None:
        """Wait a moment where interactive requests are in flight, so that they go first."""
        if not self.is_alone:
            await sleep(_LOOK_S, stopped)


async def sleep(seconds: float, until: asyncio.Event) -> bool:
    """Sleep, or return at once when the event is set: then True."""
    try:
        async with asyncio.timeout(seconds):
            return await until.wait()
    except TimeoutError:
        return False
