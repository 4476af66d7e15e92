"""Who waits for a busy backend, and who is refused at once. Pure: the clock is given in.

A backend has so many places. Who finds them taken waits in a line, interactive before bulk; but
only where the wait is expected to be short enough: a call that would come too late anyhow only
makes the others late, too. What is expected follows from how long calls took of late, and how many
stand before this one (Little's law).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from coe.scheduler.events import Lane

LANES: tuple[Lane, Lane] = ("interactive", "bulk")
"""Who goes first."""
WEIGHT = 0.2
"""Of the last call in the mean of how long calls take."""
ROOM = 8
"""So many may wait for each place, whatever is expected; memory is bounded where nothing is."""

Why = Literal["wait", "room"]


class Refusal(NamedTuple):
    """Why somebody does not wait: too long a `wait`, or no `room` in the line.

    Attributes:
        wait_s: that is expected; when to come again.
    """

    why: Why
    wait_s: float


class Crowd:
    """The calls for one backend.

    Attributes:
        places: calls that may be under way.
        running: that are.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.running = 0
        self._took_s: float | None = None
        self._lines: dict[Lane, OrderedDict[int, None]] = {lane: OrderedDict() for lane in LANES}

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(map(len, self._lines.values()))

    def expected_s(self, lane: Lane) -> float:
        """Return the seconds that somebody who came now would wait, as far as it can be told."""
        if self.running < self.places and not len(self):
            return 0.0
        before = len(self._lines["interactive"])
        if lane == "bulk":
            before += len(self._lines["bulk"])
        return (self._took_s or 0.0) * (before + 1) / self.places

    def enter(self, number: int, lane: Lane, patience_s: float) -> Refusal | bool:
        """Let somebody in: True at once, False once it is `next`; or refuse it.

        Args:
            number: by which it is called later; no other has it.
            lane: its line.
            patience_s: the longest that it may wait.
        """
        if self.running < self.places and not len(self):
            self.running += 1
            return True
        wait_s = self.expected_s(lane)
        if wait_s > patience_s:
            return Refusal("wait", wait_s)
        if len(self._lines[lane]) >= ROOM * self.places:
            return Refusal("room", max(wait_s, 1.0))
        self._lines[lane][number] = None
        return False

    def next(self) -> int | None:
        """Take the next out of the line and let it in; None where nobody waits, or no place is."""
        if self.running >= self.places:
            return None
        for lane in LANES:
            if self._lines[lane]:
                self.running += 1
                return self._lines[lane].popitem(last=False)[0]
        return None

    def give_up(self, number: int) -> bool:
        """Take somebody out of the line; False where it is not in one."""
        return any(line.pop(number, 0) is None for line in self._lines.values())

    def leave(self, took_s: float | None) -> None:
        """Take note of a call that has ended.

        Args:
            took_s: how long it took; None where that says nothing of the next one.
        """
        self.running -= 1
        if took_s is not None:
            known = self._took_s
            self._took_s = took_s if known is None else known + WEIGHT * (took_s - known)
