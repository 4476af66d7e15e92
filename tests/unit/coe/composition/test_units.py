"""Sizes, durations, tokens and prices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.composition import units


@pytest.mark.parametrize(
    ("text", "size"),
    [("80GiB", 80 * 2**30), ("180 MiB", 180 * 2**20), ("24GB", 24 * 10**9), ("512B", 512)],
)
def test_a_size_is_read_as_bytes(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("800ms", 0.8), ("20s", 20), ("5m", 300), ("1.5h", 5400), ("2d", 172800)]
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "tokens"), [("128k", 128_000), ("128Ki", 131_072), ("1M", 1_000_000), (4096, 4096)]
)
def test_tokens_are_read_with_k_as_a_thousand(text: object, tokens: int) -> None:
    assert units.parse_tokens(text) == tokens


def test_money_is_read_with_its_currency() -> None:
    assert units.parse_money("0.02 USD") == (0.02, "USD")
    assert units.parse_money("3CHF") == (3.0, "CHF")


def test_a_share_is_read_as_a_part_of_one() -> None:
    assert units.parse_share("5%") == 0.05
    assert units.parse_share("100 %") == 1.0


@given(st.decimals("0.001", "100", places=3))
def test_a_share_is_written_as_it_is_read(percent: object) -> None:
    share = units.parse_share(f"{percent}%")

    assert units.parse_share(units.format_share(share)) == share


def test_a_price_is_read_with_its_currency() -> None:
    assert units.parse_price("2.50 USD/M") == (2.5, "USD")
    assert units.parse_price("10EUR/M") == (10.0, "EUR")


@pytest.mark.parametrize(
    ("parse", "value", "remedy"),
    [
        (units.parse_size, 80, "`80GiB`"),
        (units.parse_duration, 5, "`5s`"),
        (units.parse_price, 2.5, "`2.5 USD/M`"),
        (units.parse_share, 0.05, "`5%`"),
    ],
)
def test_a_bare_number_is_refused_with_the_unit_to_add(
    parse: Callable[[object], object], value: object, remedy: str
) -> None:
    with pytest.raises(ValueError, match="has no unit") as refused:
        parse(value)

    assert remedy in str(refused.value)


@pytest.mark.parametrize(
    "value", ["", "big", "80 Gib", "-1GiB", "1e3GiB", "9" * 50, True, None, []]
)
@pytest.mark.parametrize(
    "parse", [units.parse_size, units.parse_duration, units.parse_tokens, units.parse_price]
)
def test_what_is_no_quantity_is_refused(parse: Callable[[object], object], value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(value)


@pytest.mark.parametrize("value", ["0s", "0ms"])
def test_a_duration_of_zero_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="longer than zero"):
        units.parse_duration(value)


@pytest.mark.parametrize("value", [0, -5, "0", "0.0001k"])
def test_tokens_are_a_whole_number_above_zero(value: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        units.parse_tokens(value)


@given(st.integers(min_value=0, max_value=2**50))
def test_a_written_size_reads_back(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size


@given(st.floats(min_value=0.001, max_value=1e7).map(lambda s: round(s, 3)))
def test_a_written_duration_reads_back(seconds: float) -> None:
    assert units.parse_duration(units.format_duration(seconds)) == pytest.approx(seconds)


@given(st.floats(min_value=0, max_value=1e5).map(lambda a: round(a, 4)))
def test_a_written_price_reads_back(amount: float) -> None:
    assert units.parse_price(units.format_price(amount, "USD"))[0] == pytest.approx(amount)
