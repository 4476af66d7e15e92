from __future__ import annotations

from typing import Any

import numpy as np

from routers.perceptron import Perceptron, fit


def units(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


GENERATOR = np.random.default_rng(0)
# Four corners of a square, opposite ones of the same category: no linear classifier can tell.
CORNERS = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]])[np.arange(400) % 4]
VECTORS = units(np.concatenate([CORNERS + GENERATOR.normal(size=(400, 2)) * 0.1, CORNERS], axis=1))
LABELS = (np.arange(400) % 4) // 2


def fitted(seed: int) -> Perceptron:
    return fit(VECTORS, LABELS, hidden=16, generator=np.random.default_rng(seed))


def test_it_learns_what_no_linear_classifier_can() -> None:
    logits = fitted(0).logits(VECTORS)

    assert (logits.argmax(axis=1) == LABELS).mean() > 0.95


def test_label_smoothing_keeps_it_modest() -> None:
    logits = fitted(0).logits(VECTORS).astype(np.float64)

    sure = np.abs(logits[:, 0] - logits[:, 1])
    assert np.median(sure) < 6  # without it the cross-entropy would push them apart for ever


def test_the_same_generator_gives_the_same_perceptron() -> None:
    one, two, other = fitted(1), fitted(1), fitted(2)

    np.testing.assert_array_equal(one.inner, two.inner)
    assert (one.inner != other.inner).any()


def test_single_equals_batch() -> None:
    perceptron = fitted(0)

    alone = np.concatenate([perceptron.logits(VECTORS[row : row + 1]) for row in range(5)])

    np.testing.assert_allclose(alone, perceptron.logits(VECTORS[:5]), atol=1e-5)
