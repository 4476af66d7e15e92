"""False alarms, power and stopping times, looked at after every pair of units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import mean

import numpy as np

from benches.experiments_parts.statistics_paths import (
    Counts,
    Floats,
    Radius,
    agrees,
    first,
    share_variance,
)
from coe.experiments import spending

EXPERIMENTS, PER_ARM, FIRST_LOOK = 2000, 5000, 100
BLOCKS = 4  # as many times less memory
SCALE, SKEWED_SCALE = 0.03, 0.1
SKEWED = (np.array([0.1, 1.0, 8.0]), np.array([0.7, 0.27, 0.03]))
"""Values and their frequencies: of a cost, say, that a few requests make up half of."""
Z = 1.959964
OURS = "sequential, every pair"
FRACTIONS = tuple(step / 10 for step in range(1, 11))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one method did in one situation.

    Attributes:
        situation: what is compared.
        method: how.
        stopped: share of the experiments that found a difference.
        units: mean units per arm until the stop, or the end.
    """

    situation: str
    method: str
    stopped: float
    units: float


def rows(seed: int) -> list[Row]:
    """Return what every method does, without a difference and with one of 3 and 5 points."""
    generator = np.random.default_rng(seed)
    found: list[Row] = []
    for situation, base, other in (
        ("A/A, share .5", 0.5, 0.5),
        ("A/A, share .1", 0.1, 0.1),
        ("A/A, share .02", 0.02, 0.02),
        ("3 points, .5", 0.5, 0.53),
        ("5 points, .5", 0.5, 0.55),
    ):
        blocks = [list(_shares(situation, base, other, generator)) for _ in range(BLOCKS)]
        found += _together(blocks)
    return found + _together([list(_skewed(generator)) for _ in range(BLOCKS)])


def _together(blocks: list[list[Row]]) -> list[Row]:
    """Return the means of equal blocks."""
    return [
        replace(
            same[0],
            stopped=mean(row.stopped for row in same),
            units=mean(row.units for row in same),
        )
        for same in zip(*blocks, strict=True)
    ]


def _shares(
    situation: str, base: float, other: float, generator: np.random.Generator
) -> Iterator[Row]:
    n = np.arange(1, PER_ARM + 1)
    size = (EXPERIMENTS // BLOCKS, PER_ARM)
    control, arm = (
        (generator.random(size, dtype=np.float32) < share).cumsum(axis=1) for share in (base, other)
    )
    variance = share_variance(control, n) + share_variance(arm, n)
    radius = Radius(SCALE, 0.95, float(variance.min()), float(variance.max()))
    agrees(control, arm, n, radius, generator)
    yield from _methods(situation, (arm - control) / n, variance, radius, n)


def _skewed(generator: np.random.Generator) -> Iterator[Row]:
    values, frequencies = SKEWED
    n = np.arange(1, PER_ARM + 1)
    moments = []
    for _ in range(2):
        drawn = generator.choice(values, (EXPERIMENTS // BLOCKS, PER_ARM), p=frequencies)
        mean_ = drawn.cumsum(axis=1) / n
        squares = (drawn**2).cumsum(axis=1) - n * mean_**2
        moments.append((mean_, np.maximum(squares, 0.0) / np.maximum(n - 1, 1) / n))
    (a, variance_a), (b, variance_b) = moments
    variance = np.maximum(variance_a + variance_b, 1e-9)
    radius = Radius(SKEWED_SCALE, 0.95, float(variance.min()), float(variance.max()))
    yield from _methods("A/A, skewed mean", b - a, variance, radius, n)


def _methods(
    situation: str, difference: Floats, variance: Floats, radius: Radius, n: Counts
) -> Iterator[Row]:
    z = np.abs(difference) / np.sqrt(variance)
    at = [round(fraction * PER_ARM) - 1 for fraction in FRACTIONS]
    bounds = np.array(spending.boundaries(FRACTIONS))
    for method, stops, looks in (
        (OURS, np.abs(difference) > radius(variance), n),
        ("peeking: z > 1.96, every pair", z > Z, n),
        ("peeking: z > 1.96, every 50 pairs", (z > Z)[:, 49::50], n[49::50]),
        ("O'Brien-Fleming, 10 looks", z[:, at] > bounds, n[at]),
        ("one look at the end", z[:, -1:] > Z, n[-1:]),
    ):
        allowed = stops & (looks >= FIRST_LOOK)
        yield Row(
            situation=situation,
            method=method,
            stopped=float(allowed.any(axis=1).mean()),
            units=float(first(allowed, looks, PER_ARM).mean()),
        )
