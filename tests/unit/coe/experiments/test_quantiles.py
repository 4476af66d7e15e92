import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.experiments.quantiles import Sketch, fewest

positives = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60)


@given(positives, st.floats(0, 1))
def test_a_quantile_is_right_to_one_percent(values: list[float], share: float) -> None:
    (found,) = Sketch.of(values).log_quantiles([share])

    inverted = np.quantile(values, share, method="inverted_cdf")
    assert inverted / 1.0101 <= math.exp(found) <= inverted * 1.0101


@given(positives, positives)
def test_the_sum_of_two_is_the_sketch_of_both(one: list[float], other: list[float]) -> None:
    assert (Sketch.of(one) + Sketch.of(other)).counts == Sketch.of(one + other).counts


@given(positives, st.lists(st.floats(0, 1), max_size=6))
def test_quantiles_rise(values: list[float], shares: list[float]) -> None:
    found = Sketch.of(values).log_quantiles(sorted(shares))

    assert list(found) == sorted(found)


def test_the_variance_is_that_of_quantiles_drawn_again_and_again() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.lognormal(0, 0.5, (400, 1000))
    found = [Sketch.of(row).log_quantile(0.95) for row in drawn]

    middles, variances = np.array(found).T
    assert middles.mean() == pytest.approx(0.5 * 1.6449, abs=0.01)
    assert variances.mean() == pytest.approx(middles.var(), rel=0.2)


def test_zero_is_counted_as_the_smallest() -> None:
    assert Sketch.of([0.0, 1e-12, 1e-9]).n == 3
    assert len(Sketch.of([0.0, 1e-12, 1e-9]).counts) == 1


def test_a_quantile_takes_twenty_values_beyond_it() -> None:
    assert (fewest(0.95), fewest(0.5), fewest(0.01)) == (400, 40, 2000)
    with pytest.raises(ValueError, match="takes 400 values, not 399"):
        Sketch.of([1.0] * 399).log_quantile(0.95)


@pytest.mark.parametrize("broken", [-1.0, math.nan, math.inf])
def test_what_cannot_be_a_time_or_a_cost_is_refused(broken: float) -> None:
    with pytest.raises(ValueError, match="cannot be counted"):
        Sketch.of([1.0, broken])


def test_impossible_sketches_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Sketch(counts={1: -1})
    with pytest.raises(ValueError, match="no quantile"):
        Sketch().log_quantiles([0.5])
    with pytest.raises(ValueError, match="not 95"):
        fewest(95)
