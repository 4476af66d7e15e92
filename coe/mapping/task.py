"""A map of some prompts: fitted, without asking whether it is any better than another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from coe.mapping.budget import Constraints, Problem
from coe.mapping.estimates import Cells, estimate
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import OutcomeMatrix
from coe.mapping.policy import Standing, choice, weights
from coe.mapping.solve import Method, fill, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

FEW = 200
"""Scores: an expert with less, and with less than half of the others', counts as new."""
FOLDS = 5
RESAMPLES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a map is to be fitted to.

    Attributes:
        matrix: outcomes; every expert has at least one.
        standing: how the composition decides and who answers now.
        constraints: the budget.
        incumbent: the map in use; None where the written lists are.
        encoder: fingerprint of the encoder of the matrix's embeddings; empty where it has none.
        seed: of folds and resamples.
        folds, resamples: how many.
    """

    matrix: OutcomeMatrix
    standing: Standing
    constraints: Constraints = field(default_factory=Constraints)
    incumbent: FittedMap | None = None
    encoder: str = ""
    seed: int = 0
    folds: int = FOLDS
    resamples: int = RESAMPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A map of some prompts, without the proof.

    Attributes:
        fitted: the map; without a guard.
        method: how its experts were chosen.
        new: the experts that count with their lower bounds.
        warnings: what is doubtful about it.
    """

    fitted: FittedMap
    method: Method
    new: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, task: Task, matrix: OutcomeMatrix, time_limit_s: float) -> Model | None:
        """Return the model of some prompts; None where no map is within the budget."""
        cells = estimate(matrix)
        problem = problem_of(task, cells)
        solution = solve(problem, time_limit_s=time_limit_s)
        if solution is None:
            return None
        new = new_experts(task.matrix)
        assignment = solution.names(cells.experts)
        is_open = np.asarray(problem.open_cells().any(axis=0))
        spare = [name for i, name in enumerate(cells.experts) if is_open[i] and name not in new]
        used = fill(problem, sorted(set(assignment), key=cells.experts.index), spare)
        fitted = FittedMap.of(cells, problem.value, used, assignment)
        inside = np.array([name in used for name in cells.experts])
        found, is_met = weights(fitted, matrix.memberships, inside, task.constraints)
        warnings = [solution.note] if solution.note else []
        if not is_met:
            warnings.append(
                "prompts that lie between categories cost more than the budget allows, whatever "
                "the price of money and time"
            )
        # A price moves whole categories: what is said of them is what is done.
        certain = choice(fitted, np.eye(len(cells.categories)), inside, found)
        first = {name: task.standing.first.get(name, "") for name in task.standing.by_hand}
        answers = tuple(
            first[category] if first.get(category) in cells.experts else cells.experts[int(column)]
            for category, column in zip(cells.categories, certain, strict=True)
        )
        priced = replace(fitted, assignment=answers, price_weight=found[0], latency_weight=found[1])
        return cls(fitted=priced, method=solution.method, new=new, warnings=tuple(warnings))


def problem_of(task: Task, cells: Cells) -> Problem:
    """Return the problem of some cells; those of new experts count with their lower bounds.

    Categories that are kept by hand are answered by the first expert of their list.
    """
    new = new_experts(task.matrix)
    is_new = np.array([name in new for name in cells.experts])
    held = {
        name: (first,)
        for name in task.standing.by_hand
        if (first := task.standing.first.get(name)) in cells.experts
    }
    return Problem(
        categories=cells.categories,
        experts=cells.experts,
        value=np.where(is_new, cells.lower, cells.mean),
        traffic=cells.traffic,
        cost=cells.cost,
        latency_s=cells.latency_s,
        constraints=replace(task.constraints, allowed={**held, **task.constraints.allowed}),
    )


def new_experts(matrix: OutcomeMatrix) -> tuple[str, ...]:
    """Return the experts of whom few prompts were scored, compared with the others."""
    counts = (~np.isnan(matrix.scores)).sum(axis=0)
    least = min(FEW, int(counts.max()) / 2)
    return tuple(name for name, count in zip(matrix.experts, counts, strict=True) if count < least)
