"""MMLU-Pro's outcomes with answers, for `benches.panels`: who wrote which letter is a model.

The data say who was right, and not what the others wrote instead. So the wrong letters are drawn:
each question has one distractor that draws most, and a wrong answer is that one with a probability
such that two wrong answers are the same with a given share. Nor do they hold several samples of an
expert: a sample repeats the recorded answer with a given probability, and is otherwise drawn anew,
right as often as experts that find the question as hard are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benches.mapping_data import PARAMETERS, Columns, Floats, Recorded
from coe.extract import LETTERS
from coe.panels.games import Recording
from coe.panels.play import Sample

Letters = NDArray[np.int8]

SAMPLES = 5
"""Of each expert, the recorded answer first."""
ALL_AGREE, AS_MEASURED, ALL_DIFFER = "all agree", "60 % agree", "uniform"
AGREE: dict[str, float | None] = {ALL_AGREE: 1.0, AS_MEASURED: 0.6, ALL_DIFFER: None}
"""How often two wrong answers are the same; None: as often as chance has it. 60 % is what Kim et
al. (2025, arXiv 2506.07962) count on a leaderboard of questions with four choices; these have up to
ten, of which fewer should agree, so it is the hardest on panels that is plausible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The questions' choices.

    Attributes:
        right: shape (n,), the place of the right one.
        counts: shape (n,), how many there are, at least 2.
    """

    right: Columns
    counts: Columns


def choices(folder: Path) -> Choices:
    """Read the choices of the questions that every expert was asked, as `mapping_data.mmlu_pro`."""
    from pyarrow import parquet

    table = parquet.read_table(folder / "mmlu_pro.parquet").to_pydict()
    scores = np.array([table[f"score:{name}"] for name in PARAMETERS], dtype=np.float64)
    whole = ~np.isnan(scores).any(axis=0)
    right = np.array([LETTERS.index(letter) for letter in table["answer"]])
    counts = np.array([len(json.loads(options)) for options in table["options"]])
    return Choices(right=right[whole], counts=np.maximum(counts, np.maximum(right + 1, 2))[whole])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What E experts wrote on n questions, `SAMPLES` times.

    Attributes:
        letters: shape (n, E, SAMPLES), places of letters.
        scores: shape (n, E, SAMPLES), 0 or 1.
    """

    letters: Letters
    scores: Floats

    def recordings(self, rows: Columns, recorded: Recorded, memberships: Floats) -> list[Recording]:
        """Return some questions with their drafts, of the categories that a router finds."""
        known = [
            [Sample(text=f"The answer is ({letter}).", score=score) for score in (0.0, 1.0)]
            for letter in LETTERS
        ]
        names = (*recorded.categories, None)
        return [
            Recording(
                prompt=str(row),
                category=names[int(shares.argmax())],
                probability=float(shares.max()),
                samples={
                    expert: tuple(
                        known[letter][int(score)] for letter, score in zip(*pair, strict=True)
                    )
                    for expert, *pair in zip(
                        recorded.experts,
                        self.letters[row].tolist(),
                        self.scores[row].tolist(),
                        strict=True,
                    )
                },
            )
            for row, shares in zip(rows.tolist(), memberships, strict=True)
        ]


def drawn_answers(
    recorded: Recorded, given: Choices, agree: float | None, repeat: float, seed: int
) -> Answers:
    """Return answers: the recorded scores, and a model of what they do not hold.

    Args:
        recorded: who was right.
        given: the choices.
        agree: how often two wrong answers are the same; None: as chance has it.
        repeat: how often a sample repeats the recorded answer.
        seed: of what is drawn.
    """
    random = np.random.default_rng(seed)
    first = recorded.scores[:, :, None].repeat(SAMPLES, axis=2)
    is_repeated = random.random(first.shape) < repeat
    is_repeated[:, :, 0] = True
    fresh = random.random(first.shape) < _eases(recorded.scores)[:, :, None]
    scores = np.where(is_repeated, first, fresh)
    letters = _letters(scores, given, agree, random)
    letters = np.where(is_repeated, letters[:, :, :1], letters)
    return Answers(letters=letters.astype(np.int8), scores=scores)


def _eases(scores: Floats) -> Floats:
    """Return how often each expert is right on questions that are as hard for the others.

    Shape (n, E): its mean score where as many of the others are right.
    """
    others = (scores.sum(axis=1, keepdims=True) - scores).astype(np.intp)
    found = np.empty(scores.shape)
    for column, count in enumerate(others.T):
        sums = np.bincount(count, scores[:, column], minlength=scores.shape[1])
        times = np.bincount(count, minlength=scores.shape[1])
        found[:, column] = (sums / np.maximum(times, 1))[count]
    return found


def _letters(
    scores: Floats, given: Choices, agree: float | None, random: np.random.Generator
) -> NDArray[np.intp]:
    """Return a letter for each score: the right one, the distractor, or any other."""
    wrong = given.counts - 1
    drawn = _drawn(agree, wrong)
    # Places among the wrong choices, 0 being the distractor; then shuffled for each question.
    shape = scores.shape
    other = 1 + np.floor(random.random(shape) * np.maximum(wrong - 1, 1)[:, None, None])
    is_other = (random.random(shape) >= drawn[:, None, None]) & (wrong > 1)[:, None, None]
    place = np.where(is_other, other, 0).astype(np.intp)
    shift = np.floor(random.random(len(wrong)) * wrong).astype(np.intp)
    place = (place + shift[:, None, None]) % wrong[:, None, None]
    place = place + (place >= given.right[:, None, None])
    return np.where(scores > 0, given.right[:, None, None], place)


def _drawn(agree: float | None, wrong: Columns) -> Floats:
    """Return how often a wrong answer is the distractor, of so many wrong choices: shape (n,).

    The root a of a^2 + (1 - a)^2 / (wrong - 1) = agree, at least 1 / wrong.
    """
    chance = 1.0 / wrong
    if agree is None:
        return np.asarray(chance)
    rest = np.maximum(wrong - 1, 1)
    square, linear, plain = 1 + 1 / rest, -2 / rest, 1 / rest - agree
    root = np.sqrt(np.maximum(linear**2 - 4 * square * plain, 0.0))
    return np.where(wrong > 1, np.maximum((root - linear) / (2 * square), chance), 1.0)
