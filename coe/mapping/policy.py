"""What answers which prompt, over many prompts at once: by the written lists, or by a fitted map.

The same rules as live (`coe.decide`, `coe.planner`, `coe.mapping.choose`), as arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from coe.mapping.budget import PER, Constraints
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import NONE, OutcomeMatrix
from coe.mapping.residual import correct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

NOBODY = -1  # the column of an expert that is not in the matrix
_STEPS = 20  # halvings of the interval in which the least price lies
_EQUAL = 1e-12
_DEAREST = 2.0**20  # quality that a whole budget is worth at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a composition decides, and who answers by its written lists.

    Attributes:
        first: the first expert of each category, and of `NONE`; a category that it lacks is
            answered as `NONE` is.
        thresholds: least probability at which a category is chosen; 0 where it lacks one.
        margin: least gap between the best two.
        by_hand: categories whose written list holds whatever a map says.
    """

    first: Mapping[str, str]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.0
    by_hand: frozenset[str] = frozenset()

    def decided(self, matrix: OutcomeMatrix) -> Places:
        """Return the category of each prompt, shape (n,): its place, C where it is none.

        The probabilities are the router's own (`coe.scoring.routing.believed`).
        """
        count = len(matrix.categories)
        if not count:
            return np.zeros(len(matrix.prompts), dtype=np.intp)
        ranked = np.sort(matrix.probabilities, axis=1)
        best = matrix.probabilities.argmax(axis=1)
        least = np.array([self.thresholds.get(name, 0.0) for name in matrix.categories])
        runner_up = ranked[:, -2] if count > 1 else np.zeros(len(ranked))
        is_sure = (ranked[:, -1] >= least[best]) & (ranked[:, -1] - runner_up >= self.margin)
        return np.where(is_sure & (ranked[:, -1] > 0), best, count)

    def written(self, matrix: OutcomeMatrix) -> Places:
        """Return who answers each prompt by the lists, shape (n,); `NOBODY` if not measured."""
        place = {name: i for i, name in enumerate(matrix.experts)}
        none = self.first.get(NONE, "")
        names = [*(self.first.get(name, none) for name in matrix.categories), none]
        columns = np.array([place.get(name, NOBODY) for name in names], dtype=np.intp)
        return columns[self.decided(matrix)]


def routed(
    fitted: FittedMap, matrix: OutcomeMatrix, standing: Standing, *, encoder: str = ""
) -> Places:
    """Return who answers each prompt by a map, shape (n,): columns of the matrix, or `NOBODY`.

    Experts that the matrix lacks are still chosen, as live; `NOBODY` stands for them. Neighbours
    count where the matrix has embeddings by their encoder.
    """
    inside = np.array([name in fitted.used for name in fitted.experts])
    chosen = choice(
        fitted,
        _onto(fitted, matrix),
        inside,
        (fitted.price_weight, fitted.latency_weight),
        embeddings=_comparable(fitted, matrix, encoder),
    )
    place = {name: i for i, name in enumerate(matrix.experts)}
    columns = np.array([place.get(name, NOBODY) for name in fitted.experts], dtype=np.intp)
    return by_hand(standing, matrix, columns[chosen])


def by_hand(standing: Standing, matrix: OutcomeMatrix, chosen: Places) -> Places:
    """Return what a map chooses, with the written lists where those hold; shape (n,)."""
    if not standing.by_hand:
        return chosen
    held = np.array([*(name in standing.by_hand for name in matrix.categories), False])
    return np.where(held[standing.decided(matrix)], standing.written(matrix), chosen)


def choice(
    cells: FittedMap,
    memberships: Floats,
    used: NDArray[np.bool_],
    weights: tuple[float, float],
    *,
    embeddings: Floats | None = None,
) -> Places:
    """Return the expert of the greatest utility for each prompt, shape (n,); see `choose`.

    Args:
        cells: of the experts.
        memberships: shape (n, C), rows that sum to 1.
        used: shape (E,), who may be chosen.
        weights: quality that a unit of money, and a second, are worth.
        embeddings: shape (n, dim), of the residual's encoder; None leaves the residual out.
    """
    quality, cost, wait = _expected(cells, memberships, used)
    if embeddings is not None and cells.residual is not None:
        quality = correct(cells.residual, quality, embeddings)
    return _greatest(quality, cost, wait, weights)


def _comparable(fitted: FittedMap, matrix: OutcomeMatrix, encoder: str) -> Floats | None:
    """Return the embeddings of the prompts, if the map's residual has the same encoder."""
    is_same = fitted.residual is not None and fitted.residual.encoder == encoder
    return matrix.embeddings if is_same else None


def _expected(
    cells: FittedMap, memberships: Floats, used: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats]:
    """Return what is expected of each prompt's answers: quality, money, seconds; (n, E) each."""
    quality = np.where(used, memberships @ cells.quality, -np.inf)
    parts = (known(part, used) for part in (cells.cost, cells.latency_s))
    cost, wait = (memberships @ part for part in parts)
    return quality, cost, wait


def _greatest(quality: Floats, cost: Floats, wait: Floats, weights: tuple[float, float]) -> Places:
    """Return the column of the greatest utility in each row; of equals the cheapest, the first."""
    utility = quality - weights[0] * cost if weights[0] else quality
    utility = utility - weights[1] * wait if weights[1] else utility
    best = utility >= utility.max(axis=1, keepdims=True) - _EQUAL
    return np.asarray(np.where(best, cost, np.inf).argmin(axis=1))


def known(cells: Floats, used: NDArray[np.bool_]) -> Floats:
    """Return cells without gaps: an expert's mean, or else the dearest of those that are used."""
    is_known = ~np.isnan(cells)
    own = np.where(is_known, cells, 0.0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
    found = np.where(is_known, cells, own)
    measured = is_known.any(axis=0)
    if (measured & used).any():
        found[:, ~measured] = found[:, measured & used].max(axis=1, keepdims=True)
    return np.asarray(found)


def weights(
    cells: FittedMap, memberships: Floats, used: NDArray[np.bool_], constraints: Constraints
) -> tuple[tuple[float, float], bool]:
    """Return the least weights of money and time at which prompts are answered within the budget.

    One number weighs both where both are limited: the quality that a whole budget is worth. And
    whether the budget is met at all; where it is not, the weights are the greatest.

    Args:
        cells: of the experts.
        memberships: shape (n, C), of the prompts that stand for the traffic.
        used: shape (E,), who may be chosen.
        constraints: the budget.
    """
    limits = (constraints.money, constraints.latency_s)
    if limits == (None, None):
        return (0.0, 0.0), True
    expected = _expected(cells, memberships, used)
    means = (expected[1] * PER, expected[2])
    rows = np.arange(len(memberships))

    def at(worth: float) -> tuple[float, float]:
        money, wait = (worth / limit if limit else 0.0 for limit in limits)
        return money * PER, wait

    def is_met(worth: float) -> bool:
        chosen = _greatest(*expected, at(worth))
        return all(
            limit is None or float(mean[rows, chosen].mean()) <= limit * (1 + 1e-9)
            for limit, mean in zip(limits, means, strict=True)
        )

    if is_met(0.0):
        return at(0.0), True
    low, high = 0.0, 2.0**-10
    while not is_met(high):
        low, high = high, high * 2
        if high > _DEAREST:
            return at(high), False
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_met(middle) else (middle, high)
    return at(high), True


def _onto(fitted: FittedMap, matrix: OutcomeMatrix) -> Floats:
    """Return the memberships in the order of a map; what it does not know is `NONE` to it."""
    rows = {name: i for i, name in enumerate(fitted.categories)}
    none = rows[NONE]
    found = np.zeros((len(matrix.prompts), len(fitted.categories)))
    for i, name in enumerate((*matrix.categories, NONE)):
        found[:, rows.get(name, none)] += matrix.memberships[:, i]
    return found
