"""Weighted logistic regression of a few features, by Newton's method."""

from __future__ import annotations

import numpy as np

from routers.balance import Floats

NEWTON_STEPS = 50
LONGEST_STEP = 20.0
CONVERGED = 1e-8
RIDGE = 1e-9


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), finite for any x."""
    return 1.0 / (1.0 + np.exp(np.minimum(np.maximum(-x, -60.0), 60.0)))


def logistic(features: Floats, targets: Floats, weights: Floats, *, ridge: float = RIDGE) -> Floats:
    """Return (coefficients..., offset) that make the targets most probable.

    Args:
        features: shape (n, m).
        targets: shape (n,), probabilities; keep them off 0 and 1, and separable rows stay finite.
        weights: shape (n,), not negative.
        ridge: penalty on the squared coefficients, the offset being free.
    """
    design = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    total = weights / weights.sum()
    penalty = np.full(design.shape[1], ridge)
    penalty[-1] = RIDGE
    beta = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        p = sigmoid(design @ beta)
        gradient = design.T @ (total * (p - targets)) + penalty * beta
        curvature = (design * (total * p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature + RIDGE * np.eye(len(beta)), gradient)
        longest = float(np.abs(step).max())
        # A longer step would leave the region in which the parabola is a fair model.
        beta = beta - step * min(1.0, LONGEST_STEP / max(longest, CONVERGED))
        if longest < CONVERGED:
            break
    return beta


def smoothed(is_true: Floats) -> Floats:
    """Return Platt's targets: a hair off 0 and 1, the more rows the less.

    Reference: Platt 1999, Probabilistic Outputs for Support Vector Machines, section 2.2.
    """
    positives = float(is_true.sum())
    negatives = len(is_true) - positives
    return np.where(is_true > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
