"""How many calls more than requests there may be: a bucket of tokens.

When everything fails, every request asks everybody, and what is left falls under a multiple of the
load. So each request earns a part of a further call, and further calls stop where nothing is left.
As in Finagle's RetryBudget, a slow trickle keeps a gateway with few requests able to fall back.
"""

from __future__ import annotations

RESERVE = 10.0
"""Calls that may be made at once without having been earned; more is never saved."""
PER_S = 1.0
"""Calls per second that are earned by time alone."""


class RetryBudget:
    """Over any stretch of time, at most RESERVE + PER_S * seconds + ratio * requests calls.

    Attributes:
        spent: further calls that were made; `refused`: that were not.
    """

    __slots__ = ("_at_s", "_tokens", "refused", "spent")

    def __init__(self, now_s: float) -> None:
        """Start with the reserve."""
        self.spent = 0
        self.refused = 0
        self._tokens = RESERVE
        self._at_s = now_s

    def earn(self, ratio: float) -> None:
        """Take note of a request, which earns `ratio` calls."""
        if self._tokens < RESERVE:
            self._tokens = min(RESERVE, self._tokens + ratio)

    def spend(self, now_s: float) -> bool:
        """Whether a further call may be made; it is counted then."""
        elapsed_s, self._at_s = max(0.0, now_s - self._at_s), max(now_s, self._at_s)
        self._tokens = min(RESERVE, self._tokens + PER_S * elapsed_s)
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        self.spent += 1
        return True
