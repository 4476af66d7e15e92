import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from coe.experiments import spending
from coe.experiments.crossing import start
from coe.experiments.effect import Effect


def test_five_looks_have_the_published_boundaries() -> None:
    """Those of the R package ldbounds, whose programme is Lan and DeMets' own."""
    found = spending.boundaries([0.2, 0.4, 0.6, 0.8, 1.0])

    assert found == pytest.approx((4.8769, 3.3570, 2.6803, 2.2898, 2.0310), abs=1e-4)


def test_one_look_at_the_end_is_the_fixed_test() -> None:
    assert spending.boundaries([1.0]) == pytest.approx([1.959964], abs=1e-6)


def test_two_looks_leave_the_corridor_as_a_bivariate_normal_does() -> None:
    first, second = spending.boundaries([0.5, 1.0])
    correlated = stats.multivariate_normal(cov=[[1.0, math.sqrt(0.5)], [math.sqrt(0.5), 1.0]])
    inside = correlated.cdf([first, second], lower_limit=[-first, -second])

    assert 1.0 - inside == pytest.approx(0.05, abs=1e-5)


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=8, unique=True),
    st.sampled_from([0.01, 0.05, 0.2]),
)
@settings(max_examples=25, deadline=None)
def test_boundaries_spend_what_the_function_allows(percents: list[int], alpha: float) -> None:
    fractions = [percent / 100 for percent in sorted(percents)]

    bounds = spending.boundaries(fractions, alpha)

    inside, left = start(), 0.0
    for fraction, bound in zip(fractions, bounds, strict=True):
        left += inside.leaving(fraction, bound * math.sqrt(fraction))
        inside = inside.stay(fraction, bound * math.sqrt(fraction))
    assert left == pytest.approx(spending.spent(fractions[-1], alpha), abs=1e-6)
    assert float(inside.mass.sum()) == pytest.approx(1.0 - left, abs=1e-6)


def test_a_simulated_motion_leaves_as_often_as_quadrature_says() -> None:
    times, bounds, drift = np.array([0.25, 0.5, 0.75, 1.0]), [1.5, 1.6, 1.7, 1.8], 1.2
    generator = np.random.default_rng(0)
    steps = generator.normal(drift * 0.25, 0.5, (200_000, 4))
    outside = (np.abs(steps.cumsum(axis=1)) > bounds).any(axis=1)

    inside, left = start(drift), 0.0
    for time, bound in zip(times, bounds, strict=True):
        left += inside.leaving(float(time), bound)
        inside = inside.stay(float(time), bound)

    assert left == pytest.approx(outside.mean(), abs=0.004)


def test_the_last_look_spends_what_is_left_wherever_it_comes() -> None:
    open_end = spending.boundaries([0.3, 0.6])
    ended = spending.boundaries([0.3, 0.6], ended=True)
    beyond = spending.boundaries([0.5, 1.2])

    assert ended[0] == open_end[0]
    assert ended[1] < open_end[1]
    assert ended[1] > 1.9599
    assert beyond[1] > 1.9599


def test_the_interval_is_the_boundary_times_the_standard_error() -> None:
    found = spending.interval(Effect(difference=1.0, variance=0.25), [0.5, 1.0])

    assert found.high - found.estimate == pytest.approx(0.5 * spending.boundaries([0.5, 1.0])[1])


def test_values_that_do_not_vary_say_nothing() -> None:
    found = spending.interval(Effect(difference=1.0, variance=0.0), [1.0])

    assert found.low == -math.inf


@pytest.mark.parametrize("fractions", [[0.0, 1.0], [0.5, 0.5], [0.6, 0.4], [-0.1], [math.nan]])
def test_looks_that_do_not_rise_are_refused(fractions: list[float]) -> None:
    with pytest.raises(ValueError, match=r"one after the other|after something"):
        spending.boundaries(fractions)


def test_alpha_is_a_probability() -> None:
    with pytest.raises(ValueError, match="alpha"):
        spending.spent(0.5, 5.0)
