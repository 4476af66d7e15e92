"""Calendar questions for the years 2024 to 2027."""

from calendar import monthrange
from datetime import date, timedelta
from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to, plain
from experts.recipe.skills import heldout
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
        "what day was {d}?",
        "what day was it on {d}?",
        "what day is it on {d}?",
        "what day will it be on {d}?",
        "what day of the week will {d} be?",
        "what weekday was {d}?",
        "what weekday will {d} be?",
        "which weekday was {d}",
        "which day of the week was {d}?",
        "which day is {d}?",
        "which day will {d} be?",
        "which day was it on {d}?",
        "what day of the week is it on {d}?",
        "what day of the week does {d} land on?",
        "what day does {d} land on?",
        "what weekday do we have on {d}?",
        "what day of the week do we have on {d}?",
        "what is the day of the week on {d}?",
        "what is the weekday on {d}?",
        "what was the day of the week on {d}?",
        "what's the day on {d}?",
        "whats the day of the week for {d}",
        "whats {d}, which weekday",
        "day of the week on {d}",
        "day of week {d}",
        "day of week of {d}?",
        "weekday for {d}",
        "weekday on {d}?",
        "weekday {d}",
        "weekday: {d}",
        "day for {d}?",
        "the day of the week: {d}",
        "{d} weekday",
        "{d} day of the week",
        "{d}, what day of the week?",
        "{d}, which weekday?",
        "{d}, what day is that?",
        "{d} is on which day?",
        "{d} is on a what?",
        "{d} falls on what day?",
        "{d} was what day of the week?",
        "{d} was a what?",
        "{d} will be which day of the week?",
        "is {d} a sunday or which day?",
        "is {d} a friday or another day?",
        "on what day is {d}?",
        "on what weekday is {d}?",
        "on which weekday was {d}?",
        "on which day of the week was {d}?",
        "on what day of the week will {d} be?",
        "on {d}, what day of the week is it?",
        "on {d} it is which day of the week?",
        "find the weekday of {d}",
        "find out which weekday {d} is",
        "work out the day of the week for {d}",
        "calculate the weekday of {d}",
        "name the weekday of {d}",
        "name the day of the week for {d}",
        "check which weekday {d} is",
        "look up which day of the week {d} is",
        "tell me what day {d} is",
        "tell me which day of the week {d} was",
        "please tell me the day of the week for {d}",
        "can you tell me what weekday {d} is?",
        "could you tell me which day {d} falls on?",
        "can you work out the weekday of {d}?",
        "i need the weekday of {d}",
        "i need to know what day {d} is",
        "i want to know which day {d} is",
        "I have an exam on {d}. What day of the week is that?",
        "my birthday is {d}, which weekday is it?",
        "the party is on {d}, what day of the week is that?",
        "my flight is on {d}, which weekday?",
        "the letter is dated {d}, what weekday was it?",
        "we leave on {d}, is it a monday, a tuesday or what?",
        "if today is {d}, what day of the week is it?",
        "if it is {d}, which weekday is it?",
        "{d} falls on which weekday?",
        "find the day of the week for the date {d}",
        "If today is {d}, what weekday is it?",
        "the party is on {d}, which day of the week is that?",
        "i wonder which weekday {d} will be",
    ),
    heldout=heldout.DATES_WEEKDAY,
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
        "how many days did {m} have?",
        "how many days will {m} have?",
        "how many days were in {m}?",
        "how many days were there in {m}",
        "how many days will there be in {m}?",
        "how many days does the month {m} have?",
        "how many days does the month of {m} have?",
        "how many days are in the month {m}?",
        "How many days are there in the month of {m}?",
        "how many days is {m}?",
        "how many days is {m} long?",
        "how many days make up {m}?",
        "how many days for {m}",
        "how many days do we have in {m}?",
        "how many days do we get in {m}?",
        "how long is the month {m}?",
        "how long was {m}?",
        "how long does {m} last?",
        "how long will {m} be in days?",
        "how big is {m} in days?",
        "what is the length of {m}?",
        "what is the length of {m} in days?",
        "what number of days does {m} have?",
        "what number of days is in {m}?",
        "which number of days has {m}?",
        "number of days for {m}",
        "the number of days of {m}",
        "day count of {m}",
        "day count for {m}?",
        "length of {m}",
        "length of {m} in days",
        "length of the month {m}",
        "days of {m}",
        "days for {m}?",
        "days does {m} have",
        "{m} days",
        "{m}, how many days?",
        "{m}, number of days",
        "{m}: how many days",
        "{m} number of days?",
        "{m} is how long?",
        "{m} is how many days long?",
        "{m} lasts how many days?",
        "{m} contains how many days?",
        "the month {m} has how many days?",
        "does {m} have thirty days or how many?",
        "does {m} have 30 or 31 days or fewer?",
        "is {m} a long or a short month, how many days?",
        "count the days of {m}",
        "count how many days {m} has",
        "find the number of days in {m}",
        "find out how many days are in {m}",
        "give me the number of days in {m}",
        "give the length of {m} in days",
        "tell me the number of days in {m}",
        "tell me how long {m} is",
        "tell me how many days are in {m}",
        "please tell me how many days {m} has",
        "can you tell me how many days {m} has?",
        "could you tell me how many days are in {m}?",
        "do you know how many days {m} has?",
        "do you know how long {m} is?",
        "i need the number of days in {m}",
        "i want to know how many days {m} has",
        "i pay rent by the day, how many days are in {m}?",
        "i forgot how many days {m} has",
        "I am planning {m}. How many days does it have?",
        "for {m}, how many days are there?",
        "in {m}, how many days are there?",
        "in {m} there are how many days?",
        "how many days long is {m}?",
        "count the days in {m}",
        "the month of {m} has how many days?",
    ),
    heldout=heldout.DATES_MONTH,
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
        "what date is it {n} days after {d}?",
        "what date will it be {n} days after {d}?",
        "what date do we have {n} days after {d}?",
        "what is the date {n} days later than {d}?",
        "what is the date {n} days from {d}?",
        "what is {n} days after {d}?",
        "what is {n} days from {d}?",
        "what is {n} days later than {d}?",
        "what day is it {n} days after {d}, as a date?",
        "what date comes {n} days after {d}?",
        "what date follows {d} after {n} days?",
        "what date do i get if i add {n} days to {d}?",
        "what do i get if i add {n} days to {d}?",
        "what comes {n} days after {d}?",
        "which date comes {n} days after {d}?",
        "which date is {n} days from {d}?",
        "which date is {n} days later than {d}?",
        "which date is {d} plus {n} days?",
        "which day is {n} days after {d}?",
        "which date do i reach {n} days after {d}?",
        "when is it {n} days from {d}?",
        "when is it if it is {n} days after {d}?",
        "when are {n} days over if i start on {d}?",
        "when is {d} plus {n} days?",
        "whats {n} days after {d}",
        "whats the date {n} days from {d}",
        "{n} days from {d}",
        "{n} days past {d}",
        "{n} days later than {d}",
        "{n} days on from {d}",
        "{n} days added to {d}",
        "{n} days after {d} is what date?",
        "{n} days after {d} is when?",
        "{n} days from {d} is which date?",
        "{n} days from {d} will be what date?",
        "{d}, {n} days later",
        "{d}, add {n} days",
        "{d} and {n} days more",
        "{d} and then {n} days",
        "{d} plus {n} days is what date?",
        "{d} + {n} days = ?",
        "{d} +{n} days",
        "{d}, what date is it {n} days later?",
        "{d}, what is the date after {n} days?",
        "date {n} days after {d}",
        "date of {d} plus {n} days",
        "date: {d} plus {n} days",
        "the date {n} days past {d}",
        "the date after {n} days from {d}",
        "add {n} days to the date {d}",
        "please add {n} days to {d}",
        "can you add {n} days to {d}?",
        "could you add {n} days to {d} for me?",
        "adding {n} days to {d} gives which date?",
        "if i add {n} days to {d}, what date is it?",
        "if you count {n} days from {d}, where do you land?",
        "count {n} days on from {d}",
        "count forward {n} days from {d}",
        "count {n} days after {d}",
        "start on {d} and count {n} days",
        "start at {d} and add {n} days",
        "go {n} days ahead from {d}",
        "move {n} days ahead from {d}",
        "move {d} by {n} days",
        "move {d} forward {n} days",
        "shift {d} by {n} days",
        "{d} moved by {n} days",
        "from {d}, {n} days later",
        "from {d}, count {n} days",
        "from {d} go {n} days forward",
        "find the date {n} days after {d}",
        "find out which date is {n} days from {d}",
        "work out the date {n} days after {d}",
        "calculate the date {n} days after {d}",
        "calculate {d} plus {n} days",
        "tell me the date {n} days after {d}",
        "tell me what date is {n} days from {d}",
        "can you tell me the date {n} days from {d}?",
        "i need the date {n} days after {d}",
        "i want to know what date is {n} days after {d}",
        "if today is {d}, what is the date in {n} days?",
        "today is {d}, what date is it in {n} days?",
        "today is {d}, when is it {n} days from now?",
        "it is {d}, what will the date be in {n} days?",
        "in {n} days from {d}, what date is it?",
        "I start on {d} and it takes {n} days. When is it done?",
        "i leave on {d} and come back {n} days later, what date is that?",
        "i ordered on {d} and wait {n} days, which date is that?",
        "the bill is from {d} and due in {n} days, when is that?",
        "the trip starts on {d}, {n} days later it is which date?",
        "my deadline is {n} days after {d}, which date?",
        "we meet again {n} days after {d}, on what date?",
        "the package sent on {d} takes {n} days, when does it come?",
        "starting on {d}, what is the date {n} days later?",
        "if i wait {n} days from {d}, what date is it?",
        "which day comes {n} days after {d}?",
        "give me the date that is {n} days later than {d}",
    ),
    heldout=heldout.DATES_LATER,
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
        "is the year {y} a leap year?",
        "was the year {y} a leap year?",
        "will the year {y} be a leap year?",
        "is year {y} a leap year",
        "is {y} leap?",
        "is {y} leap or not?",
        "is {y} a leap year or not?",
        "is {y} a leap year or a normal year?",
        "is {y} a normal year or a leap year?",
        "is {y} a common year or a leap year?",
        "is {y} one of the leap years?",
        "is {y} going to be a leap year?",
        "is it true that {y} is a leap year?",
        "is it right that {y} is a leap year?",
        "is it a leap year in {y}?",
        "is there a leap year in {y}?",
        "is there a 29 february in {y}?",
        "is there a february 29 in {y}?",
        "is there a leap day in {y}?",
        "are there 366 days in {y}?",
        "are there 29 days in february {y}?",
        "does february {y} have 29 days?",
        "does february have 29 days in {y}?",
        "does {y} have a leap day?",
        "does {y} have an extra day?",
        "does {y} have 365 or 366 days, is it leap?",
        "does the year {y} have 366 days?",
        "did {y} have 366 days?",
        "did {y} have a leap day?",
        "will {y} have a leap day?",
        "will {y} have 366 days?",
        "will there be a 29 february in {y}?",
        "do we have a leap year in {y}?",
        "do we get a leap day in {y}?",
        "do you know if {y} is a leap year?",
        "do you know whether {y} is a leap year?",
        "was {y} a leap year or not?",
        "was {y} one of the leap years?",
        "was there a leap day in {y}?",
        "will {y} be a leap year or not?",
        "leap year: {y}",
        "leap year {y} yes or no",
        "leap or not: {y}",
        "year {y} leap?",
        "year {y}, leap year or not?",
        "{y} leap year",
        "{y} leap?",
        "{y}, leap year?",
        "{y}, is it a leap year?",
        "{y}, was that a leap year?",
        "{y} is a leap year?",
        "{y} is a leap year, right?",
        "{y} is a leap year, yes or no?",
        "{y} is a leap year, is it not?",
        "{y} was a leap year, true or false?",
        "the year {y}, is it leap?",
        "check if {y} is a leap year",
        "check whether the year {y} is a leap year",
        "find out if {y} is a leap year",
        "tell me whether {y} is a leap year",
        "tell me if the year {y} is leap",
        "please tell me if {y} is a leap year",
        "can you tell me if {y} is a leap year?",
        "could you check whether {y} is a leap year?",
        "can you check if {y} is leap?",
        "i need to know if {y} is a leap year",
        "i want to know whether {y} is a leap year",
        "I think {y} is a leap year. Am I right?",
        "my calendar says {y} is a leap year, is it?",
        "could {y} be a leap year?",
        "true or false: {y} is a leap year",
        "yes or no: is {y} a leap year?",
        "can you say whether {y} is a leap year?",
        "does {y} count as a leap year?",
    ),
    heldout=heldout.DATES_LEAP,
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
        '1 March 2025 is a Saturday, 13=1*7+6, Saturday+6=Friday, so 14 March 2025 is a Friday.'
    """
    last = f"{spoken(day)} is a {day:%A}."
    if day.day == 1:
        return last
    first, ahead = day.replace(day=1), day.day - 1
    return (
        f"{spoken(first)} is a {first:%A}, {ahead}={ahead // 7}*7+{ahead % 7}, "
        f"{first:%A}+{ahead % 7}={day:%A}, so {last}"
    )


def later_answer(day: date, count: int) -> str:
    """Add days to a date, across the end of its month where needed.

    Example:
        >>> later_answer(date(2025, 3, 25), 10)
        '25+10=35, March 2025 has 31 days, 35-31=4, so it is 4 April 2025.'
    """
    total, length = day.day + count, monthrange(day.year, day.month)[1]
    over = f", {total}-{length}={total - length}" if total > length else ""
    later = spoken(day + timedelta(days=count))
    return f"{day.day}+{count}={total}, {day:%B %Y} has {length} days{over}, so it is {later}."


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
