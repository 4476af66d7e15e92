"""The model of what MMLU-Pro's outcomes do not hold."""

from __future__ import annotations

import numpy as np
import pytest

from benches.mapping_data import Recorded
from benches.panels_data import SAMPLES, Answers, Choices, drawn_answers

COUNT = 4000


def recorded() -> Recorded:
    random = np.random.default_rng(0)
    scores = (random.random((COUNT, 3)) < [0.7, 0.5, 0.3]).astype(np.float64)
    return Recorded(
        name="made up",
        categories=("x",),
        experts=("a", "b", "c"),
        vectors=np.ones((COUNT, 1)),
        labels=np.zeros(COUNT, dtype=np.intp),
        scores=scores,
        costs=scores,
    )


def drawn(agree: float | None, *, repeat: float = 0.5) -> tuple[Recorded, Choices, Answers]:
    random = np.random.default_rng(1)
    counts = random.integers(4, 11, COUNT)
    given = Choices(right=random.integers(0, 4, COUNT), counts=counts)
    found = recorded()
    return found, given, drawn_answers(found, given, agree, repeat, 0)


@pytest.mark.parametrize(("agree", "share"), [(1.0, 1.0), (0.6, 0.6), (None, 0.19)])
def test_wrong_answers_are_the_same_as_often_as_is_said(agree: float | None, share: float) -> None:
    _, _, answers = drawn(agree)

    first, second = answers.letters[:, 0, 0], answers.letters[:, 1, 0]
    wrong = (answers.scores[:, :2, 0] == 0).all(axis=1)
    assert (first == second)[wrong].mean() == pytest.approx(share, abs=0.04)


def test_who_is_right_chooses_the_right_letter_and_nobody_else_does() -> None:
    _, given, answers = drawn(0.6)

    is_right = answers.letters == given.right[:, None, None]
    assert (is_right == (answers.scores == 1)).all()
    assert (answers.letters < given.counts[:, None, None]).all()
    assert (answers.letters >= 0).all()


def test_the_first_sample_is_what_was_recorded() -> None:
    found, _, answers = drawn(0.6)

    assert (answers.scores[:, :, 0] == found.scores).all()


def test_samples_repeat_the_recorded_answer_and_are_right_as_often() -> None:
    found, _, answers = drawn(0.6, repeat=0.9)
    _, _, loose = drawn(0.6, repeat=0.0)

    same = (answers.letters[:, :, 1:] == answers.letters[:, :, :1]).mean()
    assert same > 0.9
    assert (loose.letters[:, :, 1:] == loose.letters[:, :, :1]).mean() < same
    for sample in range(SAMPLES):
        means = loose.scores[:, :, sample].mean(axis=0)
        assert means == pytest.approx(found.scores.mean(axis=0), abs=0.03)
