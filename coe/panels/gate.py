"""Is a panel worth its calls? A gain counts where it is shown, and shown of all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ERROR = 0.05
"""How often one of the intervals may miss, of all of them together; half of it on either side."""
RESAMPLES = 20_000
_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A mean difference on the same prompts.

    Attributes:
        mean: in [-1, 1]; 0 where nothing is known.
        low, high: the ends of its interval, -1 and 1 where nothing is known.
    """

    mean: float
    low: float
    high: float


def gain(ours: Floats, theirs: Floats, *, outside: float = ERROR / 2, seed: int = 0) -> Gain:
    """Return the mean of ours - theirs and its paired interval.

    The percentile bootstrap's over prompts, widened to what a prompt that was not seen may do, as
    in `coe.intervals.paired_gain`, at any level.

    Args:
        ours: shape (n,), scores in [0, 1].
        theirs: shape (n,), of the same prompts.
        outside: the probability on each side of the interval.
        seed: of the resamples.
    """
    differences = ours - theirs
    count = len(differences)
    if not count:
        return Gain(mean=0.0, low=-1.0, high=1.0)
    values, times = np.unique(differences, return_counts=True)
    means = _resampled(values, times / count, count, seed)
    mean = float(differences.mean())
    unseen = 1.0 - outside ** (1.0 / count)
    low, high = np.quantile(means, [outside, 1.0 - outside])
    return Gain(
        mean=mean,
        low=min(float(low), mean - unseen * (mean + 1.0)),
        high=max(float(high), mean + unseen * (1.0 - mean)),
    )


def shared(comparisons: int, error: float = ERROR) -> float:
    """Return what may lie beyond each end of each of so many intervals, so that all hold at once.

    Bonferroni's: half the error on each side, shared by the comparisons. It holds however these
    depend on each other.
    """
    return error / 2 / max(comparisons, 1)


def _resampled(values: Floats, shares: Floats, count: int, seed: int) -> Floats:
    """Return the means of resamples, shape (RESAMPLES,).

    How often each value is drawn is multinomial; right and wrong differ by three values only.
    """
    generator = np.random.default_rng(seed)
    means = [
        generator.multinomial(count, shares, size=_AT_ONCE) @ values / count
        for _ in range(RESAMPLES // _AT_ONCE)
    ]
    return np.concatenate(means)
