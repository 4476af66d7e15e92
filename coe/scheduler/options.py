"""How the scheduler weighs waiting against swapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an operator may set. Raises ValueError for what makes no sense.

    Attributes:
        goal: 0 for the shortest waits, 1 for the fewest swaps; sets the patience of the gate.
        max_wait_s: an interactive call that waited for so long has its expert brought in next, and
            is refused where that cannot be (another late one is being brought in): nobody waits
            longer than this, one drain and one load. None promises nothing.
        bulk_max_wait_s: a bulk call that waited for so long counts as interactive.
        bulk_share: of an expert's slots, what bulk calls may take while interactive ones wait.
        min_residency_s: an expert that was loaded is not asked to leave before, unless idle.
        prefetch: whether the next expert is loaded while another one works, where not every
            resident one may: shorter waits, and more loads, which cost nobody anything.
        fair_share: who takes turns where several wait for an expert: keys, teams, or nobody.
        max_queue: calls that may wait, in all.
        max_queue_per_key: calls of one key that may wait.
        retry_first_s: how long an expert whose load failed is left alone; twice that after every
            further failure, a minute at the most.
        candidates: absent experts that an ordering chooses among: those with the oldest calls.
    """

    goal: float = 0.5
    max_wait_s: float | None = None
    bulk_max_wait_s: float = 1800.0
    bulk_share: float = 0.2
    min_residency_s: float = 0.0
    prefetch: bool = True
    fair_share: Literal["key", "team", "none"] = "key"
    max_queue: int = 2000
    max_queue_per_key: int = 2000
    retry_first_s: float = 1.0
    candidates: int = 24

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("goal", "bulk_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it lies between 0 and 1")
        for name in ("max_queue", "max_queue_per_key", "candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it is at least 1")
        if self.max_wait_s is not None and self.max_wait_s <= 0:
            raise ValueError(f"`max_wait_s` is {self.max_wait_s}; it is more than 0, or none")

    def patience_s(self, p95_wait_s: float, load_s: float, call_s: float) -> float:
        """Return how long a call may wait before its expert presses.

        It follows the load: a gate that closes much earlier than the slowest wait anyway closes for
        everybody in turn, and only swaps more. A few calls are added since a gate costs a drain,
        and it is never less than a few loads.

        Args:
            p95_wait_s: of the calls that started lately.
            load_s: of the expert that waits.
            call_s: of one call of it.
        """
        follows_s = (0.2 + 0.8 * self.goal) * p95_wait_s + 22.0 * self.goal * call_s
        patience_s = max(follows_s, (2.0 + 4.0 * self.goal) * load_s)
        return patience_s if self.max_wait_s is None else min(patience_s, self.max_wait_s)
