"""The exact map within a budget, the greedy one, and why there is none."""

import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from numpy.typing import NDArray

from coe.mapping.budget import PER, Block, Constraints, Problem
from coe.mapping.greedy import greedy
from coe.mapping.infeasible import why
from coe.mapping.solve import fill, solve

EXPERTS = ("a", "b", "c", "d")


def _problem(
    cells: Sequence[Sequence[float]] | NDArray[np.float64],
    constraints: Constraints | None = None,
    **arrays: Any,
) -> Problem:
    value = np.array(cells, dtype=float)
    count, width = value.shape
    return Problem(
        categories=tuple(f"c{i}" for i in range(count)),
        experts=EXPERTS[:width],
        value=value,
        traffic=np.array(arrays.get("traffic", np.full(count, 1 / count))),
        cost=np.array(arrays.get("cost", np.full(value.shape, np.nan))),
        latency_s=np.array(arrays.get("latency_s", np.full(value.shape, np.nan))),
        constraints=constraints or Constraints(),
    )


def _is_within(problem: Problem, assignment: tuple[int, ...]) -> bool:
    """Say it again in the plainest words, independent of the programme."""
    asked, used = problem.constraints, {problem.experts[i] for i in assignment}
    if asked.experts is not None and len(used) > asked.experts:
        return False
    for pool, room in asked.pools.items():
        blocks = {name for expert in used for name in asked.needs[expert]}
        if sum(asked.blocks[n].size for n in blocks if asked.blocks[n].pool == pool) > room:
            return False
    rows = {category: row for row, category in enumerate(problem.categories)}
    is_allowed = all(
        problem.experts[assignment[rows[category]]] in names
        for category, names in asked.allowed.items()
    )
    is_quick = all(
        problem.latency_s[rows[category], assignment[rows[category]]] <= most
        for category, most in asked.latency_of.items()
    )
    return is_allowed and is_quick and _is_within_means(problem, assignment)


def _is_within_means(problem: Problem, assignment: tuple[int, ...]) -> bool:
    asked = problem.constraints
    sizes = np.tile([asked.sizes.get(e, np.nan) for e in problem.experts], (9, 1))
    for limit, load in (
        (asked.money, problem.cost * PER),
        (asked.latency_s, problem.latency_s),
        (asked.active, sizes),
    ):
        if limit is not None:
            mean = sum(problem.traffic[c] * load[c, e] for c, e in enumerate(assignment))
            if not mean <= limit * (1 + 1e-9) + 1e-12:
                return False
    return True


def _brute(problem: Problem) -> float | None:
    shape = problem.value.shape
    worth = [
        sum(problem.traffic[c] * problem.value[c, e] for c, e in enumerate(assignment))
        for assignment in product(range(shape[1]), repeat=shape[0])
        if _is_within(problem, assignment)
    ]
    return max(worth, default=None)


@st.composite
def _problems(draw: st.DrawFn) -> Problem:
    rng = default_rng(draw(st.integers(0, 2**32 - 1)))
    count, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    experts = EXPERTS[:width]
    # Few levels, so that ties and exactly met budgets happen.
    value = rng.integers(0, 9, (count, width)) / 8
    cost = rng.integers(0, 5, (count, width)) / PER
    cost[rng.random(cost.shape) < 0.1] = np.nan
    weights = rng.integers(0, 4, count) + (np.arange(count) == 0)
    adapters = {f"adapter {e}": Block(pool="gpu", size=int(rng.integers(1, 4))) for e in experts}
    base = {"base": Block(pool="gpu", size=int(rng.integers(1, 6)))}
    asked = draw(st.sets(st.sampled_from(["pool", "experts", "money", "latency", "active", "who"])))
    constraints = Constraints(
        pools={"gpu": int(rng.integers(2, 12))} if "pool" in asked else {},
        blocks=adapters | base,
        needs={e: (f"adapter {e}", *(["base"] if rng.random() < 0.6 else [])) for e in experts},
        experts=int(rng.integers(1, 4)) if "experts" in asked else None,
        money=float(rng.integers(0, 4)) if "money" in asked else None,
        latency_s=float(rng.integers(1, 4)) if "latency" in asked else None,
        latency_of={"c0": 2.0} if "latency" in asked and rng.random() < 0.5 else {},
        active=float(rng.integers(1, 4)) if "active" in asked else None,
        sizes={e: float(rng.integers(1, 5)) for e in experts},
        allowed={"c0": tuple(rng.choice(experts, 2))} if "who" in asked else {},
    )
    return _problem(
        value,
        constraints,
        traffic=weights / weights.sum(),
        cost=cost,
        latency_s=rng.integers(0, 5, (count, width)).astype(float),
    )


@settings(max_examples=120, deadline=None)
@given(problem=_problems())
def test_the_solver_finds_what_trying_everything_finds(problem: Problem) -> None:
    best = _brute(problem)

    found = solve(problem)

    if best is None:
        assert found is None
        assert why(problem)
    else:
        assert found is not None
        assert _is_within(problem, tuple(found.assignment))
        assert found.objective == pytest.approx(best, abs=1e-6)
        assert (found.method, found.note) == ("exact", "")


@settings(max_examples=80, deadline=None)
@given(problem=_problems())
def test_the_greedy_map_is_within_the_budget_and_never_better_than_the_best(
    problem: Problem,
) -> None:
    found = greedy(problem, problem.open_cells())

    if found is not None:
        best = _brute(problem)
        assert best is not None
        assert _is_within(problem, tuple(found))
        assert problem.mean(problem.value, found) <= best + 1e-9


def test_a_base_counts_once_for_all_of_its_adapters() -> None:
    blocks = {"base": Block(pool="gpu", size=6), "x": Block(pool="gpu", size=1)}
    blocks |= {"y": Block(pool="gpu", size=1), "big": Block(pool="gpu", size=7)}
    needs = {"a": ("base", "x"), "b": ("base", "y"), "c": ("big",)}
    constraints = Constraints(pools={"gpu": 8}, blocks=blocks, needs=needs)
    problem = _problem([[0.9, 0.1, 0.8], [0.1, 0.9, 0.8]], constraints)

    found = solve(problem)

    assert found.names(problem.experts) == ("a", "b")


def test_a_money_budget_is_met_by_whole_assignments_only() -> None:
    """A split category would cost exactly the budget; an assignment cannot be split."""
    problem = _problem(
        [[0.5, 1.0], [0.5, 0.9]], Constraints(money=4.0), cost=[[0.0, 0.01], [0.0, 0.01]]
    )

    found = solve(problem)

    assert found.names(problem.experts) == ("a", "a")


def test_an_expert_whose_price_nobody_knows_is_not_used_under_a_money_budget() -> None:
    problem = _problem([[0.9, 0.5]], Constraints(money=1.0), cost=[[np.nan, 0.001]])

    assert solve(problem).names(problem.experts) == ("b",)


def test_a_solver_without_time_says_that_its_map_is_not_the_best() -> None:
    rng = default_rng(0)
    constraints = Constraints(
        pools={"gpu": 12},
        blocks={e: Block(pool="gpu", size=5) for e in EXPERTS},
        needs={e: (e,) for e in EXPERTS},
    )
    problem = _problem(rng.random((6, 4)), constraints)

    found = solve(problem, time_limit_s=0.0)

    assert found.method != "exact"
    assert "did not finish in 0 s" in found.note
    assert constraints.fits(sorted(set(found.names(problem.experts))))


def test_without_scipy_the_map_is_greedy_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    possible = _problem([[0.9, 0.2], [0.1, 0.8]], Constraints(experts=1))
    impossible = _problem([[0.9]], Constraints(money=1.0), cost=[[0.002]])

    found = solve(possible)

    assert found is not None
    assert found.names(EXPERTS) in {("a", "a"), ("b", "b")}
    assert found.method == "greedy"
    assert "pip install 'coe-gateway[map]'" in found.note
    assert solve(impossible) is None
    assert "pip install 'coe-gateway[map]'" in why(impossible)[0]


def test_without_budgets_no_solver_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)

    found = solve(_problem([[0.9, 0.2], [0.1, 0.8]]))

    assert found is not None
    assert found.names(EXPERTS) == ("a", "b")
    assert found.method == "exact"


def test_spare_experts_fill_the_room_that_is_left_in_order_of_their_worth() -> None:
    constraints = Constraints(
        pools={"gpu": 6},
        blocks={e: Block(pool="gpu", size=2 if e != "d" else 3) for e in EXPERTS},
        needs={e: (e,) for e in EXPERTS},
    )
    problem = _problem([[0.9, 0.2, 0.5, 0.6]], constraints)

    assert fill(problem, ["a"], ["b", "c", "d"]) == ("a", "d")
    assert fill(problem, ["a"], ["b", "c"]) == ("a", "b", "c")


def _sentence(problem: Problem) -> str:
    assert solve(problem) is None
    return "\n".join(why(problem))


def test_it_is_said_who_does_not_fit_a_pool() -> None:
    size = 9 * 2**30
    constraints = Constraints(
        pools={"gpu0": 8 * 2**30},
        blocks={"a": Block(pool="gpu0", size=size), "b": Block(pool="cpu", size=1)},
        needs={"a": ("a",), "b": ("b",)},
        allowed={"c0": ("a",)},
    )

    said = _sentence(_problem([[0.5, 0.5]], constraints))

    assert said == (
        "no expert that may answer `c0` fits the pool gpu0 of 8GiB; the smallest needs 9GiB"
    )


def test_it_is_said_what_the_cheapest_map_costs() -> None:
    problem = _problem(
        [[0.5, 0.6]], Constraints(money=2.0, currency="EUR"), cost=[[0.0032, 0.0064]]
    )

    said = _sentence(problem)

    assert said == "the cheapest map costs 3.2 EUR per 1,000 requests, the budget is 2 EUR"


def test_it_is_said_how_many_experts_it_takes() -> None:
    constraints = Constraints(experts=1, allowed={"c0": ("a",), "c1": ("b",)})

    said = _sentence(_problem([[0.5, 0.5], [0.5, 0.5]], constraints))

    assert said == "it takes 2 experts to answer every category, the budget is 1"


def test_it_is_said_of_budgets_that_only_together_are_too_small() -> None:
    blocks = {"a": Block(pool="gpu", size=2048), "b": Block(pool="gpu", size=1024)}
    constraints = Constraints(
        pools={"gpu": 1024}, blocks=blocks, needs={"a": ("a",), "b": ("b",)}, money=1.0
    )
    other = {"allowed": {"c1": ("b",)}, "money": 1.5}
    cheap_b = Constraints(
        pools={"gpu": 2048}, blocks=blocks, needs={"a": ("a",), "b": ("b",)}, **other
    )
    cost = [[0.001, 0.003], [0.001, 0.001]]

    alone = _sentence(_problem([[0.5, 0.5]], constraints, cost=[[0.001, 0.003]]))
    together = _sentence(_problem([[0.5, 0.5], [0.5, 0.5]], cheap_b, cost=cost))

    assert alone == "the cheapest map costs 3 USD per 1,000 requests, the budget is 1 USD"
    assert together == (
        "with the other budgets as they are, the experts take 3KiB of the pool gpu at the very "
        "least, the budget is 2KiB\n"
        "with the other budgets as they are, the cheapest map costs 2 USD per 1,000 requests, "
        "the budget is 1.5 USD"
    )


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        (Constraints(latency_of={"c0": 1.0}), "takes at most 1 s; the quickest takes 2 s"),
        (Constraints(latency_s=1.0), "the quickest map takes 2 s on average, the budget is 1 s"),
        (Constraints(money=1.0), "`c0` has a known price: there are a, b"),
        (
            Constraints(allowed={"c0": ("z",)}),
            "may answer `c0` was scored: only z may",
        ),
        (
            Constraints(active=1024, sizes={"a": 4096, "b": 2048}),
            "take 2KiB on average at the very least, the budget is 1KiB",
        ),
    ],
)
def test_every_budget_that_cannot_be_met_is_named(constraints: Constraints, expected: str) -> None:
    said = _sentence(_problem([[0.5, 0.6]], constraints, latency_s=[[2.0, 3.0]]))

    assert expected in said
