"""Whether an expert that failed is asked again: closed, open, or open with one call finding out.

    closed   -> open     so many failures in a row, or too large a share of them
    open     -> probing  its time is over: the next call is let in, alone
    probing  -> closed   that call was answered
    probing  -> open     it failed; anew for the whole time, and never for less than was said before

A call says with its ticket when it began: what comes of one from before the last change is old news
and changes nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from coe.resilience.rules import BreakerRules

State = Literal["closed", "probing", "open"]

LEAST_CALLS = 10
"""Fewer calls in the window say nothing of a rate."""
SLICES = 10
"""The window moves in steps of this part of it."""


class Ticket(NamedTuple):
    """A call that was let in.

    Attributes:
        era: of the breaker when it was; see the module.
        is_probe: whether it is the one that finds out.
    """

    era: int
    is_probe: bool


class Breaker:
    """One expert's. Times are seconds of one clock, given in.

    Attributes:
        era: grows whenever it opens or closes; see the module.
        opened: how often it opened, by what it saw itself.
    """

    __slots__ = ("_failures", "_is_probing", "_open_until_s", "_slices", "era", "opened")

    def __init__(self) -> None:
        self.opened = 0
        self.era = 0
        self._failures: deque[float] = deque()  # in a row, oldest first
        self._slices: deque[list[int]] = deque()  # number of the slice, answers, failures
        self._open_until_s: float | None = None
        self._is_probing = False

    @property
    def is_closed(self) -> bool:
        """Whether calls go through as if there was no breaker."""
        return self._open_until_s is None

    def state(self) -> State:
        """Return how it stands."""
        if self._open_until_s is None:
            return "closed"
        return "probing" if self._is_probing else "open"

    def left_s(self, now_s: float) -> float:
        """Return for how long it is open still; 0 where it is closed, or may be probed."""
        return 0.0 if self._open_until_s is None else max(0.0, self._open_until_s - now_s)

    def bars(self, now_s: float) -> bool:
        """Whether a call would not be let in now."""
        until_s = self._open_until_s
        return until_s is not None and (self._is_probing or now_s < until_s)

    def admit(self, now_s: float, *, insists: bool = False) -> Ticket | None:
        """Let a call in; None where it is not.

        Args:
            now_s: by the clock.
            insists: nobody else is left to be asked: it is let in whatever the state.
        """
        if self._open_until_s is None:
            return Ticket(self.era, is_probe=False)
        if self.bars(now_s):
            return Ticket(self.era, is_probe=False) if insists else None
        self._is_probing = True
        return Ticket(self.era, is_probe=True)

    def answered(self, ticket: Ticket, rules: BreakerRules, now_s: float) -> bool:
        """Take note of a call that was answered; return whether that closed it."""
        if ticket.era != self.era:
            return False
        if self._open_until_s is not None:
            self.close()
            return True
        if self._failures:
            self._failures.clear()
        if rules.error_rate is not None:
            self._slice(rules, now_s)[1] += 1
        return False

    def failed(self, ticket: Ticket, rules: BreakerRules, now_s: float) -> bool:
        """Take note of a call that failed; return whether that opened it."""
        if ticket.era != self.era:
            return False
        if self._open_until_s is None and not self._is_too_much(rules, now_s):
            return False
        self.opened += self._open_until_s is None
        self.open(now_s + rules.open_s)
        return True

    def abandoned(self, ticket: Ticket) -> None:
        """Take note of a call of which nothing was learnt: whoever made it left."""
        if ticket.era == self.era and ticket.is_probe:
            self._is_probing = False

    def open(self, until_s: float) -> None:
        """Open it until then, or for longer if that was said before."""
        self._open_until_s = max(until_s, self._open_until_s or until_s)
        self._renew()

    def close(self) -> None:
        """Close it, and forget what failed."""
        self._open_until_s = None
        self._renew()

    def _renew(self) -> None:
        self.era += 1
        self._is_probing = False
        self._failures.clear()
        self._slices.clear()

    def _is_too_much(self, rules: BreakerRules, now_s: float) -> bool:
        """Count a failure; return whether there were too many."""
        row = self._failures
        row.append(now_s)
        while row[0] < now_s - rules.window_s:
            row.popleft()
        if len(row) >= rules.failures:
            return True
        if rules.error_rate is None:
            return False
        self._slice(rules, now_s)[2] += 1
        answers = sum(one[1] for one in self._slices)
        failures = sum(one[2] for one in self._slices)
        calls = answers + failures
        return calls >= LEAST_CALLS and failures >= rules.error_rate * calls

    def _slice(self, rules: BreakerRules, now_s: float) -> list[int]:
        """Return the slice of now; those that are out of the window are gone."""
        number = int(now_s * SLICES / rules.window_s)
        slices = self._slices
        if slices and slices[-1][0] > number:
            slices.clear()  # another window counts in other steps
        while slices and slices[0][0] <= number - SLICES:
            slices.popleft()
        if not slices or slices[-1][0] != number:
            slices.append([number, 0, 0])
        return slices[-1]
