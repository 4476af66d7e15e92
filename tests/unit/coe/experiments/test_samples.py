import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from coe.experiments.samples import CONCENTRATION, check, chi_square_tail

counts = st.lists(st.integers(1, 5000), min_size=2, max_size=6)


@given(st.floats(0.0, 500.0), st.integers(1, 40))
def test_the_tail_of_chi_square_is_scipys(statistic: float, freedom: int) -> None:
    assert chi_square_tail(statistic, freedom) == pytest.approx(
        stats.chi2.sf(statistic, freedom), rel=1e-9, abs=1e-300
    )


@given(counts, st.data())
def test_the_p_of_one_look_is_scipys(seen: list[int], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(seen), max_size=len(seen)))
    shares = [weight / sum(weights) for weight in weights]

    found = check(seen, shares)

    assert found.expected == pytest.approx([sum(seen) * share for share in shares])
    assert found.p_once == pytest.approx(stats.chisquare(seen, found.expected).pvalue, abs=1e-12)


@given(counts)
def test_the_evidence_is_that_of_a_dirichlet_mixture(seen: list[int]) -> None:
    shares = [1.0 / len(seen)] * len(seen)
    total = sum(seen)

    mixed = stats.dirichlet_multinomial.logpmf(seen, [CONCENTRATION / len(seen)] * len(seen), total)
    fair = stats.multinomial.logpmf(seen, total, shares)

    expected = min(1.0, math.exp(min(0.0, fair - mixed)))
    assert check(seen, shares).p_always == pytest.approx(expected, rel=1e-5, abs=1e-300)


def test_a_fair_split_is_fair_and_a_broken_one_is_broken() -> None:
    assert not check([5000, 5080], [0.5, 0.5]).is_broken
    assert check([5000, 4500], [0.5, 0.5]).is_broken
    assert check([280, 120], [0.5, 0.5]).is_broken


@given(counts)
def test_an_alarm_at_any_look_would_be_one_at_a_single_look(seen: list[int]) -> None:
    found = check(seen, [1.0 / len(seen)] * len(seen))

    assert found.p_once < 0.001 or not found.is_broken


def test_no_unit_yet_is_fair() -> None:
    found = check([0, 0], [0.9, 0.1])

    assert (found.p_once, found.p_always) == (1.0, 1.0)


def test_units_in_an_arm_that_should_have_none_break_the_split() -> None:
    assert check([100, 1], [1.0, 0.0]).is_broken
    assert not check([100, 0], [1.0, 0.0]).is_broken


@pytest.mark.parametrize(
    ("seen", "shares", "message"),
    [
        ([1, 2], [1.0], "2 counts and 1 shares"),
        ([1, 2], [0.5, 0.4], "sum to 90.00%, not 100 %"),
        ([1, -2], [0.5, 0.5], "negative"),
        ([1, 2], [1.5, -0.5], "negative"),
        ([1, 2], [math.nan, 0.5], "sum to nan"),
    ],
)
def test_counts_that_cannot_be_are_refused(
    seen: list[int], shares: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check(seen, shares)
