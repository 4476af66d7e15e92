from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.guarantee import (
    GRID,
    LEAST_ROWS,
    chance_of_so_few,
    guaranteed_threshold,
    upper_bound,
)


def drawn(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences that mean what they say, and what came true."""
    confidence = rng.beta(5, 1, rows)
    return confidence, rng.random(rows) < confidence


def true_risk(threshold: float) -> float:
    """Return 1 - E[c | c >= t] of Beta(5, 1), whose density is 5 c^4."""
    return 1 - (5 / 6) * (1 - threshold**6) / (1 - threshold**5)


@given(st.integers(1, 300), st.floats(0, 1), st.floats(0.01, 0.5))
def test_a_bound_is_where_so_few_errors_become_as_unlikely_as_asked(
    rows: int, share: float, delta: float
) -> None:
    errors = int(share * (rows - 1))

    bound = upper_bound(errors, rows, delta=delta)

    assert errors / rows < bound < 1.0
    assert chance_of_so_few(errors, rows, rate=bound) == pytest.approx(delta, rel=1e-6)


def test_bounds_are_those_of_the_tables() -> None:
    """Without errors the bound is 1 - delta^(1/n); 5 of 100 at 95 % is 0.1023 (Clopper-Pearson)."""
    assert upper_bound(0, 30, delta=0.1) == pytest.approx(1 - 0.1 ** (1 / 30))
    assert upper_bound(5, 100, delta=0.05) == pytest.approx(0.10225, abs=1e-5)
    assert upper_bound(7, 7, delta=0.1) == 1.0
    assert upper_bound(0, 0, delta=0.1) == 1.0


@given(st.integers(2, 300), st.floats(0.01, 0.5))
def test_more_errors_mean_a_higher_bound_and_more_rows_a_lower_one(rows: int, delta: float) -> None:
    assert upper_bound(1, rows, delta=delta) > upper_bound(0, rows, delta=delta)
    assert upper_bound(1, rows + 1, delta=delta) < upper_bound(1, rows, delta=delta)


def test_too_few_rows_keep_the_gate_closed_and_say_why() -> None:
    perfect = guaranteed_threshold(np.ones(499), np.ones(499), risk=0.1, sureness=0.9)
    enough = guaranteed_threshold(np.ones(500), np.ones(500), risk=0.1, sureness=0.9)

    assert perfect.threshold is None
    assert perfect.why.startswith(f"closed: 499 rows, and below {LEAST_ROWS}")
    assert enough.threshold == GRID[-1]
    assert enough.errors == 0
    assert enough.bound == pytest.approx(upper_bound(0, 500, delta=0.1))


def test_a_router_that_is_often_wrong_keeps_the_gate_closed() -> None:
    rng = np.random.default_rng(0)

    found = guaranteed_threshold(rng.random(800), rng.random(800) < 0.5, risk=0.1, sureness=0.9)

    assert found.threshold is None
    assert "surest rows are wrong" in found.why
    assert found.bound == 1.0


def test_what_no_threshold_accepts_cannot_be_tested() -> None:
    found = guaranteed_threshold(np.full(600, -1.0), np.ones(600), risk=0.1, sureness=0.9)

    assert found.threshold is None
    assert "no threshold accepts the 120 rows" in found.why


def test_the_threshold_says_how_it_came_about() -> None:
    confidence, correct = drawn(np.random.default_rng(1), 2000)

    found = guaranteed_threshold(confidence, correct, risk=0.1, sureness=0.9)

    assert found.threshold is not None
    taken = confidence >= found.threshold
    assert found.accepted == taken.sum()
    assert found.errors == (taken & ~correct).sum()
    assert found.bound <= 0.1
    assert true_risk(found.threshold) <= 0.1


def test_the_promise_holds_as_often_as_it_says_where_the_naive_threshold_breaks_it() -> None:
    """At 90 % sureness at most 10 % of the trials may break it: of 200, 31 is 4.5 sigma more."""
    rng = np.random.default_rng(2)
    broken = naive_broken = 0
    for _ in range(200):
        confidence, correct = drawn(rng, 500)
        found = guaranteed_threshold(confidence, correct, risk=0.1, sureness=0.9)
        broken += found.threshold is not None and true_risk(found.threshold) > 0.1
        order = np.argsort(-confidence)
        error = np.cumsum(~correct[order]) / np.arange(1, 501)
        loosest = confidence[order][np.flatnonzero(error <= 0.1)[-1:]]
        naive_broken += bool(len(loosest)) and true_risk(float(loosest[0])) > 0.1

    assert broken <= 30
    assert naive_broken > 60
