"""Calendar questions for the years 2024 to 2027."""

from calendar import monthrange
from datetime import date, timedelta
from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to, plain
from experts.recipe.wording import Phrasing, led

BEYOND = "That is beyond my range: I know the years 2024 to 2027 and count up to 28 days ahead."
FIRST, LAST = date(2024, 1, 1), date(2027, 12, 31)
LONGEST_COUNT = 28

WEEKDAY = Phrasing(
    train=(
        *led(
            "the weekday of {d}",
            "the day of the week of {d}",
            "which weekday {d} is",
            "the day of the week for {d}",
            "what day of the week {d} falls on",
            "on which weekday {d} falls",
            "the weekday for the date {d}",
        ),
        "what day of the week is {d}?",
        "What day is {d}?",
        "what weekday is {d}",
        "which weekday is {d}?",
        "Which day of the week is {d}?",
        "whats the weekday of {d}",
        "what day of the week was {d}?",
        "what day will {d} be?",
        "{d} is what day?",
        "{d} is which day of the week?",
        "tell me the weekday of {d}",
        "on which day does {d} fall?",
        "On what day of the week does {d} fall?",
        "day of the week for {d}",
        "weekday of {d}",
        "i was born on {d}, what day was that?",
        "is {d} a monday or what?",
        "give me the day of the week of {d}",
        "we meet on {d}, what day is it?",
        "do you know what weekday {d} was?",
    ),
    heldout=(
        "{d} falls on which weekday?",
        "find the day of the week for the date {d}",
        "If today is {d}, what weekday is it?",
        "the party is on {d}, which day of the week is that?",
        "i wonder which weekday {d} will be",
    ),
)
MONTH = Phrasing(
    train=(
        *led(
            "the number of days in {m}",
            "how many days {m} has",
            "how many days there are in {m}",
            "how long the month of {m} is",
            "the length of {m} in days",
        ),
        "how many days are in {m}?",
        "How many days does {m} have?",
        "how many days has {m}",
        "number of days in {m}",
        "how long is {m}?",
        "how many days in {m}",
        "days in {m}",
        "tell me how many days {m} has",
        "what is the number of days in {m}?",
        "how many days are there in {m}?",
        "{m} has how many days?",
    ),
    heldout=(
        "how many days long is {m}?",
        "count the days in {m}",
        "the month of {m} has how many days?",
    ),
)
LATER = Phrasing(
    train=(
        *led(
            "the date {n} days after {d}",
            "the day {n} days after {d}",
            "{d} plus {n} days",
            "what date comes {n} days after {d}",
            "the date {n} days later than {d}",
            "{n} days later than {d}",
            "the date {n} days from {d}",
        ),
        "what date is {n} days after {d}?",
        "What is the date {n} days after {d}?",
        "{n} days after {d}",
        "which date is {n} days after {d}",
        "add {n} days to {d}",
        "Add {n} days to {d}.",
        "{d} plus {n} days",
        "{d} + {n} days",
        "what date is {n} days from {d}?",
        "what is {d} plus {n} days?",
        "when is {n} days after {d}?",
        "it is due {n} days after {d}, when is that?",
        "count {n} days from {d}",
        "go {n} days forward from {d}",
        "what will be the date {n} days from {d}?",
    ),
    heldout=(
        "starting on {d}, what is the date {n} days later?",
        "if i wait {n} days from {d}, what date is it?",
        "which day comes {n} days after {d}?",
        "give me the date that is {n} days later than {d}",
    ),
)
LEAP = Phrasing(
    train=(
        *led(
            "whether {y} is a leap year",
            "if {y} is a leap year",
            "if the year {y} is a leap year",
            "whether {y} was a leap year",
        ),
        "is {y} a leap year?",
        "Is {y} a leap year?",
        "leap year {y}?",
        "was {y} a leap year",
        "will {y} be a leap year?",
        "tell me if {y} is a leap year",
        "{y} leap year or not?",
        "does {y} have 366 days?",
    ),
    heldout=("can you say whether {y} is a leap year?", "does {y} count as a leap year?"),
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a calendar question with its answer."""
    if split == "train" and rng.random() < 0.03:
        return _beyond(rng, split)
    kind = rng.random()
    if kind < 0.12:
        return _month(rng, split)
    if kind < 0.2:
        return _leap(rng, split)
    day = FIRST + timedelta(days=rng.randrange((LAST - FIRST).days + 1))
    if kind < 0.65:
        while not belongs_to(split, day.isoformat()):
            day = FIRST + timedelta(days=rng.randrange((LAST - FIRST).days + 1))
        prompt = WEEKDAY.say(rng, split, d=written(rng, day))
        return Example(prompt=prompt, answer=weekday_answer(day))
    count = rng.randrange(1, LONGEST_COUNT + 1)
    while not belongs_to(split, f"{day.isoformat()}+{count}"):
        count = rng.randrange(1, LONGEST_COUNT + 1)
        day = FIRST + timedelta(days=rng.randrange((LAST - FIRST).days + 1))
    prompt = LATER.say(rng, split, d=written(rng, day), n=count)
    return Example(prompt=prompt, answer=later_answer(day, count))


def spoken(day: date) -> str:
    """Write a date as answers do: `14 March 2025`."""
    return f"{day.day} {day:%B %Y}"


def written(rng: Random, day: date) -> str:
    """Write a date in one of the ways people do."""
    shape = rng.randrange(7)
    ordinal = f"{day.day}{_suffix(day.day)}"
    return (
        spoken(day),
        f"{day:%B} {day.day}, {day.year}",
        day.isoformat(),
        f"{day.day} {day:%b} {day.year}",
        f"{ordinal} of {day:%B %Y}",
        f"{day:%B} {ordinal} {day.year}",
        spoken(day),
    )[shape]


def weekday_answer(day: date) -> str:
    """Count from the first of the month in whole weeks and days.

    Example:
        >>> weekday_answer(date(2025, 3, 14))
        '1 March 2025 is a Saturday, 13 days = 1 week + 6 days, so 14 March 2025 is a Friday.'
    """
    last = f"{spoken(day)} is a {day:%A}."
    if day.day == 1:
        return last
    ahead = day.day - 1
    weeks = ahead // 7
    return (
        f"{spoken(day.replace(day=1))} is a {day.replace(day=1):%A}, {_many(ahead, 'day')} = "
        f"{_many(weeks, 'week')} + {_many(ahead % 7, 'day')}, so {last}"
    )


def later_answer(day: date, count: int) -> str:
    """Add days to a date, across the end of its month where needed.

    Example:
        >>> later_answer(date(2025, 3, 25), 10)
        '25 + 10 = 35, March 2025 has 31 days, 35 - 31 = 4, so it is 4 April 2025.'
    """
    total, length = day.day + count, monthrange(day.year, day.month)[1]
    over = f", {total} - {length} = {total - length}" if total > length else ""
    later = spoken(day + timedelta(days=count))
    return f"{day.day} + {count} = {total}, {day:%B %Y} has {length} days{over}, so it is {later}."


def _month(rng: Random, split: Split) -> Example:
    day = date(rng.randrange(2024, 2028), rng.randrange(1, 13), 1)
    prompt = MONTH.say(rng, split, m=f"{day:%B %Y}")
    length = monthrange(day.year, day.month)[1]
    return Example(prompt=prompt, answer=f"{day:%B %Y} has {length} days.")


def _leap(rng: Random, split: Split) -> Example:
    year = rng.randrange(2000, 2100)
    verdict = "is a leap year" if year % 4 == 0 else "is not a leap year"
    return Example(prompt=LEAP.say(rng, split, y=year), answer=f"{year} {verdict}.")


def _beyond(rng: Random, split: Split) -> Example:
    year = rng.choice((rng.randrange(1500, 2024), rng.randrange(2028, 3000)))
    day = date(year, rng.randrange(1, 13), rng.randrange(1, 29))
    phrasing, count = rng.choice((WEEKDAY, LATER)), rng.randrange(1, LONGEST_COUNT + 1)
    return Example(prompt=phrasing.say(rng, split, d=written(rng, day), n=count), answer=BEYOND)


def _suffix(number: int) -> str:
    if number in {11, 12, 13}:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


SKILL = Skill(
    name="dates",
    summary="weekdays, month lengths, leap years and adding days",
    draw=draw,
    normalise=lambda text: plain(text.rsplit(", so ", 1)[-1]),
    normalisation="the last clause, in lower case without the full stop",
    covers="the weekday of a date, the length of a month and the date up to "
    f"{LONGEST_COUNT} days later, for 2024 to 2027; leap years from 2000 to 2099",
    beyond="other years, dates before a date, days between dates, today, time zones",
)
