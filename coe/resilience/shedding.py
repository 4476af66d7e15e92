"""The keeper of backends with a limit: calls wait in line, or are refused at once.

See `coe.resilience.crowd` for who is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

from coe.errors import CapacityError, Overloaded
from coe.resilience.crowd import Crowd, Refusal
from coe.types import Call

if TYPE_CHECKING:
    from coe.claim import Claim
    from coe.scheduler.events import Lane

SOON_S = 1.0


class Line:
    """Those that wait for one backend. Belongs to one event loop.

    Attributes:
        crowd: decides who does.
    """

    def __init__(self, places: int) -> None:
        self.crowd = Crowd(places)
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def enter(self, lane: Lane, patience_s: float) -> Refusal | None:
        """Wait for a place; return why there is none."""
        number = next(self._numbers)
        entered = self.crowd.enter(number, lane, patience_s)
        if isinstance(entered, Refusal):
            return entered
        if not entered:
            return await self._wait(number, patience_s)
        return None

    def leave(self, took_s: float | None) -> None:
        """Give the place back; see `Crowd.leave`."""
        self.crowd.leave(took_s)
        self.advance()

    def advance(self) -> None:
        """Let in who may be, as after a place was added."""
        while (number := self.crowd.next()) is not None:
            self._waiting[number].set_result(None)

    async def _wait(self, number: int, patience_s: float) -> Refusal | None:
        turn = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait((turn,), timeout=patience_s)
        except asyncio.CancelledError:
            if not self.crowd.give_up(number):  # it was let in, and nobody is there any more
                self.leave(None)
            raise
        finally:
            del self._waiting[number]
        if not turn.done() and self.crowd.give_up(number):
            return Refusal("wait", patience_s)
        return None


class _Place:
    """A call that has a place; see `coe.door.Visit`."""

    __slots__ = ("_began_s", "_line")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._began_s = monotonic()

    def opened(self, first: bytes) -> None:
        """Nothing follows from that."""
        del first

    def ended(self, last: bytes, error: BaseException | None) -> None:
        """Give the place back."""
        del last
        self._line.leave(monotonic() - self._began_s if error is None else None)


class CrowdKeeper:
    """Lets calls in as backends have places; see `coe.door.Keeper`."""

    def __init__(
        self,
        places: Mapping[str, int],
        patience_s: float,
        lines: dict[str, Line],
        shed: Counter[tuple[str, str]],
    ) -> None:
        """Store the parts.

        Args:
            places: of each backend that has a limit, by name.
            patience_s: the longest that a call may wait.
            lines: of the process; those that are missing are made.
            shed: counts who is refused, by backend and why.
        """
        self._patience_s = patience_s
        self._shed = shed
        self._places = places
        self._lines = lines

    async def admit(self, call: Call, claim: Claim | None) -> _Place | None:
        """Wait for a place; None where the backend has no limit.

        Raises:
            Overloaded: it would take too long.
        """
        places = self._places.get(call.backend)
        if places is None:
            return None
        line = self._lines.get(call.backend)
        if line is None:
            line = self._lines[call.backend] = Line(places)
        elif (
            line.crowd.places != places
        ):  # a composition counts once it serves, not when it is read
            line.crowd.places = places
            line.advance()
        left_s = None if claim is None else claim.left_s()
        patience_s = self._patience_s if left_s is None else min(left_s, self._patience_s)
        refusal = await line.enter("interactive" if claim is None else claim.lane, patience_s)
        if refusal is None:
            return _Place(line)
        self._shed[call.backend, refusal.why] += 1
        raise _too_busy(call, refusal)


def _too_busy(call: Call, refusal: Refusal) -> CapacityError:
    return Overloaded(
        f"backend `{call.backend}` is too busy: a call would wait about {refusal.wait_s:.1f} s",
        retry_after_s=max(SOON_S, refusal.wait_s),
    )
