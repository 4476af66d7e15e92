"""What a skill is made of: prompts with their right answers."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

Split = Literal["train", "heldout"]

HELDOUT_ONE_IN = 10
"""One instance in so many is kept from training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One prompt and the answer that counts as right."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A narrow skill: a source of examples and a way to compare answers.

    `draw` takes a random generator and a split. Its held-out examples are worded by templates
    that no training example uses and, where `instances_held_out`, are about instances (a sum, a
    date, a name) that no training example is about.
    """

    name: str
    summary: str
    draw: Callable[[Random, Split], Example]
    normalise: Callable[[str], str]
    normalisation: str
    covers: str
    beyond: str
    instances_held_out: bool = True


def belongs_to(split: Split, instance: str) -> bool:
    """Say whether an instance, named by a stable text, is in a split."""
    held_out = zlib.crc32(instance.encode()) % HELDOUT_ONE_IN == 0
    return held_out == (split == "heldout")


def heldout_examples(skill: Skill, count: int, seed: int) -> list[Example]:
    """Draw distinct held-out prompts, the same for the same seed.

    Fewer than `count` come back when the skill has no more.
    """
    rng = Random(f"{skill.name} heldout {seed}")
    drawn: dict[str, Example] = {}
    for _ in range(count * 40):
        example = skill.draw(rng, "heldout")
        drawn.setdefault(example.prompt, example)
        if len(drawn) == count:
            break
    return list(drawn.values())


def plain(text: str) -> str:
    """Compare loosely: lower case, single spaces, no full stop at the end."""
    return " ".join(text.lower().split()).rstrip(".!")


def value_after_equals(text: str) -> str:
    """Keep what follows the last equals sign: the result of worked steps."""
    return plain(text.rsplit("=", 1)[-1])
