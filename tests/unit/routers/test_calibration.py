from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routers.balance import balance, softmax
from routers.calibration import Calibration, fit

SCORES = arrays(np.float32, (4, 5), elements=st.floats(-2, 1, width=32))
CALIBRATIONS = st.builds(
    Calibration,
    temperature=st.floats(0.005, 1.0),
    slope=st.floats(0.0, 200.0),
    offset=st.floats(-100.0, 100.0),
)


@given(SCORES, CALIBRATIONS)
def test_calibration_never_changes_a_ranking(scores: np.ndarray, calibration: Calibration) -> None:
    """Two scores may become equal (both zero) but never change places."""
    probabilities = calibration.apply(scores)

    for row, shares in zip(scores, probabilities, strict=True):
        order = np.argsort(-row, kind="stable")
        assert (np.diff(shares[order]) <= 0).all()


@given(SCORES, CALIBRATIONS)
def test_rows_are_probabilities_that_sum_to_at_most_one(
    scores: np.ndarray, calibration: Calibration
) -> None:
    probabilities = calibration.apply(scores)

    assert probabilities.dtype == np.float32
    assert (probabilities >= 0).all()
    assert (probabilities.sum(axis=1, dtype=np.float64) <= 1.0).all()


@given(SCORES, CALIBRATIONS, st.floats(0.0, 0.5))
def test_a_text_nearer_to_everything_is_never_less_likely_to_belong(
    scores: np.ndarray, calibration: Calibration, lift: float
) -> None:
    before = calibration.apply(scores).sum(axis=1)
    after = calibration.apply(scores + np.float32(lift)).sum(axis=1)

    assert (after >= before - 1e-5).all()


def test_the_defaults_say_maybe_at_a_cosine_of_045() -> None:
    far, near = Calibration().apply(np.array([[0.45, -0.5], [0.9, 0.2]])).max(axis=1)

    assert far == pytest.approx(0.5, abs=0.01)
    assert near > 0.99


def test_the_fit_finds_where_inside_ends() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0.7, 0.1, 2000), rng.normal(0.3, 0.1, 2000)

    calibration = fit(inside, outside, temperature=0.05)

    low, middle, high = calibration.apply(np.array([[0.2], [0.46], [0.7]]))[:, 0]
    assert low < 0.05
    assert 0.3 < middle < 0.7
    assert high > 0.95


def test_evidence_that_is_separable_gives_finite_numbers() -> None:
    calibration = fit(np.full(50, 0.9), np.full(50, 0.1), temperature=0.05)

    assert np.isfinite([calibration.slope, calibration.offset]).all()
    assert calibration.slope > 0


def test_evidence_that_contradicts_itself_is_ignored() -> None:
    """Texts outside that score higher than those inside must not turn the ranking around."""
    calibration = fit(np.full(50, 0.1), np.full(50, 0.9), temperature=0.05)

    assert calibration.slope == 0.0
    assert calibration.apply(np.array([[0.3], [0.9]]))[:, 0] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_a_diffuse_category_gets_a_handicap() -> None:
    """Scores of category 0 are 0.3 lower throughout, and just as telling."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 200)
    scores = rng.normal(0.3, 0.05, (600, 3))
    scores[np.arange(600), labels] += 0.2
    scores[:, 0] -= 0.3

    learned = balance(scores, labels)

    assert learned.handicaps[0] - learned.handicaps[1:].mean() == pytest.approx(0.3, abs=0.03)
    assert ((scores + learned.handicaps).argmax(axis=1) == labels).mean() > 0.95


def test_the_temperature_that_made_the_labels_is_found() -> None:
    rng = np.random.default_rng(2)
    scores = rng.uniform(0, 1, (20_000, 4))
    chances = softmax(scores / 0.2)
    labels = np.array([rng.choice(4, p=row) for row in chances])

    assert balance(scores, labels).temperature == pytest.approx(0.2, rel=0.1)


def test_scores_without_a_signal_are_shared_out_almost_evenly() -> None:
    rng = np.random.default_rng(3)

    learned = balance(rng.uniform(0, 1, (300, 3)), rng.integers(0, 3, 300))

    assert learned.temperature > 0.3
    assert np.isfinite(learned.handicaps).all()


@pytest.mark.parametrize("count", [2, 5, 40])
def test_perfectly_separated_scores_give_a_finite_fit(count: int) -> None:
    labels = np.repeat(np.arange(3), count)

    learned = balance(np.eye(3)[labels], labels)

    assert np.isfinite(learned.handicaps).all()
    assert 0.01 < learned.temperature <= 1.0


@pytest.mark.parametrize("count", [4, 12, 30])
def test_two_categories_far_apart_and_not_equally_dense_are_both_chosen(count: int) -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], count)
    scores = rng.normal(0.05, 0.02, (2 * count, 2))
    scores[np.arange(2 * count), labels] = rng.normal(np.where(labels, 0.87, 0.6), 0.02)

    learned = balance(scores, labels)

    assert ((scores + learned.handicaps).argmax(axis=1) == labels).all()
    assert 0.05 < learned.handicaps[0] - learned.handicaps[1] < 0.3
