"""Priors: the bandit starts out believing what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from coe.learning import prior
from coe.learning.belief import Settings
from coe.mapping.estimates import estimate
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import OutcomeMatrix

CATEGORIES = ("code", "law")
EXPERTS = ("a", "b")


def matrix(count: int = 400) -> OutcomeMatrix:
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=count)
    worth = np.array([[0.9, 0.4], [0.3, 0.7]])
    unknown = np.full((count, 2), np.nan)
    return OutcomeMatrix(
        prompts=tuple(map(str, range(count))),
        experts=EXPERTS,
        categories=CATEGORIES,
        probabilities=np.eye(2)[labels],
        scores=(generator.random((count, 2)) < worth[labels]).astype(np.float64),
        costs=unknown,
        latencies=unknown,
    )


def fitted() -> FittedMap:
    cells = estimate(matrix())
    return FittedMap.of(cells, cells.mean, EXPERTS, ("a", "b", "a"))


def test_expects_what_the_map_says() -> None:
    known = fitted()
    state = prior.from_map(known)

    rows = prior.features(np.eye(3))
    for name in EXPERTS:
        told = known.quality[:, known.experts.index(name)]
        np.testing.assert_allclose(rows[:2] @ state.beliefs[name].theta, told[:2], atol=0.02)


def test_expects_what_was_rewarded() -> None:
    outcomes = matrix()
    state = prior.from_rewards(prior.features(outcomes.memberships), outcomes.scores, EXPERTS)

    on_code = prior.features(np.eye(3))[0]
    assert state.beliefs["a"].theta @ on_code == pytest.approx(0.9, abs=0.05)
    assert state.beliefs["b"].theta @ on_code == pytest.approx(0.4, abs=0.05)


def test_counts_for_as_many_answers_as_it_is_told() -> None:
    outcomes = matrix()
    x = prior.features(outcomes.memberships)
    strong, weak = (
        prior.from_rewards(x, outcomes.scores, EXPERTS, answers=answers) for answers in (1000, 10)
    )

    moved = [
        float((state.update(x[0], "a", 0.0).beliefs["a"].theta - state.beliefs["a"].theta) @ x[0])
        for state in (strong, weak)
    ]

    assert moved[1] < 10 * moved[0] < 0


def test_scores_that_nobody_measured_are_left_out() -> None:
    outcomes = matrix()
    scores = outcomes.scores.copy()
    scores[::2, 1] = np.nan

    state = prior.from_rewards(prior.features(outcomes.memberships), scores, EXPERTS)

    assert np.isfinite(state.beliefs["b"].theta).all()


def test_takes_only_the_experts_that_the_map_uses() -> None:
    known = fitted()
    some = FittedMap.of(estimate(matrix()), known.quality, ("b",), ("b", "b", "b"))

    state = prior.from_map(some, settings=Settings(share=0.0))

    assert tuple(state.beliefs) == ("b",)
    assert state.settings.share == 0.0


def test_what_does_not_fit_is_refused() -> None:
    x = np.ones((3, 2))

    with pytest.raises(ValueError, match=r"rewards are of shape \(3, 1\), not \(3, 2\)"):
        prior.from_rewards(x, np.ones((3, 1)), EXPERTS)
    with pytest.raises(ValueError, match="nothing was measured of `b`"):
        prior.from_rewards(x, np.array([[1.0, np.nan]] * 3), EXPERTS)
