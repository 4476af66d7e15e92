"""Unit conversion of whole amounts, by parts."""

from dataclasses import dataclass
from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to, value_after_equals
from experts.recipe.skills import heldout
from experts.recipe.skills.columns import worked_sum
from experts.recipe.wording import Phrasing, led

PARTS_ALONE = 0.6
"""Share of training amounts that are ones or tens alone: short practice of the tables."""

BEYOND = "That is beyond my range: I convert whole amounts from 1 to 100."


@dataclass(frozen=True, slots=True)
class Conversion:
    """One unit expressed in another: `target = amount * factor + offset`."""

    source: str
    target: str
    factor: float
    offset: float = 0.0
    lowest: int = 1
    decimals: int = 2

    def part(self, amount: int, *, whole: bool) -> float:
        """Convert a part of an amount; only a whole amount carries the offset."""
        return round(amount * self.factor + (self.offset if whole else 0.0), self.decimals)

    def write(self, value: float) -> str:
        """Write a converted value with the decimals of this conversion."""
        return f"{value:.{self.decimals}f}"


CONVERSIONS = (
    Conversion("metres", "feet", 3.28084),
    Conversion("feet", "metres", 0.3048),
    Conversion("kilometres", "miles", 0.621371),
    Conversion("miles", "kilometres", 1.609344),
    Conversion("centimetres", "inches", 0.393701),
    Conversion("inches", "centimetres", 2.54),
    Conversion("kilograms", "pounds", 2.204623),
    Conversion("pounds", "kilograms", 0.453592),
    Conversion("litres", "US gallons", 0.264172),
    Conversion("US gallons", "litres", 3.785412),
    Conversion("ounces", "grams", 28.349523),
    Conversion("degrees Celsius", "degrees Fahrenheit", 1.8, 32.0),
    Conversion("degrees Fahrenheit", "degrees Celsius", 1 / 1.8, -32 / 1.8, lowest=40),
    Conversion("hours", "minutes", 60, decimals=0),
    Conversion("minutes", "seconds", 60, decimals=0),
    Conversion("days", "hours", 24, decimals=0),
    Conversion("weeks", "days", 7, decimals=0),
    Conversion("feet", "inches", 12, decimals=0),
    Conversion("kilometres", "metres", 1000, decimals=0),
    Conversion("metres", "centimetres", 100, decimals=0),
    Conversion("kilograms", "grams", 1000, decimals=0),
)
SPELLINGS = {
    "metres": ("metres", "meters", "m"),
    "feet": ("feet", "ft", "feet"),
    "kilometres": ("kilometres", "kilometers", "km"),
    "miles": ("miles", "miles", "mi"),
    "centimetres": ("centimetres", "centimeters", "cm"),
    "inches": ("inches", "inches", "inch"),
    "kilograms": ("kilograms", "kilos", "kg"),
    "pounds": ("pounds", "lbs", "lb"),
    "litres": ("litres", "liters", "l"),
    "US gallons": ("US gallons", "gallons", "gal"),
    "ounces": ("ounces", "ounces", "oz"),
    "degrees Celsius": ("degrees Celsius", "Celsius", "°C"),
    "degrees Fahrenheit": ("degrees Fahrenheit", "Fahrenheit", "°F"),
    "hours": ("hours", "hours", "h"),
    "minutes": ("minutes", "minutes", "min"),
    "seconds": ("seconds", "seconds", "sec"),
    "grams": ("grams", "grams", "g"),
}
PHRASING = Phrasing(
    train=(
        *led(
            "{n} {x} in {y}",
            "{n} {x} as {y}",
            "how many {y} {n} {x} are",
            "the number of {y} in {n} {x}",
            "what {n} {x} is in {y}",
        ),
        "how many {y} are {n} {x}?",
        "How many {y} are {n} {x}?",
        "how many {y} in {n} {x}?",
        "How many {y} are there in {n} {x}?",
        "how many {y} is {n} {x}",
        "how many {y} make {n} {x}?",
        "what is {n} {x} in {y}?",
        "What are {n} {x} in {y}?",
        "whats {n} {x} in {y}",
        "convert {n} {x} to {y}",
        "Convert {n} {x} into {y}.",
        "{n} {x} in {y}",
        "{n} {x} to {y}",
        "{n} {x} = ? {y}",
        "{n}{x} in {y}",
        "{n} {x} into {y}?",
        "change {n} {x} to {y}",
        "how much is {n} {x} in {y}?",
        "express {n} {x} in {y}",
        "turn {n} {x} into {y}",
        "give me {n} {x} in {y}",
        "i have {n} {x}, how many {y} is that?",
        "i need {n} {x} in {y}",
        "{n} {x} is how many {y}?",
        "{n} {x} are how many {y}?",
        "how do i write {n} {x} in {y}?",
        "can you convert {n} {x} to {y} for me?",
        "in {y}, how much is {n} {x}?",
        "my recipe says {n} {x}, what is it in {y}?",
        "how many {y} do {n} {x} make?",
        "how many {y} does {n} {x} make?",
        "how many {y} do i get from {n} {x}?",
        "how many {y} do i have if i have {n} {x}?",
        "how many {y} would {n} {x} be?",
        "how many {y} equal {n} {x}?",
        "how many {y} correspond to {n} {x}?",
        "how many {y} do you get for {n} {x}?",
        "how many {y} go into {n} {x}?",
        "how many {y} is that: {n} {x}",
        "how many {y} for {n} {x}?",
        "number of {y} in {n} {x}",
        "What is the number of {y} in {n} {x}?",
        "what does {n} {x} equal in {y}?",
        "what would {n} {x} be in {y}?",
        "what is {n} {x} when converted to {y}?",
        "what is {n} {x} converted to {y}?",
        "what is {n} {x} expressed in {y}?",
        "what is {n} {x} if i use {y}?",
        "what do {n} {x} make in {y}?",
        "what do i get if i convert {n} {x} to {y}?",
        "how much are {n} {x} in {y}?",
        "how much does {n} {x} make in {y}?",
        "how much would {n} {x} be in {y}?",
        "how much is {n} {x} if you count in {y}?",
        "{n} {x} equal how many {y}",
        "{n} {x} makes how many {y}?",
        "{n} {x} make how many {y}",
        "{n} {x} comes to how many {y}?",
        "{n} {x} gives how many {y}?",
        "{n} {x} is what in {y}?",
        "{n} {x} would be how many {y}?",
        "{n} {x} = {y}?",
        "{n} {x} = how many {y}",
        "{n} {x} -> {y}",
        "{n}{x} to {y}",
        "{n}{x} = ? {y}",
        "convert {n}{x} to {y}",
        "how many {y} are {n}{x}?",
        "{n} {x}, {y}?",
        "{n} {x}, how many {y}?",
        "{n} {x}, in {y}",
        "{n} {x}, what is that in {y}?",
        "{n} {x}, can you give me that in {y}?",
        "{n} {x} converted to {y}",
        "{n} {x} converted into {y}",
        "{n} {x} conversion to {y}",
        "{n} {x} expressed in {y}",
        "{n} {x} written in {y}",
        "{n} {x} given in {y}",
        "{n} {x} as {y}?",
        "convert {n} {x} {y}",
        "convert to {y}: {n} {x}",
        "convert from {x} to {y}: {n}",
        "convert this into {y}: {n} {x}",
        "Please convert {n} {x} into {y}.",
        "could you convert {n} {x} into {y}?",
        "can you change {n} {x} into {y}?",
        "can you turn {n} {x} into {y}?",
        "would you convert {n} {x} to {y}?",
        "help me convert {n} {x} to {y}",
        "i want to convert {n} {x} into {y}",
        "i have to convert {n} {x} to {y}",
        "i need to change {n} {x} to {y}",
        "how do i convert {n} {x} to {y}?",
        "how do you turn {n} {x} into {y}?",
        "converting {n} {x} to {y} gives what?",
        "if i convert {n} {x} to {y}, what do i get?",
        "conversion: {n} {x} to {y}",
        "unit conversion: {n} {x} in {y}",
        "{x} to {y}: {n}",
        "{x} to {y}, {n}",
        "from {x} to {y}: {n}",
        "in {y}: {n} {x}",
        "in {y}, what is {n} {x}?",
        "in {y}, {n} {x} is how much?",
        "{y} in {n} {x}",
        "{y} for {n} {x}",
        "to {y}: {n} {x}",
        "write {n} {x} in {y}",
        "Write {n} {x} as {y}.",
        "rewrite {n} {x} in {y}",
        "show {n} {x} in {y}",
        "show me {n} {x} in {y}",
        "tell me how many {y} there are in {n} {x}",
        "tell me how many {y} {n} {x} make",
        "calculate {n} {x} in {y}",
        "calculate how many {y} {n} {x} are",
        "work out {n} {x} in {y}",
        "compute {n} {x} in {y}",
        "put {n} {x} into {y}",
        "say {n} {x} in {y}",
        "find out how many {y} are in {n} {x}",
        "i want {n} {x} in {y}",
        "i want to know how many {y} are in {n} {x}",
        "i only know {n} {x}, how much is it in {y}?",
        "i got {n} {x}, what is that in {y}?",
        "i have {n} {x} and need it in {y}",
        "i measured {n} {x}, what is that in {y}?",
        "i think in {y}, what is {n} {x}?",
        "if i have {n} {x}, how many {y} do i have?",
        "if it is {n} {x}, how many {y} is it?",
        "it says {n} {x}, how many {y} is that?",
        "it is {n} {x}, what is that in {y}?",
        "the sign says {n} {x}, how many {y}?",
        "the label says {n} {x}, i need {y}",
        "my book says {n} {x}, i want {y}",
        "my friend says {n} {x}, what does it mean in {y}?",
        "homework: change {n} {x} into {y}",
        "there are how many {y} in {n} {x}?",
        "do you know how many {y} are in {n} {x}?",
        "do you know what {n} {x} is in {y}?",
        "can you tell me {n} {x} in {y}?",
        "can you tell me how many {y} {n} {x} is?",
        "could you tell me what {n} {x} are in {y}?",
        "can i have {n} {x} in {y}?",
        "same as {n} {x} but in {y}",
        "what amount of {y} is {n} {x}?",
        "which number of {y} is the same as {n} {x}?",
        "{n} {x} equals how many {y}?",
        "what does {n} {x} come to in {y}?",
        "please state {n} {x} as {y}",
        "if something is {n} {x}, what is that in {y}?",
        "could you translate {n} {x} to {y}?",
        "How many {y} do you get from {n} {x}?",
    ),
    heldout=heldout.UNITS,
)


def draw(rng: Random, split: Split) -> Example:
    """Draw a conversion with its worked answer."""
    conversion = rng.choice(CONVERSIONS)
    beyond = split == "train" and rng.random() < 0.03
    while True:
        amount = _amount(rng, split, conversion)
        if belongs_to(split, f"{amount} {conversion.source} {conversion.target}"):
            break
    written = _too_much(rng) if beyond else str(amount)
    prompt = PHRASING.say(
        rng, split, n=written, x=_spell(rng, conversion.source), y=_spell(rng, conversion.target)
    )
    return Example(prompt=prompt, answer=BEYOND if beyond else worked(amount, conversion))


def worked(amount: int, conversion: Conversion) -> str:
    """Convert the tens and the ones apart, and add the parts.

    The parts are rounded before they are added, so that the last decimal may be off by one.

    Example:
        >>> print(worked(12, CONVERSIONS[0]))
        10 metres = 32.81 feet, 2 metres = 6.56 feet
        32.81 + 6.56: 1+6=7, 8+5=13, 2+6+1=9, 3+0=3
        12 metres = 39.37 feet
    """
    source, target = conversion.source, conversion.target
    tens, ones = amount - amount % 10, amount % 10
    if not tens or not ones or conversion.factor in {100, 1000}:
        value = conversion.write(conversion.part(amount, whole=True))
        return f"{amount} {source} = {value} {target}"
    high, low = conversion.part(tens, whole=True), conversion.part(ones, whole=False)
    first, second = conversion.write(high), conversion.write(low)
    step, other = (f"{unit} more" if conversion.offset else unit for unit in (source, target))
    return (
        f"{tens} {source} = {first} {target}, {ones} {step} = {second} {other}\n"
        f"{first} + {second}: {worked_sum(first, second)}\n"
        f"{amount} {source} = {conversion.write(high + low)} {target}"
    )


def _amount(rng: Random, split: Split, conversion: Conversion) -> int:
    shape = rng.random() if split == "train" else 1.0
    if shape < PARTS_ALONE / 2 and conversion.lowest < 10:
        return rng.randrange(1, 10)
    if shape < PARTS_ALONE:
        return rng.randrange(-(-conversion.lowest // 10), 11) * 10
    return rng.randrange(conversion.lowest, 101)


def _spell(rng: Random, unit: str) -> str:
    return rng.choice(SPELLINGS.get(unit, (unit,)))


def _too_much(rng: Random) -> str:
    amount = rng.randrange(101, 10 ** rng.randrange(4, 8))
    return str(amount) if rng.random() < 0.6 else f"{rng.randrange(0, 200)}.{rng.randrange(1, 99)}"


SKILL = Skill(
    name="units",
    summary="unit conversion of whole amounts up to 100",
    draw=draw,
    normalise=value_after_equals,
    normalisation="the amount and unit after the last equals sign",
    covers=f"{len(CONVERSIONS)} conversions of length, weight, volume, temperature and time, "
    "whole amounts from 1 to 100 (Fahrenheit from 40); two decimals, the last of which may be "
    "off by one",
    beyond="decimal or larger amounts, currencies, areas, speeds, compound units",
)
