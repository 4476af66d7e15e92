"""What speaks for a map: measured out of fold, beside the incumbent, and how stable it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from coe.intervals import paired_gain
from coe.mapping import guard
from coe.mapping.budget import PER
from coe.mapping.estimates import values
from coe.mapping.fitted import FittedMap, Residual
from coe.mapping.outcomes import NONE, OutcomeMatrix
from coe.mapping.policy import NOBODY, routed
from coe.mapping.task import Model, Task
from coe.tools import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

Interval = tuple[float, float, float]
"""A mean, and the lower and upper ends of its 95 % interval."""

MARGIN = guard.TOLERANCE
"""Quality that a map may lose where it saves money or meets a budget: one point."""
QUICK_S = 2.0
"""Of the solver, for one of many maps: those of the folds and of the resamples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a category.

    Attributes:
        category: a name, or `NONE`.
        old: who answers it now, where it is certain; empty where that was not measured.
        new: who will.
        prompts: how many of the scored prompts are of it.
        gain: mean score of the new map less that of the incumbent on these prompts, out of fold,
            and its paired 95 % interval.
        same: share of the resamples whose map has `new`, too.
        regret: quality that the maps of the resamples lose here, on average, if the cells are
            taken as the truth.
    """

    category: str
    old: str
    new: str
    prompts: int
    gain: Interval
    same: float
    regret: float


def ruling(
    gain: Interval | None, saving: Interval | None, *, broken: Sequence[str] = ()
) -> tuple[bool, str]:
    """Return whether a map may replace the incumbent, and why.

    1. The paired lower bound of its gain is above zero: it is better.
    2. That of its gain is above minus `MARGIN`, one point, and that of what it saves above zero:
       it is not worse, and cheaper.
    3. That of its gain is above minus `MARGIN`, and the incumbent does not meet the budget: it is
       not worse, and within the budget.
    4. Otherwise the incumbent stays.

    Args:
        gain: mean, lower and upper end; None where the incumbent was not measured.
        saving: the same in money; None where it is unknown.
        broken: the parts of the budget that the incumbent does not meet.
    """
    if gain is None:
        return False, "the incumbent was not measured, so nothing is known of the gain; score it"
    if gain[1] > 0:  # 1
        return True, f"it is better than the incumbent: {points(gain)}"
    if gain[1] > -MARGIN and saving is not None and saving[1] > 0:  # 2
        return True, f"it is not worse than the incumbent ({points(gain)}), and it is cheaper"
    if gain[1] > -MARGIN and broken:  # 3
        what = " and ".join(broken)
        return True, (
            f"it is not worse than the incumbent ({points(gain)}), which does not meet {what}"
        )
    cheaper = " nor shown to be cheaper at equal quality" if saving is not None else ""
    return False, f"it is not shown to be better than the incumbent{cheaper}: {points(gain)}"


def points(gain: Interval) -> str:
    """Write a gain in points of a hundredth, with its interval."""
    mean, low, high = (100 * value for value in gain)
    return f"{mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"


def out_of_fold(task: Task, model: Model, kept: Residual | None, progress: Progress) -> Places:
    """Return who answers each prompt by a map fitted to the other folds, shape (n,).

    Neighbours are of the other folds, too; how many and with what weight is as they are kept.
    """
    count = len(task.matrix.prompts)
    fold = np.random.default_rng(task.seed).permutation(count) % task.folds
    chosen = np.zeros(count, dtype=np.intp)
    for i in range(task.folds):
        progress("measuring it out of fold", i, task.folds)
        train, test = (task.matrix.rows(np.flatnonzero(part)) for part in (fold != i, fold == i))
        # Where the budget is tight the others alone may not meet it; the whole map then answers.
        found = (Model.of(task, train, QUICK_S) or model).fitted
        found = replace(found, residual=_of_others(kept, train, found))
        chosen[fold == i] = routed(found, test, task.standing, encoder=task.encoder)
    return chosen


def _of_others(kept: Residual | None, train: OutcomeMatrix, fitted: FittedMap) -> Residual | None:
    """Return a residual of other prompts, with the same options."""
    if kept is None or train.embeddings is None:
        return None
    over = train.scores - values(fitted.quality, train.memberships)
    return replace(
        kept,
        embeddings=train.embeddings.astype(np.float32),
        scores=np.nan_to_num(over, nan=0.0).astype(np.float32),
    )


def incumbent(task: Task) -> Places:
    """Return who answers each prompt now, shape (n,); `NOBODY` where nobody scored that."""
    if task.incumbent is None:
        return task.standing.written(task.matrix)
    return routed(task.incumbent, task.matrix, task.standing, encoder=task.encoder)


def _of(table: Floats, chosen: Places) -> Floats:
    """Return each prompt's cell of the expert that answers it, NaN for `NOBODY`; shape (n,)."""
    found = table[np.arange(len(chosen)), chosen]
    return np.where(chosen == NOBODY, np.nan, found)


def with_nobody(matrix: OutcomeMatrix) -> OutcomeMatrix:
    """Return the matrix with one more expert, whom nobody measured: column `NOBODY`."""
    hole = np.full((len(matrix.prompts), 1), np.nan)
    return replace(
        matrix,
        experts=(*matrix.experts, ""),
        scores=np.hstack([matrix.scores, hole]),
        costs=np.hstack([matrix.costs, hole]),
        latencies=np.hstack([matrix.latencies, hole]),
    )


def compared(task: Task, chosen: Places, before: Places) -> tuple[Interval | None, Interval | None]:
    """Return the gain and the saving, each None where the prompts do not tell."""
    scores, costs = task.matrix.scores, task.matrix.costs
    now, then = _of(scores, chosen), _of(scores, before)
    if not (np.isfinite(now) & np.isfinite(then)).any():
        return None, None
    gain = paired_gain(now, then, task.seed)
    paid, price = _of(costs, chosen), _of(costs, before)
    if not (np.isfinite(paid) & np.isfinite(price)).any():
        return gain, None
    # Money has no upper end as a score has: the interval is of shares of the dearest request.
    scale = float(np.nanmax([np.nanmax(paid), np.nanmax(price)])) or 1.0
    mean, low, high = paired_gain(price / scale, paid / scale, task.seed)
    return gain, (mean * scale, low * scale, high * scale)


def broken_by(task: Task, before: Places) -> tuple[str, ...]:
    """Return the parts of the budget that the incumbent does not meet."""
    asked, matrix = task.constraints, task.matrix
    names = {matrix.experts[i] for i in np.unique(before) if i != NOBODY}
    means = (
        ("the budget of money", _of(matrix.costs, before) * PER, asked.money),
        ("the budget of time", _of(matrix.latencies, before), asked.latency_s),
    )
    found = [
        what
        for what, values, limit in means
        if limit is not None and np.isfinite(values).any() and np.nanmean(values) > limit
    ]
    if asked.experts is not None and len(names) > asked.experts:
        found.append("the number of experts")
    for pool, limit in asked.pools.items():
        if asked.memory(pool, names) > limit:
            found.append(f"the memory of {pool}")
    return tuple(found)


def changes(
    task: Task, model: Model, answers: tuple[Places, Places], progress: Progress
) -> tuple[Change, ...]:
    """Return what becomes of each category.

    Args:
        task: what the map was fitted to.
        model: the map.
        answers: who answers each prompt out of fold, and who answers it now: shape (n,) both.
        progress: told how far this has come.
    """
    chosen, before = answers
    matrix, fitted = task.matrix, model.fitted
    same, regret = _bootstrap(task, model, progress)
    likeliest = matrix.memberships.argmax(axis=1)
    old = _old(task)
    scores, then = _of(matrix.scores, chosen), _of(matrix.scores, before)
    return tuple(
        Change(
            category=category,
            old=old[i],
            new=fitted.assignment[i],
            prompts=int((likeliest == i).sum()),
            gain=paired_gain(scores[likeliest == i], then[likeliest == i], task.seed),
            same=float(same[i]),
            regret=float(regret[i]),
        )
        for i, category in enumerate(fitted.categories)
    )


def _old(task: Task) -> list[str]:
    """Return who answers each category now, where it is certain."""
    categories = (*task.matrix.categories, NONE)
    if task.incumbent is None:
        none = task.standing.first.get(NONE, "")
        return [task.standing.first.get(name, none) for name in categories]
    held = dict(zip(task.incumbent.categories, task.incumbent.assignment, strict=True))
    return [held.get(name, held[NONE]) for name in categories]


def _bootstrap(task: Task, model: Model, progress: Progress) -> tuple[Floats, Floats]:
    """Return, by category, how often the map of resampled prompts is the same, and the regret.

    The cells of all prompts are taken as the truth for the regret.
    """
    matrix, quality, experts = task.matrix, model.fitted.quality, model.fitted.experts
    rows, count = np.arange(len(quality)), len(matrix.prompts)
    assignment = _places(model.fitted.assignment, experts)
    random = np.random.default_rng(task.seed)
    same, regret, maps = np.zeros(len(rows)), np.zeros(len(rows)), 0
    for done in range(task.resamples):
        progress("resampling", done, task.resamples)
        found = Model.of(task, matrix.rows(random.integers(0, count, count)), QUICK_S)
        if found is None:  # a budget that is only just met is not by every resample
            continue
        other = _places(found.fitted.assignment, experts)
        maps += 1
        same += other == assignment
        regret += quality[rows, assignment] - quality[rows, other]
    if not maps:
        return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    return same / maps, regret / maps


def _places(names: Sequence[str], experts: Sequence[str]) -> Places:
    return np.array([experts.index(name) for name in names], dtype=np.intp)
