"""Probabilities of exploration: they sum to 1, and they are what is drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coe.learning import explore

MEANS = arrays(np.float64, st.integers(1, 6), elements=st.floats(0, 1))


@given(mean=MEANS, width=st.floats(0, 1), margin=st.floats(0, 1))
def test_the_best_is_always_safe(mean: np.ndarray, width: float, margin: float) -> None:
    found = explore.safe(mean, np.full(len(mean), width), margin)

    assert found[mean.argmax()]
    assert (mean[found] >= mean.max() - margin).all()


@given(mean=MEANS, share=st.floats(0, 1), affordable=st.floats(0, 1))
def test_a_mixture_sums_to_one(mean: np.ndarray, share: float, affordable: float) -> None:
    base = explore.certain(len(mean), int(mean.argmax()))

    found = explore.mixed(base, mean >= 0.5, np.full(len(mean), affordable), share)

    assert found.sum() == pytest.approx(1.0)
    assert (found >= 0).all()


@given(mean=MEANS, spread=st.floats(0, 2))
def test_probabilities_of_being_best_sum_to_one(mean: np.ndarray, spread: float) -> None:
    found = explore.best_probabilities(mean, np.full(len(mean), spread))

    assert found.sum() == pytest.approx(1.0)
    assert (found >= 0).all()


def test_probabilities_of_being_best_are_those_of_drawing() -> None:
    mean, spread = np.array([0.5, 0.55, 0.3, 0.52]), np.array([0.05, 0.1, 0.2, 0.02])
    drawn = np.random.default_rng(0).normal(mean, spread, (200_000, 4)).argmax(axis=1)

    found = explore.best_probabilities(mean, spread)

    np.testing.assert_allclose(found, np.bincount(drawn) / 200_000, atol=0.02)


def test_who_is_known_is_the_best_without_doubt() -> None:
    found = explore.best_probabilities(np.array([0.4, 0.6]), np.zeros(2))

    np.testing.assert_allclose(found, [0.0, 1.0], atol=1e-9)


@given(
    weights=st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda w: sum(w) > 1e-3),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_nobody_is_drawn_whose_probability_is_zero(weights: list[float], uniform: float) -> None:
    probabilities = np.array(weights) / sum(weights)

    assert probabilities[explore.draw(probabilities, uniform)] > 0


def test_draws_in_proportion() -> None:
    probabilities = np.array([0.1, 0.0, 0.6, 0.3])
    uniforms = (np.arange(10_000) + 0.5) / 10_000

    drawn = np.bincount([explore.draw(probabilities, u) for u in uniforms], minlength=4)

    np.testing.assert_allclose(drawn / 10_000, probabilities, atol=1e-3)
