"""Quantiles of positive values (seconds, dollars) from counts that add up.

A value is counted in the bucket of its logarithm, 1 % wide. So a quantile is known to 1 % at most,
less within a bucket by interpolation, whatever the values are, in some hundred numbers.

Reference: Masson, Rim, Lee (2019), DDSketch, VLDB 12 (12), arXiv 1908.10693, section 2.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

WIDTH = math.log(1.01)
SMALLEST, GREATEST = 1e-9, 1e12
Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """Counts of values.

    Attributes:
        counts: bucket -> how many values v with exp(bucket * `WIDTH`) <= v < the next one.

    Raises:
        ValueError: a count is negative.
    """

    counts: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        """Refuse what no values can have."""
        if min(self.counts.values(), default=0) < 0:
            raise ValueError("a count of a sketch is negative")

    @classmethod
    def of(cls, values: Iterable[float]) -> Sketch:
        """Return the sketch of values; those under `SMALLEST`, 0 among them, count as that.

        Raises:
            ValueError: a value is negative, not finite, or above `GREATEST`.
        """
        return cls(counts=MappingProxyType(Counter(_bucket(value) for value in values)))

    @property
    def n(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    def __add__(self, other: Sketch) -> Sketch:
        """Return the sketch of both together."""
        return Sketch(counts=MappingProxyType(Counter(self.counts) + Counter(other.counts)))

    def log_quantiles(self, shares: Iterable[float]) -> tuple[float, ...]:
        """Return the logarithms of quantiles, interpolated within buckets.

        Args:
            shares: within [0, 1], rising.

        Raises:
            ValueError: there is no value.
        """
        total = self.n
        if not total:
            raise ValueError("there is no value, and so no quantile")
        buckets = iter(sorted(self.counts.items()))
        bucket, count = next(buckets)
        below, found = 0, []
        for share in shares:
            wanted = share * total
            while below + count < wanted:
                below += count
                bucket, count = next(buckets)
            found.append((bucket + (wanted - below) / count) * WIDTH)
        return tuple(found)

    def log_quantile(self, share: float) -> tuple[float, float]:
        """Return the logarithm of a quantile, and the variance of that.

        By the quantiles so far below and above as the share itself may be off: a 95 % interval,
        taken for one of a normal value.

        Raises:
            ValueError: there are fewer than `fewest(share)` values.

        Reference: Woodruff (1952), Confidence intervals for medians and other position measures,
            JASA 47 (260).
        """
        if self.n < fewest(share):
            raise ValueError(f"a quantile of {share:g} takes {fewest(share)} values, not {self.n}")
        off = Z * math.sqrt(share * (1.0 - share) / self.n)
        low, middle, high = self.log_quantiles((share - off, share, share + off))
        return middle, ((high - low) / (2.0 * Z)) ** 2


def fewest(share: float) -> int:
    """Return how many values a quantile takes for a normal approximation: 20 beyond it.

    Raises:
        ValueError: the share is not within 0 and 1.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"a quantile is within 0 and 1, as 0.95 is, not {share}")
    return math.ceil(20.0 / min(share, 1.0 - share))


def _bucket(value: float) -> int:
    if not 0.0 <= value <= GREATEST:  # NaN is not, either
        raise ValueError(f"{value} cannot be counted: it is not within 0 and {GREATEST:g}")
    return math.floor(math.log(max(value, SMALLEST)) / WIDTH)
