"""Which experts to keep and which answers what: the best map within a budget.

    max   sum_c traffic[c] sum_e value[c,e] z[c,e]
    s.t.  sum_e z[c,e] = 1                                   every category is answered
          z[c,e] <= y[e]                                     by an expert that is used
          y[e] <= b[k]                for k in needs[e]      whose blocks are in memory
          sum_k size[k] b[k] <= pool                         which has room for them
          sum_e y[e] <= experts
          sum_c traffic[c] sum_e load[c,e] z[c,e] <= limit   money, latency, active size
          y, b binary; z in [0,1], and binary where there is a row of the last kind

For fixed y the best z is 0 or 1 by itself, unless a mean has a limit: then it may pay to split a
category, which an assignment cannot.

Reference: Composition of Experts, arXiv 2412.01868 (subset and assignment in one mixed-integer
programme). The blocks, so that a base counts once, and the means but the active one are ours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coe.mapping.budget import Problem
from coe.mapping.greedy import greedy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

Method = Literal["exact", "greedy", "stopped"]

EXTRA = "pip install 'coe-gateway[map]'"
_DONE, _OUT_OF_TIME = 0, 1  # what scipy.optimize calls them
_GUESS = 1e-3  # share of the bound that whole numbers are first thought to cost
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """An assignment within the budget.

    Attributes:
        assignment: shape (C,), the expert of each category, by its place.
        objective: mean value over the traffic.
        method: `exact`: there is no better one; `stopped`: the best that was found in time;
            `greedy`: one expert after the other, up to some 12 % under the best.
        note: why it is not exact; empty where it is.
    """

    assignment: Places
    objective: float
    method: Method = "exact"
    note: str = ""

    def names(self, experts: Sequence[str]) -> tuple[str, ...]:
        """Return the expert of each category, by name."""
        return tuple(experts[int(i)] for i in self.assignment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A budget as a row of the programme: coefficients of all columns, as shares of the limit."""

    name: str
    coefficients: Floats
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """The mixed-integer programme but for its objective.

    Attributes:
        cells: shape (K, 2), the category and the expert of each column z.
        first: the first of those columns: those of the experts and of the blocks come before.
        structure: the rows that say what an assignment is, as (matrix, low, high).
        budgets: the rows that can be too tight.
        integral: shape (columns,), 1 where a column is a whole number.
    """

    cells: Places
    first: int
    structure: tuple[Any, Floats, Floats]
    budgets: tuple[Row, ...]
    integral: Floats


def solve(problem: Problem, *, time_limit_s: float = 10.0) -> Solution | None:
    """Return the best assignment within the budget; None where none was found.

    The optimum is exact but for rounding (a budget may be passed by a millionth of it). Where
    scipy is missing, or out of time, the solution says so.

    Args:
        problem: what is known, and what may be used.
        time_limit_s: of the solver.
    """
    cells = problem.open_cells()
    if not cells.any(axis=1).all():
        return None
    if not problem.constraints.limits_subset and not problem.averages():
        return _solution(problem, _best(problem, cells, range(len(problem.experts))))
    try:
        model = programme(problem, cells)
        found, is_late = optimum(model, _gains(problem, model), time_limit_s)
    except ImportError:
        return _greedy(problem, cells, f"scipy is not installed ({EXTRA})")
    if is_late:
        return _in_time(problem, cells, found, time_limit_s)
    return None if found is None else _solution(problem, _assigned(problem, cells, found))


def programme(problem: Problem, cells: NDArray[np.bool_]) -> Programme:
    """Return the programme of a problem whose open cells are these. Raises ImportError."""
    from scipy import sparse

    asked, experts = problem.constraints, problem.experts
    places = np.argwhere(cells)
    subset = asked.limits_subset
    blocks = [name for name, block in asked.blocks.items() if block.pool in asked.pools]
    wide_y, wide_b = (len(experts), len(blocks)) if subset else (0, 0)
    first, k = wide_y + wide_b, len(places)
    columns = first + k
    each = sparse.coo_array(
        (np.ones(k), (places[:, 0], first + np.arange(k))),
        shape=(len(problem.categories), columns),
    )
    parts, low, high = [each], [np.ones(each.shape[0])], [np.ones(each.shape[0])]
    if subset:
        pairs = [*enumerate(places[:, 1].tolist(), start=first), *_block_pairs(problem)]
        implies = _implications(pairs, columns)
        parts.append(implies)
        low.append(np.full(implies.shape[0], -np.inf))
        high.append(np.zeros(implies.shape[0]))
    averages = problem.averages()
    integral = np.ones(columns)
    integral[first:] = 1.0 if averages else 0.0
    return Programme(
        cells=places,
        first=first,
        structure=(sparse.vstack(parts).tocsr(), np.concatenate(low), np.concatenate(high)),
        budgets=tuple(_rows(problem, blocks, places, columns)),
        integral=integral,
    )


def optimum(
    model: Programme, gains: Floats, time_limit_s: float, *, budgets: Sequence[Row] | None = None
) -> tuple[Floats | None, bool]:
    """Return the columns of the best solution, None where there is none; and whether time ran out.

    Most columns are out of the question, and the programme without them is solved in a fraction
    of the time: whoever uses a column loses at least its reduced cost against the bound that the
    continuous relaxation gives (reduced cost fixing; Dantzig, Fulkerson and Johnson 1954). How much
    will be lost is guessed; where it was more, the second round knows how much at most.

    Args:
        model: the programme.
        gains: shape (columns,), what is to be as large as it can.
        time_limit_s: of the solver.
        budgets: the rows that hold; None is all of them.
    """
    rows = _constraints(model, model.budgets if budgets is None else budgets)
    relaxed = _relaxed(gains, rows)
    if relaxed is None:
        return None, False
    bound, reduced = relaxed
    gap, best = _GUESS * max(abs(bound), _GUESS), None
    until = time.monotonic() + time_limit_s
    while True:
        upper = (reduced <= gap).astype(np.float64)
        found, is_late = _milp(model, gains, rows, upper, max(0.0, until - time.monotonic()))
        best = best if found is None else found
        if is_late or upper.all():
            return best, is_late
        value = -np.inf if found is None else float(gains @ found)
        if value >= bound - gap:
            return best, False
        gap = 4 * gap if found is None else bound - value + _ROUNDING


def _constraints(model: Programme, budgets: Sequence[Row]) -> tuple[Any, Floats, Floats]:
    """Return all rows as (matrix, low, high)."""
    from scipy import sparse

    matrix, low, high = model.structure
    if budgets:
        more = sparse.csr_array(np.array([row.coefficients for row in budgets]))
        matrix = sparse.vstack([matrix, more]).tocsr()
        low = np.concatenate([low, np.full(len(budgets), -np.inf)])
        high = np.concatenate([high, [1.0 if row.limit else 0.0 for row in budgets]])
    return matrix, low, high


def _relaxed(gains: Floats, rows: tuple[Any, Floats, Floats]) -> tuple[float, Floats] | None:
    """Return the bound and the columns' reduced costs where nothing need be whole; None without."""
    from scipy.optimize import linprog

    matrix, low, high = rows
    equal = low == high
    found = linprog(
        -gains,
        A_ub=matrix[~equal] if (~equal).any() else None,
        b_ub=high[~equal] if (~equal).any() else None,
        A_eq=matrix[equal],
        b_eq=high[equal],
        bounds=(0, 1),
        method="highs",
    )
    return (-float(found.fun), np.asarray(found.lower.marginals)) if found.status == _DONE else None


def _milp(
    model: Programme,
    gains: Floats,
    rows: tuple[Any, Floats, Floats],
    upper: Floats,
    time_limit_s: float,
) -> tuple[Floats | None, bool]:
    from scipy.optimize import Bounds, LinearConstraint, milp

    found = milp(
        -gains,
        integrality=model.integral,
        bounds=Bounds(0, upper),
        constraints=LinearConstraint(*rows),
        options={"time_limit": time_limit_s, "mip_rel_gap": 0.0},
    )
    is_late = int(found.status) == _OUT_OF_TIME
    return (None if found.x is None else np.asarray(found.x)), is_late


def fill(problem: Problem, used: Sequence[str], spare: Sequence[str]) -> tuple[str, ...]:
    """Return who may be used: those experts, and of the spare ones whoever still has room.

    The spare ones come in order of what they are worth over the whole traffic. A prompt that lies
    between categories may be best answered by an expert who is best in none.
    """
    worth = problem.traffic @ problem.value
    found = list(used)
    order = sorted(spare, key=lambda name: -worth[problem.experts.index(name)])
    for name in order:
        if name not in found and problem.constraints.fits([*found, name]):
            found.append(name)
    return tuple(name for name in problem.experts if name in found)


def _rows(problem: Problem, blocks: Sequence[str], places: Places, columns: int) -> Iterator[Row]:
    asked, experts = problem.constraints, len(problem.experts)
    for pool, limit in asked.pools.items():
        row = np.zeros(columns)
        inside = [asked.blocks[name] for name in blocks]
        sizes = [block.size if block.pool == pool else 0 for block in inside]
        row[experts : experts + len(blocks)] = np.array(sizes, dtype=np.float64) / (limit or 1)
        yield Row(name=f"memory {pool}", coefficients=row, limit=limit)
    if asked.experts is not None:
        row = np.zeros(columns)
        row[:experts] = 1 / (asked.experts or 1)
        yield Row(name="experts", coefficients=row, limit=asked.experts)
    for average in problem.averages():
        row = np.zeros(columns)
        shares = problem.traffic[:, None] * average.shares
        row[columns - len(places) :] = shares[places[:, 0], places[:, 1]]
        yield Row(name=average.name, coefficients=row, limit=average.limit)


def _block_pairs(problem: Problem) -> list[tuple[int, int]]:
    """Return (expert's column, block's column) for whatever an expert needs."""
    asked = problem.constraints
    blocks = [name for name, block in asked.blocks.items() if block.pool in asked.pools]
    place = {name: len(problem.experts) + i for i, name in enumerate(blocks)}
    return [
        (i, place[name])
        for i, expert in enumerate(problem.experts)
        for name in asked.needs.get(expert, ())
        if name in place
    ]


def _implications(pairs: Sequence[tuple[int, int]], columns: int) -> Any:
    """Return rows that say: the first column of a pair is at most the second."""
    from scipy import sparse

    found = np.array(pairs)
    count = len(pairs)
    values = np.concatenate([np.ones(count), -np.ones(count)])
    rows = np.tile(np.arange(count), 2)
    return sparse.coo_array((values, (rows, found.T.ravel())), shape=(count, columns))


def _gains(problem: Problem, model: Programme) -> Floats:
    """Return what every column adds to the mean value; those before the cells add nothing."""
    gains = np.zeros(model.first + len(model.cells))
    categories, experts = model.cells.T
    gains[model.first :] = problem.traffic[categories] * problem.value[categories, experts]
    return gains


def _assigned(problem: Problem, cells: NDArray[np.bool_], columns: Floats) -> Places:
    places = np.argwhere(cells)
    chosen = np.zeros(cells.shape)
    chosen[places[:, 0], places[:, 1]] = columns[len(columns) - len(places) :]
    assignment = np.asarray(chosen.argmax(axis=1))
    best = _best(problem, cells, sorted({int(i) for i in assignment}))
    # Where no mean is limited the best of those used is at least as good; and it settles what the
    # objective leaves open: a category without traffic, and a z that was split between equals.
    return np.where((problem.traffic == 0) | (not problem.averages()), best, assignment)


def _best(problem: Problem, cells: NDArray[np.bool_], used: Sequence[int]) -> Places:
    """Return the best of some experts for each category, where it has an open cell."""
    inside = np.zeros(len(problem.experts), dtype=bool)
    inside[list(used)] = True
    return np.asarray(np.where(cells & inside, problem.value, -np.inf).argmax(axis=1))


def _solution(
    problem: Problem, assignment: Places, method: Method = "exact", note: str = ""
) -> Solution:
    objective = problem.mean(problem.value, assignment)
    return Solution(assignment=assignment, objective=objective, method=method, note=note)


def _greedy(problem: Problem, cells: NDArray[np.bool_], why: str) -> Solution | None:
    assignment = greedy(problem, cells)
    note = f"chosen greedily, up to some 12 % under the best one: {why}"
    return None if assignment is None else _solution(problem, assignment, "greedy", note)


def _in_time(
    problem: Problem, cells: NDArray[np.bool_], found: Floats | None, seconds: float
) -> Solution | None:
    """Return the better of what the solver had when its time was up, and the greedy one."""
    why = f"the solver did not finish in {seconds:g} s"
    fallback = _greedy(problem, cells, why)
    if found is None:
        return fallback
    note = f"the best one found, maybe not the best there is: {why}"
    stopped = _solution(problem, _assigned(problem, cells, found), "stopped", note)
    is_better = fallback is not None and fallback.objective > stopped.objective
    return fallback if is_better else stopped
