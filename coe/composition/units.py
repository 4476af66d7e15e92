"""Sizes, durations, token counts, money and shares: how they are written, and what they mean."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_NUMBER = r"(\d+(?:\.\d+)?)"
SIZE_PATTERN = rf"^{_NUMBER} ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$"
DURATION_PATTERN = rf"^{_NUMBER} ?(ms|s|m|h|d)$"
TOKENS_PATTERN = rf"^{_NUMBER}(k|M|Ki|Mi)?$"
PRICE_PATTERN = rf"^{_NUMBER} ?([A-Z]{{3}})/M$"
MONEY_PATTERN = rf"^{_NUMBER} ?([A-Z]{{3}})$"
SHARE_PATTERN = rf"^{_NUMBER} ?%$"
POINTS_PATTERN = rf"^{_NUMBER} ?pt$"

_SIZES = {
    "TiB": 2**40,
    "GiB": 2**30,
    "MiB": 2**20,
    "KiB": 2**10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "KB": 10**3,
    "B": 1,
}
_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# `k` is 1000: a context is then never believed to be longer than it is.
_TOKENS = {None: 1, "k": 1000, "M": 1_000_000, "Ki": 1024, "Mi": 1024 * 1024}
_MOST_TOKENS = 1e12


def parse_size(text: object) -> int:
    """Return bytes.

    Example:
        >>> parse_size("1.5GiB")
        1610612736

    Raises:
        ValueError: not a number with a unit.
    """
    if _is_number(text):
        raise ValueError(f"the size {text} has no unit; write for example `{text:g}GiB`")
    match = re.match(SIZE_PATTERN, _text(text, "a size such as `80GiB`"))
    if match is None:
        raise ValueError(f"`{text}` is not a size; write for example `80GiB` or `180MiB`")
    return round(float(match[1]) * _SIZES[match[2]])


def format_size(size: int) -> str:
    """Write bytes with the largest binary unit that divides them."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return f"{size}B"


def parse_duration(text: object) -> float:
    """Return seconds.

    Example:
        >>> parse_duration("800ms")
        0.8

    Raises:
        ValueError: not a number with a unit, or not above zero.
    """
    if _is_number(text):
        raise ValueError(f"the duration {text} has no unit; write for example `{text:g}s`")
    match = re.match(DURATION_PATTERN, _text(text, "a duration such as `20s`"))
    if match is None:
        raise ValueError(f"`{text}` is not a duration; write for example `800ms`, `20s` or `5m`")
    seconds = float(match[1]) * _DURATIONS[match[2]]
    if seconds <= 0:
        raise ValueError("a duration must be longer than zero")
    return seconds


def format_duration(seconds: float) -> str:
    """Write seconds so that `parse_duration` gives them back."""
    return f"{_plain(seconds)}s"


def parse_tokens(text: object) -> int:
    """Return a count of tokens; `k` is 1000 and `Ki` is 1024.

    Example:
        >>> parse_tokens("128k"), parse_tokens("128Ki"), parse_tokens(4096)
        (128000, 131072, 4096)

    Raises:
        ValueError: not a whole number above zero.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        count: float = text
    else:
        match = re.match(TOKENS_PATTERN, _text(text, "a number of tokens such as `128k` or 4096"))
        if match is None:
            raise ValueError(
                f"`{text}` is not a number of tokens; write for example `128k` or 4096"
            )
        count = float(match[1]) * _TOKENS[match[2]]
    if not 1 <= count <= _MOST_TOKENS or count != math.floor(count):
        raise ValueError(f"`{text}` is not a whole number of tokens above zero")
    return int(count)


def parse_price(text: object) -> tuple[float, str]:
    """Return (amount, currency) of one million tokens.

    Example:
        >>> parse_price("2.50 USD/M")
        (2.5, 'USD')

    Raises:
        ValueError: not an amount with a currency, per million tokens.
    """
    if _is_number(text):
        raise ValueError(f"the price {text} has no unit; write for example `{text:g} USD/M`")
    match = re.match(PRICE_PATTERN, _text(text, "a price such as `2.50 USD/M`"))
    if match is None:
        raise ValueError(
            f"`{text}` is not a price per million tokens; write for example `2.50 USD/M`"
        )
    return float(match[1]), match[2]


def format_price(amount: float, currency: str) -> str:
    """Write a price so that `parse_price` gives it back."""
    return f"{_plain(amount)} {currency}/M"


def parse_money(text: object) -> tuple[float, str]:
    """Return (amount, currency).

    Example:
        >>> parse_money("0.02 USD")
        (0.02, 'USD')

    Raises:
        ValueError: not an amount with a currency, or not above zero.
    """
    if _is_number(text):
        raise ValueError(f"the amount {text} has no currency; write for example `{text:g} USD`")
    match = re.match(MONEY_PATTERN, _text(text, "money such as `0.02 USD`"))
    if match is None:
        raise ValueError(f"`{text}` is not money; write for example `0.02 USD`")
    if not float(match[1]):
        raise ValueError(
            "an amount must be more than zero; the cheapest is `choose: cheapest_good`"
        )
    return float(match[1]), match[2]


def format_money(amount: float, currency: str) -> str:
    """Write an amount so that `parse_money` gives it back."""
    return f"{_plain(amount)} {currency}"


def parse_share(text: object) -> float:
    """Return a share of the whole, in (0, 1].

    Example:
        >>> parse_share("5%")
        0.05

    Raises:
        ValueError: not a percentage, or not above zero and at most the whole.
    """
    if _is_number(text):
        raise ValueError(f"the share {text} has no unit; write for example `5%`")
    match = re.match(SHARE_PATTERN, _text(text, "a share such as `5%`"))
    if match is None:
        raise ValueError(f"`{text}` is not a share; write for example `5%`")
    share = float(Decimal(match[1]) / 100)
    if not 0 < share <= 1:
        raise ValueError(f"`{text}` is no share: it is more than 0% and at most 100%")
    return share


def parse_points(text: object) -> float:
    """Return a difference of shares, in (0, 1]: a point is a hundredth.

    Example:
        >>> parse_points("0.5pt")
        0.005

    Raises:
        ValueError: not a number of points, or not above zero and at most 100.
    """
    if _is_number(text):
        raise ValueError(f"the difference {text} has no unit; write for example `0.5pt`")
    match = re.match(POINTS_PATTERN, _text(text, "points such as `0.5pt`"))
    if match is None:
        raise ValueError(f"`{text}` is not a number of points; write for example `0.5pt`")
    points = float(Decimal(match[1]) / 100)
    if not 0 < points <= 1:
        raise ValueError(f"`{text}`: it is more than 0 and at most 100 points")
    return points


def format_points(points: float) -> str:
    """Write a difference of shares so that `parse_points` gives it back."""
    return f"{_plain(float(Decimal(repr(points)) * 100))}pt"


def format_share(share: float) -> str:
    """Write a share so that `parse_share` gives it back."""
    return f"{format((Decimal(repr(share)) * 100).normalize(), 'f')}%"


def _plain(number: float) -> str:
    """Write a number exactly and without an exponent."""
    return format(Decimal(repr(number)).normalize(), "f")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected {expected}")  # noqa: TRY004 - pydantic collects ValueError
    # A longer text is no number, and converting a long row of digits takes quadratic time.
    return value.strip() if len(value) < 40 else ""  # noqa: PLR2004
