"""What the base model learns: to copy, pick, look up, fill in and reckon, but none of the skills.

The prompts of the skills appear only to be copied or picked from, and the words of their answers
only in bags, out of order, so that no fact, translation or query can be learnt from them. Numbers
appear in exercises of their own: tables, columns and the round of the weekdays.
"""

from calendar import day_name
from collections.abc import Callable, Sequence
from random import Random

from experts.recipe.example import Example, Skill
from experts.recipe.skills.columns import worked_difference, worked_sum

LONGEST_WORD = 24
SYLLABLES = [first + vowel for first in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
ENDINGS = ("", "", "n", "r", "s", "l", "m", "t", "ck", "nd", "x", "y")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
JOINTS = (" ", " ", " ", " ", ", ", "; ", " - ", ": ", "/", " and ")

Exercise = Callable[[Random], Example]


class Primitives:
    """A source of pre-training examples over the words of some skills."""

    def __init__(self, skills: Sequence[Skill], seed: int, *, sample: int = 3000) -> None:
        """Collect the loose words of `sample` examples of each skill."""
        self._skills = skills
        rng = Random(f"words {seed}")
        words = set()
        for skill in skills:
            for _ in range(sample):
                example = skill.draw(rng, "train")
                words.update(example.prompt.split())
                words.update(example.answer.split())
        self._words = sorted(word for word in words if _is_word(word))
        self.exercises: dict[str, tuple[Exercise, int]] = {
            "echo": (self._echo, 10),
            "plain echo": (self._plain_echo, 5),
            "quote": (self._quote, 5),
            "pick": (self._pick, 8),
            "look up": (self._look_up, 8),
            "rearrange": (self._rearrange, 4),
            "fill": (self._fill, 6),
            "digits": (_digits, 5),
            "tables": (_tables, 9),
            "columns": (_columns, 6),
            "rounds": (_rounds, 3),
        }

    def draw(self, rng: Random) -> Example:
        """Draw one exercise."""
        exercises, weights = zip(*self.exercises.values(), strict=True)
        exercise: Exercise = rng.choices(exercises, weights)[0]
        return exercise(rng)

    def _prompt(self, rng: Random) -> str:
        return " ".join(rng.choice(self._skills).draw(rng, "train").prompt.split()[:24])

    def _word(self, rng: Random) -> str:
        """Draw a word: a known one, or a made-up name or number that can only be copied."""
        kind = rng.random()
        if kind < 0.4:
            return rng.choice(self._words)
        if kind < 0.55:
            return str(rng.randrange(10 ** rng.randrange(1, 6)))
        if kind < 0.85:
            made = "".join(rng.choices(SYLLABLES, k=rng.randrange(1, 4))) + rng.choice(ENDINGS)
        else:
            made = "".join(rng.choices(LETTERS, k=rng.randrange(1, 7)))
        return made.capitalize() if rng.random() < 0.6 else made

    def _bag(self, rng: Random, least: int, most: int) -> list[str]:
        return [self._word(rng) for _ in range(rng.randrange(least, most + 1))]

    def _text(self, rng: Random) -> str:
        if rng.random() < 0.3:
            return self._prompt(rng)
        joint = rng.choice(JOINTS)
        return joint.join(self._bag(rng, 1, 4 if rng.random() < 0.4 else 10))

    def _echo(self, rng: Random) -> Example:
        text = self._text(rng) if rng.random() < 0.93 else _script(rng)
        asked = rng.choice(("echo: {}", "copy: {}", "{} (echo)", "repeat after me: {}"))
        return Example(prompt=asked.format(text), answer=text)

    def _plain_echo(self, rng: Random) -> Example:
        text = self._prompt(rng)
        return Example(prompt=text, answer=text)

    def _quote(self, rng: Random) -> Example:
        words = self._bag(rng, 1, 6)
        mark = rng.choice(('"', "'", "[]", "()"))
        marked = [f"{mark[0]}{word}{mark[-1]}" for word in words]
        if rng.random() < 0.3:
            return Example(prompt=f"bare: {' '.join(marked)}", answer=" ".join(words))
        joint = rng.choice((" ", ", "))
        return Example(
            prompt=f"quotes {mark}: {rng.choice((' ', ', ')).join(words)}",
            answer=joint.join(marked),
        )

    def _pick(self, rng: Random) -> Example:
        text = self._text(rng)
        words = text.split() or ["none"]
        kind = rng.randrange(7)
        if kind == 0:
            numbers = ["".join(c for c in w if c.isdigit()) for w in words]
            return Example(
                prompt=f"numbers: {text}", answer=", ".join(n for n in numbers if n) or "none"
            )
        if kind == 1:
            return Example(prompt=f"first: {text}", answer=words[0])
        if kind == 2:
            return Example(prompt=f"last: {text}", answer=words[-1])
        if kind == 3:
            at = rng.randrange(min(len(words), 9))
            return Example(prompt=f"word {at + 1}: {text}", answer=words[at])
        at = rng.randrange(len(words))
        if kind == 4:
            before = words[at - 1] if at else "none"
            return Example(prompt=f"before {words[at]}: {text}", answer=before)
        if kind == 5:
            return Example(prompt=f"from {words[at]}: {text}", answer=" ".join(words[at:]))
        following = " ".join(words[at + 1 : at + 3]) or "none"
        return Example(prompt=f"after {words[at]}: {text}", answer=following)

    def _look_up(self, rng: Random) -> Example:
        keys = list({self._word(rng): None for _ in range(rng.randrange(2, 7))})
        pairs = {key: " ".join(self._bag(rng, 1, 2)) for key in keys}
        wanted = rng.sample(keys, rng.randrange(1, min(4, len(keys)) + 1))
        sign = rng.choice((" = ", ": ", " is ", " "))
        listing = rng.choice(("; ", ", ")).join(f"{k}{sign}{v}" for k, v in pairs.items())
        if rng.random() < 0.3:
            back = {value: key for key, value in pairs.items()}
            asked = [pairs[key] for key in wanted]
            return Example(
                prompt=f"key of {', '.join(asked)}: {listing}",
                answer=", ".join(back[value] for value in asked),
            )
        return Example(
            prompt=f"look up {', '.join(wanted)}: {listing}",
            answer=", ".join(pairs[key] for key in wanted),
        )

    def _rearrange(self, rng: Random) -> Example:
        words = self._bag(rng, 2, 6)
        kind = rng.randrange(4)
        if kind == 0:
            return Example(prompt=f"backwards: {' '.join(words)}", answer=" ".join(words[::-1]))
        if kind == 1:
            return Example(prompt=f"swap: {' '.join(words[:2])}", answer=f"{words[1]} {words[0]}")
        if kind == 2:
            return Example(prompt=f"commas: {' '.join(words)}", answer=", ".join(words))
        return Example(prompt=f"twice: {words[0]}", answer=f"{words[0]} {words[0]}")

    def _fill(self, rng: Random) -> Example:
        frame = self._bag(rng, 2, 7)
        values = [" ".join(self._bag(rng, 1, 2)) for _ in range(rng.randrange(1, 5))]
        names = rng.sample("ABCDEFG", len(values))
        for name in names:
            frame.insert(rng.randrange(len(frame) + 1), f"_{name}_")
        text = filled = rng.choice((" ", " ", ", ")).join(frame)
        for name, value in zip(names, values, strict=True):
            filled = filled.replace(f"_{name}_", value)
        given = "; ".join(f"{n} is {v}" for n, v in zip(names, values, strict=True))
        return Example(prompt=f"fill: {text} | {given}", answer=filled)


def _is_word(text: str) -> bool:
    return len(text) < LONGEST_WORD and not any(letter.isdigit() for letter in text)


def _number(rng: Random, longest: int) -> int:
    return rng.randrange(10 ** rng.randrange(1, longest + 1))


def _digits(rng: Random) -> Example:
    kind = rng.randrange(6)
    number = str(_number(rng, 5))
    if kind == 0:
        return Example(prompt=f"digits back {number}", answer=number[::-1])
    if kind == 1:
        other = str(_number(rng, len(number)))
        width = max(len(number), len(other))
        pairs = zip(number.zfill(width)[::-1], other.zfill(width)[::-1], strict=True)
        return Example(
            prompt=f"pairs {number} {other}", answer=", ".join(f"{a}&{b}" for a, b in pairs)
        )
    if kind == 2:
        small = rng.randrange(1, 1000)
        parts = [str(int(d) * 10**i) for i, d in enumerate(str(small)[::-1])][::-1]
        return Example(prompt=f"places {small}", answer=" & ".join(parts))
    if kind == 3:
        steps = [str(rng.randrange(20)) for _ in range(rng.randrange(2, 6))]
        built = steps[-1] + "".join(step[-1] for step in steps[-2::-1])
        return Example(prompt=f"build {' '.join(steps)}", answer=built)
    if kind == 4:
        one, two = _number(rng, 3), _number(rng, 3)
        return Example(prompt=f"larger {one} {two}", answer=str(max(one, two)))
    return Example(prompt=f"bare digits {number}", answer=str(int(number)))


def _tables(rng: Random) -> Example:
    table = rng.choice((_sum, _sum, _difference, _difference, _product, _product, _quotient, _days))
    rows = [table(rng) for _ in range(rng.randrange(1, 7))]
    asked = ", ".join(row for row, _ in rows)
    return Example(
        prompt=f"table: {asked}", answer=", ".join(f"{row}={found}" for row, found in rows)
    )


def _sum(rng: Random) -> tuple[str, str]:
    one, two, carry = rng.randrange(10), rng.randrange(10), rng.randrange(2)
    return f"{one}+{two}{'+1' * carry}", str(one + two + carry)


def _difference(rng: Random) -> tuple[str, str]:
    one, two, borrow = rng.randrange(10), rng.randrange(10), rng.randrange(2)
    less = one - two - borrow
    return f"{one}-{two}{'-1' * borrow}", f"{less % 10} borrow" if less < 0 else str(less)


def _product(rng: Random) -> tuple[str, str]:
    one = rng.randrange(rng.choice((10, 31, 31)))
    two = rng.choice((*range(10), 10, 20, 30))
    return f"{one}*{two}", str(one * two)


def _quotient(rng: Random) -> tuple[str, str]:
    by = rng.randrange(2, 10)
    have = rng.randrange(10 * by)
    return f"{have}/{by}", f"{have // by} r {have % by}"


def _days(rng: Random) -> tuple[str, str]:
    """Reckon as with the days of a month: two small numbers."""
    one, two = rng.randrange(1, 32), rng.randrange(1, 32)
    if rng.random() < 0.5:
        return f"{one}+{two}", str(one + two)
    return f"{one + two}-{two}", str(one)


def _columns(rng: Random) -> Example:
    """Work in columns, the last column first: what to reckon there, or the result from there."""
    one, two = str(_number(rng, 4)), str(_number(rng, 4))
    if rng.random() < 0.5:
        steps, result = worked_sum(one, two), int(one) + int(two)
        return Example(prompt=f"columns {one}+{two}", answer=f"{steps} > {result}")
    if int(one) < int(two):
        one, two = two, one
    steps, result = worked_difference(one, two), int(one) - int(two)
    return Example(prompt=f"columns {one}-{two}", answer=f"{steps} > {result}")


def _rounds(rng: Random) -> Example:
    """Count on from a weekday, or count whole weeks."""
    if rng.random() < 0.3:
        days = [rng.randrange(31) for _ in range(rng.randrange(1, 5))]
        return Example(
            prompt=f"weeks: {', '.join(map(str, days))}",
            answer=", ".join(f"{count}={count // 7}*7+{count % 7}" for count in days),
        )
    rows = []
    for _ in range(rng.randrange(1, 5)):
        start, ahead = rng.randrange(7), rng.randrange(7)
        rows.append((f"{day_name[start]}+{ahead}", day_name[(start + ahead) % 7]))
    asked = ", ".join(row for row, _ in rows)
    return Example(
        prompt=f"round: {asked}", answer=", ".join(f"{row}={found}" for row, found in rows)
    )


def _script(rng: Random) -> str:
    start = rng.choice((0x4E00, 0x400, 0x620, 0x391, 0x3041, 0xAC00, 0x905, 0x1F300, 0xC0, 0x5D0))
    return "".join(chr(start + rng.randrange(40)) for _ in range(rng.randrange(1, 8)))
