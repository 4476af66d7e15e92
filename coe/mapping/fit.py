"""From outcomes to a proposal: the best map within a budget, and whether it may replace what is.

outcomes -> cells -> best map -> weights of money and time -> is it better than the incumbent?

The last question is asked out of fold: every prompt is answered by a map that was fitted to the
others. A map always looks good on the prompts that it was chosen by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from coe.errors import Infeasible
from coe.mapping import guard, infeasible, proof, residual
from coe.mapping.estimates import estimate
from coe.mapping.fitted import FittedMap, Residual
from coe.mapping.proof import Change, Interval
from coe.mapping.task import Model, Task, problem_of
from coe.tools import Progress

LABELS_PER_CATEGORY = 200
SOLVER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A fitted map, and what speaks for and against it.

    Attributes:
        fitted: the map.
        changes: one for each category, `NONE` last.
        gain: mean score of the map less that of the incumbent, out of fold, and its paired 95 %
            interval; None where the incumbent was not measured.
        saving: the same of the money of a request, what the incumbent costs less what the map
            does; None where prices are unknown.
        is_accepted: whether it may replace the incumbent.
        reason: why, or why not.
        method: how the map was found, `exact`, `stopped` or `greedy`.
        new: experts with few scores: they count with their lower bounds.
        warnings: what is doubtful.
    """

    fitted: FittedMap
    changes: tuple[Change, ...]
    gain: Interval | None
    saving: Interval | None
    is_accepted: bool
    reason: str
    method: str
    new: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _silent(doing: str, done: int, total: int) -> None:
    """Tell nobody."""


def fit(task: Task, progress: Progress = _silent) -> Proposal:
    """Return the best map within the budget, and whether it may replace the incumbent.

    Args:
        task: what it is fitted to.
        progress: told how far this has come.

    Raises:
        ValueError: there are too few outcomes, an expert or a category without any.
        Infeasible: the budget cannot be met; the message says which part and by how much.
    """
    _check(task)
    progress("finding the best map", 0, 1)
    model = Model.of(task, task.matrix, SOLVER_S)
    progress("finding the best map", 1, 1)
    if model is None:
        raise Infeasible("; ".join(infeasible.why(problem_of(task, estimate(task.matrix)))))
    kept = _neighbours(task, progress)
    chosen = proof.out_of_fold(task, model, kept, progress)
    before = proof.incumbent(task)
    gain, saving = proof.compared(task, chosen, before)
    rows, verdict = guard.compare(
        proof.with_nobody(task.matrix),
        chosen,
        incumbent=None if gain is None else before,
        seed=task.seed,
    )
    accepted, reason = proof.ruling(gain, saving, broken=proof.broken_by(task, before))
    single = next(row for row in rows if row.policy == guard.BEST_SINGLE)
    fitted = replace(
        model.fitted,
        best_single=single.expert,
        guard=rows,
        verdict=verdict,
        residual=kept,
    )
    return Proposal(
        fitted=fitted,
        changes=proof.changes(task, model, (chosen, before), progress),
        gain=gain,
        saving=saving,
        is_accepted=accepted,
        reason=reason,
        method=model.method,
        new=model.new,
        warnings=(*_doubts(task), *model.warnings),
    )


def _neighbours(task: Task, progress: Progress) -> Residual | None:
    """Return the correction by neighbours; None where it is not shown to gain anything."""
    if task.matrix.embeddings is None:
        return None
    progress("trying neighbours", 0, 1)
    found = residual.fit(task.matrix, estimate(task.matrix), task.encoder, seed=task.seed)
    progress("trying neighbours", 1, 1)
    return found


def _check(task: Task) -> None:
    matrix = task.matrix
    if len(matrix.prompts) < 2 * task.folds:
        raise ValueError(
            f"{len(matrix.prompts)} scored prompts are too few for a map; score at least "
            f"{2 * task.folds}, and {LABELS_PER_CATEGORY} for each category where you can"
        )
    unscored = [
        name
        for name, column in zip(matrix.experts, matrix.scores.T, strict=True)
        if np.isnan(column).all()
    ]
    if unscored:
        raise ValueError(f"nothing was scored of the experts {', '.join(unscored)}")
    scored = ~np.isnan(matrix.scores).all(axis=1)
    weight = matrix.probabilities[scored].sum(axis=0)
    empty = [name for name, sum_ in zip(matrix.categories, weight, strict=True) if sum_ < 1]
    empty = [name for name in empty if name not in task.standing.by_hand]
    if empty:
        raise ValueError(
            f"no scored prompt is of the categories {', '.join(empty)}; score some, or keep their "
            "lists by hand: routing.routes.NAME.choose: ranked"
        )


def _doubts(task: Task) -> list[str]:
    """Return what the sample is too small for."""
    matrix = task.matrix
    measured = ~np.isnan(matrix.scores)
    found = []
    labels = int(measured.sum(axis=0).min())
    enough = labels // LABELS_PER_CATEGORY
    if len(matrix.categories) > enough:
        least = LABELS_PER_CATEGORY * len(matrix.categories)
        who = matrix.experts[int(measured.sum(axis=0).argmin())]
        found.append(
            f"{labels} scores of `{who}` are few for {len(matrix.categories)} categories: with "
            f"less than {LABELS_PER_CATEGORY} a category ({least}) expect to choose an expert "
            "that is a point or more under the best"
        )
    holes = 1 - measured.mean()
    if holes > 0:
        found.append(
            f"{holes:.0%} of the scores are missing; experts are compared on the prompts that "
            "both answered"
        )
    return found
