"""The sample-ratio check: alarms on fair splits, and how soon a broken one is found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benches.experiments_parts.statistics_paths import Floats, first
from coe.experiments import samples

SPLITS, UNITS = 4000, 10_000
ONE_LOOK = 200_000
CHECKED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the check did.

    Attributes:
        situation: shares, and what is lost.
        once: share of splits with an alarm at one look at the end (chi-square, p < .001); NaN where
            it was not asked.
        always: share with an alarm when looked at after every unit.
        units: median units until that alarm, of those that had one.
    """

    situation: str
    once: float
    always: float
    units: float


def rows(seed: int) -> list[Row]:
    """Return the alarms on fair and on broken splits."""
    generator = np.random.default_rng(seed)
    fair = ((0.5, 0.5), (0.9, 0.1), (1 / 3, 1 / 3, 1 / 3))
    found = [_row(f"fair, {_said(shares)}", shares, shares, generator) for shares in fair]
    found.append(_row("50/50, an arm loses 5 %", (0.5, 0.5), (0.5, 0.475), generator))
    found.append(_row("50/50, an arm loses 20 %", (0.5, 0.5), (0.5, 0.4), generator))
    return found


def _said(shares: Sequence[float]) -> str:
    return "/".join(f"{100 * share:.0f}" for share in shares)


def _row(
    situation: str,
    shares: Sequence[float],
    real: Sequence[float],
    generator: np.random.Generator,
) -> Row:
    frequencies = np.array(real) / sum(real)
    last = generator.multinomial(UNITS, frequencies, ONE_LOOK)
    expected = UNITS * np.array(shares)
    statistics = ((last - expected) ** 2 / expected).sum(axis=1)
    tails = {
        float(each): samples.chi_square_tail(float(each), len(shares) - 1)
        for each in np.unique(statistics)
    }
    once = np.mean([tails[float(each)] < samples.ALARM for each in statistics])
    arms = generator.choice(len(shares), (SPLITS, UNITS), p=frequencies).astype(np.int8)
    evidence, counts = _evidence(arms, shares)
    _agrees(evidence, counts, shares, generator)
    alarms = evidence > -math.log(samples.ALARM)
    stops = first(alarms, np.arange(1, UNITS + 1), 0)
    return Row(
        situation=situation,
        once=float(once),
        always=float(alarms.any(axis=1).mean()),
        units=float(np.median(stops[stops > 0])) if stops.any() else math.nan,
    )


def _evidence(
    arms: NDArray[np.int8], shares: Sequence[float]
) -> tuple[Floats, list[NDArray[np.int16]]]:
    """Return ln E after every unit, shape (splits, units), and the counts of each arm so far."""
    steps = np.arange(UNITS + 1)
    concentration = samples.CONCENTRATION
    gained = [math.lgamma(concentration) - math.lgamma(concentration + units) for units in steps]
    total = np.broadcast_to(np.array(gained[1:]), arms.shape)
    counts = []
    for number, share in enumerate(shares):
        seen = (arms == number).cumsum(axis=1, dtype=np.int16)
        prior = concentration * share
        table = [
            math.lgamma(prior + units) - math.lgamma(prior) - units * math.log(share)
            for units in steps
        ]
        total = total + np.array(table)[seen]
        counts.append(seen)
    return total, counts


def _agrees(
    evidence: Floats,
    counts: list[NDArray[np.int16]],
    shares: Sequence[float],
    generator: np.random.Generator,
) -> None:
    """Stop the bench where arrays and package differ."""
    for _ in range(CHECKED):
        row, look = int(generator.integers(len(evidence))), int(generator.integers(UNITS))
        found = samples.check([int(seen[row, look]) for seen in counts], shares)
        expected = math.exp(-max(0.0, float(evidence[row, look])))
        assert np.isclose(found.p_always, expected, rtol=1e-6, atol=1e-12)
