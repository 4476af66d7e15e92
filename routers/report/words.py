"""Numbers and texts as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from routers.findings import Evaluation

MISSING = "-"


@dataclass(frozen=True, slots=True)
class Confused:
    """A pair of categories that are mixed up; None is "none of them"."""

    category: str | None
    chosen: str | None
    count: int


def number(value: float, digits: int = 3) -> str:
    """Return a number with that many decimals, or a dash where it is not one."""
    return f"{value:.{digits}f}" if math.isfinite(value) else MISSING


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal, or a dash where it is not one."""
    return f"{100 * share:.1f} %" if math.isfinite(share) else MISSING


def threshold(value: float) -> str:
    """Return a threshold; one that nothing can reach is "closed"."""
    return number(value) if math.isfinite(value) else "closed"


def named(category: str | None) -> str:
    """Return the category's name; None is "(none)"."""
    return "(none)" if category is None else category


def confused(evaluation: Evaluation, most: int) -> list[Confused]:
    """Return the pairs that are mixed up most often under the composition's thresholds."""
    names = (*evaluation.categories, None)
    counts = evaluation.decided.confusion
    pairs = [
        Confused(label, chosen, int(counts[row, column]))
        for row, label in enumerate(names)
        for column, chosen in enumerate(names)
        if row != column and counts[row, column]
    ]
    return sorted(pairs, key=lambda pair: -pair.count)[:most]


def sentences(evaluation: Evaluation) -> Iterator[str]:
    """Yield what a reader should know first, in whole sentences."""
    outcomes = evaluation.outcomes
    if evaluation.inside:
        right, mistaken, refused = (
            100 * count / evaluation.inside
            for count in (outcomes.right, outcomes.mistaken, outcomes.refused)
        )
        yield (
            f"Of 100 texts that belong to a category, {right:.1f} are given it, "
            f"{mistaken:.1f} are given another and {refused:.1f} go to the default expert."
        )
    if evaluation.outside:
        kept = 100 * outcomes.kept_out / evaluation.outside
        yield (
            f"Of 100 texts that belong to none, {kept:.1f} go to the default expert and "
            f"{100 - kept:.1f} are given a category."
        )
    else:
        yield (
            "The rows hold no text that belongs to none of the categories (`category: null`), so "
            "nothing is known of what strangers get."
        )
    if not evaluation.is_calibrated:
        yield "The scores are not calibrated: a threshold on them means little."
    elif math.isfinite(evaluation.calibration.ece):
        off = 100 * evaluation.calibration.ece
        yield f"Its probabilities are {off:.1f} points off the truth on average."


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows as lines with aligned columns; those in `right` are aligned at the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
