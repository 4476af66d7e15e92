"""Intervals: of a proportion, and of the mean difference of two policies on the same prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Z95 = 1.959963984540054
OUTSIDE = 0.025
"""The probability that is left on each side of a 95 % interval."""
RESAMPLES = 2000
STEPS = 201


def wilson(share: Floats, count: Floats, z: float = Z95) -> tuple[Floats, Floats]:
    """Return the score interval of a share among so many: its lower and its upper ends.

    Of the mean of scores in [0, 1] it is at least as wide as need be: with a given mean, none
    vary more than zeros and ones. It contains the share, stays in [0, 1], and is never of no
    width, not even where all of few rows agree.

    Args:
        share: in [0, 1], any shape.
        count: above 0, need not be whole.
        z: of the confidence, 95 % unless told.

    Reference:
        Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference.
        JASA 22 (158).
    """
    narrow = 1.0 / (1.0 + z**2 / count)
    middle = narrow * (share + z**2 / (2.0 * count))
    half = narrow * z * np.sqrt(share * (1.0 - share) / count + (z / (2.0 * count)) ** 2)
    return np.clip(middle - half, 0.0, share), np.clip(middle + half, share, 1.0)


def beta(mean: Floats, count: Floats) -> tuple[Floats, Floats]:
    """Return the middle 95 % of beta distributions: the lower and the upper ends.

    By the trapezium rule on the log odds, where the density is smooth however skew it is; the ends
    are right to about three digits.

    Args:
        mean: strictly between 0 and 1, any shape.
        count: a + b of the distribution, above 0, of the same shape.
    """
    a, b = (mean * count)[..., None], ((1.0 - mean) * count)[..., None]
    steps = np.linspace(-1.0, 1.0, STEPS)
    bell = 5.0 * np.sqrt(1.0 / a + 1.0 / b)  # of the log odds; beyond it they fall like e^(-a|t|)
    odds = np.log(a / b) + steps * np.where(steps < 0, bell + 7.0 / a, bell + 7.0 / b)
    logarithm = -a * np.logaddexp(0.0, -odds) - b * np.logaddexp(0.0, odds)
    density = np.exp(logarithm - logarithm.max(axis=-1, keepdims=True))
    slices = (density[..., 1:] + density[..., :-1]) / 2.0 * np.diff(odds)
    below = np.cumsum(slices, axis=-1) / slices.sum(axis=-1, keepdims=True)
    below = np.concatenate([np.zeros_like(a), below], axis=-1)
    lower, upper = (_where(odds, below, share) for share in (OUTSIDE, 1.0 - OUTSIDE))
    return np.minimum(lower, mean), np.maximum(upper, mean)


def _where(odds: Floats, below: Floats, share: float) -> Floats:
    """Return the shares whose log odds have that much below them, last axis by last axis."""
    right = np.clip((below < share).sum(axis=-1), 1, STEPS - 1)[..., None]
    x0, x1, y0, y1 = (
        np.take_along_axis(line, at, axis=-1)[..., 0]
        for line in (odds, below)
        for at in (right - 1, right)
    )
    log_odds = x0 + (share - y0) / (y1 - y0) * (x1 - x0)
    return np.asarray((1.0 + np.tanh(log_odds / 2.0)) / 2.0)


def paired_gain(a: Floats, b: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of a - b over prompts, and its paired 95 % interval.

    Prompts on which either was not measured (NaN) are left out; where none remains nothing is
    known: (0, -1, 1).

    The interval is the percentile bootstrap's over prompts (Efron and Tibshirani 1993, chapter 13),
    widened to what a prompt that was not seen may do. A bootstrap knows of nothing else than what
    was seen: of two prompts that were both won it makes an interval of no width. But what did not
    happen in n prompts may still happen with frequency 1 - .025^(1/n) (Clopper and Pearson 1934:
    .84 of 2 prompts, .31 of 10, .001 of 3,600), so each end allows for that many differences as
    great as differences get, -1 or 1. From some hundreds of prompts on this changes nothing, but
    where the two hardly ever differ.

    Args:
        a: shape (n,), scores in [0, 1].
        b: shape (n,), scores of the same prompts.
        seed: of the resamples.
    """
    (found,) = paired_gains(a, b[:, None], seed)
    return found


def paired_gains(a: Floats, others: Floats, seed: int = 0) -> list[tuple[float, float, float]]:
    """Return `paired_gain` of a over each column of the others, with the same resamples.

    Args:
        a: shape (n,).
        others: shape (n, m).
        seed: of the resamples.
    """
    difference = a[:, None] - others
    seen = ~np.isnan(difference)
    summed, counted = _resampled(np.where(seen, difference, 0.0), seen, seed)
    with np.errstate(invalid="ignore"):
        means = summed / counted
    return [
        _interval(difference[seen[:, column], column], means[:, column])
        for column in range(others.shape[1])
    ]


def _resampled(values: Floats, seen: NDArray[np.bool_], seed: int) -> tuple[Floats, Floats]:
    """Return sums and counts of the columns in each resample: shape (RESAMPLES, m) each.

    Resamples without any row of a column have a count of 0 there.
    """
    generator, rows = np.random.default_rng(seed), len(values)
    both = np.hstack([values, seen])
    drawn = np.empty((RESAMPLES, both.shape[1]))
    for at in range(RESAMPLES):
        times = np.bincount(generator.integers(0, max(rows, 1), rows), minlength=rows)
        drawn[at] = times[:rows].astype(np.float64) @ both
    return drawn[:, : values.shape[1]], drawn[:, values.shape[1] :]


def _interval(differences: Floats, means: Floats) -> tuple[float, float, float]:
    if not len(differences):
        return 0.0, -1.0, 1.0
    mean = float(differences.mean())
    unseen = 1.0 - OUTSIDE ** (1.0 / len(differences))
    low, high = np.nanquantile(means, [OUTSIDE, 1.0 - OUTSIDE])
    return (
        mean,
        min(float(low), mean - unseen * (mean + 1.0)),
        max(float(high), mean + unseen * (1.0 - mean)),
    )
