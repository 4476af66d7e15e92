"""What the base model learns: to copy, pick, pair, order and look up, but none of the skills.

The prompts of the skills appear only to be copied or picked from, and the words of their answers
only in bags, out of order, so that no fact, translation or query can be learnt from them.
"""

from collections.abc import Sequence
from random import Random

from experts.recipe.example import Example, Skill

MOST_WORDS = 14
LONGEST_WORD = 24


class Primitives:
    """A source of pre-training examples over the words of some skills."""

    def __init__(
        self, skills: Sequence[Skill], seed: int, *, easy: bool = False, sample: int = 3000
    ) -> None:
        """Collect the loose words of `sample` examples of each skill.

        The easy exercises are short, their words are bare, and most of them ask to copy: copying
        is what a small model learns last and needs most.
        """
        self._skills = skills
        self._most_words = 5 if easy else MOST_WORDS
        rng = Random(f"words {seed}")
        words = set()
        for skill in skills:
            for _ in range(sample):
                example = skill.draw(rng, "train")
                words.update(example.prompt.split())
                words.update(example.answer.split())
        kept = str.isalpha if easy else _is_word
        self._words = sorted(word for word in words if kept(word))
        weights = (8, 8, 5, 12, 7, 3, 3, 2) if easy else (5, 8, 6, 5, 4, 4, 3, 3)
        self._tasks = tuple(
            zip(
                (
                    _numbers,
                    _tables,
                    self._echo,
                    self._plain_echo,
                    self._pick,
                    self._look_up,
                    self._rearrange,
                    self._fill,
                ),
                weights,
                strict=True,
            )
        )

    def draw(self, rng: Random) -> Example:
        """Draw one exercise."""
        tasks, weights = zip(*self._tasks, strict=True)
        example: Example = rng.choices(tasks, weights)[0](rng)
        return example

    def _prompt(self, rng: Random) -> str:
        return " ".join(rng.choice(self._skills).draw(rng, "train").prompt.split()[:24])

    def _bag(self, rng: Random, least: int = 1, most: int | None = None) -> list[str]:
        count = rng.randrange(least, (most or self._most_words) + 1)
        return [
            str(rng.randrange(10 ** rng.randrange(1, 5)))
            if rng.random() < 0.15
            else rng.choice(self._words)
            for _ in range(count)
        ]

    def _text(self, rng: Random) -> str:
        return self._prompt(rng) if rng.random() < 0.5 else " ".join(self._bag(rng))

    def _echo(self, rng: Random) -> Example:
        text = self._text(rng) if rng.random() < 0.9 else _script(rng)
        asked = rng.choice(("echo: {}", "copy: {}", "say: {}", "repeat after me: {}"))
        return Example(prompt=asked.format(text), answer=text)

    def _plain_echo(self, rng: Random) -> Example:
        text = self._prompt(rng)
        return Example(prompt=text, answer=text)

    def _pick(self, rng: Random) -> Example:
        text = self._text(rng)
        words = text.split() or ["none"]
        kind = rng.randrange(6)
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
        if kind == 4:
            return Example(prompt=f"count: {text}", answer=str(len(words)))
        at = rng.randrange(len(words))
        following = " ".join(words[at + 1 : at + 3]) or "none"
        return Example(prompt=f"after {words[at]}: {text}", answer=following)

    def _look_up(self, rng: Random) -> Example:
        keys = rng.sample(self._words, rng.randrange(2, 7))
        pairs = {key: " ".join(self._bag(rng, 1, 2)) for key in keys}
        wanted = rng.sample(keys, rng.randrange(1, min(3, len(keys)) + 1))
        listing = "; ".join(f"{key} = {value}" for key, value in pairs.items())
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
        words = self._bag(rng, 2, 7)
        kind = rng.randrange(6)
        if kind == 0:
            return Example(prompt=f"backwards: {' '.join(words)}", answer=" ".join(words[::-1]))
        if kind == 1:
            return Example(prompt=f"swap: {' '.join(words[:2])}", answer=f"{words[1]} {words[0]}")
        if kind == 2:
            return Example(prompt=f"commas: {' '.join(words)}", answer=", ".join(words))
        if kind == 3:
            return Example(prompt=f"small: {' '.join(words)}", answer=" ".join(words).lower())
        if kind == 4:
            lowered = " ".join(words).lower()
            return Example(
                prompt=f"big: {lowered}", answer=" ".join(w.capitalize() for w in lowered.split())
            )
        return Example(
            prompt=f"quotes: {' '.join(words)}", answer=" ".join(f'"{w}"' for w in words)
        )

    def _fill(self, rng: Random) -> Example:
        frame = self._bag(rng, 3, 9)
        values = [" ".join(self._bag(rng, 1, 2)) for _ in range(rng.randrange(1, 4))]
        names = rng.sample("ABCDEFG", len(values))
        for name in names:
            frame.insert(rng.randrange(len(frame) + 1), f"_{name}_")
        text = filled = " ".join(frame)
        for name, value in zip(names, values, strict=True):
            filled = filled.replace(f"_{name}_", value)
        given = "; ".join(f"{n} is {v}" for n, v in zip(names, values, strict=True))
        return Example(prompt=f"fill: {text} | {given}", answer=filled)


def _is_word(text: str) -> bool:
    return len(text) < LONGEST_WORD and not any(letter.isdigit() for letter in text)


def _numbers(rng: Random) -> Example:
    kind = rng.randrange(7)
    size = rng.randrange(1, 6)
    number = str(rng.randrange(10**size))
    if kind == 0:
        return Example(prompt=f"digits back {number}", answer=number[::-1])
    if kind == 1:
        other = str(rng.randrange(10 ** rng.randrange(1, size + 1)))
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
        several = [str(rng.randrange(1000)) for _ in range(rng.randrange(2, 6))]
        return Example(
            prompt=f"sort {' '.join(several)}", answer=" ".join(sorted(several, key=int))
        )
    if kind == 5:
        one, two = rng.randrange(1000), rng.randrange(1000)
        return Example(prompt=f"larger {one} {two}", answer=str(max(one, two)))
    leading = [int(number[:at]) for at in range(1, len(number) + 1)]
    return Example(prompt=f"grow {number}", answer=" ".join(map(str, leading)))


def _tables(rng: Random) -> Example:
    sign = rng.choice("+-*/")
    asked, found = [], []
    for _ in range(rng.randrange(2, 7)):
        if sign == "+":
            one, two, carry = rng.randrange(10), rng.randrange(10), rng.randrange(2)
            asked.append(f"{one} {two} {carry}" if carry else f"{one} {two}")
            found.append(str(one + two + carry))
        elif sign == "-":
            two = rng.randrange(10)
            one = two + rng.randrange(10)
            asked.append(f"{one} {two}")
            found.append(str(one - two))
        elif sign == "*":
            one, two = rng.randrange(100), rng.randrange(10)
            asked.append(f"{one} {two}")
            found.append(str(one * two))
        else:
            two = rng.randrange(2, 13)
            one = rng.randrange(two * 10)
            asked.append(f"{one} {two}")
            found.append(f"{one // two} {one % two}")
    return Example(prompt=f"table {sign} {'; '.join(asked)}", answer="; ".join(found))


def _script(rng: Random) -> str:
    start = rng.choice((0x4E00, 0x400, 0x620, 0x391, 0x3041, 0xAC00, 0x905, 0x1F300, 0xC0, 0x5D0))
    return "".join(chr(start + rng.randrange(40)) for _ in range(rng.randrange(1, 8)))
