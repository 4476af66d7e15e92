"""The map one expert after the other: what is done where the exact solver cannot run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from coe.mapping.budget import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

# What a category that nobody answers yet is worth: less than any answer is.
_UNANSWERED = -1e6
# Prices of the limited means that are tried, in quality for the whole budget.
_PRICES = (0.0, *np.geomspace(1e-3, 1e3, 25))


def greedy(problem: Problem, cells: NDArray[np.bool_]) -> Places | None:
    """Return an assignment within the budget, shape (C,); None where none was found.

    Experts are taken by what they add per share of the budget that they take, then exchanged one
    for one while that helps. Limited means are met by a price on them, the least that does.
    """
    best: Places | None = None
    for price in _PRICES:
        load = sum((row.shares for row in problem.averages()), np.zeros(cells.shape))
        worth = np.where(cells, problem.value - price * np.nan_to_num(load), _UNANSWERED)
        used = _exchanged(problem, worth, _taken(problem, worth))
        found = _assign(worth, used)
        if found is None or not _is_within(problem, found):
            continue
        if best is None or problem.mean(problem.value, found) > problem.mean(problem.value, best):
            best = found
    return best


def _taken(problem: Problem, worth: Floats) -> list[int]:
    """Return experts, taken while one more adds something and fits."""
    used: list[int] = []
    best = np.full(len(worth), _UNANSWERED)
    left = set(range(len(problem.experts)))
    while left:
        gains = _gain(problem, worth, best)
        fitting = [i for i in left if gains[i] > 0 and _fits(problem, [*used, i])]
        if not fitting:
            break
        taken = max(fitting, key=lambda i: gains[i] / _share(problem, used, i))
        used.append(taken)
        left.discard(taken)
        best = np.maximum(best, worth[:, taken])
    return used


def _gain(problem: Problem, worth: Floats, best: Floats) -> Floats:
    """Return what each expert would add to the best so far, shape (E,)."""
    # A category without traffic has to be answered, too.
    weight = np.maximum(problem.traffic, 1e-6)
    return np.asarray(weight @ np.maximum(worth - best[:, None], 0.0))


def _exchanged(problem: Problem, worth: Floats, used: list[int]) -> list[int]:
    """Return the experts after exchanging one for another while that adds something."""
    for _ in range(len(used)):
        now = _total(problem, worth, used)
        trials = [
            (_total(problem, worth, trial), trial)
            for i, _ in enumerate(used)
            for trial in [_with_best(problem, worth, [*used[:i], *used[i + 1 :]])]
        ]
        total, trial = max(trials, default=(now, used), key=lambda pair: pair[0])
        if total <= now + 1e-12:
            return used
        used = trial
    return used


def _with_best(problem: Problem, worth: Floats, used: list[int]) -> list[int]:
    best = worth[:, used].max(axis=1, initial=_UNANSWERED)
    gains = _gain(problem, worth, best)
    for i in np.argsort(-gains):
        if gains[i] <= 0:
            break
        if int(i) not in used and _fits(problem, [*used, int(i)]):
            return [*used, int(i)]
    return used


def _total(problem: Problem, worth: Floats, used: Sequence[int]) -> float:
    weight = np.maximum(problem.traffic, 1e-6)
    return float(weight @ worth[:, list(used)].max(axis=1, initial=_UNANSWERED))


def _share(problem: Problem, used: Sequence[int], i: int) -> float:
    """Return the greatest share of a budget that one more expert takes."""
    asked = problem.constraints
    before = [problem.experts[j] for j in used]
    shares = [1 / asked.experts] if asked.experts else []
    for pool, limit in asked.pools.items():
        more = asked.memory(pool, [*before, problem.experts[i]]) - asked.memory(pool, before)
        shares.append(more / (limit or 1))
    return max([*shares, 1e-3])


def _fits(problem: Problem, used: Sequence[int]) -> bool:
    return problem.constraints.fits([problem.experts[i] for i in used])


def _assign(worth: Floats, used: Sequence[int]) -> Places | None:
    if not used:
        return None
    inside = worth[:, list(used)]
    if (inside.max(axis=1) <= _UNANSWERED).any():
        return None
    return np.array([used[i] for i in inside.argmax(axis=1)], dtype=np.intp)


def _is_within(problem: Problem, assignment: Places) -> bool:
    rows = problem.averages()
    return all(problem.mean(row.load, assignment) <= row.limit * (1 + 1e-9) for row in rows)
