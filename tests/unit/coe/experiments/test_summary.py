import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.experiments.summary import Moments, Summary

values = st.lists(st.floats(-1e4, 1e4), max_size=30)
pairs = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), max_size=30)


def of(rows: list[tuple[float, float]]) -> Moments:
    return Moments.of([y for y, _ in rows], [x for _, x in rows])


def close(a: Moments, b: Moments) -> bool:
    """Whether they are the same but for rounding, whose size is that of the values' squares."""
    return a.n == b.n and all(
        math.isclose(getattr(a, name), getattr(b, name), rel_tol=1e-7, abs_tol=tolerance)
        for name, tolerance in (
            ("mean", 1e-8), ("x_mean", 1e-8),
            ("squares", 1e-3), ("x_squares", 1e-3), ("products", 1e-3),
        )
    )  # fmt: skip


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=30))
def test_moments_are_numpys(rows: list[tuple[float, float]]) -> None:
    found = of(rows)

    y, x = np.array(rows).T
    assert found.mean == pytest.approx(y.mean(), abs=1e-9)
    assert found.variance == pytest.approx(y.var(ddof=1), rel=1e-9, abs=1e-9)
    assert found.variance_of_mean == pytest.approx(y.var(ddof=1) / len(y), rel=1e-9, abs=1e-9)
    assert found.products == pytest.approx(np.cov(x, y)[0, 1] * (len(y) - 1), rel=1e-6, abs=1e-6)


@given(pairs, pairs)
def test_the_sum_of_two_is_the_summary_of_both(
    one: list[tuple[float, float]], other: list[tuple[float, float]]
) -> None:
    assert close(of(one) + of(other), of(one + other))


@given(pairs, pairs, pairs)
def test_it_is_no_matter_which_replicas_are_added_first(
    a: list[tuple[float, float]], b: list[tuple[float, float]], c: list[tuple[float, float]]
) -> None:
    assert close((of(a) + of(b)) + of(c), of(c) + (of(b) + of(a)))


@given(st.integers(0, 1000), st.data())
def test_counted_shares_are_moments_of_zeros_and_ones(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))

    assert close(
        Moments.counted(n, successes), Moments.of([1.0] * successes + [0.0] * (n - successes))
    )


def test_a_summary_adds_up_category_by_category() -> None:
    monday = Summary(whole=Moments.of([1, 0]), categories={"code": Moments.of([1])})
    tuesday = Summary(
        whole=Moments.of([1]), categories={"code": Moments.of([0]), "law": Moments.of([1])}
    )

    both = monday + tuesday

    assert both.whole.n == 3
    assert both.whole.mean == pytest.approx(2 / 3)
    assert {name: each.n for name, each in both.categories.items()} == {"code": 2, "law": 1}
    assert both.categories["code"].mean == 0.5


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(broken: float) -> None:
    with pytest.raises(ValueError, match="value 1 is"):
        Moments.of([1.0, broken])
    with pytest.raises(ValueError, match="covariate 0 is"):
        Moments.of([1.0], [broken])
    with pytest.raises(ValueError, match="`mean` of a summary"):
        Moments(n=1, mean=broken)


def test_impossible_moments_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Moments(n=-1)
    with pytest.raises(ValueError, match="negative"):
        Moments(n=2, squares=-1.0)
    with pytest.raises(ValueError, match="more than the squares allow"):
        Moments(n=2, squares=1.0, x_squares=1.0, products=1.1)
    with pytest.raises(ValueError, match="11 successes of 10"):
        Moments.counted(10, 11)
    with pytest.raises(ValueError, match="2 values and 1 covariates"):
        Moments.of([1.0, 2.0], [1.0])


def test_nothing_has_no_variance() -> None:
    assert Moments.of([]) == Moments() == Moments.of([], [])
    assert Moments().variance_of_mean == Moments.of([3.0]).variance == 0.0
