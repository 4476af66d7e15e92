"""Who may load and unload on a pool: a lease with a fencing token, as a pure state machine.

The store grants the lease to one replica at a time and counts the grants: that number is the token.
What it answers is old when it arrives, clocks run at different speeds, messages are late or lost,
and the store itself may forget everything. A replica therefore goes by its own monotonic clock, and
on the safe side of it:

    until       when it asked + what the store gave: no later than the store itself counts
    acts until  `margin_s` before that
    acts from   `grace_s` after it was granted, in which the others say what they still use; of a
                store that has forgotten what there was, after as long as that could last

At no time two replicas may act, as long as clocks differ by less than `margin_s` in `lease_s`.

Reference: Gray, Cheriton 1989, Leases: an efficient fault-tolerant mechanism for distributed file
cache consistency. The token: Kleppmann 2016, How to do distributed locking. Ours is checked by its
owner, just before each load: the servers that hold models know of no tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long things last, in seconds.

    Attributes:
        lease_s: a lease that is not renewed.
    """

    lease_s: float = 5.0

    @property
    def renew_s(self) -> float:
        """Between two questions to the store, of the owner and of the others."""
        return self.lease_s / 5

    @property
    def margin_s(self) -> float:
        """An owner stops to act so long before its lease ends."""
        return self.lease_s / 5

    @property
    def grace_s(self) -> float:
        """A new owner waits so long: every other one has asked the store once meanwhile."""
        return 2 * self.renew_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the store says of a lease.

    Attributes:
        replica: who has it.
        token: of this grant; those of later ones are greater.
        left_s: what is left of it.
        url: where that replica is reached.
        resident: the experts that it last said to be in memory.
        doubtful_s: for how long a lease may still last that the store has forgotten; 0 where it
            forgot nothing of late.
    """

    replica: str
    token: int
    left_s: float
    url: str = ""
    resident: tuple[str, ...] = ()
    doubtful_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """What a replica knows of a lease. Times are of its own monotonic clock.

    Attributes:
        me: the replica.
        seen: what the store said last; None before it said anything.
        token: of the lease that it has; 0 where it has none.
        until_s: its lease ends then.
        acts_from_s: not before.
        highest: token that it saw.
    """

    me: str
    seen: Sight | None = None
    token: int = 0
    until_s: float = -math.inf
    acts_from_s: float = math.inf
    highest: int = 0

    def holds(self, now_s: float) -> bool:
        """Whether it has the lease, as far as it can know."""
        return bool(self.token) and now_s < self.until_s

    def may_act(self, now_s: float, terms: Terms) -> bool:
        """Whether it may load and unload."""
        return bool(self.token) and self.acts_from_s <= now_s < self.until_s - terms.margin_s


def heard(tenure: Tenure, sight: Sight, asked_s: float, now_s: float, terms: Terms) -> Tenure:
    """Return what is known after the store answered.

    Args:
        tenure: what was known.
        sight: the answer.
        asked_s: when it was asked for.
        now_s: when it came.
        terms: of the lease.
    """
    highest = max(tenure.highest, sight.token)
    if sight.replica != tenure.me:
        return Tenure(me=tenure.me, seen=sight, highest=highest)
    acts_from_s = tenure.acts_from_s
    if sight.token != tenure.token:
        acts_from_s = now_s + max(terms.grace_s, sight.doubtful_s)
    return Tenure(
        me=tenure.me,
        seen=sight,
        token=sight.token,
        until_s=asked_s + sight.left_s,
        acts_from_s=acts_from_s,
        highest=highest,
    )
