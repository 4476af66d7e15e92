"""Limits as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.errors import ConfigError
from coe.limits.rules import MOST, NANO, Rule, nano, plain, read, read_count, read_money


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("60 requests/min", Rule("requests", 60, "minute")),
        ("1 request / s", Rule("requests", 1, "second")),
        ("100k tokens/min", Rule("tokens", 100_000, "minute")),
        ("1.5M tokens/day", Rule("tokens", 1_500_000, "day")),
        ("5 USD/day", Rule("money", 5 * NANO, "day", "USD")),
        ("800 EUR/month", Rule("money", 800 * NANO, "month", "EUR")),
        ("0.000000001USD/h", Rule("money", 1, "hour", "USD")),
        ("10 at once", Rule("at_once", 10)),
    ],
)
def test_a_limit_is_read(text: str, rule: Rule) -> None:
    assert read(text) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("60", "is not a limit; write for example `60 requests/min`"),
        (60, "the limit 60 has no unit"),
        (float("nan"), "the limit nan has no unit"),
        (None, "expected a limit"),
        (True, "expected a limit"),
        ("nan USD/day", "is not a limit"),
        ("inf tokens/min", "is not a limit"),
        ("-5 USD/day", "is not a limit"),
        ("1e9 USD/day", "is not a limit"),
        ("5 USD/week", "is not a limit"),
        ("5 usd/day", "is not a limit"),
        ("5 USD", "is not a limit"),
        ("0 requests/min", "more than zero"),
        ("0.0 USD/day", "more than zero"),
        ("0.5 requests/min", "0.5 is not a whole number"),
        ("99999999999999999999 tokens/min", "more than can ever be used"),
        ("1000000001 USD/day", "more than can ever be used"),
        ("2000000 at once", "more than can ever be used"),
        ("9" * 100_000 + " USD/day", "is not a limit"),
    ],
)
def test_what_is_no_limit_is_refused_in_words(text: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(text)


@given(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.binary()))
def test_sec_10_whatever_is_written_is_a_limit_in_bounds_or_refused(text: object) -> None:
    try:
        rule = read(text)
    except ConfigError:
        return
    assert isinstance(rule.most, int)
    assert 1 <= rule.most <= MOST[rule.what]


_NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats().map(str),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.sampled_from(["nan", "inf", "-inf", "1e308", "0x10", "१०", "1_000", "+5", "5."]),
)


@given(
    _NUMBERS,
    st.sampled_from(["requests/min", "tokens/s", "USD/day", "USD/month", "at once", "k tokens/h"]),
)
def test_sec_10_no_number_slips_through(number: str, unit: str) -> None:
    try:
        rule = read(f"{number} {unit}")
    except ConfigError:
        return
    assert 1 <= rule.most <= MOST[rule.what]
    assert read(str(rule)) == rule


@given(
    st.sampled_from(["requests", "tokens", "money"]),
    st.integers(1, 10**12),
    st.sampled_from(["second", "minute", "hour", "day", "month"]),
)
def test_a_rule_is_written_so_that_it_is_read_again(what: str, most: int, period: str) -> None:
    currency = "USD" if what == "money" else ""
    rule = Rule(what, most, period, currency)  # type: ignore[arg-type]

    assert read(str(rule)) == rule


def test_counts_and_money_of_a_key_of_their_own() -> None:
    assert read_count("tokens", "100k/min") == Rule("tokens", 100_000, "minute")
    assert read_count("requests", "5/s") == Rule("requests", 5, "second")
    assert read_money("50 USD/day") == Rule("money", 50 * NANO, "day", "USD")
    with pytest.raises(ConfigError, match="write for example `60/min`"):
        read_count("requests", "60 requests/min")
    with pytest.raises(ConfigError, match="50 USD/day"):
        read_money("50 tokens/day")


@given(st.floats())
def test_sec_10_money_that_is_no_amount_is_the_most_there_is(amount: float) -> None:
    parts = nano(amount)

    assert 0 <= parts <= MOST["money"]
    if not math.isfinite(amount) or amount < 0:
        assert parts == MOST["money"]
    else:
        assert parts >= min(amount * NANO * (1 - 1e-15) - 1e-6, MOST["money"])


def test_money_is_written_plainly() -> None:
    assert plain(nano(0.02)) == "0.02"
    assert plain(100 * NANO) == "100"
    assert plain(0) == "0"
