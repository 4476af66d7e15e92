"""The breakers of all experts, and the keeper that lets calls in by them.

They belong to the process and not to a composition: a reload forgets nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from coe.errors import BreakerOpen
from coe.resilience.breaker import Breaker, State, Ticket
from coe.resilience.kinds import is_experts_fault
from coe.resilience.rules import BreakerRules
from coe.types import Call

if TYPE_CHECKING:
    from coe.claim import Claim

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""A backend and an expert."""
SOON_S = 1.0


class Change(NamedTuple):
    """A breaker that opened or closed.

    Attributes:
        open_s: for how long it is open; 0 where it closed.
    """

    backend: str
    expert: str
    open_s: float


class Breakers:
    """See the module. Belongs to one event loop.

    Attributes:
        unwell: those that are not closed.
        on_change: told when one opens or closes by what was seen here; None where nobody listens.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with none; a breaker is made with the first call."""
        self.unwell: dict[Key, Breaker] = {}
        self.on_change: Callable[[Change], None] | None = None
        self._clock = clock
        self._all: dict[Key, Breaker] = {}

    def enter(self, call: Call, rules: BreakerRules, *, insists: bool = False) -> Visit:
        """Let a call in.

        Raises:
            BreakerOpen: it is not to be made.
        """
        key = (call.backend, call.expert)
        breaker = self._all.get(key)
        if breaker is None:
            breaker = self._all[key] = Breaker()
        if breaker.is_closed:
            return Visit(self, key, breaker, Ticket(breaker.era, is_probe=False), rules)
        ticket = breaker.admit(self._clock(), insists=insists)
        if ticket is None:
            left_s = breaker.left_s(self._clock())
            raise BreakerOpen(
                f"expert `{call.expert}` failed too often on backend `{call.backend}`: "
                f"{self.why(*key)}",
                retry_after_s=max(left_s, SOON_S),
            )
        return Visit(self, key, breaker, ticket, rules)

    def bars(self, backend: str, expert: str) -> bool:
        """Whether a call would not be let in now."""
        breaker = self.unwell.get((backend, expert))
        return breaker is not None and breaker.bars(self._clock())

    def why(self, backend: str, expert: str) -> str:
        """Say how a breaker stands."""
        breaker = self.unwell.get((backend, expert))
        if breaker is None:
            return "its breaker is closed"
        if breaker.state() == "probing":
            return "its breaker is open, and a call finds out whether it is well"
        return f"its breaker is open for {breaker.left_s(self._clock()):.0f} s"

    def state(self, backend: str, expert: str) -> State:
        """Return how a breaker stands; one that was never needed is closed."""
        breaker = self.unwell.get((backend, expert))
        return "closed" if breaker is None else breaker.state()

    def opened(self) -> Mapping[Key, int]:
        """Return how often each opened by what was seen here, of those that were asked."""
        return {key: breaker.opened for key, breaker in self._all.items()}

    def answered(self, key: Key, breaker: Breaker, ticket: Ticket, rules: BreakerRules) -> None:
        """Take note of a call that was answered."""
        if breaker.answered(ticket, rules, self._clock()):
            del self.unwell[key]
            logger.warning("expert %s on backend %s is well again", key[1], key[0])
            self._tell(Change(*key, 0.0))

    def failed(self, key: Key, breaker: Breaker, ticket: Ticket, rules: BreakerRules) -> None:
        """Take note of a call that failed."""
        now_s = self._clock()
        if breaker.failed(ticket, rules, now_s):
            self.unwell[key] = breaker
            left_s = breaker.left_s(now_s)
            logger.warning(
                "expert %s on backend %s failed too often: nobody is sent there for %.0f s",
                key[1],
                key[0],
                left_s,
            )
            self._tell(Change(*key, left_s))

    def heard(self, change: Change) -> None:
        """Do as another replica does, which saw it for itself."""
        key = (change.backend, change.expert)
        if change.open_s > 0:
            now_s = self._clock()
            breaker = self._all.setdefault(key, Breaker())
            if breaker.left_s(now_s) + SOON_S > change.open_s:
                return  # it is as open as that already, or nearly over
            self.unwell[key] = breaker
            breaker.open(now_s + change.open_s)
        elif (known := self.unwell.pop(key, None)) is not None:
            known.close()

    def _tell(self, change: Change) -> None:
        if self.on_change is not None:
            self.on_change(change)


class Visit:
    """A call that was let in; see `coe.door.Visit`."""

    __slots__ = ("_breaker", "_breakers", "_has_begun", "_key", "_rules", "_ticket")

    def __init__(
        self, breakers: Breakers, key: Key, breaker: Breaker, ticket: Ticket, rules: BreakerRules
    ) -> None:
        self._breakers = breakers
        self._key = key
        self._breaker = breaker
        self._ticket = ticket
        self._rules = rules
        self._has_begun = False

    def opened(self, first: bytes) -> None:
        """It began to answer: whoever finds out knows enough."""
        del first
        self._has_begun = True
        if self._ticket.is_probe:
            self._breakers.answered(self._key, self._breaker, self._ticket, self._rules)

    def ended(self, last: bytes, error: BaseException | None) -> None:
        """Count it: as answered, as failed, or not at all."""
        del last
        if error is not None:
            is_fault = is_experts_fault(error)
        else:
            is_fault = False if self._has_begun else None  # closed before anything came
        if is_fault is None:
            self._breaker.abandoned(self._ticket)
        elif is_fault:
            self._breakers.failed(self._key, self._breaker, self._ticket, self._rules)
        else:
            self._breakers.answered(self._key, self._breaker, self._ticket, self._rules)


class BreakerKeeper:
    """Lets calls in by the rules of one composition; see `coe.door.Keeper`."""

    def __init__(self, breakers: Breakers, rules: BreakerRules) -> None:
        """Args are the breakers of the process, and when they open."""
        self._breakers = breakers
        self._rules = rules

    async def admit(self, call: Call, claim: Claim | None) -> Visit:
        """Let a call in. Raises BreakerOpen where its expert is not to be asked."""
        insists = claim is not None and claim.insists
        return self._breakers.enter(call, self._rules, insists=insists)
