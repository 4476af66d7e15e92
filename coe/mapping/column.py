"""One more expert in a fitted map, from few labelled prompts and without fitting it again.

The columns of a map say how experts differ: all their cells rise and fall together, and some
categories more than others. The new expert is taken for one of their kind before its own scores are
looked at; each score then speaks for its category and, as far as experts are alike, for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.intervals import beta
from coe.mapping.estimates import STRENGTH
from coe.mapping.fitted import FittedMap, Residual
from coe.mapping.task import FEW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.mapping.outcomes import OutcomeMatrix

    Floats = NDArray[np.float64]

# What experts vary by where there are none to tell: all cells together, and each by itself; and how
# many experts that counts for where there are some. Chosen on MMLU-Pro, of what was tried (own
# variance .002 to .02, weight 1 to 10) the best for 400 prompts: `benches/new_expert.py`.
TOGETHER, APART = 0.04, 0.02
WEIGHT = 3.0

_EDGE = 1e-3


def with_expert(fitted: FittedMap, matrix: OutcomeMatrix) -> FittedMap:
    """Return the map with one more column; one of the same name is replaced.

    The others' columns stay as they are. With less than `FEW` scores the new expert counts with
    the lower ends of its intervals, so that it is chosen where it is surely better; from there on
    with its means. A category is assigned to it where its value, less what its price and its time
    are worth, is above that of the expert assigned so far. What the map says of its guard is about
    the map without it.

    Args:
        fitted: of one expert at least.
        matrix: outcomes of the new expert alone, of one prompt at least; its categories are the
            map's.

    Raises:
        ValueError: several experts, other categories, or no outcome.
    """
    name, seen = _checked(fitted, matrix)
    shares, scores = matrix.memberships[seen], matrix.scores[seen, 0]
    before = _without(fitted, name)
    mean, variance = _posterior(before.quality, shares, scores)
    lower, upper = beta(mean, np.maximum(mean * (1 - mean) / variance - 1, 1.0))
    is_new = len(scores) < FEW
    column = {
        "quality": lower if is_new else mean,
        "lower": lower,
        "upper": upper,
        "counts": shares.sum(axis=0),
        "cost": _mean_of(shares, matrix.costs[seen, 0]),
        "latency_s": _mean_of(shares, matrix.latencies[seen, 0]),
    }
    grown: dict[str, Any] = {
        key: np.column_stack([getattr(before, key), values]) for key, values in column.items()
    }
    added = {name: {"prompts": len(scores), "counts_with": "lower" if is_new else "mean"}}
    made = replace(
        before,
        experts=(*before.experts, name),
        used=(*before.used, name),
        residual=_grown(before.residual),
        about={**before.about, "added": {**before.about.get("added", {}), **added}},
        **grown,
    )
    return replace(made, assignment=_assigned(made, name))


def _checked(fitted: FittedMap, matrix: OutcomeMatrix) -> tuple[str, NDArray[np.bool_]]:
    if len(matrix.experts) != 1:
        raise ValueError(f"one new expert at a time, not {len(matrix.experts)}")
    if matrix.categories != fitted.categories[:-1]:
        raise ValueError("the outcomes are of other categories than the map's: fit it again")
    seen = ~np.isnan(matrix.scores[:, 0])
    if not seen.any():
        raise ValueError(f"nothing was scored of the expert {matrix.experts[0]}")
    return matrix.experts[0], seen


def _posterior(quality: Floats, shares: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the variance of each cell of the new expert, shape (C,) both.

    The column is a draw from the normal distribution of the map's columns, and a score is the
    prompt's mixture of cells plus noise with the variance of the mean score.

    Args:
        quality: shape (C, E), the map's.
        shares: shape (n, C), of the new expert's prompts.
        scores: shape (n,).

    Reference:
        Lindley, D. V. and Smith, A. F. M. (1972). Bayes estimates for the linear model. JRSS B 34
        (1), equation 8; the hyperparameters are the columns' own moments, shrunk (empirical Bayes).
    """
    categories, experts = quality.shape
    alone = TOGETHER * np.ones((categories, categories)) + APART * np.eye(categories)
    alike = np.cov(quality).reshape(alone.shape) if experts > 1 else np.zeros_like(alone)
    covariance = ((experts - 1) * alike + WEIGHT * alone) / (experts - 1 + WEIGHT)
    prior = quality.mean(axis=1)
    # Half a right answer and half a wrong one are added: nobody is always right.
    rate = (scores.sum() + 0.5) / (len(scores) + 1.0)
    noise = rate * (1 - rate)
    evidence = np.linalg.solve(
        np.eye(categories) + covariance @ (shares.T @ shares) / noise, covariance
    )
    mean = prior + evidence @ shares.T @ (scores - shares @ prior) / noise
    return np.clip(mean, _EDGE, 1 - _EDGE), np.maximum(np.diag(evidence), 1e-9)


def _assigned(fitted: FittedMap, name: str) -> tuple[str, ...]:
    """Return the assignment, with the new expert where it is worth more than who is there."""
    place = {expert: i for i, expert in enumerate(fitted.experts)}
    worth = (
        fitted.quality
        - fitted.price_weight * np.nan_to_num(fitted.cost)
        - fitted.latency_weight * np.nan_to_num(fitted.latency_s)
    )
    used = [place[expert] for expert in fitted.used]
    new = place[name]

    def best(row: int, expert: str) -> str:
        if expert == name or expert not in place:  # by a column that is no more
            return fitted.experts[used[int(worth[row, used].argmax())]]
        return name if worth[row, new] > worth[row, place[expert]] else expert

    return tuple(best(row, expert) for row, expert in enumerate(fitted.assignment))


def _without(fitted: FittedMap, name: str) -> FittedMap:
    if name not in fitted.experts:
        return fitted
    keep = [i for i, expert in enumerate(fitted.experts) if expert != name]
    if not keep:
        raise ValueError(f"the map knows nobody but {name}: fit it again")
    columns: Mapping[str, Any] = {
        key: getattr(fitted, key)[:, keep]
        for key in ("quality", "lower", "upper", "counts", "cost", "latency_s")
    }
    residual = fitted.residual
    return replace(
        fitted,
        experts=tuple(fitted.experts[i] for i in keep),
        used=tuple(expert for expert in fitted.used if expert != name),
        residual=residual and replace(residual, scores=residual.scores[:, keep]),
        **columns,
    )


def _grown(residual: Residual | None) -> Residual | None:
    """Return the residual with a column of which nothing was measured."""
    if residual is None:
        return None
    empty = np.full((len(residual.scores), 1), np.nan, dtype=np.float32)
    return replace(residual, scores=np.hstack([residual.scores, empty]))


def _mean_of(shares: Floats, measured: Floats) -> Floats:
    """Return money or seconds by category, shrunk to the mean over all; NaN where unknown."""
    known = ~np.isnan(measured)
    if not known.any():
        return np.full(shares.shape[1], np.nan)
    counts, sums = shares[known].sum(axis=0), shares[known].T @ measured[known]
    return np.asarray((sums + STRENGTH * measured[known].mean()) / (counts + STRENGTH))
