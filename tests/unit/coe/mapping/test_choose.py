"""The live choice by a fitted map."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.mapping import NONE, FittedMap, OutcomeMatrix, Residual, policy
from coe.mapping.choose import NEARLY, Chooser
from coe.mapping.estimates import estimate
from coe.mapping.policy import Standing
from coe.mapping.task import Model, Task
from coe.types import Decision, Dial, Embedding, Prospect, RankedCategory

FITTED, CHEAP, BEST = (
    Dial(choose="fitted"),
    Dial(choose="cheapest_good"),
    Dial(choose="fitted", price_weight=0.0, latency_weight=0.0),
)
NAN = float("nan")


def fitted(quality: Any, cost: Any = None, **fields: Any) -> FittedMap:
    """Return a map of categories c0, c1, ... and NONE, and of experts e0, e1, ..."""
    cells = np.array(quality, dtype=np.float64)
    rows, columns = cells.shape
    categories = (*(f"c{i}" for i in range(rows - 1)), NONE)
    experts = tuple(f"e{i}" for i in range(columns))
    prices = np.full(cells.shape, NAN) if cost is None else np.array(cost, dtype=np.float64)
    given_fields = {
        "categories": categories,
        "experts": experts,
        "quality": cells,
        "lower": np.clip(cells - 0.1, 0, 1),
        "upper": np.clip(cells + 0.1, 0, 1),
        "counts": np.full(cells.shape, 50.0),
        "cost": np.broadcast_to(prices, cells.shape).copy(),
        "latency_s": np.full(cells.shape, NAN),
        "traffic": np.full(rows, 1 / rows),
        "used": experts,
        "assignment": tuple(experts[i] for i in cells.argmax(axis=1)),
    }
    return FittedMap(**{**given_fields, **fields})


def routed(*probabilities: float, category: str | None = "c0", **fields: Any) -> Decision:
    ranked = [RankedCategory(f"c{i}", p) for i, p in enumerate(probabilities)]
    given_fields = {
        "ranked": tuple(sorted(ranked, key=lambda row: -row.probability)),
        "category": category,
        "reason": "matched" if category else "below-threshold",
        "calibrated": True,
    }
    return Decision(**{**given_fields, **fields})


def names(chooser: Chooser, decision: Decision, dial: Dial = FITTED) -> list[str]:
    return [row.expert for row in chooser.choose(decision, dial).prospects]


TWO = [[0.9, 0.6], [0.2, 0.8], [0.5, 0.5]]


def test_a_category_that_is_certain_gets_its_best_expert() -> None:
    chooser = Chooser(fitted(TWO))

    assert names(chooser, Decision(category="c0", reason="pinned")) == ["e0", "e1"]
    assert names(chooser, Decision(category="c1", reason="session")) == ["e1", "e0"]


def test_probabilities_weigh_the_cells() -> None:
    """The most probable category's expert is not the best one where the others object."""
    first = Chooser(fitted(TWO)).choose(routed(0.6, 0.4), FITTED).prospects[0]

    assert first.expert == "e1"
    assert first.quality == pytest.approx(0.6 * 0.6 + 0.4 * 0.8)
    assert (first.lower, first.upper) == pytest.approx((first.quality - 0.1, first.quality + 0.1))


def test_what_is_missing_to_one_is_none_of_them() -> None:
    found = Chooser(fitted(TWO)).memberships(routed(0.5, 0.2))

    assert found == pytest.approx([0.5, 0.2, 0.3])


def test_the_probabilities_of_an_abstained_decision_count_as_they_are() -> None:
    """That nothing was probable enough to be chosen is no evidence about the text."""
    found = Chooser(fitted(TWO)).memberships(routed(0.5, 0.4, category=None))

    assert found == pytest.approx([0.5, 0.4, 0.1])


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (routed(0.6, 0.4, calibrated=False), [1, 0, 0]),
        (routed(0.6, 0.4, category="c1", reason="session"), [0, 1, 0]),
        (routed(9.0, 4.0, category=None, calibrated=False), [0, 0, 1]),
        (Decision(reason="router-failed"), [0, 0, 1]),
    ],
)
def test_what_are_no_probabilities_is_certain(decision: Decision, expected: list[float]) -> None:
    assert Chooser(fitted(TWO)).memberships(decision) == pytest.approx(expected)


def test_money_is_weighed_by_the_map_s_price_or_by_the_dial_s() -> None:
    chooser = Chooser(fitted([[0.9, 0.8]] * 2, [[0.5, 0.1]] * 2, price_weight=1.0))
    decision = routed(1.0)

    assert names(chooser, decision) == ["e1", "e0"]
    assert names(chooser, decision, BEST) == ["e0", "e1"]
    assert names(chooser, decision, Dial(choose="fitted", price_weight=0.2)) == ["e0", "e1"]


def test_time_is_weighed_too() -> None:
    chooser = Chooser(fitted([[0.9, 0.8]] * 2, latency_s=np.array([[9.0, 1.0]] * 2)))
    hurried = Dial(choose="fitted", latency_weight=0.1)

    assert names(chooser, routed(1.0)) == ["e0", "e1"]
    assert names(chooser, routed(1.0), hurried) == ["e1", "e0"]


def test_the_cheapest_that_is_good_enough_comes_first() -> None:
    chooser = Chooser(fitted([[0.9, 0.7, 0.8]] * 2, [[3.0, 1.0, 2.0]] * 2))

    def at(floor: float) -> list[str]:
        dial = Dial(choose="cheapest_good", quality_floor=floor)
        return names(chooser, routed(1.0), dial)

    assert at(0.7) == ["e1", "e2", "e0"]
    assert at(0.75) == ["e2", "e0", "e1"]
    assert at(0.95) == ["e0", "e2", "e1"]  # nobody reaches it: the best


def test_without_a_floor_nearly_as_good_as_the_best_is_good_enough() -> None:
    quality = [[0.9, 0.9 - NEARLY, 0.8]] * 2
    chooser = Chooser(fitted(quality, [[3.0, 2.0, 1.0]] * 2))

    assert names(chooser, routed(1.0), CHEAP) == ["e1", "e0", "e2"]


def test_who_may_not_answer_is_no_measure_for_others() -> None:
    chooser = Chooser(fitted([[0.9, 0.7, 0.68]] * 2, [[3.0, 2.0, 1.0]] * 2))

    rows = chooser.choose(routed(1.0), CHEAP, barred=["e0"]).prospects

    assert [row.expert for row in rows] == ["e2", "e1", "e0"]


def test_who_has_no_price_counts_as_the_dearest_and_is_shown_without() -> None:
    chooser = Chooser(fitted([[0.8, 0.8, 0.8]] * 2, [[NAN, 2.0, 1.0]] * 2, price_weight=0.1))

    rows = chooser.choose(routed(1.0), FITTED).prospects

    assert [(row.expert, row.cost) for row in rows] == [("e2", 1.0), ("e0", None), ("e1", 2.0)]


def test_where_nobody_has_a_price_money_does_not_count() -> None:
    rows = Chooser(fitted(TWO, price_weight=9.0)).choose(routed(1.0), FITTED).prospects

    assert [(row.expert, row.cost, row.utility) for row in rows] == [
        ("e0", None, pytest.approx(0.9)),
        ("e1", None, pytest.approx(0.6)),
    ]


def test_experts_that_the_budget_left_out_are_not_ranked() -> None:
    assert names(Chooser(fitted(TWO, used=("e1",))), routed(1.0)) == ["e1"]


def test_experts_and_categories_whose_cells_do_not_hold_are_left_out() -> None:
    chooser = Chooser(fitted(TWO), experts=["e1", "gone"], categories=["c0"])

    stale = chooser.choose(routed(0.1, 0.9, category="c1"), FITTED)

    assert names(chooser, routed(1.0)) == ["e1"]
    assert chooser.memberships(routed(0.7, 0.3)) == pytest.approx([0.7, 0, 0.3])
    assert (stale.choose, stale.prospects) == ("ranked", ())
    assert "stale" in stale.detail
    assert "`c1`" in stale.detail


def test_a_map_of_nobody_ranks_nobody() -> None:
    assert names(Chooser(fitted(TWO), experts=[]), routed(1.0)) == []


def test_a_flagged_map_that_must_not_be_used_lets_the_best_single_expert_answer() -> None:
    chosen = Chooser(fitted(TWO), instead="e1").choose(routed(1.0), FITTED)

    assert chosen.choose == "best_single"
    assert [row.expert for row in chosen.prospects] == ["e1"]
    assert "flagged" in chosen.detail


def test_where_the_best_single_expert_is_gone_the_written_ranking_holds() -> None:
    chosen = Chooser(fitted(TWO), instead="e1", experts=["e0"]).choose(routed(1.0), FITTED)

    assert (chosen.choose, chosen.prospects) == ("ranked", ())
    assert "`e1`" in chosen.detail


def test_neighbours_correct_what_the_cells_say_where_the_encoder_is_theirs() -> None:
    here = np.array([[1.0, 0.0]], dtype=np.float32)
    scores = np.array([[-0.8, 0.2]], dtype=np.float32)
    residual = Residual(embeddings=here, scores=scores, k=1, weight=1.0, encoder="mine")
    chooser = Chooser(fitted(TWO, residual=residual))

    def chosen(encoder: str) -> Any:
        embedding = Embedding(here[0], encoder)
        return chooser.choose(routed(1.0, embedding=embedding), FITTED)

    mine, other = chosen("mine"), chosen("another")

    assert mine.is_corrected
    assert mine.prospects[0].expert == "e1"
    assert mine.prospects[0].quality > other.of("e1").quality
    assert not other.is_corrected
    assert other.prospects[0].expert == "e0"


UNIT = st.floats(0, 1)


@st.composite
def maps(draw: st.DrawFn) -> FittedMap:
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    cells = st.lists(UNIT, min_size=rows * columns, max_size=rows * columns)
    shape = (rows, columns)
    quality = np.array(draw(cells)).reshape(shape)
    cost = np.array(draw(cells)).reshape(shape)
    return fitted(quality, cost, price_weight=draw(UNIT))


@st.composite
def shares(draw: st.DrawFn, count: int) -> list[float]:
    """Probabilities of `count` categories, whose sum is at most 1."""
    weights = draw(st.lists(st.floats(0, 1), min_size=count + 1, max_size=count + 1))
    total = sum(weights) or 1.0
    return [weight / total for weight in weights[:count]]


@given(st.data(), maps())
def test_every_expert_is_ranked_once_and_in_the_order_of_the_dial(
    data: st.DataObject, found: FittedMap
) -> None:
    decision = routed(*data.draw(shares(len(found.categories) - 1)), category=None)
    dial = data.draw(st.sampled_from([FITTED, CHEAP, BEST]))

    rows = Chooser(found).choose(decision, dial).prospects

    assert sorted(row.expert for row in rows) == sorted(found.experts)
    assert all(row.lower <= row.quality + 1e-9 and row.quality <= row.upper + 1e-9 for row in rows)
    if dial is FITTED:
        assert all(a.utility >= b.utility - 1e-11 for a, b in pairwise(rows))
    if dial is BEST:
        assert rows[0].quality >= max(row.quality for row in rows) - 1e-11


@given(st.data(), maps())
def test_memberships_sum_to_one(data: st.DataObject, found: FittedMap) -> None:
    category = data.draw(st.sampled_from([None, *found.categories[:-1]]))
    probabilities = data.draw(shares(len(found.categories) - 1))

    row = Chooser(found).memberships(routed(*probabilities, category=category))

    assert row is not None
    assert row.sum() == pytest.approx(1.0)
    assert (row >= 0).all()


@given(st.data(), maps(), st.floats(1e-3, 1e3), st.floats(1, 1e3))
def test_more_willingness_to_pay_never_buys_less_quality(
    data: st.DataObject, found: FittedMap, willing: float, times: float
) -> None:
    decision = routed(*data.draw(shares(len(found.categories) - 1)), category=None)

    def first(willingness: float) -> Any:
        dial = Dial(choose="fitted", price_weight=0.1 / willingness)
        return Chooser(found).choose(decision, dial).prospects[0]

    stingy, generous = first(willing), first(willing * times)

    assert generous.quality >= stingy.quality - 1e-9


@given(st.data(), maps(), UNIT, UNIT)
def test_a_higher_floor_never_saves_money_while_somebody_reaches_it(
    data: st.DataObject, found: FittedMap, one: float, other: float
) -> None:
    decision = routed(*data.draw(shares(len(found.categories) - 1)), category=None)
    low, high = sorted((one, other))

    def first(floor: float) -> Any:
        dial = Dial(choose="cheapest_good", quality_floor=floor)
        return Chooser(found).choose(decision, dial).prospects[0]

    if first(high).quality >= high:
        assert first(low).cost <= first(high).cost


def outcomes(seed: int, *, count: int = 60, experts: int = 4, categories: int = 3) -> OutcomeMatrix:
    random = np.random.default_rng(seed)
    skill = random.random((categories, experts))
    probabilities = random.dirichlet(np.full(categories + 1, 0.5), count)[:, :-1]
    truth = probabilities.argmax(axis=1)
    return OutcomeMatrix(
        prompts=tuple(f"p{i}" for i in range(count)),
        experts=tuple(f"e{i}" for i in range(experts)),
        categories=tuple(f"c{i}" for i in range(categories)),
        probabilities=probabilities,
        scores=(random.random((count, experts)) < skill[truth]).astype(np.float64),
        costs=random.random((count, experts)),
        latencies=np.full((count, experts), np.nan),
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_with_certainty_and_without_a_budget_the_choice_is_the_fitted_assignment(
    seed: int,
) -> None:
    task = Task(matrix=outcomes(seed), standing=Standing(first={NONE: "e0"}))
    model = Model.of(task, task.matrix, 5.0)
    assert model is not None
    found = model.fitted
    chooser = Chooser(found)

    for category, assigned in zip(found.categories[:-1], found.assignment, strict=False):
        rows = chooser.choose(Decision(category=category, reason="pinned"), FITTED).prospects

        assert rows[0].utility == pytest.approx(of(rows, assigned).utility, abs=1e-9)


def of(rows: tuple[Prospect, ...], expert: str) -> Prospect:
    return next(row for row in rows if row.expert == expert)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0, 2))
def test_live_and_over_many_prompts_at_once_a_map_chooses_alike(seed: int, price: float) -> None:
    """`coe map fit` judges a map by what `policy.routed` chooses: it must be what is served."""
    matrix = outcomes(seed)
    cells = estimate(matrix)
    found = fitted(
        cells.mean,
        cells.cost,
        categories=cells.categories,
        experts=cells.experts,
        price_weight=price,
        used=cells.experts[: 2 + seed % 3],
    )
    chooser = Chooser(found)

    at_once = policy.routed(found, matrix, Standing(first={NONE: "e0"}))
    one_by_one = [
        names(chooser, routed(*row.tolist(), category=f"c{row.argmax()}"))[0]
        for row in matrix.probabilities
    ]

    assert [matrix.experts[i] for i in at_once] == one_by_one
