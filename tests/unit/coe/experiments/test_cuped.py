import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coe.experiments.cuped import adjusted, correlation
from coe.experiments.effect import between
from coe.experiments.summary import Moments

rows = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=30)


def test_the_effect_is_that_of_a_regression_on_arm_and_covariate() -> None:
    """With theta from within arms, CUPED is analysis of covariance (numpy's least squares)."""
    generator = np.random.default_rng(5)
    x = generator.normal(3, 2, 500)
    in_arm = generator.random(500) < 0.4
    y = 1.5 * x + 0.3 * in_arm + generator.normal(0, 1, 500)
    design = np.column_stack([np.ones(500), in_arm, x])
    (_, expected, _), *_ = np.linalg.lstsq(design, y, rcond=None)

    a, b = adjusted(Moments.of(y[~in_arm], x[~in_arm]), Moments.of(y[in_arm], x[in_arm]))

    assert b.mean - a.mean == pytest.approx(expected, abs=1e-9)


def test_the_variance_shrinks_by_the_square_of_the_correlation() -> None:
    generator = np.random.default_rng(6)
    x = generator.normal(0, 1, (2, 4000))
    y = 0.8 * x + 0.6 * generator.normal(0, 1, (2, 4000))
    before = [Moments.of(y[side], x[side]) for side in (0, 1)]

    after = adjusted(before[0], before[1])

    ratio = between(*after, "mean").variance / between(before[0], before[1], "mean").variance
    assert correlation(before[0], before[1]) == pytest.approx(0.8, abs=0.02)
    assert ratio == pytest.approx(1 - correlation(before[0], before[1]) ** 2, abs=0.01)


@given(rows, rows)
def test_it_never_adds_variance(
    one: list[tuple[float, float]], other: list[tuple[float, float]]
) -> None:
    a, b = (Moments.of([y for y, _ in side], [x for _, x in side]) for side in (one, other))

    after = adjusted(a, b)

    assert after[0].squares + after[1].squares <= (a.squares + b.squares) * (1 + 1e-9) + 1e-6


@given(rows)
@example([(0.0, 5.4725499257302994e-157), (1.0, 0.0)])
def test_two_equal_arms_stay_equal(one: list[tuple[float, float]]) -> None:
    side = Moments.of([y for y, _ in one], [x for _, x in one])

    a, b = adjusted(side, side)

    assert a == b
    assert a.mean == pytest.approx(side.mean)


def test_arms_without_a_covariate_stay_as_they_are() -> None:
    a, b = Moments.of([1.0, 2.0]), Moments.of([3.0, 5.0])

    assert adjusted(a, b) == (a, b)
    assert correlation(a, b) == 0.0
    assert adjusted(a, Moments()) == (a, Moments())
