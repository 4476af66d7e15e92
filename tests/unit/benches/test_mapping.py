from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benches import mapping, mapping_data
from benches.mapping_curve import Curve, mean_curve, price_weights, trace
from benches.mapping_peers import PEERS, neighbours
from coe.mapping import OutcomeMatrix

Floats = NDArray[np.float64]

CURVE = Curve(
    weights=np.array([0.0, 1.0, 2.0]),
    quality=np.array([0.9, 0.8, 0.6]),
    cost=np.array([4.0, 2.0, 1.0]),
)


def sides(prompts: int, seed: int = 0) -> mapping_data.Recorded:
    """Two categories that the vectors tell apart; an expert for each, and the first is dearer."""
    generator = np.random.default_rng(seed)
    labels = np.arange(prompts) % 2
    vectors = np.eye(2)[labels] + 0.05 * generator.standard_normal((prompts, 2))
    return mapping_data.Recorded(
        name="sides",
        categories=("one", "two"),
        experts=("of one", "of two"),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        labels=labels,
        scores=(generator.random((prompts, 2)) < np.array([[0.9, 0.2], [0.4, 0.6]])[labels]) * 1.0,
        costs=np.tile([3.0, 1.0], (prompts, 1)),
    )


def matrices(recorded: mapping_data.Recorded) -> tuple[OutcomeMatrix, OutcomeMatrix]:
    divided = mapping_data.drawn(recorded, 0)
    return (
        recorded.matrix(divided.train, divided.learnt),
        recorded.matrix(divided.test, divided.given),
    )


def test_the_cost_of_a_quality_is_the_least_that_has_it() -> None:
    assert CURVE.cost_of(0.7) == 2.0
    assert CURVE.cost_of(0.95) == np.inf
    assert CURVE.dearest_weight(0.8) == 1.0
    assert CURVE.dearest_weight(0.95) == 0.0
    assert CURVE.at(2.0) == (0.6, 1.0)


def test_curves_of_splits_are_averaged_weight_by_weight() -> None:
    other = replace(CURVE, quality=np.array([0.7, 0.6, 0.4]))

    assert mean_curve([CURVE, other]).quality == pytest.approx([0.8, 0.7, 0.5])


def test_a_dearer_price_of_money_never_costs_more() -> None:
    train, test = matrices(sides(400))
    weights = price_weights(test.costs)

    curve = trace(PEERS["two-step, cells alone"](train, test), test.costs, test, weights)

    assert (np.diff(curve.cost) <= 0).all()
    assert curve.cost[-1] == 1.0
    assert curve.quality[0] == curve.quality.max()


@pytest.mark.parametrize("name", PEERS)
def test_every_method_tells_two_sides_apart(name: str) -> None:
    train, test = matrices(sides(800))

    chosen = PEERS[name](train, test).argmax(axis=1)

    is_one = test.embeddings[:, 0] > 0.5
    least = 0.6 if name == "kNN, k = 5" else 0.95
    assert (chosen == np.where(is_one, 0, 1)).mean() > least


def test_five_neighbours_are_their_mean() -> None:
    train, test = matrices(sides(40))
    cosines = test.embeddings @ train.embeddings.T

    found = neighbours(train, test)

    nearest = np.argsort(-cosines[0])[:5]
    assert found[0] == pytest.approx(train.scores[nearest].mean(axis=0))


def test_a_split_learns_from_seven_of_ten_and_shares_no_row() -> None:
    recorded = sides(100)

    divided = mapping_data.drawn(recorded, 3)

    assert sorted([*divided.train, *divided.test]) == list(range(100))
    assert len(divided.test) == 30
    assert divided.learnt.sum(axis=1) == pytest.approx(np.ones(70))


def test_the_frugal_price_keeps_the_best_experts_quality() -> None:
    train, _ = matrices(sides(600))
    weights = price_weights(train.costs)

    weight = mapping._frugal(train, None, weights)

    best = float(train.scores.mean(axis=0).max())
    curve = trace(PEERS["two-step, cells alone"](train, train), train.costs, train, weights)
    assert weight > 0
    assert curve.at(weight)[0] >= best - 0.02
    assert curve.at(weight)[1] < curve.cost[0] + 1e-9
