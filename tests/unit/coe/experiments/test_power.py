"""The numbers "of statsmodels" are those of its release 0.15.0."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.experiments import power, sequential

SHARES = power.shares(0.5, 0.05)


@pytest.mark.parametrize(
    ("part", "wanted", "arm"), [(0.5, 0.95, 2589.479), (0.8, 0.8, 3904.507), (0.2, 0.8, 978.475)]
)
def test_the_size_for_shares_is_that_of_statsmodels(part: float, wanted: float, arm: float) -> None:
    assert power.size(power.shares(0.5, 0.05, part=part), power=wanted) * part == pytest.approx(
        arm, abs=1.0
    )


def test_the_size_for_means_is_that_of_statsmodels() -> None:
    assert power.size(power.means(1.0, 0.2), power=0.9) == math.ceil(2 * 525.3709701)
    assert power.size(power.means(1.0, 0.2, part=0.2), power=0.9) == math.ceil(1313.4274262 * 1.25)


def test_power_is_that_of_statsmodels() -> None:
    assert power.power_of(SHARES, 2000) == pytest.approx(0.6099883421627644)
    assert power.power_of(power.means(1.0, 0.2), 400) == pytest.approx(0.5160052739761747)


def test_the_size_for_pairs_is_the_rule_of_thumb() -> None:
    """7.84 q / d^2 of 80 % power, a little less because the variance is."""
    assert power.size(power.pairs(0.15, 0.02)) == pytest.approx(7.84 * 0.15 / 0.02**2, rel=0.002)


@given(st.floats(0.05, 0.6), st.floats(0.01, 0.35), st.floats(0.1, 0.9), st.floats(0.3, 0.99))
def test_the_size_has_the_power_that_it_is_for(
    base: float, difference: float, part: float, wanted: float
) -> None:
    comparison = power.shares(base, difference, part=part)
    n = power.size(comparison, power=wanted)

    assert power.power_of(comparison, n) >= wanted - 1e-6
    if n > 50:
        assert power.power_of(comparison, n - 10) <= wanted + 0.01


@given(st.floats(0.1, 10), st.floats(0.05, 3))
def test_the_sign_of_the_difference_is_no_matter(deviation: float, difference: float) -> None:
    one, other = (power.means(deviation, sign * difference) for sign in (1, -1))

    assert power.size(one) == power.size(other)
    assert power.power_of(one, 100) == pytest.approx(power.power_of(other, 100))


def test_the_course_of_a_sequential_test_is_what_simulation_says() -> None:
    units, scale, looks = 10_000, 0.03, 20
    comparison = power.shares(0.5, 0.03)
    variance = comparison.if_so / units * looks / np.arange(1, looks + 1)
    generator = np.random.default_rng(2)
    steps = generator.normal(0, np.sqrt(comparison.if_so * looks / units), (40_000, looks))
    found = 0.03 + steps.cumsum(axis=1) / np.arange(1, looks + 1)
    stops = np.abs(found) > [sequential.radius(float(v), scale) for v in variance]
    first = np.where(stops.any(axis=1), stops.argmax(axis=1) + 1, looks)

    course = power.sequential_course(comparison, units, scale, looks=looks)

    assert course.power == pytest.approx(stops.any(axis=1).mean(), abs=0.01)
    assert course.units == pytest.approx(first.mean() / looks * units, rel=0.01)


def test_without_a_difference_worth_the_name_a_sequential_test_stays_quiet() -> None:
    assert power.sequential_course(power.means(1.0, 1e-9), 10_000, 0.05).power < 0.05


@settings(max_examples=5, deadline=None)
@given(st.sampled_from([0.5, 0.8, 0.9]), st.floats(0.1, 0.4))
def test_the_sequential_size_has_its_power(wanted: float, difference: float) -> None:
    comparison = power.means(1.0, difference)
    n = power.sequential_size(comparison, difference, power=wanted)

    assert power.sequential_course(comparison, n, difference).power >= wanted
    assert power.sequential_course(comparison, int(0.97 * n), difference).power < wanted
    assert n > power.size(comparison, power=wanted)


def test_comparisons_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"within 0 and 1, not 0.98 or 1.03"):
        power.shares(0.98, 0.05)
    for broken in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="not to be found"):
            power.means(1.0, broken)
    with pytest.raises(ValueError, match="standard deviation"):
        power.means(0.0, 1.0)
    with pytest.raises(ValueError, match="cannot be"):
        power.pairs(0.1, 0.2)
    with pytest.raises(ValueError, match=r"not 1\.0"):
        power.shares(0.5, 0.05, part=1.0)
    with pytest.raises(ValueError, match="not 95"):
        power.size(SHARES, power=95)
    with pytest.raises(ValueError, match="0 units"):
        power.power_of(SHARES, 0)
    with pytest.raises(ValueError, match="0 looks"):
        power.sequential_course(SHARES, 10, 0.05, looks=0)
    with pytest.raises(ValueError, match="certain"):
        power.sequential_course(power.pairs(1.0, 1.0), 10, 0.05)


def test_a_certain_difference_is_found_by_enough_pairs() -> None:
    certain = power.pairs(1.0, 1.0)

    assert power.power_of(certain, 3) == 0.0
    assert power.power_of(certain, 4) == 1.0
