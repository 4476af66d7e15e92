"""What experts scored, by category: means with intervals, and what the answers took."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.intervals import wilson
from coe.mapping.outcomes import NONE, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALL = "all"

_CELL = 14
_GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What one expert scored on some prompts.

    Attributes:
        count: prompts.
        mean: of the scores, in [0, 1].
        lower, upper: its 95 % interval (Wilson).
    """

    count: int
    mean: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertRow:
    """One expert's scores.

    Attributes:
        cells: by category; without those of which there is nothing.
        overall: of all prompts.
        cost: mean money of an answer; None where it is not known of any.
        latency_s: mean seconds of an answer.
    """

    expert: str
    cells: Mapping[str, Cell]
    overall: Cell
    cost: float | None
    latency_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Experts by categories, both in the order of the composition; `NONE` comes last."""

    experts: tuple[ExpertRow, ...]
    categories: tuple[str, ...]
    currency: str = ""

    def document(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "categories": list(self.categories),
            "currency": self.currency or None,
            "experts": [
                {
                    "expert": row.expert,
                    "overall": _plain(row.overall),
                    "cost": row.cost,
                    "latency_s": row.latency_s,
                    "categories": {name: _plain(cell) for name, cell in row.cells.items()},
                }
                for row in self.experts
            ],
        }

    def text(self, width: int = 100) -> str:
        """Return it for a terminal of so many columns: of each cell the mean, interval and n."""
        named = max([len(row.expert) for row in self.experts] + [6]) + _GAP
        names = [ALL, *self.categories]
        each = max(1, (width - named) // _CELL)
        blocks = []
        for start in range(0, len(names), each):
            some = names[start : start + each]
            lines = ["".ljust(named) + "".join(_cut(name).ljust(_CELL) for name in some)]
            for row in self.experts:
                cells = [row.overall if name == ALL else row.cells.get(name) for name in some]
                lines.append(row.expert.ljust(named) + "".join(map(_mean, cells)))
                lines.append(" " * named + "".join(map(_interval, cells)))
            blocks.append("\n".join(line.rstrip() for line in lines))
        return "\n\n".join([*blocks, self._usage(named)])

    def _usage(self, named: int) -> str:
        unit = self.currency or "money"
        lines = [
            "".ljust(named) + "answers".rjust(8) + "seconds".rjust(10) + f"{unit}/1000".rjust(14)
        ]
        for row in self.experts:
            seconds = "-" if row.latency_s is None else f"{row.latency_s:.2f}"
            cost = "-" if row.cost is None else f"{1000 * row.cost:.4g}"
            lines.append(
                row.expert.ljust(named)
                + str(row.overall.count).rjust(8)
                + seconds.rjust(10)
                + cost.rjust(14)
            )
        return "\n".join(lines)


def tabulate(
    outcomes: Iterable[Outcome],
    *,
    experts: Sequence[str],
    categories: Sequence[str],
    currency: str = "",
) -> Table:
    """Return the table of outcomes.

    A prompt counts for the category that its file names, or else for the one that the router finds
    most probable; for none of them, if that is the most probable.

    Args:
        outcomes: of these experts.
        experts: rows, in this order; those without an outcome are left out.
        categories: columns, in this order; those without a prompt are left out.
        currency: of the costs.
    """
    found: dict[str, list[Outcome]] = {name: [] for name in experts}
    for outcome in outcomes:
        if outcome.expert in found:
            found[outcome.expert].append(outcome)
    rows = [_row(name, some) for name, some in found.items() if some]
    named = {name for row in rows for name in row.cells}
    return Table(
        experts=tuple(rows),
        categories=tuple(name for name in (*categories, NONE) if name in named),
        currency=currency,
    )


def category_of(outcome: Outcome) -> str:
    """Return the category that an outcome counts for."""
    if outcome.category is not None:
        return outcome.category
    shares = {**outcome.probabilities, NONE: 1.0 - sum(outcome.probabilities.values())}
    return max(shares, key=shares.__getitem__)


def _row(expert: str, outcomes: Sequence[Outcome]) -> ExpertRow:
    grouped: dict[str, list[float]] = {}
    for outcome in outcomes:
        grouped.setdefault(category_of(outcome), []).append(outcome.score)
    return ExpertRow(
        expert=expert,
        cells={name: _cell(scores) for name, scores in grouped.items()},
        overall=_cell([outcome.score for outcome in outcomes]),
        cost=_mean_of([o.cost for o in outcomes if o.cost is not None]),
        latency_s=_mean_of([o.latency_s for o in outcomes if o.latency_s is not None]),
    )


def _cell(scores: Sequence[float]) -> Cell:
    mean: NDArray[np.float64] = np.array([math.fsum(scores) / len(scores)])
    lower, upper = wilson(mean, np.array([float(len(scores))]))
    return Cell(
        count=len(scores), mean=float(mean[0]), lower=float(lower[0]), upper=float(upper[0])
    )


def _mean_of(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _mean(cell: Cell | None) -> str:
    return ("-" if cell is None else f"{cell.mean:.3f}  n={cell.count}").ljust(_CELL)


def _interval(cell: Cell | None) -> str:
    return ("" if cell is None else f"{cell.lower:.2f}-{cell.upper:.2f}").ljust(_CELL)


def _plain(cell: Cell) -> dict[str, float]:
    return {
        "count": cell.count,
        "mean": cell.mean,
        "lower": cell.lower,
        "upper": cell.upper,
    }


def _cut(name: str) -> str:
    return name if len(name) < _CELL else f"{name[: _CELL - 3]}.."
