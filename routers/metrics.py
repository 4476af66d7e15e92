"""What a router is measured by. Pure functions on arrays; nothing here knows a router or a text.

Conventions: `labels` and `predictions` hold columns, and NONE where a text belongs to no category
or where nothing was chosen. `confidence` is the score of the best category, `correct` whether that
category is the right one. `inside` and `outside` are scores of texts that belong to some category
and to none; greater means more inside. Shapes are (n,) unless a docstring says otherwise. The order
of the rows never matters. Where a measure is undefined (no rows, no row of a kind) it is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

NONE = -1
BINS = 15
LEAST_PROBABILITY = 1e-12  # a probability of zero for what then happens would cost infinity


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How well each category is found; arrays of shape (n_categories,).

    Attributes:
        precision: of the texts that were given the category, the share that belong to it.
        recall: of the texts that belong to it, the share that were given it.
        f1: their harmonic mean, 2 tp / (2 tp + fp + fn).
        support: texts that belong to it.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Confidence against truth in bins of equal mass; arrays of shape (n_bins,), lowest first.

    Attributes:
        confidence: mean confidence in the bin.
        accuracy: share of the bin that is right.
        count: rows in the bin; bins differ by one row at most, and none is empty.
    """

    confidence: Floats
    accuracy: Floats
    count: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """The error among the most confident rows; arrays of shape (n,).

    Attributes:
        coverage: share of the rows that are answered: 1/n, 2/n, ... 1.
        risk: share of these that are wrong.
        threshold: the confidence of the last row that is answered.
    """

    coverage: Floats
    risk: Floats
    threshold: Floats


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return the share of equal rows, in [0, 1]; choosing NONE for a NONE row is right.

    On the rows inside it is the plain accuracy. On all rows, with NONE predicted below a threshold,
    it is the joint accuracy: outside texts count as one more category.

    Reference: Larson et al. 2019, An Evaluation Dataset for Intent Classification and Out-of-Scope
    Prediction, arXiv 1909.02027.
    """
    return _mean(np.asarray(labels) == np.asarray(predictions))


def joint_accuracy(
    labels: ArrayLike, predictions: ArrayLike, confidence: ArrayLike, *, threshold: float
) -> float:
    """Return the accuracy on all rows when what is less confident than the threshold gets NONE."""
    chosen = np.where(np.asarray(confidence) >= threshold, np.asarray(predictions), NONE)
    return accuracy(labels, chosen)


def confusion(labels: ArrayLike, predictions: ArrayLike, *, categories: int) -> Counts:
    """Return counts, shape (categories + 1, categories + 1): a row per label, a column per choice.

    The last row and the last column are NONE.
    """
    size = categories + 1
    rows = np.asarray(labels, dtype=np.int64) % size  # NONE is -1: the last
    columns = np.asarray(predictions, dtype=np.int64) % size
    counts: Counts = np.bincount(rows * size + columns, minlength=size * size).astype(np.int64)
    return counts.reshape(size, size)


def rates(counts: Counts) -> Rates:
    """Return precision, recall and F1 of each category from a confusion matrix with NONE.

    A category that is never chosen has no precision (NaN), one without texts no recall (NaN); F1 is
    NaN only where both are missing.
    """
    hits = np.diagonal(counts)[:-1].astype(np.float64)
    chosen, support = counts.sum(axis=0)[:-1], counts.sum(axis=1)[:-1]
    return Rates(
        precision=_ratio(hits, chosen),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, chosen + support),
        support=support,
    )


def macro_f1(counts: Counts) -> float:
    """Return the mean F1 of the categories that have texts, each counting the same.

    Reference: Opitz and Burst 2019, Macro F1 and Macro F1, arXiv 1911.03347 (the mean of the
    F1s, not the F1 of the means).
    """
    found = rates(counts)
    return _mean(found.f1[found.support > 0])


def reliability(confidence: ArrayLike, correct: ArrayLike, *, bins: int = BINS) -> Reliability:
    """Return the reliability diagram in bins of equal mass.

    Rows of equal confidence share what they got right, so that a bin's border through them does not
    depend on their order.

    Reference: Nguyen and O'Connor 2015, Posterior Calibration and Exploratory Analysis for NLP
    Models, arXiv 1508.05154 (adaptive bins).
    """
    sure, right = _by_confidence(confidence, correct)
    parts = [part for part in np.array_split(np.arange(len(sure)), bins) if len(part)]
    parts.reverse()
    return Reliability(
        confidence=np.array([sure[part].mean() for part in parts]),
        accuracy=np.array([right[part].mean() for part in parts]),
        count=np.array([len(part) for part in parts], dtype=np.int64),
    )


def ece(confidence: ArrayLike, correct: ArrayLike, *, bins: int = BINS) -> float:
    """Return the expected calibration error: sum over bins of n_b/n |accuracy_b - confidence_b|.

    Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv 1706.04599, section
    2; ours has bins of equal mass (Nguyen and O'Connor 2015), which no empty bin can flatter.
    """
    diagram = reliability(confidence, correct, bins=bins)
    if not diagram.count.sum():
        return float("nan")
    gaps = np.abs(diagram.accuracy - diagram.confidence)
    return float(gaps @ diagram.count / diagram.count.sum())


def with_none(values: ArrayLike) -> Floats:
    """Return probabilities with one more column, what a row lacks to 1: "none of these".

    Args:
        values: shape (n, n_categories), rows in [0, 1] that sum to at most 1.
    """
    wide = np.asarray(values, dtype=np.float64)
    rest = np.clip(1.0 - wide.sum(axis=1, keepdims=True), 0.0, 1.0)
    return np.concatenate([wide, rest], axis=1)


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean over rows of sum_c (p_c - y_c)^2, in [0, 2].

    Args:
        probabilities: shape (n, m), rows that sum to 1, see `with_none`.
        labels: columns; NONE is the last one.

    Reference: Brier 1950, Verification of Forecasts Expressed in Terms of Probability, Monthly
    Weather Review 78(1).
    """
    wide = np.asarray(probabilities, dtype=np.float64)
    truth = np.zeros_like(wide)
    truth[np.arange(len(wide)), np.asarray(labels, dtype=np.intp)] = 1.0
    return _mean(((wide - truth) ** 2).sum(axis=1))


def nll(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean of -ln p(label), in nats; a probability counts as 1e-12 at least.

    Args:
        probabilities: shape (n, m), see `with_none`.
        labels: columns; NONE is the last one.

    Reference: Guo et al. 2017, arXiv 1706.04599, section 2.
    """
    wide = np.asarray(probabilities, dtype=np.float64)
    told = wide[np.arange(len(wide)), np.asarray(labels, dtype=np.intp)]
    return _mean(-np.log(np.clip(told, LEAST_PROBABILITY, 1.0)))


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """Return the probability that an inside text scores above an outside one, ties half.

    Reference: Hanley and McNeil 1982, The Meaning and Use of the Area under a ROC Curve, Radiology
    143(1) (it is the Mann-Whitney statistic).
    """
    one, other = np.asarray(inside, np.float64), np.sort(np.asarray(outside, np.float64))
    if not len(one) or not len(other):
        return float("nan")
    below = np.searchsorted(other, one, side="left")
    up_to = np.searchsorted(other, one, side="right")
    return float((below + up_to).mean() / 2 / len(other))


def threshold_at_acceptance(inside: ArrayLike, acceptance: float) -> float:
    """Return the greatest threshold at which at least that share of the inside is accepted.

    A text is accepted when its score is not below the threshold.

    Args:
        inside: scores; with none of them nothing is known, and the threshold is infinite.
        acceptance: in (0, 1].
    """
    ordered = np.sort(np.asarray(inside, dtype=np.float64))[::-1]
    if not len(ordered):
        return float("inf")
    # Less a breath, so that 0.95 of 100 rows is 95 of them and not 96.
    needed = max(1, int(np.ceil(acceptance * len(ordered) - 1e-9)))
    return float(ordered[needed - 1])


def fpr_at_recall(inside: ArrayLike, outside: ArrayLike, *, recall: float = 0.95) -> float:
    """Return the share of the outside that is accepted when `recall` of the inside is.

    Reference: Liang et al. 2018, Enhancing the Reliability of Out-of-distribution Image Detection
    in Neural Networks (ODIN), arXiv 1706.02690 (FPR at 95 % TPR).
    """
    accepted = np.asarray(outside) >= threshold_at_acceptance(inside, recall)
    return _mean(accepted) if len(np.asarray(inside)) else float("nan")


def outside_recall(inside: ArrayLike, outside: ArrayLike, *, acceptance: float = 0.95) -> float:
    """Return the share of the outside that is refused when `acceptance` of the inside is accepted.

    Reference: Larson et al. 2019, arXiv 1909.02027 (out-of-scope recall).
    """
    return 1.0 - fpr_at_recall(inside, outside, recall=acceptance)


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> RiskCoverage:
    """Return the selective risk at every coverage, the most confident rows first.

    Rows of equal confidence share what they got right: the curve is the mean over their orders.

    Reference: El-Yaniv and Wiener 2010, On the Foundations of Noise-free Selective Classification,
    JMLR 11; Geifman and El-Yaniv 2017, Selective Classification for Deep Neural Networks, arXiv
    1705.08500, section 2.
    """
    sure, right = _by_confidence(confidence, correct)
    answered = np.arange(1, len(sure) + 1, dtype=np.float64)
    return RiskCoverage(
        coverage=answered / max(len(sure), 1),
        risk=np.cumsum(1.0 - right) / answered,
        threshold=sure,
    )


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Return the area under the risk-coverage curve: the mean risk over all coverages; 0 is best.

    Reference: Geifman, Uziel and El-Yaniv 2019, Bias-Reduced Uncertainty Estimation for Deep Neural
    Classifiers, arXiv 1805.08206.
    """
    return _mean(risk_coverage(confidence, correct).risk)


def _by_confidence(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    """Return both from the most confident row down; ties get the mean of what they got right."""
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    levels, group = np.unique(-sure, return_inverse=True)
    sizes = np.bincount(group, minlength=len(levels))
    shared = np.bincount(group, weights=right, minlength=len(levels)) / np.maximum(sizes, 1)
    return np.repeat(-levels, sizes), np.repeat(shared, sizes)


def _ratio(above: Floats, below: Counts) -> Floats:
    found = np.full(above.shape, np.nan)
    np.divide(above, below, out=found, where=below > 0)
    return found


def _mean(values: ArrayLike) -> float:
    rows = np.asarray(values, dtype=np.float64)
    return float(rows.mean()) if rows.size else float("nan")
