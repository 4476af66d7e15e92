"""Why there is no map within a budget: which part of it cannot be met, and by how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from coe.mapping.budget import PER, Problem
from coe.mapping.solve import EXTRA, Programme, Row, optimum, programme

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TIME_LIMIT_S = 5.0  # of one question to the solver; a diagnosis asks two for each budget
_NAMED = 5  # of several that share a reason
_SEVERAL = "no map meets all of the budgets together, and raising a single one is not enough"
_BINARY_UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def why(problem: Problem) -> tuple[str, ...]:
    """Return sentences that say what cannot be met, of a problem without a solution.

    1. A category that no expert may answer, whatever else: it is named, with the rule.
    2. A budget that is too small even if there were no other: what it would have to be.
    3. Budgets that only together are too small: what each would have to be if the others stayed.
    """
    closed = tuple(_closed(problem))
    if closed:
        return closed
    try:
        model = programme(problem, problem.open_cells())
    except ImportError:
        return (f"no map within the budget was found, which proves nothing: {EXTRA}",)
    alone = [_least(model, row, ()) for row in model.budgets]
    too_small = [
        _too_small(problem, row, least)
        for row, least in zip(model.budgets, alone, strict=True)
        if least is not None and least > row.limit * (1 + 1e-6)
    ]
    if too_small:
        return tuple(too_small)
    return tuple(_together(problem, model)) or (_SEVERAL,)


def _closed(problem: Problem) -> Iterator[str]:
    """Yield a sentence for the categories that the rules for single cells leave to nobody."""
    reasons: dict[str, list[str]] = {}
    for i, category in enumerate(problem.categories):
        left = np.ones(len(problem.experts), dtype=bool)
        for rule, cells in problem.rules():
            if not (left & cells[i]).any():
                reasons.setdefault(_why_closed(problem, i, rule, left), []).append(f"`{category}`")
                break
            left &= cells[i]
    for reason, categories in reasons.items():
        yield f"no expert that may answer {_listed(categories)} {reason}"


def _why_closed(problem: Problem, i: int, rule: str, left: NDArray[np.bool_]) -> str:
    """Return what none of the experts that are left for a category does."""
    asked, category = problem.constraints, problem.categories[i]
    names = [problem.experts[j] for j in np.flatnonzero(left)]
    if rule == "allowed":
        return f"was scored: only {', '.join(asked.allowed[category]) or 'nobody'} may"
    if rule.startswith("known "):
        what = {"money": "price", "latency": "time", "active": "size"}[rule.removeprefix("known ")]
        return f"has a known {what}: there are {_listed(names)}"
    if rule == "latency_of":
        times = problem.latency_s[i, left]
        known = times[np.isfinite(times)]
        least = f"the quickest takes {known.min():.3g} s" if len(known) else "no time is known"
        return f"takes at most {asked.latency_of[category]:g} s; {least}"
    clauses = []
    for pool, limit in asked.pools.items():
        smallest = min(asked.memory(pool, (name,)) for name in names)
        if smallest > limit:
            room, needed = format_bytes(limit), format_bytes(smallest)
            clauses.append(f"fits the pool {pool} of {room}; the smallest needs {needed}")
    return "; nor one that ".join(clauses) or "fits every pool at once"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join([*names[:_NAMED], *([f"{more} more"] if more > 0 else [])])


def _together(problem: Problem, model: Programme) -> Iterator[str]:
    for row in model.budgets:
        others = [other for other in model.budgets if other is not row]
        least = _least(model, row, others)
        if least is not None and least > row.limit:
            yield f"with the other budgets as they are, {_too_small(problem, row, least)}"


def _least(model: Programme, row: Row, others: Sequence[Row]) -> float | None:
    """Return the least that a budget can be, in its own unit; None where others cannot be met."""
    found, _ = optimum(model, -row.coefficients, _TIME_LIMIT_S, budgets=others)
    return None if found is None else float(row.coefficients @ found) * (row.limit or 1.0)


def _too_small(problem: Problem, row: Row, least: float) -> str:
    asked = problem.constraints
    if row.name == "money":
        budget, needed = _money(row.limit, asked.currency), _money(least, asked.currency)
        return f"the cheapest map costs {needed} per {PER:,} requests, the budget is {budget}"
    if row.name == "latency":
        return f"the quickest map takes {least:.3g} s on average, the budget is {row.limit:g} s"
    if row.name == "active":
        return (
            f"the experts that answer take {format_bytes(least)} on average at the very least, "
            f"the budget is {format_bytes(row.limit)}"
        )
    if row.name == "experts":
        return (
            f"it takes {round(least)} experts to answer every category, "
            f"the budget is {round(row.limit)}"
        )
    pool = row.name.removeprefix("memory ")
    return (
        f"the experts take {format_bytes(least)} of the pool {pool} at the very least, "
        f"the budget is {format_bytes(row.limit)}"
    )


def _money(amount: float, currency: str) -> str:
    return f"{amount:.4g} {currency}"


def format_bytes(size: float) -> str:
    """Write bytes for people: `8GiB`, `1.5GiB`, `640B`."""
    for scale, unit in _BINARY_UNITS:
        if size >= scale:
            return f"{size / scale:.4g}{unit}"
    return f"{size:.4g}B"
