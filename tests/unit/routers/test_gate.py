from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from routers import metrics
from routers.gate import LEAST_TO_CHOOSE, MOST_ROWS, SIGNALS, Gate, Landmarks, learn, unlearnt

DIM = 16


def units(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cloud(generator: np.random.Generator, centres: Any, count: int) -> tuple[Any, Any]:
    labels = np.repeat(np.arange(len(centres)), count)
    noise = generator.normal(size=(len(labels), DIM)) * 0.15
    return units(centres[labels] + noise), labels


GENERATOR = np.random.default_rng(0)
CENTRES = units(GENERATOR.normal(size=(9, DIM)))
VECTORS, LABELS = cloud(GENERATOR, CENTRES[:6], 20)
MARKS = Landmarks.of(VECTORS, LABELS)


def signals(vectors: Any, marks: Landmarks = MARKS) -> Any:
    logits = 20 * vectors @ marks.centroids.T
    return marks.signals(vectors, marks.nearest(vectors), logits)


def test_a_gate_tells_unseen_categories_from_seen_ones() -> None:
    inside, _ = cloud(GENERATOR, CENTRES[:6], 30)
    near, _ = cloud(GENERATOR, CENTRES[6:7], 60)
    outside, _ = cloud(GENERATOR, CENTRES[7:], 60)

    gate = learn(signals(inside), signals(near))

    found = metrics.auroc(gate.inside(signals(inside)), gate.inside(signals(outside)))
    assert found > 0.97
    assert gate.inside(signals(inside)).mean() > 0.9


def test_no_signal_speaks_for_the_outside() -> None:
    generator = np.random.default_rng(1)
    inside = generator.normal((1, 1, 0, 0, 0), size=(200, 5))
    outside = generator.normal((0, 0, 2, 0, 0), size=(200, 5))

    gate = learn(inside, outside)

    assert (gate.weights >= 0).all()
    assert gate.weights[SIGNALS.index("distance")] == 0


def test_known_texts_outside_teach_the_gate() -> None:
    generator = np.random.default_rng(2)
    inside, outside = generator.normal(size=(2, 300, 5))
    inside[:, 0] += 3  # the categories that were left out differ in the first signal
    inside[:, 1] += 3
    outside[:, 1] += 3
    known = generator.normal((3, 0, 0, 0, 0), size=(10, 5))  # these differ in the second

    blind, taught = learn(inside, outside), learn(inside, outside, known)

    assert taught.weights[1] > blind.weights[1] + 0.5
    assert taught.inside(known).mean() < blind.inside(known).mean()


def test_signals_that_say_nothing_leave_the_prior() -> None:
    rows = np.zeros((50, 5))

    gate = learn(rows, rows)

    assert gate.inside(rows) == pytest.approx(0.9, abs=0.02)


def test_the_gate_that_learnt_nothing_reads_the_nearest_rows() -> None:
    row = np.zeros((2, 5))
    row[:, SIGNALS.index("neighbours")] = [0.9, 0.1]

    near, far = unlearnt().inside(row)

    assert near > 0.9
    assert far < 0.1


def test_the_distance_is_that_of_the_definition() -> None:
    found = signals(VECTORS[:4])[:, SIGNALS.index("distance")]

    inverse = (MARKS.whitening @ MARKS.whitening.T).astype(np.float64)
    means = np.stack([VECTORS[start : start + 20].mean(axis=0) for start in range(0, 120, 20)])
    expected = []
    for vector in VECTORS[:4]:
        squares = [(vector - mean) @ inverse @ (vector - mean) for mean in means]
        expected.append(-np.sqrt(min(squares)))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_whitening_makes_the_spread_within_categories_one() -> None:
    generator = np.random.default_rng(3)
    vectors, labels = cloud(generator, CENTRES, 400)
    marks = Landmarks.of(vectors, labels)

    white = vectors @ marks.whitening
    residuals = white - marks.white_means[labels]

    variances = residuals.var(axis=0)
    assert variances.mean() == pytest.approx(1.0, rel=0.1)
    assert variances.max() < 1.3


def test_one_row_per_category_has_no_covariance_but_a_distance() -> None:
    marks = Landmarks.of(VECTORS[::20], np.arange(6))

    assert marks.neighbours == 1
    np.testing.assert_allclose(marks.whitening, np.eye(DIM))
    assert signals(VECTORS[::20], marks)[:, SIGNALS.index("distance")] == pytest.approx(0, abs=2e-3)


def test_neighbours_are_the_mean_of_the_nearest() -> None:
    near = VECTORS[:3] @ MARKS.rows.T

    found = signals(VECTORS[:3])[:, SIGNALS.index("neighbours")]

    expected = np.sort(near, axis=1)[:, -MARKS.neighbours :].mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_nearest_are_found_nearest_first_with_their_places() -> None:
    found = MARKS.nearest(VECTORS[:3])

    assert (np.diff(found.cosines, axis=1) <= 0).all()
    for vector, places, cosines in zip(VECTORS, found.places, found.cosines, strict=False):
        np.testing.assert_allclose(MARKS.rows[places] @ vector, cosines, rtol=1e-5)


def test_of_many_rows_those_of_near_categories_are_as_near_as_all() -> None:
    generator = np.random.default_rng(5)
    vectors, labels = cloud(generator, units(generator.normal(size=(60, DIM))), 40)
    marks = Landmarks.of(vectors, labels)
    texts, _ = cloud(generator, units(generator.normal(size=(60, DIM))), 2)

    found = marks.nearest(texts)

    assert len(marks.rows) >= LEAST_TO_CHOOSE
    every = np.sort(texts @ marks.rows.T, axis=1)[:, ::-1][:, : marks.neighbours]
    assert found.cosines[:, 0] == pytest.approx(every[:, 0], abs=0.05)
    assert np.abs(found.cosines[:, : marks.neighbours] - every).mean() < 0.01


def test_rows_are_kept_evenly_when_there_are_many() -> None:
    labels = np.repeat(np.arange(3), [MOST_ROWS * 2, MOST_ROWS, 10])
    vectors = units(np.random.default_rng(4).normal(size=(len(labels), 4)))

    kept = Landmarks.of(vectors, labels)

    counts = np.bincount(kept.owner)
    assert len(kept.rows) <= MOST_ROWS
    assert counts[2] == 10
    assert abs(counts[0] - counts[1]) <= 1
    np.testing.assert_array_equal(kept.rows, vectors[kept.kept])


def test_far_away_is_outside_however_far() -> None:
    gate = Gate(centre=np.zeros(5), scale=np.ones(5), weights=np.ones(5), offset=2.0)

    assert gate.inside(np.full((1, 5), -1e6))[0] < 1e-9
