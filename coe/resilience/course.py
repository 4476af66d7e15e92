"""Whom a request asks next, and when it stops: decided from what has failed so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from coe.errors import BackendRejected, BreakerOpen, CoEError, ContextTooLong, Overloaded
from coe.resilience.kinds import kinds_of, why_not
from coe.resilience.rules import Fallbacks
from coe.types import Attempt, Call

JITTER = 0.25
"""Who asks the same expert again waits up to so much longer, so that not all come at once."""


class Ask(NamedTuple):
    """What is to be done next.

    Attributes:
        call: to make; None: nobody is asked any more.
        wait_s: before that.
        then: the same in words.
    """

    call: Call | None
    wait_s: float = 0.0
    then: str = ""


class Course:
    """The way of one request through the experts of its plan.

    Attributes:
        attempts: what failed so far.
        rest: who was not asked yet, in order.
    """

    __slots__ = (
        "_again", "_context_of", "_due_s", "_may_spend", "_random", "_rules", "attempts", "rest",
    )  # fmt: skip

    def __init__(
        self,
        rest: Iterable[Call],
        rules: Fallbacks,
        *,
        context_of: Callable[[str], int | None],
        may_spend: Callable[[], bool],
        random: Callable[[], float],
        due_s: float | None,
    ) -> None:
        """Begin.

        Args:
            rest: the plan's calls after the first, which is made anyhow.
            rules: of the composition.
            context_of: returns that of an expert, in tokens; None where it is unknown.
            may_spend: takes a further call from the retry budget, if there is one.
            random: returns a number in [0, 1).
            due_s: until when somebody has to begin to answer; None for whenever.
        """
        self.attempts: list[Attempt] = []
        self.rest = deque(rest)
        self._rules = rules
        self._context_of = context_of
        self._may_spend = may_spend
        self._random = random
        self._due_s = due_s
        self._again: set[str] = set()  # experts that were asked twice

    def beside(self) -> Call | None:
        """Return the call to make beside those in flight; None where there is to be none."""
        return self.rest.popleft() if self.rest and self._may_spend() else None

    def overtaken(self, call: Call, *, is_beside: bool) -> None:
        """Take note of a call that was given up because another one began to answer first."""
        row = Attempt(
            expert=call.expert,
            error="another expert began to answer first",
            kind="overtaken",
            then="cancelled",
            is_beside=is_beside,
        )
        self.attempts.append(row)

    def after(self, call: Call, error: CoEError, now_s: float, *, is_beside: bool = False) -> Ask:
        """Take note of a call that failed; return what is to be done.

        Args:
            call: that failed.
            error: why.
            now_s: by the clock.
            is_beside: whether others are in flight: then nobody is asked in its place.
        """
        ask = (
            Ask(None, then="others were asked too") if is_beside else self._next(call, error, now_s)
        )
        row = Attempt(
            expert=call.expert,
            error=error.logged,
            kind=kinds_of(error)[0],
            then=ask.then,
            is_beside=is_beside,
        )
        self.attempts.append(row)
        return ask

    def _next(self, call: Call, error: CoEError, now_s: float) -> Ask:
        rules = self._rules
        wait_s = self._pause_s(call, error, now_s)
        if wait_s is not None and self._may_spend():
            self._again.add(call.expert)
            return Ask(call, wait_s, f"asked again after {wait_s:.1f} s")
        if rule := why_not(error, rules.retry_on, rules.never_retry):
            return Ask(None, then=f"stopped: {rule}")
        if self._due_s is not None and now_s >= self._due_s:
            return Ask(None, then="stopped: no time is left")
        left_out = self._leave_smaller(call.expert) if isinstance(error, ContextTooLong) else ""
        if not self.rest:
            return Ask(None, then=f"stopped: nobody is left{left_out}")
        # Nobody was asked where a call was not let in: the next is the first, not a further one.
        if not isinstance(error, BreakerOpen | Overloaded) and not self._may_spend():
            return Ask(None, then="stopped: retry_budget")
        following = self.rest.popleft()
        return Ask(following, then=f"asked {following.expert}{left_out}")

    def _pause_s(self, call: Call, error: CoEError, now_s: float) -> float | None:
        """Return how long to wait before the same expert is asked once more; None: it is not."""
        most_s, asked_s = self._rules.retry_after_s, error.retry_after_s
        if most_s is None or asked_s is None or asked_s > most_s or call.expert in self._again:
            return None
        if not isinstance(error, BackendRejected) or not error.retryable:
            return None
        if why_not(error, None, self._rules.never_retry):
            return None
        wait_s = asked_s * (1 + JITTER * self._random())
        is_in_time = self._due_s is None or now_s + wait_s < self._due_s
        return wait_s if is_in_time else None

    def _leave_smaller(self, expert: str) -> str:
        """Leave out those whose context is not larger than one that was too small; say whom."""
        known = self._context_of(expert)
        if known is None:
            return ""
        rest: deque[Call] = deque()
        smaller: list[str] = []
        for call in self.rest:
            size = self._context_of(call.expert)
            if size is None or size > known:
                rest.append(call)
            else:
                smaller.append(call.expert)
        self.rest = rest
        return f", not {', '.join(smaller)}: no larger context" if smaller else ""
