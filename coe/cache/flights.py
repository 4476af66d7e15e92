"""Requests that are being asked now: who asks the same meanwhile waits, and then looks again.

    nobody asks it   -> the request leads: it looks and asks
    somebody does    -> it waits until that one
                        has landed: it looks again; where nothing was kept, it asks by itself
                        has left:   it leads, and the others wait on

One that failed, or whose answer cannot be kept, lets all go on at once: to wait for each other in
turn would take as long as all of them together. Of this process alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial


class Flight:
    """The lead of a request. Whoever has it ends it, in one of the two ways."""

    __slots__ = ("_ended", "_waiting")

    def __init__(self, ended: Callable[[], object]) -> None:
        """Take what is called when nobody leads or waits any more."""
        self._ended: Callable[[], object] | None = ended
        self._waiting: deque[asyncio.Future[bool]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for it."""
        return sum(not one.done() for one in self._waiting)

    def land(self) -> None:
        """Have all look again: what could be done is done. Nothing where it has ended."""
        self._end()
        while self._waiting:
            self._tell(is_to_lead=False)

    def leave(self) -> None:
        """Have the next one lead: this one was not wanted to the end."""
        while self._waiting:
            if self._tell(is_to_lead=True):
                return
        self._end()

    async def wait(self) -> bool:
        """Wait until it ends; return whether the lead was left to this one. It may go away."""
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        try:
            return await told
        except asyncio.CancelledError:
            if not told.cancelled() and told.result():
                self.leave()  # it was told to lead in the moment that it went away
            raise

    def _tell(self, *, is_to_lead: bool) -> bool:
        """Tell the next one that waits; return whether it still did."""
        told = self._waiting.popleft()
        if told.done():
            return False
        told.set_result(is_to_lead)
        return True

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()


class Flights:
    """See the module. Belongs to one event loop."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, str], Flight] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._under_way)

    @property
    def waiting(self) -> int:
        """How many requests wait for others."""
        return sum(flight.waiting for flight in self._under_way.values())

    async def join(self, partition: str, name: str) -> Flight | None:
        """Return the lead of a request; None for who has waited until it was over.

        Args:
            partition: whose it is; nobody waits for another one's.
            name: of the request.
        """
        place = partition, name
        flight = self._under_way.get(place)
        if flight is None:
            flight = self._under_way[place] = Flight(partial(self._under_way.pop, place))
            return flight
        return flight if await flight.wait() else None
