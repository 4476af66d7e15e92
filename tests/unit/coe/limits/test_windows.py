"""What was used in a period counts for as long as its kind says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.limits.rules import read
from coe.limits.scopes import Account
from coe.limits.tally import Entry, Tally
from coe.limits.windows import is_over, length_s, window

LIMITS = ("5 tokens/s", "5 tokens/min", "5 tokens/h", "5 tokens/day", "5 USD/month")


@pytest.mark.parametrize("text", LIMITS)
@given(began=st.integers(0, 2**33), lengths=st.integers(0, 24))
def test_a_period_is_over_when_nothing_of_it_counts(text: str, began: int, lengths: int) -> None:
    tally, limit = Tally(), Account(text, "all", "everybody", read(text))
    period, then_s = limit.rule.period, began / 8
    later_s = then_s + lengths * length_s(period) / 8
    number = window(period, then_s).number

    tally.put([Entry(limit, 1)], then_s)

    assert is_over(period, number, later_s) == (tally.used(limit, later_s) == 0)


def test_what_has_no_period_is_never_over() -> None:
    assert not is_over(None, 0, 1.8e9)
