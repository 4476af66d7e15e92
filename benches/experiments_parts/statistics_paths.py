"""Simulated experiments, all at once: the same arithmetic as `coe.experiments`, on arrays.

What the package does with one look of one experiment is done here with every look of thousands. So
that it stays the same, `agrees` compares a draw of the looks with what the package itself says.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from coe.experiments import sequential
from coe.experiments.effect import between
from coe.experiments.summary import Moments

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

TABLED = 20_000
CHECKED = 200


class Radius:
    """`sequential.radius` of many variances: tabled once, and interpolated.

    Args:
        scale: see `sequential.radius`.
        confidence: likewise.
        low: the least variance asked for.
        high: the greatest.
    """

    def __init__(self, scale: float, confidence: float, low: float, high: float) -> None:
        self.scale, self.confidence = scale, confidence
        variances = np.geomspace(low, high, TABLED)
        radii = [sequential.radius(float(v), scale, confidence) for v in variances]
        self._places, self._radii = np.log(variances), np.log(radii)

    def __call__(self, variances: Floats) -> Floats:
        """Return the radii of variances within the table, right to 7 digits."""
        return np.exp(np.interp(np.log(variances), self._places, self._radii))


def share_variance(successes: Counts, n: Counts) -> Floats:
    """Return the variance of shares, as `between` takes it: with one 0 and one 1 added."""
    share = (successes + 1) / (n + 2)
    return share * (1 - share) / (n + 1)


def agrees(
    control: Counts, arm: Counts, n: Counts, radius: Radius, generator: np.random.Generator
) -> None:
    """Stop the bench where arrays and package differ.

    Args:
        control: shape (experiments, looks), successes so far.
        arm: likewise.
        n: shape (looks,), units per arm.
        radius: as used on them.
        generator: draws the looks that are compared.
    """
    for _ in range(CHECKED):
        row, look = (int(generator.integers(size)) for size in control.shape)
        units = int(n[look])
        a, b = int(control[row, look]), int(arm[row, look])
        effect = between(Moments.counted(units, a), Moments.counted(units, b), "share")
        variance = sum(float(share_variance(np.array(side), np.array(units))) for side in (a, b))
        found = sequential.interval(effect, radius.scale, radius.confidence)
        assert np.isclose(variance, effect.variance, rtol=1e-9)
        assert np.isclose(float(radius(np.array(variance))), found.high - found.estimate, rtol=1e-6)


def first(stops: NDArray[np.bool_], n: Counts, otherwise: int) -> Counts:
    """Return the units per arm at which each experiment stops first; `otherwise` where it does not.

    Args:
        stops: shape (experiments, looks).
        n: shape (looks,).
        otherwise: units at the end.
    """
    return np.where(stops.any(axis=1), n[stops.argmax(axis=1)], otherwise)


def growing(begin: int, end: int, rate: float) -> Counts:
    """Return the units at looks that are so much apart, from `begin` to about `end`."""
    found = [begin]
    while found[-1] < end:
        found.append(max(found[-1] + 1, round(found[-1] * (1 + rate))))
    return np.array(found)


def sums(generator: np.random.Generator, share: float, n: Counts, paths: int) -> Iterator[Counts]:
    """Yield the successes so far at each look, shape (paths,).

    Args:
        generator: of what is new.
        share: how likely a success is.
        n: shape (looks,), units at each look.
        paths: how many.
    """
    total = np.zeros(paths, dtype=np.int64)
    for units in np.diff(n, prepend=0):
        total = total + generator.binomial(units, share, paths)
        yield total
