"""A part of the day: how it is written, and whether it is now."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from coe.composition.policy_values import Hours

HOURS_PATTERN = r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d) ([A-Za-z0-9_+/-]{1,64})$"


def parse_hours(text: object) -> Hours:
    """Return a part of the day.

    Example:
        >>> parse_hours("22:00-06:00 Europe/Zurich")
        Hours(begin=1320, end=360, zone='Europe/Zurich')

    Raises:
        ValueError: not two times and a time zone that is known here.
    """
    if isinstance(text, Hours):
        return text
    match = re.match(HOURS_PATTERN, text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("expected times and a time zone, such as `22:00-06:00 Europe/Zurich`")
    begin = 60 * int(match[1]) + int(match[2])
    end = 60 * int(match[3]) + int(match[4])
    if begin == end:
        raise ValueError("it ends when it begins; a rule that always holds has no `hours`")
    try:
        ZoneInfo(match[5])
    except (OSError, ValueError, KeyError):
        hint = "write a name such as `Europe/Zurich`, or install `tzdata`"
        raise ValueError(f"the time zone `{match[5]}` is not known here; {hint}") from None
    return Hours(begin=begin, end=end, zone=match[5])


def format_hours(hours: Hours) -> str:
    """Write a part of the day so that `parse_hours` gives it back."""
    return f"{_time(hours.begin)}-{_time(hours.end)} {hours.zone}"


def is_within(hours: Hours, now_s: float) -> bool:
    """Whether a time is in a part of the day there.

    Args:
        hours: which part.
        now_s: seconds since the epoch.
    """
    there = datetime.fromtimestamp(now_s, tz=UTC).astimezone(ZoneInfo(hours.zone))
    minute = 60 * there.hour + there.minute
    if hours.begin < hours.end:
        return hours.begin <= minute < hours.end
    return minute >= hours.begin or minute < hours.end


def _time(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
