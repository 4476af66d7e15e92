"""The guard: is a map worth more than asking one expert everything? Policies side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coe.intervals import paired_gains, wilson
from coe.mapping.fitted import GuardRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.mapping.outcomes import OutcomeMatrix

    Floats = NDArray[np.float64]
    Columns = NDArray[np.intp]

TOLERANCE = 0.01
"""Quality that is of no matter: one point."""
MAP, INCUMBENT, RANDOM = "map", "incumbent", "random"
BEST_SINGLE, CHEAPEST_GOOD = "best single", "cheapest good single"
CATEGORY_ORACLE, ORACLE = "category oracle", "oracle"


def compare(
    matrix: OutcomeMatrix,
    chosen: Columns,
    *,
    incumbent: Columns | None = None,
    cells_from: OutcomeMatrix | None = None,
    seed: int = 0,
) -> tuple[tuple[GuardRow, ...], str]:
    """Return the map beside what it has to beat, and the verdict.

    A policy's quality and cost are means over the prompts on which the expert that it chooses was
    measured; a gain is over the prompts on which both were (see `intervals.paired_gain`).

    random             any of the experts measured on the prompt, each as likely: the mean of them
    best single        `best_single` of `cells_from`
    cheapest good single   `cheapest_good` of `cells_from`; without a row where costs are unknown
    category oracle    the expert that is best on the prompts of the likeliest category, these very
                       prompts: what a map with certain categories and no budget could reach
    oracle             the best expert measured on the prompt, the cheapest where several are best

    The verdict is `better` when the gain over the best single expert is above 0 with its whole
    interval; otherwise, unless the map can be shown to lose less than `TOLERANCE`, `not better`;
    otherwise `dearer` when one of the two single experts costs less and is not shown to be worse;
    otherwise `cheaper` when the best single expert costs more; otherwise `not better`.

    Args:
        matrix: the prompts to compare on: not those that the map was fitted to.
        chosen: shape (n,), the column of the expert that the map chooses.
        incumbent: shape (n,), likewise, of the map in use.
        cells_from: the outcomes that the map was fitted to, with the same columns: single experts
            are chosen there, as the map was. Without it they are chosen on the prompts compared on,
            which flatters them.
        seed: of the intervals.

    Raises:
        ValueError: there is no prompt to compare on, or a policy chooses nothing that was measured.
    """
    seen = matrix if cells_from is None else cells_from
    if not matrix.prompts:
        raise ValueError("there are no outcomes to compare on")
    best, cheap = best_single(seen), cheapest_good(seen)
    policies = [_Policy.of(matrix, MAP, chosen)]
    if incumbent is not None:
        policies.append(_Policy.of(matrix, INCUMBENT, incumbent))
    policies.append(_Policy(RANDOM, "", _row_means(matrix.scores), _row_means(matrix.costs)))
    policies.append(_Policy.single(matrix, BEST_SINGLE, best))
    if cheap is not None:
        policies.append(_Policy.single(matrix, CHEAPEST_GOOD, cheap))
    policies.append(_Policy.of(matrix, CATEGORY_ORACLE, _by_category(matrix)))
    policies.append(_Policy.of(matrix, ORACLE, _best_each(matrix)))
    rows = _beside(policies, seed)
    return rows, _verdict({row.policy: row for row in rows})


def best_single(matrix: OutcomeMatrix) -> int:
    """Return the column of the expert whose mean score has the highest lower bound (Wilson's).

    Of experts measured on as many prompts that is the highest mean; but none is best for having
    answered two prompts well.
    """
    counts = (~np.isnan(matrix.scores)).sum(axis=0)
    means = np.nan_to_num(_column_means(matrix.scores))
    return int(np.argmax(np.where(counts, wilson(means, np.maximum(counts, 1.0))[0], -1.0)))


def cheapest_good(matrix: OutcomeMatrix) -> int | None:
    """Return the column of the cheapest expert that is about as good as the best single one.

    That is one that was measured on at least half of the best single expert's prompts, and is not
    shown to be more than `TOLERANCE` behind there: the upper end of its paired interval reaches
    that. The upper end: with few prompts the lower one would let no expert pass, and the map would
    be compared with nobody cheap just when little is known.

    None where no cost of the best single expert is known.
    """
    best = best_single(matrix)
    costs = _column_means(matrix.costs)
    if np.isnan(costs[best]):
        return None
    common = (~np.isnan(matrix.scores[:, [best]] - matrix.scores)).sum(axis=0)
    # The best expert's gain over each is what the others are behind.
    behind = np.array([low for _, low, _ in paired_gains(matrix.scores[:, best], matrix.scores)])
    is_good = (2 * common >= common[best]) & (behind <= TOLERANCE)
    return int(np.nanargmin(np.where(is_good, costs, np.nan)))


class _Policy:
    """A policy's scores and costs on the prompts, NaN where unknown: shape (n,) both."""

    def __init__(self, name: str, expert: str, scores: Floats, costs: Floats) -> None:
        self.name, self.expert, self.scores, self.costs = name, expert, scores, costs

    @classmethod
    def of(cls, matrix: OutcomeMatrix, name: str, chosen: Columns, expert: str = "") -> _Policy:
        rows = np.arange(len(chosen))
        if np.isnan(matrix.scores[rows, chosen]).all():
            whose = f"{name}{f' ({expert})' if expert else ''}"
            raise ValueError(f"nothing that the policy `{whose}` chooses was measured")
        return cls(name, expert, matrix.scores[rows, chosen], matrix.costs[rows, chosen])

    @classmethod
    def single(cls, matrix: OutcomeMatrix, name: str, column: int) -> _Policy:
        chosen = np.full(len(matrix.prompts), column, dtype=np.intp)
        return cls.of(matrix, name, chosen, matrix.experts[column])


def _beside(policies: list[_Policy], seed: int) -> tuple[GuardRow, ...]:
    scores = np.column_stack([policy.scores for policy in policies])
    gains = paired_gains(policies[0].scores, scores, seed)
    gains[0] = (0.0, 0.0, 0.0)
    return tuple(
        GuardRow(
            policy=policy.name,
            expert=policy.expert,
            quality=float(np.nanmean(policy.scores)),
            cost=_mean(policy.costs),
            gain=gain,
            gain_low=low,
            gain_high=high,
        )
        for policy, (gain, low, high) in zip(policies, gains, strict=True)
    )


def _verdict(rows: dict[str, GuardRow]) -> str:
    best, ours = rows[BEST_SINGLE], rows[MAP].cost
    if best.gain_low > 0:
        return "better"
    if best.gain_low <= -TOLERANCE or ours is None:
        return "not better"
    singles = [best, rows.get(CHEAPEST_GOOD, best)]
    if any(row.gain_low <= 0 and row.cost is not None and row.cost < ours for row in singles):
        return "dearer"
    return "cheaper" if best.cost is not None and best.cost > ours else "not better"


def _by_category(matrix: OutcomeMatrix) -> Columns:
    """Return, per prompt, the expert with the highest mean on the prompts of its category."""
    likeliest = np.argmax(matrix.memberships, axis=1)
    chosen = np.zeros(len(likeliest), dtype=np.intp)
    for category in np.unique(likeliest):
        rows = likeliest == category
        means = _column_means(matrix.scores[rows])
        chosen[rows] = np.argmax(np.nan_to_num(means, nan=-1.0))
    return chosen


def _best_each(matrix: OutcomeMatrix) -> Columns:
    scores = np.nan_to_num(matrix.scores, nan=-1.0)
    is_best = scores == scores.max(axis=1, keepdims=True)
    costs = np.nan_to_num(matrix.costs, nan=np.finfo(np.float64).max)
    return np.asarray(np.argmin(np.where(is_best, costs, np.inf), axis=1))


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _row_means(values: Floats) -> Floats:
    return _column_means(values.T)


def _column_means(values: Floats) -> Floats:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0))
