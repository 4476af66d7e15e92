"""What a composition says of failures, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

P95 = "p95"
"""For `Hedge.after_s`: the time in which 19 of 20 answers of that expert have begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When an expert is not asked for a while.

    Attributes:
        failures: so many in a row, within the window, open it.
        window_s: seconds that are looked back at.
        open_s: how long nobody asks; then one call finds out.
        error_rate: least share of failures in the window that opens it; None: that does not.
    """

    failures: int = 5
    window_s: float = 30.0
    open_s: float = 20.0
    error_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """When the next expert is asked beside one that has not begun to answer.

    Attributes:
        after_s: seconds; or `P95`.
        most: experts that are asked beside the first one, in all.
        tools: whether requests with tools are asked twice, too.
    """

    after_s: float | Literal["p95"]
    most: int = 1
    tools: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallbacks:
    """What happens when an expert fails before its first byte.

    Attributes:
        is_used: whether another expert is asked after a failure at all.
        attempts: most experts that one request tries.
        retry_on: kinds of failures after which the next expert is asked (`coe.resilience.kinds`);
            None: whenever another one could do better.
        never_retry: kinds after which it is not.
        last_resort: the expert that is asked when all others have failed.
        first_byte_s: until an expert has sent the first content of a streamed answer; None: as long
            as its backend's own limit says.
        total_s: until somebody has begun to answer, all attempts together.
        retry_after_s: an expert that asks to wait for at most so long is asked once more.
        retry_budget: calls beyond one a request, per request; None: no bound.
        cold: whether a request waits for an expert that is not in memory, or goes to one that is.
        shed_after_s: a call that would wait longer for its backend is refused at once; None: it
            waits.
    """

    is_used: bool = True
    attempts: int = 3
    retry_on: frozenset[str] | None = None
    never_retry: frozenset[str] = frozenset()
    last_resort: str | None = None
    first_byte_s: float | None = None
    total_s: float | None = None
    retry_after_s: float | None = None
    retry_budget: float | None = None
    breaker: BreakerRules | None = None
    hedge: Hedge | None = None
    cold: Literal["wait", "reroute"] = "wait"
    shed_after_s: float | None = None
