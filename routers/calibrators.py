"""From logits to a distribution whose best probability can be believed. Never changes a ranking.

The softmax at a fitted temperature shares out; a curve then says how often a best share as great
as this one is right, and the row is moved until its best probability is what the curve says. Rows
sum to one: that a text belongs to some category at all is the gate's question (see `gate`).

Fit on held-out logits: those of the rows that a model was trained on are surer than new ones.

Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599, section 4.2
(temperature); Platt 1999, Probabilistic Outputs for Support Vector Machines, section 2.2; Zadrozny
and Elkan 2002, Transforming Classifier Scores into Accurate Multiclass Probability Estimates,
section 3 (isotonic). We differ in that a curve reads the best share only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from routers.balance import Floats, softmax
from routers.logistic import logistic, sigmoid, smoothed

Kind = Literal["temperature", "platt", "isotonic"]

STEPS = 60
SHARPEST = 1e4  # one over the least temperature
HAIR = 1e-9
# How far a row may be moved, so that categories that differed still differ.
FARTHEST = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrator:
    """A temperature and a curve, as numbers.

    Attributes:
        kind: how `curve` reads: not at all, as (slope, offset) of a logistic of the log-odds, or
            as knots, shape (2, n): best shares, ascending, and how often they were right.
        temperature: of the softmax, in units of the logits.
    """

    kind: Kind = "temperature"
    temperature: float = 1.0
    curve: Floats

    def apply(self, logits: NDArray[np.floating]) -> Floats:
        """Return rows that sum to one, shape as the logits' (n_texts, n_categories)."""
        shares = softmax(logits.astype(np.float64) / self.temperature)
        if self.kind == "temperature":
            return shares
        best = shares.max(axis=1)
        if self.kind == "platt":
            slope, offset = self.curve
            return _moved(shares, sigmoid(slope * _log_odds(best) + offset))
        return _moved(shares, np.interp(best, self.curve[0], self.curve[1]))


def fit(kind: Kind, logits: Floats, labels: NDArray[np.intp]) -> Calibrator:
    """Return the calibrator that makes held-out labels most probable.

    Args:
        kind: one number, three, or a curve of any shape that rises.
        logits: shape (n, n_categories), each row made without its own label; at least one row.
        labels: shape (n,), columns.
    """
    temperature = _temperature(logits.astype(np.float64), labels)
    shares = softmax(logits.astype(np.float64) / temperature)
    best = shares.max(axis=1)
    correct = (shares.argmax(axis=1) == labels).astype(np.float64)
    curve = np.empty(0)
    if kind == "platt":
        curve = _platt(best, correct)
    elif kind == "isotonic":
        curve = _isotonic(best, correct)
    return Calibrator(kind=kind, temperature=temperature, curve=curve)


def _moved(shares: Floats, wanted: Floats) -> Floats:
    """Return rows whose best share is the wanted one, or as near to it as the order allows.

    A best share that is too great is mixed with the uniform row, one that is too small with the
    row that is sure: neither reorders anything, and equals stay equal.
    """
    count = shares.shape[1]
    if count == 1:
        return shares
    best = shares.max(axis=1)
    is_best = shares == best[:, None]
    down = (best - wanted) / np.maximum(best - 1 / count, HAIR)
    up = (wanted - best) / np.maximum(1 - best, HAIR)
    falls = np.minimum(np.maximum(down, 0.0), FARTHEST)[:, None]
    rises = np.minimum(np.maximum(up, 0.0), FARTHEST)[:, None]
    mixed = shares + falls * (1 / count - shares)
    sure = is_best / is_best.sum(axis=1, keepdims=True)
    moved: Floats = mixed + rises * (sure - mixed)
    return moved


def _temperature(logits: Floats, labels: NDArray[np.intp]) -> float:
    """Return the temperature of least NLL: convex in its inverse, found by bisection.

    Targets are smoothed by the number of rows, so that rows that are all right stay finite.
    """
    count, categories = logits.shape
    if categories == 1:
        return 1.0
    rest = 1 / (count + 2)
    own = logits[np.arange(count), labels]
    others = (logits.sum(axis=1) - own) / (categories - 1)
    expected = (1 - rest) * own + rest * others

    def slope(sharpness: float) -> float:
        """Return the derivative of the NLL by the inverse temperature; it rises."""
        return float(((softmax(sharpness * logits) * logits).sum(axis=1) - expected).mean())

    low, high = np.log(1 / SHARPEST), np.log(SHARPEST)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if slope(float(np.exp(middle))) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def _platt(best: Floats, correct: Floats) -> Floats:
    odds = _log_odds(best)
    slope, offset = logistic(odds[:, None], smoothed(correct), np.ones(len(odds)))
    if slope <= 0:
        # The best share says nothing of being right: say the mean of every row.
        rate = (correct.sum() + 1) / (len(correct) + 2)
        return np.array([0.0, np.log(rate / (1 - rate))])
    return np.array([slope, offset])


def _isotonic(best: Floats, correct: Floats) -> Floats:
    """Return knots by pooling adjacent violators; equal shares are one row."""
    levels, group = np.unique(best, return_inverse=True)
    sizes = np.bincount(group).astype(np.float64)
    hits = np.bincount(group, weights=correct)
    blocks: list[tuple[float, float, float]] = []  # weight, hits, weighted sum of the shares
    for size, hit, level in zip(sizes, hits, levels, strict=True):
        block = (float(size), float(hit), float(size * level))
        while blocks and blocks[-1][1] * block[0] >= block[1] * blocks[-1][0]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    weight, hit_sum, level_sum = np.array(blocks).T
    least = 1 / (len(best) + 2)
    return np.stack([level_sum / weight, np.clip(hit_sum / weight, least, 1 - least)])


def _log_odds(shares: Floats) -> Floats:
    held = np.minimum(np.maximum(shares, HAIR), 1 - HAIR)
    odds: Floats = np.log(held / (1 - held))
    return odds
