"""Texts like those at hand: what a pupil asks a teacher about, labels being dear and texts cheap.

Reference: Wei and Zou 2019, EDA: Easy Data Augmentation Techniques for Boosting Performance on Text
Classification Tasks, EMNLP, section 2 (words dropped and swapped); splices are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from routers.perturbation import typing_noise

WAYS, TIMES = 3, 3
EACH = WAYS * TIMES
DROPPED = 0.15  # of the words
MISTYPED = 0.01  # of the characters


def dropped(words: Sequence[str], random: Random) -> list[str]:
    """Return the words without some; never nothing at all."""
    return [word for word in words if random.random() > DROPPED] or list(words)


def spliced(words: Sequence[str], other: Sequence[str], random: Random) -> list[str]:
    """Return the start of one text with the end of another one."""
    head, tail = random.randint(1, max(1, len(words))), random.randint(0, len(other))
    return [*words[:head], *other[tail:]][: 2 * max(len(words), len(other))]


def shuffled(words: Sequence[str], other: Sequence[str], random: Random, seed: int) -> list[str]:
    """Return the words, two neighbours swapped, one from another text, letters mistyped."""
    changed = list(words)
    if len(changed) > 1:
        at = random.randrange(len(changed) - 1)
        changed[at : at + 2] = changed[at : at + 2][::-1]
        if other:
            changed[random.randrange(len(changed))] = random.choice(other)
    return typing_noise(" ".join(changed), rate=MISTYPED, seed=seed).split()


def variations(texts: Sequence[str], groups: Sequence[int], *, seed: int) -> list[str]:
    """Return EACH variations of each text, made with texts of its own group.

    The first EACH are of the first text, the next of the second, and so on.
    """
    random = Random(seed)  # noqa: S311 - nothing secret is drawn
    members: dict[int, list[list[str]]] = {}
    for text, group in zip(texts, groups, strict=True):
        members.setdefault(group, []).append(text.split())
    made: list[str] = []
    for text, group in zip(texts, groups, strict=True):
        words = text.split()
        for turn in range(TIMES):
            other = random.choice(members[group])
            varied = (
                dropped(words, random),
                spliced(words, other, random),
                shuffled(words, other, random, seed + turn),
            )
            made.extend(map(" ".join, varied))
    return made
