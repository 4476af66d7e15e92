"""Orderings and evictions. Pure; built-ins come through the same door as third parties'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coe.protocols import Eviction, Ordering, Pending, Resident

NO_DEADLINE_S = 60.0
"""What `edf` takes for the deadline of calls that have none, after their arrival."""

LONGEST_S = 86_400.0
"""However patient an ordering is, a call that waits for a day presses."""

LEAST_S = 1e-3  # keeps quotients finite, and calls that have just arrived apart


@dataclass(frozen=True, slots=True)
class Fifo:
    """Strictly in order of arrival, whatever that costs in loads. For comparison."""

    name: str = "fifo"
    groups: bool = False

    def pick(self, pending: Sequence[Pending], now_s: float) -> Pending:
        """Return the one whose oldest call is the oldest."""
        del now_s
        return min(pending, key=_arrival)

    def presses(self, pending: Pending, now_s: float, patience_s: float) -> bool:
        """Return True: nobody may pass."""
        del pending, now_s, patience_s
        return True


@dataclass(frozen=True, slots=True)
class Affinity:
    """Calls go with what is in memory; the gate bounds for how long. The default.

    Next is the expert with the most waiting per second of work that it causes, its load included:
    a generalised c-mu rule (Van Mieghem 1995, Annals of Applied Probability 5:3) with costs that
    grow with the time waited, and times how long the oldest has waited, without which the tail of
    the popularities waits for the sake of the mean. A resident expert causes no load, so it comes
    first among equals.

    An expert whose oldest call has waited for longer than the patience, or that misses a deadline
    if it is not brought in now, presses: the gate.

    Attributes:
        ageing: what a second of waiting counts for, against 1 for being in the queue at all.
    """

    ageing: float = 1.0
    name: str = "affinity"
    groups: bool = True

    def pick(self, pending: Sequence[Pending], now_s: float) -> Pending:
        """Return the one with the largest index."""
        best, most = pending[0], -1.0
        for one in pending:
            oldest_s = now_s - one.oldest_s + LEAST_S
            weight = one.calls + self.ageing * one.ages_s
            index = oldest_s * weight / (one.load_s + one.work_s + LEAST_S)
            if index > most:
                best, most = one, index
        return best

    def presses(self, pending: Pending, now_s: float, patience_s: float) -> bool:
        """Whether the oldest has waited too long, or a deadline has no slack left."""
        return _is_late(pending, now_s, patience_s) or pending.due_s - pending.load_s <= now_s


@dataclass(frozen=True, slots=True)
class EarliestDeadline:
    """The earliest deadline first, counting what bringing the expert in takes.

    An expert that is not resident must be due earlier by its load time; without that rule a
    queue of deadlines swaps at every call. Calls without a deadline are due a minute after they
    arrived.
    """

    name: str = "edf"
    groups: bool = True

    def pick(self, pending: Sequence[Pending], now_s: float) -> Pending:
        """Return the one that is due first, its load taken into account."""
        del now_s
        return min(pending, key=lambda one: (_due_s(one) + one.load_s, one.oldest_s))

    def presses(self, pending: Pending, now_s: float, patience_s: float) -> bool:
        """Whether it is late unless it is brought in now."""
        return _is_late(pending, now_s, patience_s) or _due_s(pending) - pending.load_s <= now_s


@dataclass(frozen=True, slots=True)
class NextUse:
    """Farthest next use first; where the queue does not tell, the cheapest to be wrong about.

    What is queued is known, so an expert that nobody waits for leaves first, and among those that
    are waited for the one whose calls are the youngest (Belady's rule, 1966, on the part of the
    future that is known). Among those that nobody waits for: the fewest uses, old ones counting
    for less (LRFU, Lee et al. 2001), times what bringing it back takes, per byte (GreedyDual-Size,
    Cao and Irani 1997).
    """

    name: str = "next_use"

    def order(self, residents: Sequence[Resident], now_s: float) -> Sequence[Resident]:
        """Return them, the best to unload first."""
        del now_s
        return sorted(residents, key=_regret)


@dataclass(frozen=True, slots=True)
class LeastRecent:
    """The one that was used longest ago first. For comparison."""

    name: str = "lru"

    def order(self, residents: Sequence[Resident], now_s: float) -> Sequence[Resident]:
        """Return them, the one used longest ago first."""
        del now_s
        return sorted(residents, key=lambda one: one.used_s)


def _arrival(pending: Pending) -> float:
    return pending.oldest_s


def _is_late(pending: Pending, now_s: float, patience_s: float) -> bool:
    """Whether the oldest waited for so long; the same sum as whoever sets an alarm for it."""
    return pending.oldest_s + min(patience_s, LONGEST_S) <= now_s


def _due_s(pending: Pending) -> float:
    return min(pending.due_s, pending.oldest_s + NO_DEADLINE_S)


def _regret(resident: Resident) -> tuple[bool, float, float]:
    kept = resident.uses * resident.reload_s / max(resident.size, 1)
    return (resident.waiting > 0, -resident.oldest_s if resident.waiting else 0.0, kept)


def fifo() -> Ordering:
    """Build the ordering `fifo`."""
    return Fifo()


def affinity() -> Ordering:
    """Build the ordering `affinity`."""
    return Affinity()


def edf() -> Ordering:
    """Build the ordering `edf`."""
    return EarliestDeadline()


def next_use() -> Eviction:
    """Build the eviction `next_use`."""
    return NextUse()


def lru() -> Eviction:
    """Build the eviction `lru`."""
    return LeastRecent()
