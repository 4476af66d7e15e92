"""Whole-number arithmetic, worked step by step."""

from random import Random

from experts.recipe.example import Example, Skill, Split, belongs_to, value_after_equals
from experts.recipe.skills.columns import worked_difference, worked_sum
from experts.recipe.wording import Phrasing

BEYOND = (
    "That is beyond my range: I add and subtract up to 999, multiply up to 30 "
    "and divide up to 999 by 9 at most."
)

TABLES_ALONE = 0.5
"""Share of products by one digit or by tens alone: short practice of the tables."""

ASKED = (
    "what is {}?",
    "What is {}?",
    "what's {}",
    "whats {}",
    "{}",
    "{}?",
    "{} =",
    "{} = ?",
    "calculate {}",
    "Calculate {}.",
    "how much is {}?",
    "tell me {}",
    "work out {}",
    "compute {}",
    "please compute {} for me",
    "can you work out {}?",
    "solve {}",
    "give me the answer to {}",
    "i need {}",
    "do you know what {} is?",
    "{} equals what?",
    "my homework says {}",
    "show me the steps for {}",
    "could you calculate {} for me?",
    "what does {} give?",
    "{} gives what?",
    "the result of {} is?",
    "help me with {}",
)
ASKED_HELDOUT = (
    "what does {} come to?",
    "evaluate {}",
    "{} makes how much?",
    "find the result of {}",
    "what do i get for {}?",
    "could you figure out {}",
)


def _phrasing(
    shapes: tuple[str, ...], train: tuple[str, ...], heldout: tuple[str, ...]
) -> Phrasing:
    return Phrasing(
        train=tuple(a.format(s) for a in ASKED for s in shapes) + train * len(shapes) * 2,
        heldout=tuple(a.format(s) for a in ASKED_HELDOUT for s in shapes) + heldout * len(shapes),
    )


PHRASINGS = {
    "+": _phrasing(
        ("{a} + {b}", "{a}+{b}", "{a} plus {b}"),
        (
            "add {a} and {b}",
            "Add {a} to {b}.",
            "what is the sum of {a} and {b}?",
            "sum of {a} and {b}",
            "add up {a} and {b}",
            "{a} and {b} added together",
            "the total of {a} and {b}",
            "what do you get if you add {a} and {b}?",
            "increase {a} by {b}",
        ),
        ("what do {a} and {b} add up to?", "put {a} and {b} together, what is the total?"),
    ),
    "-": _phrasing(
        ("{a} - {b}", "{a}-{b}", "{a} minus {b}"),
        (
            "subtract {b} from {a}",
            "Take {b} away from {a}.",
            "what is the difference of {a} and {b}?",
            "{a} take away {b}",
            "{a} less {b}",
            "what is left when you take {b} from {a}?",
            "take {b} off {a}",
            "if {b} is taken from {a}, what is left?",
            "{a} decreased by {b}",
            "lower {a} by {b}",
        ),
        ("what remains if {b} is subtracted from {a}?", "{a} reduced by {b}"),
    ),
    "*": _phrasing(
        ("{a} * {b}", "{a}*{b}", "{a} x {b}", "{a} × {b}", "{a} times {b}", "{a}x{b}"),
        (
            "multiply {a} by {b}",
            "Multiply {a} and {b}.",
            "what is the product of {a} and {b}?",
            "product of {a} and {b}",
            "{a} multiplied by {b}",
            "{a} multiplied with {b}",
            "how much do {a} times {b} make?",
            "what happens if i multiply {a} and {b}?",
            "if you multiply {a} by {b}, what is it?",
        ),
        ("what do you get when you multiply {a} with {b}?", "find the product {a} by {b}"),
    ),
    "/": _phrasing(
        ("{a} / {b}", "{a}/{b}", "{a} ÷ {b}", "{a} divided by {b}", "{a} : {b}"),
        (
            "divide {a} by {b}",
            "Divide {a} by {b}.",
            "what is the quotient of {a} and {b}?",
            "how many times does {b} go into {a}?",
            "how often does {b} go into {a}?",
            "{a} over {b}",
            "{a} split by {b}",
            "if {a} is shared by {b}, how many does each get?",
            "how many {b}s are in {a}?",
        ),
        ("when {a} is divided by {b}, what is the result?", "how many times does {b} fit in {a}?"),
    ),
}


def draw(rng: Random, split: Split) -> Example:
    """Draw a sum, difference, product or division with its worked answer."""
    sign = rng.choice("+--**//")
    beyond = split == "train" and rng.random() < 0.04
    while True:
        left, right = _operands(rng, sign, beyond=beyond)
        if split == "train" and sign == "*" and not beyond and rng.random() < TABLES_ALONE:
            right = rng.choice((*range(1, 10), 10, 20, 30))
        if belongs_to(split, f"{left}{sign}{right}"):
            break
    prompt = PHRASINGS[sign].say(rng, split, a=left, b=right)
    return Example(prompt=prompt, answer=BEYOND if beyond else worked(left, sign, right))


def worked(left: int, sign: str, right: int) -> str:
    """Work an expression out, ending in the expression with its value.

    Example:
        >>> print(worked(17, "*", 24))
        17 * 20 = 340, 17 * 4 = 68
        340 + 68: 0+8=8, 4+6=10, 3+0+1=4
        17 * 24 = 408
    """
    steps = {"+": _sum, "-": _difference, "*": _product, "/": _quotient}[sign]
    return steps(left, right)


def _operands(rng: Random, sign: str, *, beyond: bool) -> tuple[int, int]:
    if beyond:
        large, small = rng.randrange(1000, 10 ** rng.randrange(4, 9)), rng.randrange(2, 5000)
        if sign == "*" and rng.random() < 0.5:
            large = rng.randrange(100, 1000)
        if sign == "/":
            return large, small
        return (large, small) if rng.random() < 0.5 else (small, large)
    if sign == "*":
        return _up_to(rng, 30), _up_to(rng, 30)
    if sign == "/":
        return _up_to(rng, 999), rng.randrange(2, 10)
    return _up_to(rng, 999), _up_to(rng, 999)


def _up_to(rng: Random, limit: int) -> int:
    shape = rng.random()
    if shape < 0.1:
        return rng.randrange(0, 10)
    if shape < 0.4:
        return rng.randrange(10, min(limit + 1, 100))
    return rng.randrange(limit // 10, limit + 1)


def _sum(left: int, right: int) -> str:
    last = f"{left} + {right} = {left + right}"
    if left < 10 and right < 10:
        return last
    return f"{left} + {right}: {worked_sum(str(left), str(right))}\n{last}"


def _difference(left: int, right: int) -> str:
    last = f"{left} - {right} = {left - right}"
    if left < 10 and right < 10:
        return last
    high, low = max(left, right), min(left, right)
    return f"{high} - {low}: {worked_difference(str(high), str(low))}\n{last}"


def _product(left: int, right: int) -> str:
    last = f"{left} * {right} = {left * right}"
    tens, ones = right - right % 10, right % 10
    if not tens or not ones:
        return last
    high, low = left * tens, left * ones
    return (
        f"{left} * {tens} = {high}, {left} * {ones} = {low}\n"
        f"{high} + {low}: {worked_sum(str(high), str(low))}\n{last}"
    )


def _quotient(left: int, right: int) -> str:
    steps, rest = [], 0
    for digit in str(left):
        have = rest * 10 + int(digit)
        rest = have % right
        steps.append(f"{have}/{right}={have // right} r {rest}")
    remainder = f" remainder {left % right}" if left % right else ""
    return f"{left} / {right}: {', '.join(steps)}\n{left} / {right} = {left // right}{remainder}"


SKILL = Skill(
    name="arithmetic",
    summary="whole-number arithmetic, worked step by step",
    draw=draw,
    normalise=value_after_equals,
    normalisation="the value after the last equals sign",
    covers="a + b and a - b with whole numbers up to 999, a * b up to 30 by 30, "
    "a / b up to 999 by 9 with its remainder",
    beyond="larger numbers, decimals, brackets, more than one operation, word problems",
)
