"""A limit as people write it: `60 requests/min`, `5 USD/day`, `10 at once`. Pure.

All amounts are whole numbers, of requests, of tokens, or of billionths of a currency: sums of them
are exact, and none of them is a NaN or an infinity, so that every comparison means what it says.
"""

from __future__ import annotations

import re
from decimal import Decimal
from math import ceil
from typing import Literal, NamedTuple

from coe.errors import ConfigError

What = Literal["requests", "tokens", "money", "at_once"]
Period = Literal["second", "minute", "hour", "day", "month"]

NANO = 10**9
"""Parts of one unit of a currency: a token of the cheapest model costs some tens of them."""

MOST: dict[What, int] = {
    "requests": 10**12,
    "tokens": 10**15,
    "money": 10**9 * NANO,
    "at_once": 10**6,
}
"""Larger limits are taken for slips of the pen."""

_MOST_MONEY = MOST["money"] / NANO

EXAMPLES = "`60 requests/min`, `100k tokens/min`, `5 USD/day`, `800 USD/month`, `10 at once`"

_NUMBER = r"([0-9]{1,20}(?:\.[0-9]{1,9})?)"
_PERIODS: dict[str, Period] = {
    "s": "second",
    "sec": "second",
    "second": "second",
    "min": "minute",
    "minute": "minute",
    "h": "hour",
    "hour": "hour",
    "day": "day",
    "month": "month",
}
_SHORT: dict[Period, str] = {"second": "s", "minute": "min", "hour": "h"}
_PER = rf"(?: ?/ ?({'|'.join(sorted(_PERIODS, key=len, reverse=True))}))"
_MULTIPLES = {"": 1, "k": 10**3, "M": 10**6}

COUNT_PATTERN = rf"^{_NUMBER}(k|M)?{_PER}$"
MONEY_PATTERN = rf"^{_NUMBER} ?([A-Z]{{3}}){_PER}$"
_COUNTED = re.compile(rf"{_NUMBER}(k|M)? (requests?|tokens?){_PER}")
_BARE = re.compile(rf"{_NUMBER}(k|M)?{_PER}")
_PAID = re.compile(rf"{_NUMBER} ?([A-Z]{{3}}){_PER}")
_AT_ONCE = re.compile(rf"{_NUMBER} at once")


class Rule(NamedTuple):
    """So much of something in each period of time, or at any time.

    Attributes:
        what: is counted.
        most: requests, tokens, calls at once, or billionths of the currency; above zero.
        period: of the clock in UTC: a day begins at midnight. None for `at_once`.
        currency: of money; empty for the rest.
    """

    what: What
    most: int
    period: Period | None = None
    currency: str = ""

    def __str__(self) -> str:
        """Write it so that `read` gives it back."""
        per = "" if self.period is None else f"/{_SHORT.get(self.period, self.period)}"
        if self.what == "at_once":
            return f"{self.most} at once"
        if self.what == "money":
            return f"{plain(self.most)} {self.currency}{per}"
        return f"{self.most} {self.what}{per}"


def read(text: object) -> Rule:
    """Return what a text says.

    Example:
        >>> read("100k tokens/min")
        Rule(what='tokens', most=100000, period='minute', currency='')
        >>> str(read("2.50 USD/day")), str(read("10 at once"))
        ('2.5 USD/day', '10 at once')

    Raises:
        ConfigError: it is no limit, or one of nothing, or one beyond all bounds.
    """
    words = _text(text)
    if found := _COUNTED.fullmatch(words):
        what: What = "requests" if found[3].startswith("request") else "tokens"
        return Rule(what, _whole(words, what, found[1], found[2]), _PERIODS[found[4]])
    if found := _PAID.fullmatch(words):
        return read_money(words)
    if found := _AT_ONCE.fullmatch(words):
        return Rule("at_once", _whole(words, "at_once", found[1], None))
    raise ConfigError(f"`{words[:60]}` is not a limit; write for example {EXAMPLES}")


def read_count(what: Literal["requests", "tokens"], text: object) -> Rule:
    """Return what `60/min` or `100k/min` says, of what is known to be counted.

    Raises:
        ConfigError: see `read`.
    """
    words = _text(text)
    found = _BARE.fullmatch(words)
    if found is None:
        example = "60/min" if what == "requests" else "100k/min"
        raise ConfigError(
            f"`{words[:60]}` is not a number of {what} in a time; write for example `{example}`"
        )
    return Rule(what, _whole(words, what, found[1], found[2]), _PERIODS[found[3]])


def read_money(text: object) -> Rule:
    """Return what `50 USD/day` says.

    Raises:
        ConfigError: see `read`.
    """
    words = _text(text)
    found = _PAID.fullmatch(words)
    if found is None:
        raise ConfigError(
            f"`{words[:60]}` is not money in a time; write for example `50 USD/day` or"
            " `800 USD/month`"
        )
    most = int((Decimal(found[1]) * NANO).to_integral_value())
    return Rule("money", _bounded(words, "money", most), _PERIODS[found[3]], found[2])


def nano(amount: float) -> int:
    """Return money as billionths of its unit, rounded up; at most what a limit may be.

    What is no number, or less than nothing, is taken for the most that there is: a comparison with
    it fails.

    Example:
        >>> nano(0.0000000375), nano(float("nan")) == MOST["money"]
        (38, True)
    """
    if not 0 <= amount < _MOST_MONEY:
        return MOST["money"]
    # What a product of two prices has too much in its last digits is no part of the amount.
    return ceil(round(amount * NANO, 6))


def plain(amount: int) -> str:
    """Write billionths of a currency as units, exactly and without an exponent.

    Example:
        >>> plain(2_500_000_000), plain(50)
        ('2.5', '0.00000005')
    """
    return format((Decimal(amount) / NANO).normalize(), "f")


def _text(text: object) -> str:
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ConfigError(f"the limit {text} has no unit; write for example {EXAMPLES}")
    if not isinstance(text, str):
        raise ConfigError(f"expected a limit such as {EXAMPLES}")
    return text.strip()[:80]


def _whole(words: str, what: What, number: str, multiple: str | None) -> int:
    count = Decimal(number) * _MULTIPLES[multiple or ""]
    if count != count.to_integral_value():
        raise ConfigError(f"`{words[:60]}`: {number}{multiple or ''} is not a whole number")
    return _bounded(words, what, int(count))


def _bounded(words: str, what: What, most: int) -> int:
    if most < 1:
        raise ConfigError(f"`{words[:60]}`: a limit must be more than zero")
    if most > MOST[what]:
        raise ConfigError(f"`{words[:60]}`: a limit of more than can ever be used")
    return most
