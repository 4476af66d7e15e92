"""From scores to probabilities, one of them "none of these". Never changes a ranking.

    p(category c | text) = sigmoid(slope * top + offset) * softmax(scores / temperature)[c]

The first factor is the probability that the text belongs to any category at all, judged by its
best score; the second shares it out. A row is in the order of its scores and sums to less than
one: the rest is "none of these".

Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599, section 4
(temperature); Platt 1999, Probabilistic Outputs for Support Vector Machines, section 2.2
(logistic with smoothed targets, which keeps separable data finite).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routers.balance import Floats, softmax

# What the out-of-category evidence weighs in all. It is harsher than real traffic (every text of it
# belongs to some category), so it weighs less than its size. On CLINC150 with its out-of-scope
# prompts, expected calibration error: 0.02 to 0.04 at 0.1, 0.04 to 0.08 at 0.2, 0.2 at 0.5.
OUTSIDE_SHARE = 0.1
# How many held-out texts the defaults are worth. Twenty utterances, each left out, say little of
# texts that are like none of them: without this, "hello" went to one of two small categories at
# 0.84. Of hundreds of utterances it takes next to nothing away.
PRIOR_ROWS = 30
NEWTON_STEPS = 50
LONGEST_STEP = 20.0
CONVERGED = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Three numbers; the defaults are for a sentence encoder about which nothing else is known.

    They say "maybe" (0.5) at a cosine of 0.45 and share out sharply. `fit` replaces them.

    Attributes:
        temperature: of the softmax, in units of the score.
        slope: of the logistic, per unit of the score; never negative.
    """

    temperature: float = 0.05
    slope: float = 15.0
    offset: float = -6.75

    def apply(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return probabilities, shape as the scores' (n_texts, n_categories)."""
        wide = scores.astype(np.float64)
        top = wide.max(axis=1, keepdims=True)
        belongs = _sigmoid(self.slope * top + self.offset)
        # Rounding to 32 bits must not lift a sum over one.
        exact = belongs * softmax(wide / self.temperature) * (1.0 - 1e-6)
        probabilities: NDArray[np.float32] = exact.astype(np.float32)
        return probabilities


def fit(inside: Floats, outside: Floats, *, temperature: float) -> Calibration:
    """Return the calibration that makes held-out texts most probable.

    Args:
        inside: best scores of texts that belong to some category; at least one.
        outside: best scores of texts that belong to none; at least one.
        temperature: of the softmax, as `balance` finds it.
    """
    slope, offset = _logistic(inside, outside)
    return Calibration(temperature=temperature, slope=slope, offset=offset)


def _logistic(inside: Floats, outside: Floats) -> tuple[float, float]:
    """Return (slope, offset) of Platt's fit, the outside weighing OUTSIDE_SHARE in all.

    The defaults of `Calibration` take part as PRIOR_ROWS more texts, spread over the scale.
    """
    n_in, n_out = len(inside), len(outside)
    grid = np.linspace(0.0, 1.0, 21)
    believed = _sigmoid(Calibration().slope * grid + Calibration().offset)
    data = n_in / (n_in + PRIOR_ROWS)
    x = np.concatenate([inside, outside, grid])
    target = np.concatenate(
        [np.full(n_in, (n_in + 1) / (n_in + 2)), np.full(n_out, 1 / (n_out + 2)), believed]
    )
    weight = np.concatenate(
        [
            np.full(n_in, data * (1 - OUTSIDE_SHARE) / n_in),
            np.full(n_out, data * OUTSIDE_SHARE / n_out),
            np.full(len(grid), (1 - data) / len(grid)),
        ]
    )
    design = np.stack([x, np.ones_like(x)], axis=1)
    beta = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        p = _sigmoid(design @ beta)
        gradient = design.T @ (weight * (p - target))
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # A longer step would leave the region in which the parabola is a fair model.
        beta -= step * min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), CONVERGED))
        if np.abs(step).max() < CONVERGED:
            break
    if beta[0] < 0:
        # The scores carry no signal: say the same of every text, and keep the order.
        return 0.0, 0.0
    return float(beta[0]), float(beta[1])


def _sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))
