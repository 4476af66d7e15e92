"""Thresholds that keep a promise about the errors among what they accept.

"The error on my calibration rows was 4 %" promises nothing: with the threshold chosen on the same
rows, the true error is above what was asked in 42 to 62 % of trials. Here a threshold is accepted
only when an exact upper bound of its error is low enough, and thresholds are tried in an order that
is fixed beforehand, from strict to loose, until the first that fails. Then

    P(error among what is accepted > risk) <= 1 - sureness

over the draw of the calibration rows, whatever the router, as long as the traffic is like the rows
and the error does not fall as the threshold is loosened. Under 500 rows hardly anything passes, and
what passes rests on a few dozen rows: the gate then stays closed and says so.

Reference: Clopper and Pearson 1934, The Use of Confidence or Fiducial Limits Illustrated in the
Case of the Binomial, Biometrika 26(4); Angelopoulos et al. 2021, Learn then Test, arXiv 2110.01052,
section 2.3 (fixed-sequence testing).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEAST_ROWS = 500
# The first threshold that is tried accepts at least this many rows and this share of them. Both
# depend on the scores alone, never on what is right: a test that nobody could pass is not begun.
LEAST_ACCEPTED = 30
LEAST_SHARE = 0.2
# Fixed beforehand, strict to loose. Probabilities crowd near 1, so it is finer there.
GRID: tuple[float, ...] = (
    *(0.9999, 0.9995, 0.999, 0.998, 0.995),
    *(round(0.99 - step / 100, 2) for step in range(100)),
)
HALVINGS = 60  # of the interval in which a bound is sought; below the spacing of floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """A threshold with its promise, or a closed gate with its reason.

    Attributes:
        threshold: the loosest that passed; None where the gate stays closed.
        why: the promise in one sentence, or why there is none.
        rows: calibration rows.
        accepted: rows that reach the threshold.
        errors: wrong ones among them.
        bound: upper bound of the error among what is accepted; 1 where the gate is closed.
    """

    threshold: float | None
    why: str
    rows: int
    accepted: int = 0
    errors: int = 0
    bound: float = 1.0


def upper_bound(errors: int, rows: int, *, delta: float) -> float:
    """Return Clopper and Pearson's upper bound of an error rate, exact at 1 - delta.

    It is the rate p at which so few errors have probability delta: P(Binomial(rows, p) <= errors)
    = delta, which is BetaInv(1 - delta; errors + 1, rows - errors). Without rows it is 1.

    Args:
        errors: in [0, rows].
        rows: independent trials.
        delta: in (0, 1), the probability that the true rate is above the bound.
    """
    if errors >= rows:
        return 1.0
    low, high = errors / rows, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if chance_of_so_few(errors, rows, rate=middle) > delta:
            low = middle
        else:
            high = middle
    return high


def chance_of_so_few(errors: int, rows: int, *, rate: float) -> float:
    """Return P(Binomial(rows, rate) <= errors), for a rate in (0, 1)."""
    counts = np.arange(errors + 1)
    steps = np.log((rows - counts[1:] + 1) / counts[1:])  # of ln C(rows, count)
    log_choose = np.concatenate([[0.0], np.cumsum(steps)])
    terms = log_choose + counts * np.log(rate) + (rows - counts) * np.log1p(-rate)
    return float(np.exp(terms).sum())


def guaranteed_threshold(
    confidence: ArrayLike, correct: ArrayLike, *, risk: float, sureness: float
) -> Guarantee:
    """Return the loosest threshold of GRID that the fixed sequence reaches.

    Args:
        confidence: shape (n,), of the choice that would be made.
        correct: shape (n,), whether that choice is right.
        risk: in (0, 1), the greatest share of errors among what is accepted.
        sureness: in (0, 1), the least probability that the promise holds.
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, dtype=np.bool_)
    rows = len(sure)
    if rows < LEAST_ROWS:
        why = f"closed: {rows} rows, and below {LEAST_ROWS} a guarantee says next to nothing"
        return Guarantee(threshold=None, why=why, rows=rows)
    delta = 1 - sureness
    needed = max(LEAST_ACCEPTED, _least_that_can_pass(risk, delta), rows * LEAST_SHARE)
    reached: tuple[float, int, int] | None = None
    failed = f"no threshold accepts the {int(np.ceil(needed))} rows that a test needs"
    for threshold in GRID:
        taken = sure >= threshold
        accepted, errors = int(taken.sum()), int((taken & ~right).sum())
        if accepted < needed:
            continue
        # The same as upper_bound(...) > risk.
        if errors == accepted or chance_of_so_few(errors, accepted, rate=risk) > delta:
            bound = upper_bound(errors, accepted, delta=delta)
            failed = f"{errors} of the {accepted} surest rows are wrong, so maybe {bound:.1%} are"
            break
        reached = threshold, accepted, errors
    if reached is None:
        return Guarantee(threshold=None, why=f"closed: {failed}", rows=rows)
    threshold, accepted, errors = reached
    return Guarantee(
        threshold=threshold,
        why=f"at most {risk:.1%} wrong among what is accepted, at {sureness:.0%} sureness",
        rows=rows,
        accepted=accepted,
        errors=errors,
        bound=upper_bound(errors, accepted, delta=delta),
    )


def _least_that_can_pass(risk: float, delta: float) -> int:
    """Return how many rows without any error have a bound of `risk`."""
    return int(np.ceil(np.log(delta) / np.log1p(-risk)))
