"""One more expert in a fitted map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.mapping.column import with_expert
from coe.mapping.estimates import estimate
from coe.mapping.fitted import FittedMap, Residual
from coe.mapping.outcomes import NONE, Outcome, OutcomeMatrix, matrix

CATEGORIES = ("easy", "hard")


def outcomes(expert: str, easy: int, hard: int, count: int, cost: float = 1.0) -> list[Outcome]:
    """So many of `count` prompts of each category are answered right."""
    return [
        Outcome(
            prompt=f"{category}{i}",
            expert=expert,
            score=float(i < right),
            category=category,
            cost=cost,
            latency_s=0.5,
        )
        for category, right in zip(CATEGORIES, (easy, hard), strict=True)
        for i in range(count)
    ]


def fitted(*rows: list[Outcome], price_weight: float = 0.0) -> FittedMap:
    experts = [some[0].expert for some in rows]
    flat = [row for some in rows for row in some]
    cells = estimate(matrix(flat, experts=experts, categories=CATEGORIES))
    best = tuple(cells.experts[i] for i in cells.mean.argmax(axis=1))
    return replace(FittedMap.of(cells, cells.mean, cells.experts, best), price_weight=price_weight)


def of(*rows: Outcome) -> OutcomeMatrix:
    return matrix(rows, experts=[rows[0].expert], categories=CATEGORIES)


OLD = fitted(outcomes("a", 160, 60, 200), outcomes("b", 150, 80, 200), outcomes("c", 120, 20, 200))


def test_a_column_comes_and_the_others_stay() -> None:
    grown = with_expert(OLD, of(*outcomes("new", 180, 20, 200)))

    assert grown.experts == ("a", "b", "c", "new")
    assert grown.used == ("a", "b", "c", "new")
    assert np.array_equal(grown.quality[:, :3], OLD.quality)
    assert grown.quality[0, 3] == pytest.approx(0.9, abs=0.02)
    assert grown.quality[1, 3] == pytest.approx(0.1, abs=0.02)
    assert grown.assignment[:2] == ("new", "b")
    assert grown.cost[0, 3] == pytest.approx(1.0)
    assert grown.latency_s[0, 3] == pytest.approx(0.5)


def test_categories_that_were_not_measured_follow_the_others_of_the_pool() -> None:
    easy_only = [row for row in outcomes("new", 290, 0, 300) if row.category == "easy"]

    grown = with_expert(OLD, of(*easy_only))

    assert grown.quality[0, 3] > 0.9
    assert OLD.quality[1].max() - 0.2 < grown.quality[1, 3] < grown.quality[0, 3] - 0.1
    assert grown.upper[1, 3] - grown.lower[1, 3] > 3 * (grown.upper[0, 3] - grown.lower[0, 3])


def test_with_few_prompts_the_lower_end_counts() -> None:
    grown = with_expert(OLD, of(*outcomes("new", 20, 20, 20)))

    assert np.array_equal(grown.quality[:, 3], grown.lower[:, 3])
    assert grown.about["added"]["new"] == {"prompts": 40, "counts_with": "lower"}
    many = with_expert(OLD, of(*outcomes("new", 100, 100, 100)))
    assert (many.quality[:2, 3] > many.lower[:2, 3]).all()


def test_a_category_is_given_to_it_only_where_it_is_worth_its_price() -> None:
    dear = of(*outcomes("new", 180, 90, 200, cost=9.0))

    assert "new" in with_expert(OLD, dear).assignment
    assert "new" not in with_expert(replace(OLD, price_weight=0.1), dear).assignment


def test_its_own_column_is_replaced() -> None:
    once = with_expert(OLD, of(*outcomes("new", 180, 20, 200)))
    twice = with_expert(once, of(*outcomes("new", 20, 10, 200)))

    assert twice.experts == once.experts
    assert twice.quality[0, 3] < 0.2
    assert "new" not in twice.assignment


def test_a_residual_knows_nothing_of_it() -> None:
    residual = Residual(
        embeddings=np.eye(2, dtype=np.float32),
        scores=np.zeros((2, 3), dtype=np.float32),
        k=1,
        weight=0.5,
        encoder="e",
    )

    grown = with_expert(replace(OLD, residual=residual), of(*outcomes("new", 9, 9, 200)))

    assert grown.residual is not None
    assert grown.residual.scores.shape == (2, 4)
    assert np.isnan(grown.residual.scores[:, 3]).all()


def test_what_cannot_be_added_is_told() -> None:
    two = matrix(
        [*outcomes("x", 1, 1, 2), *outcomes("y", 1, 1, 2)],
        experts=["x", "y"],
        categories=CATEGORIES,
    )
    other = matrix(outcomes("x", 1, 1, 2), experts=["x"], categories=("easy",))
    nothing = matrix(outcomes("x", 1, 1, 2), experts=["z"], categories=CATEGORIES)

    with pytest.raises(ValueError, match="one new expert at a time"):
        with_expert(OLD, two)
    with pytest.raises(ValueError, match="other categories"):
        with_expert(OLD, other)
    with pytest.raises(ValueError, match="nothing was scored"):
        with_expert(OLD, nothing)
    alone = fitted(outcomes("x", 1, 1, 2))
    with pytest.raises(ValueError, match="knows nobody but x"):
        with_expert(alone, of(*outcomes("x", 1, 1, 2)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.data())
def test_cells_stay_inside_their_intervals_and_between_0_and_1(
    scores: list[float], choose: st.DataObject
) -> None:
    shares = [choose.draw(st.floats(0, 1)) for _ in scores]
    rows = [
        Outcome(
            prompt=str(i),
            expert="new",
            score=score,
            probabilities={"easy": share / 2, "hard": (1 - share) / 2},
        )
        for i, (score, share) in enumerate(zip(scores, shares, strict=True))
    ]

    grown = with_expert(OLD, of(*rows))

    assert grown.categories[-1] == NONE
    low, mean, high = grown.lower[:, 3], grown.quality[:, 3], grown.upper[:, 3]
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert set(grown.assignment) <= set(grown.experts)
