"""How often each interval holds the truth, of 95 in 100 that it promises.

Intervals for one look are drawn again and again, by the package itself. A confidence sequence
promises that all its intervals hold the truth, so whole paths are drawn: from a hundred units (one,
where it is exact) to thirty million, with a look whenever there is 0.1 % more. Only then has it
spent what it may: until 5,000 units it misses about 2 in 100.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benches.experiments_parts.statistics_paths import (
    Counts,
    Floats,
    Radius,
    agrees,
    growing,
    share_variance,
    sums,
)
from coe.experiments import cuped, fixed, sequential, spending
from coe.experiments.effect import Interval
from coe.experiments.quantiles import WIDTH, Sketch, Z
from coe.experiments.summary import Moments

NOMINAL = 0.95
DRAWS, PATHS, QUANTILE_PATHS, BOOTSTRAPS = 10_000, 10_000, 4000, 5000
SCALE = 0.03
FINE, COARSE = 0.001, 0.008  # how much more there is at the next look
END, QUANTILE_END = 30_000_000, 3_000_000
COSTS = (np.array([0.1, 1.0, 8.0]), np.array([0.7, 0.27, 0.03]))
COST_SCALE = 0.1
RATIO_SCALE = 0.2
CHECKED = 100
FAR = 12.0  # deviations: no interval reaches as far, unless it holds every share


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One interval.

    Attributes:
        interval: which one, of what.
        coverage: share of the intervals, or of the paths, that hold the truth.
        draws: how many.
    """

    interval: str
    coverage: float
    draws: int

    @property
    def error(self) -> float:
        """How far from what is promised."""
        return abs(self.coverage - NOMINAL)


def rows(seed: int) -> Iterator[Row]:
    """Yield the coverage of every interval."""
    generator = np.random.default_rng(seed)
    for measured in (
        _wilson,
        _newcombe,
        _welch,
        _cuped,
        _bootstrap,
        _obrien_fleming,
        _share_sequence,
        _shares_sequence,
        _means_sequence,
        _quantiles_sequence,
    ):
        yield measured(generator)


# ---------------------------------------------------------------- one look


def _wilson(generator: np.random.Generator) -> Row:
    def holds() -> bool:
        share, n = generator.uniform(0.02, 0.98), int(generator.integers(50, 500))
        found = fixed.share(Moments.counted(n, int(generator.binomial(n, share))))
        return found.low <= share <= found.high

    return _drawn("Wilson, a share", holds)


def _newcombe(generator: np.random.Generator) -> Row:
    def holds() -> bool:
        shares, sizes = generator.uniform(0.02, 0.98, 2), generator.integers(50, 500, 2)
        a, b = (
            Moments.counted(int(n), int(generator.binomial(n, share)))
            for n, share in zip(sizes, shares, strict=True)
        )
        return _holds(fixed.shares(a, b), float(shares[1] - shares[0]))

    return _drawn("Newcombe, difference of shares", holds)


def _welch(generator: np.random.Generator) -> Row:
    def holds() -> bool:
        a, b = generator.normal(0.0, 1.0, 40), generator.exponential(3.0, 200)
        return _holds(fixed.means(Moments.of(a), Moments.of(b)), 3.0)

    return _drawn("Welch, difference of means", holds)


def _cuped(generator: np.random.Generator) -> Row:
    def holds() -> bool:
        x = generator.exponential(1.0, (2, 150))
        y = 0.8 * x + generator.normal(0.0, 0.6, (2, 150)) + [[0.0], [0.2]]
        a, b = (Moments.of(y[side], x[side]) for side in (0, 1))
        return _holds(fixed.means(*cuped.adjusted(a, b)), 0.2)

    return _drawn("CUPED with Welch, difference of means", holds)


def _bootstrap(generator: np.random.Generator) -> Row:
    def holds(draw: int) -> bool:
        a, b = generator.exponential(1.0, 200), generator.exponential(1.5, 200)
        return _holds(fixed.bootstrap(a, b, seed=draw), 0.5)

    held = [holds(draw) for draw in range(BOOTSTRAPS)]
    return Row(
        interval="bootstrap, difference of means", coverage=float(np.mean(held)), draws=BOOTSTRAPS
    )


def _drawn(name: str, holds: Callable[[], bool]) -> Row:
    held = [holds() for _ in range(DRAWS)]
    return Row(interval=name, coverage=float(np.mean(held)), draws=DRAWS)


def _holds(found: Interval, truth: float) -> bool:
    return found.low <= truth <= found.high


# ---------------------------------------------------------------- all looks


def _obrien_fleming(generator: np.random.Generator) -> Row:
    fractions = (0.2, 0.4, 0.6, 0.8, 1.0)
    n = np.array([1000 * look for look in range(1, 6)])
    held = np.ones(DRAWS, dtype=bool)
    arms = (sums(generator, share, n, DRAWS) for share in (0.3, 0.33))
    bounds = spending.boundaries(fractions)
    for units, bound, control, arm in zip(n, bounds, *arms, strict=True):
        error = np.sqrt(share_variance(control, units) + share_variance(arm, units))
        held &= np.abs((arm - control) / units - 0.03) <= bound * error
    return _paths("O'Brien-Fleming, 5 looks, difference of shares", held)


def _share_sequence(generator: np.random.Generator) -> Row:
    n, truth = growing(1, END, FINE), 0.3
    held = np.ones(PATHS, dtype=bool)
    for units, successes in zip(n.tolist(), sums(generator, truth, n, PATHS), strict=True):
        low, high = _accepted(units, truth)
        held &= (successes >= low) & (successes <= high)
    return _paths("sequence, a share", held)


def _accepted(n: int, truth: float) -> tuple[int, int]:
    """Return the least and the greatest number of successes whose interval holds the truth."""
    ends, far = [], math.ceil(FAR * math.sqrt(n * truth * (1.0 - truth))) + 2
    for end in (max(-1, round(n * truth) - far), min(n + 1, round(n * truth) + far)):
        inside, outside = round(n * truth), end
        assert not 0 <= end <= n or not _holds(sequential.share(end, n), truth)
        while abs(outside - inside) > 1:
            middle = (inside + outside) // 2
            is_in = _holds(sequential.share(middle, n), truth)
            inside, outside = (middle, outside) if is_in else (inside, middle)
        ends.append(inside)
    return ends[0], ends[1]


def _shares_sequence(generator: np.random.Generator) -> Row:
    n = growing(100, END, FINE)
    radius = Radius(SCALE, NOMINAL, 1e-9, 1e-2)
    held = np.ones(PATHS, dtype=bool)
    arms = (sums(generator, share, n, PATHS) for share in (0.5, 0.53))
    for units, control, arm in zip(n, *arms, strict=True):
        variance = share_variance(control, units) + share_variance(arm, units)
        held &= np.abs((arm - control) / units - 0.03) <= radius(variance)
        if not units % CHECKED:
            agrees(control[:1, None], arm[:1, None], np.array([units]), radius, generator)
    return _paths("sequence, difference of shares", held)


def _means_sequence(generator: np.random.Generator) -> Row:
    n = growing(100, END, FINE)
    radius = Radius(COST_SCALE, NOMINAL, 1e-8, 1.0)
    held = np.ones(PATHS, dtype=bool)
    arms = (_means(generator, n) for _ in range(2))
    for (a, variance_a), (b, variance_b) in zip(*arms, strict=True):
        held &= np.abs(b - a) <= radius(variance_a + variance_b)
    return _paths("sequence, difference of skewed means", held)


def _means(generator: np.random.Generator, n: Counts) -> Iterator[tuple[Floats, Floats]]:
    """Yield means and their variances at each look, shape (paths,) each."""
    values, frequencies = COSTS
    counts = np.zeros((PATHS, len(values)), dtype=np.int64)
    for total, units in zip(n, np.diff(n, prepend=0), strict=True):
        counts += generator.multinomial(units, frequencies, PATHS)
        mean = counts @ values / total
        yield mean, (counts @ values**2 / total - mean**2) / (total - 1)


def _quantiles_sequence(generator: np.random.Generator) -> Row:
    """A ratio of p95s: of log-normal values whose medians are 1 and 1.2."""
    n = growing(400, QUANTILE_END, COARSE)
    radius = Radius(float(np.log1p(RATIO_SCALE)), NOMINAL, 1e-9, 1.0)
    held = np.ones(QUANTILE_PATHS, dtype=bool)
    arms = (_log_p95s(generator, median, n) for median in (1.0, 1.2))
    for (a, variance_a), (b, variance_b) in zip(*arms, strict=True):
        held &= np.abs(b - a - np.log(1.2)) <= radius(variance_a + variance_b)
    return _paths("sequence, ratio of p95s", held)


def _log_p95s(
    generator: np.random.Generator, median: float, n: Counts
) -> Iterator[tuple[Floats, Floats]]:
    """Yield `Sketch.log_quantile` of .95 and its variance at each look, shape (paths,) each.

    Of buckets from the 85th to the 99.5th percentile; those below and above are in the outmost.
    """
    from scipy.stats import norm

    ends = np.log(median) + 0.5 * norm.ppf([0.85, 0.995])
    buckets = np.arange(int(ends[0] / WIDTH), int(ends[1] / WIDTH))
    below = norm.cdf((buckets * WIDTH - np.log(median)) / 0.5)
    frequencies = np.diff(below, append=1.0)
    frequencies[0] += below[0]
    counts = np.zeros((QUANTILE_PATHS, len(buckets)), dtype=np.int64)
    for look, (total, units) in enumerate(zip(n, np.diff(n, prepend=0), strict=True)):
        counts += generator.multinomial(units, frequencies, QUANTILE_PATHS)
        found, variance = _log_p95(counts, buckets, int(total))
        if not look % CHECKED:
            sketch = Sketch(counts=dict(zip(buckets.tolist(), counts[0].tolist(), strict=True)))
            assert np.allclose(sketch.log_quantile(0.95), (found[0], variance[0]), rtol=1e-6)
        yield found, variance


def _log_p95(counts: Counts, buckets: Counts, n: int) -> tuple[Floats, Floats]:
    off = Z * np.sqrt(0.95 * 0.05 / n)
    until = counts.cumsum(axis=1)
    rows = np.arange(len(counts))
    found = []
    for share in (0.95 - off, 0.95, 0.95 + off):
        wanted = share * n
        place = (until < wanted).sum(axis=1)
        count = counts[rows, place]
        found.append((buckets[place] + (wanted - until[rows, place] + count) / count) * WIDTH)
    low, middle, high = found
    return middle, ((high - low) / (2.0 * Z)) ** 2


def _paths(name: str, held: NDArray[np.bool_]) -> Row:
    return Row(interval=name, coverage=float(held.mean()), draws=len(held))
