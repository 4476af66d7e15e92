"""The pacer: the mean cost stays at its ceiling, whatever the prices are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.learning.pacer import AIM, LEAST, MOST, Pacer


def paid(pacer: Pacer, dear: float, gain: float, requests: int = 4000) -> float:
    """Return the mean cost where a dear expert is asked while its gain is worth it."""
    generator = np.random.default_rng(0)
    total = 0.0
    for value in generator.random(requests) * gain:
        cost = dear if value > pacer.worth(dear) else 0.0
        total += cost
        pacer = pacer.paid(cost)
    return total / requests


@given(
    ceiling=st.floats(1e-5, 1e3),
    ratio=st.floats(1.2, 200.0),
    gain=st.floats(0.02, 0.5),
)
def test_keeps_the_ceiling_over_many_orders_of_magnitude(
    ceiling: float, ratio: float, gain: float
) -> None:
    """It starts far too generous: what it overspends until it has learnt is a few dear answers."""
    cost = paid(Pacer(ceiling=ceiling), ceiling * ratio, gain)

    assert cost / ceiling <= AIM + 0.05 + 5 * ratio / 4000


@given(ratio=st.floats(1.2, 20.0), gain=st.floats(0.1, 0.5))
def test_spends_what_it_may(ratio: float, gain: float) -> None:
    assert paid(Pacer(ceiling=1.0), ratio, gain) == pytest.approx(AIM, abs=0.06)


def test_money_is_no_object_where_the_ceiling_is_never_reached() -> None:
    pacer = Pacer(ceiling=1.0, weight=1.0)
    for _ in range(1000):
        pacer = pacer.paid(0.1)

    assert pacer.weight == LEAST
    assert pacer.worth(0.1) < 1e-4


def test_the_weight_has_a_bound() -> None:
    pacer = Pacer(ceiling=1.0)
    for _ in range(1000):
        pacer = pacer.paid(100.0)

    assert pacer.weight == MOST


def test_starts_with_the_least_weight_that_keeps_the_ceiling() -> None:
    generator = np.random.default_rng(0)
    quality = np.column_stack([np.full(500, 0.5), 0.5 + 0.2 * generator.random(500)])
    costs = np.tile([0.0, 4.0], (500, 1))

    pacer = Pacer.started(1.0, quality, costs)

    chosen = (quality - pacer.worth(1.0) * costs).argmax(axis=1)
    assert 4.0 * chosen.mean() == pytest.approx(AIM, abs=0.02)


def test_starts_at_the_least_weight_where_the_ceiling_does_not_bind() -> None:
    quality, costs = np.array([[0.5, 0.9]]), np.array([[0.1, 0.5]])

    assert Pacer.started(1.0, quality, costs).weight == LEAST


def test_what_cannot_be_afforded_at_all_costs_a_ceiling_a_request() -> None:
    pacer = Pacer(ceiling=2.0)

    assert pacer.affordable(1.0) == 1.0
    assert pacer.affordable(8.0) * 8.0 == pytest.approx(2.0)


@pytest.mark.parametrize("ceiling", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ceiling_that_is_none_is_refused(ceiling: float) -> None:
    with pytest.raises(ValueError, match="it must be money above 0"):
        Pacer(ceiling=ceiling)


def test_money_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="the cost is nan"):
        Pacer(ceiling=1.0).paid(float("nan"))
    with pytest.raises(ValueError, match="the price is -1"):
        Pacer(ceiling=1.0).affordable(-1.0)
    with pytest.raises(ValueError, match="quality is of shape"):
        Pacer.started(1.0, np.zeros((2, 2)), np.zeros((2, 3)))
