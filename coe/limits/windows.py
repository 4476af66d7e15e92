"""Periods of the clock, and how much of what was used before still counts. Pure.

Seconds, minutes and hours slide: what was used in the period before counts by the part of it that
still lies within one length of now, as if it had come evenly. So no more than the limit comes in
any such stretch, but for that guess. Days and months are those of the calendar in UTC, and begin
with nothing used.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from coe.limits.rules import Period

SLIDING: dict[Period, int] = {"second": 1, "minute": 60, "hour": 3600}
"""Lengths in seconds of those that slide."""

_DAY_S = 86_400


class Window(NamedTuple):
    """One period.

    Attributes:
        number: the number of the period; the next one has the next number.
        weight: how much of the period before counts, in [0, 1].
        left_s: until the next one begins.
    """

    number: int
    weight: float
    left_s: float


NOW = Window(0, 0.0, 0.0)
"""Of what has no period: it counts until it is given back."""


def window(period: Period | None, now_s: float) -> Window:
    """Return the period that a time lies in.

    Args:
        period: its length; None for what has no period.
        now_s: seconds since the epoch.
    """
    if period is None:
        return NOW
    length = SLIDING.get(period)
    if length is not None:
        number, past_s = divmod(now_s, length)
        return Window(int(number), 1.0 - past_s / length, length - past_s)
    if period == "day":
        number, past_s = divmod(now_s, _DAY_S)
        return Window(int(number), 0.0, _DAY_S - past_s)
    now = datetime.fromtimestamp(now_s, tz=UTC)
    number = now.year * 12 + now.month - 1
    year, month = divmod(number + 1, 12)
    end = datetime(year, month + 1, 1, tzinfo=UTC)
    return Window(number, 0.0, end.timestamp() - now_s)


def is_over(period: Period | None, number: int, now_s: float) -> bool:
    """Whether what was used in a period, by its number, counts no more.

    What was used in one that slides counts to the end of the next one; what has no period, always.
    """
    if period is None:
        return False
    oldest = window(period, now_s).number
    return number < (oldest - 1 if period in SLIDING else oldest)


def length_s(period: Period | None) -> float:
    """Return a length that no period of that kind is longer than, in seconds."""
    if period is None:
        return 0.0
    return SLIDING.get(period, _DAY_S if period == "day" else 31 * _DAY_S)
