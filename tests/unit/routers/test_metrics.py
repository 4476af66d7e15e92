from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routers import metrics
from routers.metrics import NONE

N = 40
# Few levels, so that ties are common.
LEVELS = st.integers(0, 20).map(lambda level: level / 20)
CONFIDENCE = arrays(np.float64, N, elements=LEVELS)
CORRECT = arrays(np.bool_, N)
LABELS = arrays(np.int64, N, elements=st.integers(NONE, 3))
ROWS = arrays(np.float64, (N, 4), elements=st.floats(0, 0.25))
SEEDS = st.integers(0, 2**32 - 1)


@given(CONFIDENCE, CORRECT, LABELS, LABELS, SEEDS)
def test_the_order_of_the_rows_never_matters(
    confidence: np.ndarray, correct: np.ndarray, one: np.ndarray, other: np.ndarray, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(N)

    for measure in (metrics.ece, metrics.aurc):
        assert measure(confidence[order], correct[order]) == pytest.approx(
            measure(confidence, correct)
        )
    assert (
        metrics.confusion(one[order], other[order], categories=4)
        == metrics.confusion(one, other, categories=4)
    ).all()


@given(LABELS, LABELS)
def test_a_confusion_matrix_counts_every_row_once(one: np.ndarray, other: np.ndarray) -> None:
    counts = metrics.confusion(one, other, categories=4)

    assert counts.sum() == N
    assert np.trace(counts) / N == pytest.approx(metrics.accuracy(one, other))
    assert counts[4, 4] == ((one == NONE) & (other == NONE)).sum()
    assert counts[1, 4] == ((one == 1) & (other == NONE)).sum()


@given(LABELS, LABELS)
def test_f1_lies_between_precision_and_recall(one: np.ndarray, other: np.ndarray) -> None:
    found = metrics.rates(metrics.confusion(one, other, categories=4))

    known = np.isfinite(found.precision) & np.isfinite(found.recall)
    least = np.minimum(found.precision, found.recall)[known]
    most = np.maximum(found.precision, found.recall)[known]
    assert (found.f1[known] >= least - 1e-12).all()
    assert (found.f1[known] <= most + 1e-12).all()
    assert found.support.sum() == (one != NONE).sum()


def test_macro_f1_counts_a_rare_category_as_much_as_a_common_one() -> None:
    labels, predictions = [0] * 98 + [1, 1], [0] * 100

    counts = metrics.confusion(labels, predictions, categories=3)

    assert metrics.macro_f1(counts) == pytest.approx((2 * 98 / (2 * 98 + 2) + 0) / 2)


@given(CONFIDENCE, CORRECT)
def test_calibration_error_is_at_least_the_gap_of_the_means(
    confidence: np.ndarray, correct: np.ndarray
) -> None:
    error = metrics.ece(confidence, correct)

    assert abs(confidence.mean() - correct.mean()) - 1e-9 <= error <= 1.0
    assert metrics.ece(confidence, correct, bins=1) == pytest.approx(
        abs(confidence.mean() - correct.mean())
    )


def test_bins_have_equal_mass_and_none_is_empty() -> None:
    confidence = np.linspace(0, 1, 100)

    diagram = metrics.reliability(confidence, confidence > 0.5)
    few = metrics.reliability([0.2, 0.9], [False, True])

    assert diagram.count.sum() == 100
    assert len(diagram.count) == 15
    assert set(diagram.count.tolist()) <= {6, 7}
    assert (np.diff(diagram.confidence) > 0).all()
    assert few.count.tolist() == [1, 1]
    assert few.confidence.tolist() == [0.2, 0.9]
    assert few.accuracy.tolist() == [0.0, 1.0]


def test_sure_and_always_wrong_is_the_greatest_error() -> None:
    assert metrics.ece(np.ones(30), np.zeros(30)) == pytest.approx(1.0)
    assert metrics.ece(np.ones(30), np.ones(30)) == pytest.approx(0.0)


@given(ROWS, LABELS)
def test_proper_scores_have_their_ranges(rows: np.ndarray, labels: np.ndarray) -> None:
    probabilities = metrics.with_none(rows)

    assert probabilities.sum(axis=1) == pytest.approx(np.ones(N))
    assert 0.0 <= metrics.brier(probabilities, labels) <= 2.0
    assert metrics.nll(probabilities, labels) >= 0.0


@pytest.mark.parametrize("measure", [metrics.brier, metrics.nll])
def test_proper_scores_are_least_for_the_truth(measure: Callable[..., float]) -> None:
    """A proper score cannot be bettered by reporting anything but what happens."""
    labels = np.array([0] * 6 + [1] * 3 + [NONE])
    truth = np.tile([0.6, 0.3, 0.1], (10, 1))
    best = measure(truth, labels)

    for shift in ([0.1, -0.1, 0], [-0.1, 0.1, 0], [0.1, 0, -0.1], [-0.1, 0, 0.1]):
        assert measure(truth + np.array(shift), labels) > best


def test_what_is_certain_and_wrong_costs_two_and_a_finite_logarithm() -> None:
    certain = [[1.0, 0.0, 0.0]]

    assert metrics.brier(certain, [1]) == 2.0
    assert metrics.brier(certain, [0]) == 0.0
    assert metrics.nll(certain, [NONE]) == pytest.approx(-np.log(1e-12))


@given(CONFIDENCE, CONFIDENCE)
def test_auroc_is_the_share_of_pairs_in_the_right_order(
    inside: np.ndarray, outside: np.ndarray
) -> None:
    pairs = np.sign(inside[:, None] - outside[None, :])

    area = metrics.auroc(inside, outside)

    assert area == pytest.approx((pairs.mean() + 1) / 2)
    assert area + metrics.auroc(outside, inside) == pytest.approx(1.0)
    assert area == pytest.approx(metrics.auroc(np.exp(inside), np.exp(outside)))


@given(CONFIDENCE, CONFIDENCE, st.floats(0.01, 1.0))
def test_the_threshold_is_the_greatest_that_accepts_enough(
    inside: np.ndarray, outside: np.ndarray, acceptance: float
) -> None:
    threshold = metrics.threshold_at_acceptance(inside, acceptance)

    assert (inside >= threshold).mean() >= acceptance - 1e-9
    assert (inside > threshold).mean() < acceptance
    refused = metrics.outside_recall(inside, outside, acceptance=acceptance)
    assert refused == pytest.approx((outside < threshold).mean())
    assert metrics.fpr_at_recall(inside, outside, recall=acceptance) == pytest.approx(1 - refused)


def test_ninety_five_of_a_hundred_are_enough() -> None:
    threshold = metrics.threshold_at_acceptance(np.arange(100), 0.95)

    assert threshold == 5.0


def test_joint_accuracy_counts_a_refused_stranger_as_right() -> None:
    labels, predictions = [0, 1, NONE, NONE], [0, 0, 1, 1]
    confidence = [0.9, 0.8, 0.7, 0.2]

    assert metrics.joint_accuracy(labels, predictions, confidence, threshold=0.5) == 0.5
    assert metrics.joint_accuracy(labels, predictions, confidence, threshold=0.75) == 0.75
    assert metrics.joint_accuracy(labels, predictions, confidence, threshold=0.0) == 0.25


@given(CONFIDENCE, CORRECT)
def test_at_full_coverage_the_risk_is_the_error(
    confidence: np.ndarray, correct: np.ndarray
) -> None:
    curve = metrics.risk_coverage(confidence, correct)

    assert curve.coverage[-1] == 1.0
    assert curve.risk[-1] == pytest.approx(1 - correct.mean())
    assert (np.diff(curve.threshold) <= 0).all()
    assert 0.0 <= metrics.aurc(confidence, correct) <= 1.0
    for place in range(N):
        if place == N - 1 or curve.threshold[place] > curve.threshold[place + 1]:
            answered = confidence >= curve.threshold[place]
            assert curve.risk[place] == pytest.approx(1 - correct[answered].mean())


@given(CORRECT, SEEDS)
def test_no_confidence_beats_knowing_what_is_right(correct: np.ndarray, seed: int) -> None:
    guess = np.random.default_rng(seed).random(N)
    assume(correct.any())

    assert metrics.aurc(correct, correct) <= metrics.aurc(guess, correct) + 1e-12


def test_what_cannot_be_measured_is_not_a_number() -> None:
    assert np.isnan(metrics.accuracy([], []))
    assert np.isnan(metrics.ece([], []))
    assert np.isnan(metrics.aurc([], []))
    assert np.isnan(metrics.auroc([], [0.1]))
    assert np.isnan(metrics.auroc([0.1], []))
    assert np.isnan(metrics.fpr_at_recall([], [0.1]))
    assert np.isnan(metrics.outside_recall([0.1], []))
    assert np.isnan(metrics.rates(metrics.confusion([0], [0], categories=2)).f1[1])
    assert metrics.threshold_at_acceptance([], 0.95) == float("inf")
