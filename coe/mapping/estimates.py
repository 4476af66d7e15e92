"""What every expert is worth on every category: few numbers, estimated well, none without interval.

A cell is the mean score of an expert on a category, shrunk towards the expert's own mean over all
categories: with n prompts behind the cell, those count n and the expert's mean counts `strength`
prompts. A cell that nobody measured says what the expert's mean says.

Where a router is not certain, a prompt belongs to several cells. To average the scores with its
probabilities would blur the cells, each with those that it is taken for; so they are found by least
squares: the cells whose mixtures explain the scores best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coe.intervals import beta
from coe.mapping.outcomes import NONE, OutcomeMatrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Columns = NDArray[np.intp]

STRENGTH = 20.0
# What an expert's mean is worth before anything of the expert is measured: as much as two prompts
# of the pool; and the pool's, as two prompts of which one is answered well (Laplace 1774).
BEFORE = 2.0
EDGE = 1e-6
"""Least squares know no bounds; a mean score has two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """C categories (the last is `NONE`) by E experts.

    Attributes:
        mean: shape (C, E), shrunken, strictly between 0 and 1.
        lower, upper: shape (C, E), the 95 % interval of the mean.
        counts: shape (C, E), prompts behind the cell (sums of probabilities, so not whole).
        cost: shape (C, E), money per request, shrunk alike; NaN where unknown of the expert.
        latency_s: shape (C, E), seconds, shrunk alike; NaN where unknown of the expert.
        traffic: shape (C,), the share of each category; sums to 1.
    """

    categories: tuple[str, ...]
    experts: tuple[str, ...]
    mean: Floats
    lower: Floats
    upper: Floats
    counts: Floats
    cost: Floats
    latency_s: Floats
    traffic: Floats


def estimate(matrix: OutcomeMatrix, *, strength: float = STRENGTH) -> Cells:
    """Return the cells of some outcomes.

    With prompts of certain categories a cell is (sum of its scores + strength r) / (n + strength),
    r being the expert's own mean. In general the cells M of an expert are r + (P'P + strength I)^-1
    P'(scores - r), P being the memberships of the prompts on which it was measured: the posterior
    mean where the cells are spread about r with a variance that is 1/strength of a score's. What
    nobody measured (NaN) counts for no cell; an expert's mean is over the prompts on which it was
    measured, so measure all experts on prompts of the same kind where you can.

    The interval is that of the beta distribution with the posterior's mean and variance, a score's
    being M (1 - M): no score in [0, 1] varies more. The variance of r itself belongs to it (Morris
    1983, section 5), or intervals are too short: three prompts answered well make no certainty,
    they make .55 to 1. With certain categories this is the beta-binomial model, where the
    expert's rates are spread like Beta(strength r, strength (1 - r)).

    Args:
        matrix: outcomes of at least one prompt.
        strength: how many prompts the expert's mean counts for, above 0.

    Raises:
        ValueError: there is no prompt, or the strength is not above 0.

    Reference:
        Lindley, D. and Smith, A. (1972). Bayes estimates for the linear model. JRSS B 34 (1).
        Morris, C. (1983). Parametric empirical Bayes inference: theory and applications. JASA 78
        (381). We take the strength as given and do not fit it.
    """
    if not matrix.prompts:
        raise ValueError("there are no outcomes to estimate from")
    if not strength > 0:
        raise ValueError(f"the strength is {strength}, it must be above 0")
    shares = matrix.memberships
    counts, _ = _weigh(matrix.scores, shares)
    rate, doubt = _rates(matrix.scores, counts, strength)
    mean, own, leaning = _solve(matrix.scores, shares, rate, strength)
    spread = mean * (1.0 - mean)
    variance = spread * own / (1.0 + own) + leaning**2 * doubt
    lower, upper = beta(mean, np.maximum(spread / variance - 1.0, 1.0))
    return Cells(
        categories=(*matrix.categories, NONE),
        experts=matrix.experts,
        mean=mean,
        lower=lower,
        upper=upper,
        counts=counts,
        cost=_shrunk(matrix.costs, shares, strength),
        latency_s=_shrunk(matrix.latencies, shares, strength),
        traffic=shares.mean(axis=0) / shares.mean(axis=0).sum(),
    )


def values(cells_quality: Floats, memberships: Floats) -> Floats:
    """Return what is expected of each expert on each prompt: sum over c of p(c|x) M[c, e].

    Args:
        cells_quality: shape (C, E), or one row of it per category for any other worth of a cell.
        memberships: shape (n, C), rows that sum to 1.

    Returns:
        shape (n, E).

    Reference:
        Jitkrittum, W. et al. (2025). Universal model routing for efficient LLM inference. arXiv
        2502.08773, with a classifier's probabilities for the clusters' membership.
    """
    return np.asarray(memberships @ cells_quality)


def _weigh(measured: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Return the counts and the sums of each cell, shape (C, E) both."""
    known = ~np.isnan(measured)
    return shares.T @ known, shares.T @ np.where(known, measured, 0.0)


def _rates(scores: Floats, weights: Floats, strength: float) -> tuple[Floats, Floats]:
    """Return the experts' own means, and their variances: shape (E,) both.

    Of an expert that nobody measured it is the pool's mean. The variance has two parts: prompts
    are few, and so are categories (`weights`, shape (C, E), of which each is a draw).
    """
    known = ~np.isnan(scores)
    counts, sums = known.sum(axis=0), np.where(known, scores, 0.0).sum(axis=0)
    pool = (sums.sum() + BEFORE / 2) / (counts.sum() + BEFORE)
    rate = (sums + BEFORE * pool) / (counts + BEFORE)
    total = weights.sum(axis=0)
    few = np.where(total > 0, (weights**2).sum(axis=0) / np.where(total > 0, total**2, 1.0), 1.0)
    return rate, rate * (1.0 - rate) * (1.0 / (counts + BEFORE + 1.0) + few / (strength + 1.0))


def _solve(
    scores: Floats, shares: Floats, rate: Floats, strength: float
) -> tuple[Floats, Floats, Floats]:
    """Return the cells, one over the prompts behind each, and how much each leans on the rate.

    With certain categories the last two are 1 / (n + strength) and strength / (n + strength).
    Shape (C, E) all.
    """
    mean, own, leaning = (np.empty((shares.shape[1], scores.shape[1])) for _ in range(3))
    for rows, columns in _panels(~np.isnan(scores)):
        part = shares[rows]
        inverse = np.linalg.inv(part.T @ part + strength * np.eye(part.shape[1]))
        above = scores[np.ix_(rows, columns)] - rate[columns]
        mean[:, columns] = rate[columns] + inverse @ (part.T @ above)
        own[:, columns] = np.diag(inverse)[:, None]
        leaning[:, columns] = strength * inverse.sum(axis=1, keepdims=True)
    return np.clip(mean, EDGE, 1.0 - EDGE), own, leaning


def _panels(known: NDArray[np.bool_]) -> list[tuple[Columns, Columns]]:
    """Return the experts that were measured on the same prompts together: (rows, columns) each."""
    panels: dict[bytes, list[int]] = {}
    for column, rows in enumerate(known.T):
        panels.setdefault(rows.tobytes(), []).append(column)
    return [
        (np.flatnonzero(known[:, columns[0]]), np.array(columns)) for columns in panels.values()
    ]


def _shrunk(measured: Floats, shares: Floats, strength: float) -> Floats:
    """Return the cells' means of money or seconds, shrunk to the expert's; NaN without one."""
    known = ~np.isnan(measured)
    counts, sums = _weigh(measured, shares)
    with np.errstate(invalid="ignore"):
        overall = np.where(known, measured, 0.0).sum(axis=0) / known.sum(axis=0)
    return np.asarray((sums + strength * overall) / (counts + strength))
