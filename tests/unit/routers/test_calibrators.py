from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from routers import metrics
from routers.calibrators import Calibrator, Kind, fit

KINDS = get_args(Kind)


def drawn(count: int, *, sharpness: float, seed: int = 0) -> tuple[Any, Any]:
    """Return logits that are `sharpness` times too sure of labels drawn from them."""
    generator = np.random.default_rng(seed)
    true = generator.normal(size=(count, 5)) * 2
    shares = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) < generator.random((count, 1))).sum(axis=1)
    return true * sharpness, labels


FITTED = {kind: fit(kind, *drawn(400, sharpness=0.5)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@given(
    logits=arrays_of.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 6)),
        elements=st.floats(-50, 50, width=32),
    )
)
@settings(deadline=None, max_examples=60)
def test_calibration_never_changes_the_ranking(kind: Kind, logits: Any) -> None:
    values = FITTED[kind].apply(logits)

    assert values.shape == logits.shape
    assert ((values >= 0) & (values <= 1)).all()
    np.testing.assert_allclose(values.sum(axis=1), 1.0, atol=1e-9)
    for row, before in zip(values, logits, strict=True):
        assert row[before.argmax()] == row.max()
        ordered = row[np.argsort(before, kind="stable")]
        assert (np.diff(ordered) >= -1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sharpness", [0.2, 1.0, 6.0])
def test_what_it_says_of_new_rows_is_true(kind: Kind, sharpness: float) -> None:
    fitted = fit(kind, *drawn(4000, sharpness=sharpness))
    logits, labels = drawn(4000, sharpness=sharpness, seed=1)

    values = fitted.apply(logits)

    correct = values.argmax(axis=1) == labels
    assert metrics.ece(values.max(axis=1), correct) < 0.035


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
def test_the_temperature_is_found_again(sharpness: float) -> None:
    fitted = fit("temperature", *drawn(4000, sharpness=sharpness))

    assert fitted.temperature == pytest.approx(sharpness, rel=0.15)


def test_a_curve_mends_what_a_temperature_cannot() -> None:
    """Half of the labels are noise, however sure the logits: no row is better than a half."""
    logits, labels = drawn(4000, sharpness=8.0)
    generator = np.random.default_rng(2)
    noisy = np.where(generator.random(4000) < 0.5, generator.integers(5, size=4000), labels)

    errors = {}
    for kind in KINDS:
        values = fit(kind, logits, noisy).apply(logits)
        errors[kind] = metrics.ece(values.max(axis=1), values.argmax(axis=1) == noisy)

    assert errors["isotonic"] < errors["temperature"]
    assert errors["platt"] < errors["temperature"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_all_right_stay_finite(kind: Kind) -> None:
    logits = np.eye(3)[[0, 1, 2, 0]] * 30.0

    values = fit(kind, logits, np.array([0, 1, 2, 0])).apply(logits)

    assert np.isfinite(values).all()
    assert 0.5 < values.max() < 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_logits_that_say_nothing_give_no_confidence(kind: Kind) -> None:
    generator = np.random.default_rng(3)
    logits, labels = generator.normal(size=(2000, 4)), generator.integers(4, size=2000)

    values = fit(kind, logits, labels).apply(logits)

    assert values.max(axis=1).mean() < 0.35


def test_one_category_is_certain() -> None:
    fitted = fit("platt", np.zeros((3, 1)), np.zeros(3, dtype=np.intp))

    assert fitted.apply(np.zeros((2, 1))).tolist() == [[1.0], [1.0]]


def test_without_a_fit_it_is_the_softmax() -> None:
    values = Calibrator(curve=np.empty(0)).apply(np.log(np.array([[1.0, 3.0]])))

    np.testing.assert_allclose(values, [[0.25, 0.75]])
