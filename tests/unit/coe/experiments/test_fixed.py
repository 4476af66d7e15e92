"""The numbers "of statsmodels" are those of its release 0.15.0."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from coe.experiments import fixed
from coe.experiments.summary import Moments

samples = st.lists(st.floats(-100, 100), min_size=2, max_size=40)


def test_the_interval_of_a_share_is_that_of_statsmodels() -> None:
    found = fixed.share(Moments.counted(100, 56))

    assert (found.low, found.high) == pytest.approx((0.4622810465167698, 0.6532797336983921))


def test_the_interval_of_two_shares_is_that_of_statsmodels() -> None:
    found = fixed.shares(Moments.counted(100, 56), Moments.counted(80, 48))

    assert (found.low, found.high) == pytest.approx((-0.10387943707896391, 0.18009098611744984))


def test_the_p_of_two_shares_is_that_of_statsmodels() -> None:
    assert fixed.shares_p(Moments.counted(100, 56), Moments.counted(80, 48)) == pytest.approx(
        0.5892621875932604
    )


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_the_difference_of_two_shares_is_one_of_shares(n: int, m: int, data: st.DataObject) -> None:
    control = Moments.counted(n, data.draw(st.integers(0, n)))
    arm = Moments.counted(m, data.draw(st.integers(0, m)))

    found, other = fixed.shares(control, arm), fixed.shares(arm, control)

    assert -1.0 - 1e-9 <= found.low <= found.estimate <= found.high <= 1.0 + 1e-9
    assert found.low < found.high
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


@given(samples, samples, st.floats(0.5, 0.999))
def test_the_interval_of_two_means_is_scipys(
    control: list[float], arm: list[float], confidence: float
) -> None:
    a, b = Moments.of(control), Moments.of(arm)
    assume(min(a.variance_of_mean, b.variance_of_mean) > 1e-9)  # scipy warns of the others
    expected = stats.ttest_ind(arm, control, equal_var=False)
    ends = expected.confidence_interval(confidence)

    found = fixed.means(a, b, confidence)

    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), rel=1e-6, abs=1e-6)
    assert fixed.means_p(a, b) == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-9)


def test_values_that_do_not_vary_say_nothing() -> None:
    same, other = Moments.of([1.0, 1.0]), Moments.of([2.0, 2.0])

    assert fixed.means(same, other).high == math.inf
    assert fixed.means_p(same, other) == 1.0
    assert fixed.shares_p(Moments.counted(5, 0), Moments.counted(5, 0)) == 1.0


def test_the_bootstrap_of_a_mean_is_close_to_welch() -> None:
    generator = np.random.default_rng(3)
    control, arm = generator.normal(5, 1, 400), generator.normal(5.3, 2, 300)

    found = fixed.bootstrap(control, arm)

    expected = fixed.means(Moments.of(control), Moments.of(arm))
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (expected.estimate, expected.low, expected.high), abs=0.03
    )


def test_the_bootstrap_takes_any_statistic_and_repeats_itself() -> None:
    generator = np.random.default_rng(4)
    control, arm = generator.exponential(1, 300), generator.exponential(1.5, 300)

    found = fixed.bootstrap(control, arm, np.median, seed=1)

    assert found == fixed.bootstrap(control, arm, np.median, seed=1)
    assert found.estimate == float(np.median(arm) - np.median(control))
    assert found.low < math.log(2) * 0.5 < found.high


def test_too_few_units_are_refused() -> None:
    with pytest.raises(ValueError, match="no unit"):
        fixed.share(Moments())
    with pytest.raises(ValueError, match="no unit"):
        fixed.shares_p(Moments(), Moments.counted(2, 1))
    with pytest.raises(ValueError, match="two units of each arm"):
        fixed.means(Moments.of([1.0]), Moments.of([1.0, 2.0]))
    with pytest.raises(ValueError, match="two units of each arm"):
        fixed.bootstrap(np.array([1.0]), np.array([1.0, 2.0]))


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        fixed.bootstrap(np.array([1.0, math.nan]), np.array([1.0, 2.0]))


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    two = Moments.of([0.0, 1.0])
    with pytest.raises(ValueError, match="confidence"):
        fixed.shares(two, two, confidence)
    with pytest.raises(ValueError, match="confidence"):
        fixed.means(two, two, confidence)
