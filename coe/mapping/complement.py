"""What an expert knows that the others lack: prompts that it alone answers well.

Two experts of the same mean score may be worth the same to a composition, or the second nothing:
what counts is how often it is right where the others are wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coe.intervals import wilson
from coe.mapping.outcomes import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.mapping.outcomes import OutcomeMatrix

    Floats = NDArray[np.float64]

RIGHT = 0.5
"""A score from here on is a right answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A mean score, or how often something holds, with its 95 % interval.

    Attributes:
        value: in [0, 1]; where `count` is 0 nothing is known, and it is 0.
        low, high: 0 and 1 where nothing is known.
        count: prompts behind it (a sum of probabilities, so it need not be whole).
    """

    value: float
    low: float
    high: float
    count: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One expert beside all the others, on the prompts that it and another one were scored on.

    Attributes:
        quality: mean score on all prompts that it was scored on.
        by_category: mean scores by category, `NONE` last; None where there is hardly a prompt.
        rescues: how often it is right where all the others that were asked are wrong.
        unique: how often it alone is right, of all its prompts.
        gain: how much the best of all answers is better with it than without, in mean score; the
            oracle's gain, more than any router makes of it.
    """

    expert: str
    quality: Share
    by_category: dict[str, Share | None]
    rescues: Share
    unique: Share
    gain: float


def rows(matrix: OutcomeMatrix) -> list[Row]:
    """Return what each expert adds to the others."""
    return [row(matrix, name) for name in matrix.experts]


def row(matrix: OutcomeMatrix, name: str) -> Row:
    """Return what one expert adds to the others. Raises ValueError where it has no column."""
    column = matrix.experts.index(name)
    own = matrix.scores[:, column]
    known = ~np.isnan(own)
    best = _best(np.delete(matrix.scores, column, axis=1))
    both = known & ~np.isnan(best)
    right, lost = own >= RIGHT, best < RIGHT
    shares = matrix.memberships
    names = (*matrix.categories, NONE)
    return Row(
        expert=name,
        quality=_share(own[known]),
        by_category={
            category: _weighted(own[known], shares[known, i]) for i, category in enumerate(names)
        },
        rescues=_share(right[both & lost].astype(np.float64)),
        unique=_share((right & lost)[both].astype(np.float64)),
        gain=float(np.maximum(own[both] - best[both], 0.0).mean()) if both.any() else 0.0,
    )


def best_at(matrix: OutcomeMatrix, name: str) -> list[int]:
    """Return the prompts that an expert is best at, the rarest first: positions in the matrix.

    Those that it answers right and that not all the others do; where no other one was asked, those
    that it answers right.
    """
    column = matrix.experts.index(name)
    own, others = matrix.scores[:, column], np.delete(matrix.scores, column, axis=1)
    asked = (~np.isnan(others)).sum(axis=1)
    good = np.where(np.isnan(others), False, others >= RIGHT).sum(axis=1)  # noqa: FBT003 - numpy
    ease = good / np.maximum(asked, 1)
    with np.errstate(invalid="ignore"):
        found = np.flatnonzero((own >= RIGHT) & (ease < 1.0))
    return [int(i) for i in found[np.argsort(ease[found], kind="stable")]]


def _best(scores: Floats) -> Floats:
    """Return the best score of each row, NaN where nobody was asked."""
    filled = np.where(np.isnan(scores), -np.inf, scores).max(axis=1, initial=-np.inf)
    return np.where(np.isinf(filled), np.nan, filled)


def _share(values: Floats) -> Share:
    if not len(values):
        return Share(value=0.0, low=0.0, high=1.0, count=0.0)
    mean = values.mean()
    low, high = wilson(np.asarray(mean), np.asarray(float(len(values))))
    return Share(value=float(mean), low=float(low), high=float(high), count=float(len(values)))


def _weighted(values: Floats, weights: Floats) -> Share | None:
    count = float(weights.sum())
    if count < RIGHT:
        return None
    mean = np.asarray(float(np.clip((values * weights).sum() / count, 0.0, 1.0)))
    low, high = wilson(mean, np.asarray(count))
    return Share(value=float(mean), low=float(low), high=float(high), count=count)
