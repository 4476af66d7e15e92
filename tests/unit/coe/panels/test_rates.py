"""How often experts are right."""

from __future__ import annotations

import numpy as np
import pytest

from coe.mapping.outcomes import OutcomeMatrix
from coe.panels.rates import Rates, count


def rates(scores: list[list[float]], labels: list[int], strength: float = 1.0) -> Rates:
    """Return the rates of `a`, `b`, ... on prompts of the categories `x` and `y`."""
    table = np.array(scores)
    blank = np.full(table.shape, np.nan)
    return count(
        OutcomeMatrix(
            prompts=tuple(map(str, range(len(table)))),
            experts=tuple("abcdef"[: table.shape[1]]),
            categories=("x", "y"),
            probabilities=np.eye(3)[labels][:, :2],
            scores=table,
            costs=blank,
            latencies=blank,
        ),
        strength=strength,
    )


def test_a_rate_is_shrunken_towards_that_of_all_prompts() -> None:
    found = rates([[1, 0], [1, 1], [0, 1]], [0, 0, 1])

    overall = (2 + 2 * 0.5) / (3 + 2)
    assert found.of(None)["a"] == pytest.approx(overall)
    assert found.of("x")["a"] == pytest.approx((2 + overall) / (2 + 1))


def test_a_rate_beside_others_counts_the_prompts_that_they_answer_wrongly() -> None:
    found = rates([[0, 1], [0, 1], [1, 0], [1, 0]], [0] * 4, strength=1e-9)

    assert found.of("x", wrong=["a"])["b"] == pytest.approx(1.0)
    assert found.of("x")["b"] == pytest.approx(0.5)


def test_an_uncertain_category_is_mixed_with_all_prompts() -> None:
    found = rates([[1], [0]], [0, 1])

    sure, anywhere = found.of("x")["a"], found.of(None)["a"]
    assert found.of("x", probability=0.25)["a"] == pytest.approx(0.25 * sure + 0.75 * anywhere)


def test_a_category_that_nobody_measured_says_what_all_prompts_say() -> None:
    found = rates([[1], [0]], [0, 0])

    assert found.of("y") == found.of(None)


def test_what_was_not_measured_counts_for_nothing() -> None:
    found = rates([[1, np.nan], [1, np.nan], [1, 0]], [0, 0, 0])

    assert found.of(None)["b"] == pytest.approx((0 + 1) / (1 + 2))


def test_without_a_prompt_one_half_is_as_good_as_any() -> None:
    assert rates(np.zeros((0, 2)).tolist() or [[np.nan, np.nan]], [2]).of(None)["a"] == 0.5
