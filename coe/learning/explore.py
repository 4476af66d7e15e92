"""Which expert with which probability: exactly what is drawn is what is logged.

Off-policy evaluation divides by these numbers, so they are true by construction: the probabilities
are computed first, and the expert is drawn from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_LEAST_SPREAD = 1e-9
_LEAST_PROBABILITY = 1e-6
_FAR = 5.0  # standard deviations; who is further behind is the best once in ten million
# Abramowitz, M. and Stegun, I. (1964), 7.1.26: the error function to 1.5e-7.
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_SCALE = 0.3275911


def safe(mean: Floats, width: Floats, margin: float) -> Flags:
    """Return who may be explored: whose lower bound is within a margin of the best mean.

    The best is always among them.

    Args:
        mean: shape (K,), expected quality.
        width: shape (K,), from the mean to the lower bound, 0 or more.
        margin: quality, 0 or more.
    """
    found: Flags = mean - width >= mean.max() - margin
    found[mean.argmax()] = True
    return found


def certain(count: int, index: int) -> Floats:
    """Return the probabilities of a choice that is no draw."""
    probabilities = np.zeros(count)
    probabilities[index] = 1.0
    return probabilities


def mixed(base: Floats, safe_ones: Flags, affordable: Floats, share: float) -> Floats:
    """Return a policy's probabilities with a share of exploration over those who are safe.

    Each of the n that are safe gets share/n, or less by how much less is affordable of it; what
    is left over stays with the base policy. So exploration costs at most that share of a budget.

    Args:
        base: shape (K,), sums to 1.
        safe_ones: shape (K,).
        affordable: shape (K,), in [0, 1].
        share: in [0, 1].
    """
    count = int(safe_ones.sum())
    if not count or not share:
        return base
    explored = np.where(safe_ones, affordable * (share / count), 0.0)
    return np.asarray(base * (1.0 - explored.sum()) + explored)


def forced(base: Floats, index: int, probability: float) -> Floats:
    """Return the probabilities where an expert is owed a pull, which is made with a probability."""
    probabilities = base * (1.0 - probability)
    probabilities[index] += probability
    return probabilities


def draw(probabilities: Floats, uniform: float) -> int:
    """Return the place that a uniform number from [0, 1) falls on; never one of probability 0."""
    total = probabilities.cumsum()
    found = int(total.searchsorted(uniform * total[-1], side="right"))
    return min(found, int(np.flatnonzero(probabilities)[-1]))


def best_probabilities(mean: Floats, spread: Floats) -> Floats:
    """Return the probability that each is the best of independent normals: Thompson's.

    P(i is best) = E[ prod over j of Phi((X_i - m_j) / s_j) ], X_i being normal(m_i, s_i), by
    Gauss-Hermite quadrature with 32 nodes. What is below one in a million counts as 0, for a log
    could never say anything of it, and the rest is scaled to sum to 1; being drawn from, the
    results are true whatever the quadrature misses.

    Args:
        mean: shape (K,).
        spread: shape (K,), standard deviations, 0 or more.

    Reference:
        Thompson, W. (1933). On the likelihood that one unknown probability exceeds another.
        Agrawal, S. and Goyal, N. (2013). Thompson sampling for contextual bandits with linear
        payoffs. ICML.
    """
    deviation = np.maximum(spread, _LEAST_SPREAD)
    rivals = mean + _FAR * deviation >= (mean - _FAR * deviation).max()
    if not rivals.all():
        found = np.zeros(len(mean))
        found[rivals] = best_probabilities(mean[rivals], spread[rivals])
        return found
    drawn = mean[:, None] + deviation[:, None] * _NODES  # (K, nodes)
    below = _normal((drawn[:, None, :] - mean[None, :, None]) / deviation[None, :, None])
    places = np.arange(len(mean))
    below[places, places] = 1.0
    weighed = below.prod(axis=1) @ _WEIGHTS
    found = weighed / weighed.sum()
    found[found < _LEAST_PROBABILITY] = 0.0
    return np.asarray(found / found.sum())


def _normal(z: Floats) -> Floats:
    """Return the normal distribution function."""
    x = np.abs(z) / np.sqrt(2.0)
    t = 1.0 / (1.0 + _ERF_SCALE * x)
    tail: Floats = sum(c * t**n for n, c in enumerate(_ERF, start=1)) * np.exp(-x * x) / 2.0
    return np.asarray(np.where(z > 0, 1.0 - tail, tail))
