"""Thresholds chosen on labelled texts: so much is accepted, or so little of it is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from coe.tools import Aim, ChosenThreshold, RouterAtWork
from routers.guarantee import Guarantee, guaranteed_threshold
from routers.metrics import threshold_at_acceptance
from routers.scoring import NONE, Columns, Floats, choose

# With fewer rows, a category's own quantile is luck; the one of all categories stands in for it.
LEAST_ROWS = 20
STEP = 1e-4  # thresholds are rounded down to it, which accepts no less


def calibrate(
    work: RouterAtWork, labels: Columns, values: Floats, aim: Aim
) -> Mapping[str, ChosenThreshold]:
    """Return a gate for each category of the router.

    Args:
        work: its thresholds are not read; its margin is part of what a guarantee is about.
        labels: shape (n,), columns or NONE.
        values: shape (n, n_categories), the router's scores of the same rows.
        aim: acceptance or risk.
    """
    names = work.router.categories
    best, confidence, chosen = choose(values, np.zeros(len(names)), work.margin)
    if aim.risk is None:
        inside = labels != NONE
        return _accepting(names, best[inside], confidence[inside], aim.acceptance)
    # What the margin refuses, no threshold accepts.
    reach = np.where(chosen == NONE, -1.0, confidence)
    right = best == labels
    if aim.per_category:
        return {
            name: _gate(_promise(reach[best == column], right[best == column], aim, aim.risk))
            for column, name in enumerate(names)
        }
    gate = _gate(_promise(reach, right, aim, aim.risk))
    return dict.fromkeys(names, gate)


def described(aim: Aim) -> str:
    """Return an aim in one sentence."""
    if aim.risk is None:
        return f"{aim.acceptance:.1%} of the texts that belong to a category are accepted"
    scope = "in each category" if aim.per_category else "in all categories together"
    return (
        f"at most {aim.risk:.1%} of what is accepted is wrong, {scope}, "
        f"guaranteed at {aim.sureness:.0%} sureness"
    )


def _accepting(
    names: tuple[str, ...], best: Columns, confidence: Floats, acceptance: float
) -> dict[str, ChosenThreshold]:
    shared = _rounded(threshold_at_acceptance(confidence, acceptance))
    gates = {}
    for column, name in enumerate(names):
        own = confidence[best == column]
        if len(own) >= LEAST_ROWS:
            threshold = _rounded(threshold_at_acceptance(own, acceptance))
            why = f"accepts {(own >= threshold).mean():.1%} of the inside texts that reach for it"
            gates[name] = ChosenThreshold(threshold=threshold, rows=len(own), why=why)
        elif shared is not None:
            why = f"only {len(own)} rows, {LEAST_ROWS} needed: the threshold of all categories"
            gates[name] = ChosenThreshold(threshold=shared, rows=len(confidence), why=why)
        else:
            gates[name] = ChosenThreshold(
                threshold=None, rows=0, why="closed: no row belongs anywhere"
            )
    return gates


def _promise(reach: Floats, right: np.ndarray, aim: Aim, risk: float) -> Guarantee:
    return guaranteed_threshold(reach, right, risk=risk, sureness=aim.sureness)


def _gate(promise: Guarantee) -> ChosenThreshold:
    why = promise.why
    if promise.threshold is not None:
        why += f": {promise.errors} of {promise.accepted} were"
    return ChosenThreshold(threshold=promise.threshold, rows=promise.rows, why=why)


def _rounded(threshold: float) -> float | None:
    if not np.isfinite(threshold):
        return None
    return round(max(0.0, float(np.floor(threshold / STEP) * STEP)), 4)
