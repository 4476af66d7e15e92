"""The numbers "of statsmodels" are those of its release 0.15.0."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from coe.experiments.correction import benjamini_hochberg, e_benjamini_hochberg, holm

# Benjamini and Hochberg's own example (1995, section 3.2), shortened
P = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216, 0.222, 0.251]
ps = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_holm_is_that_of_statsmodels() -> None:
    fifteen = [*P, 0.269, 0.275, 0.34]
    expected = [0.015, 0.112, 0.507, 0.507, 0.507, 0.6, 0.666, *[1.0] * 8]

    assert holm(fifteen) == pytest.approx(expected)


@given(ps)
def test_benjamini_and_hochbergs_is_scipys(p_values: list[float]) -> None:
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values))


@given(ps)
def test_adjusting_keeps_the_order_and_never_helps(p_values: list[float]) -> None:
    bonferroni = [min(1.0, len(p_values) * p) for p in p_values]
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p_values)

        assert all(p - 1e-12 <= q <= 1.0 for p, q in zip(p_values, adjusted, strict=True))
        assert all(q <= b + 1e-12 for q, b in zip(adjusted, bonferroni, strict=True))
        ranked = sorted(zip(p_values, adjusted, strict=True))
        assert all(a[1] <= b[1] for a, b in pairwise(ranked) if a[0] < b[0])


@given(st.lists(st.floats(1e-12, 1), min_size=1, max_size=20))
def test_evidence_is_believed_where_its_p_would_be(p_values: list[float]) -> None:
    """The procedure on evidence is Benjamini and Hochberg's on the p-values 1 / E."""
    found = e_benjamini_hochberg([1.0 / p for p in p_values], rate=0.1)

    adjusted = benjamini_hochberg(p_values)
    assert all(
        believed == (q <= 0.1) or math.isclose(q, 0.1)
        for believed, q in zip(found, adjusted, strict=True)
    )


def test_nothing_is_believed_on_weak_evidence() -> None:
    assert e_benjamini_hochberg([19.0, 1.0]) == (False, False)
    assert e_benjamini_hochberg([math.inf, 1.0]) == (True, False)
    assert e_benjamini_hochberg([40.0, 20.0, 0.0]) == (False, False, False)
    assert e_benjamini_hochberg([60.0, 30.0, 0.0]) == (True, True, False)


def test_no_comparison_needs_no_correction() -> None:
    assert holm([]) == benjamini_hochberg([]) == e_benjamini_hochberg([]) == ()


@pytest.mark.parametrize("broken", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(broken: float) -> None:
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(ValueError, match="within 0 and 1"):
            adjust([0.5, broken])
    with pytest.raises(ValueError, match=r"0 or more|within 0 and 1"):
        e_benjamini_hochberg([math.nan if math.isnan(broken) else -1.0])
    with pytest.raises(ValueError, match="rate"):
        e_benjamini_hochberg([1.0], rate=5.0)
