"""Where is an arm better? Its effect category by category, with the false alarms of all together.

Of twenty categories one looks better by chance. So the intervals are wide enough that, with the
given probability, all of them hold all true differences at every look (Bonferroni); and the p is
adjusted (Holm).
"""

from __future__ import annotations

from dataclasses import dataclass

from coe.experiments import sequential
from coe.experiments.correction import holm
from coe.experiments.effect import FEWEST, Interval, Kind, between
from coe.experiments.summary import Moments, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryEffect:
    """One category.

    Attributes:
        category: its name.
        control, arm: units.
        interval: of the difference, of all categories and looks together; None with too few units.
        p: always valid, adjusted for the number of categories; 1 with too few units.
    """

    category: str
    control: int
    arm: int
    interval: Interval | None
    p: float


def effects(
    control: Summary, arm: Summary, kind: Kind, scale: float, confidence: float = 0.95
) -> tuple[CategoryEffect, ...]:
    """Return the effects in the categories of either arm, in the order of their names.

    Args:
        control: see `Summary`.
        arm: likewise. Categories are those of the question (the router's), which no
            arm can have changed: a category that an arm itself decides selects its units.
        kind: of the metric.
        scale: see `sequential.log_evidence`.
        confidence: of all categories and all looks together.

    Raises:
        ValueError: the scale is not above 0, or the confidence not within 0 and 1.
    """
    names = sorted({*control.categories, *arm.categories})
    each = 1.0 - (1.0 - confidence) / max(1, len(names))
    found: list[tuple[str, Moments, Moments, Interval | None, float]] = []
    for name in names:
        a, b = (side.categories.get(name, Moments()) for side in (control, arm))
        if min(a.n, b.n) < FEWEST:
            found.append((name, a, b, None, 1.0))
            continue
        effect = between(a, b, kind)
        interval = sequential.interval(effect, scale, each)
        found.append((name, a, b, interval, sequential.p_value(effect, scale)))
    adjusted = holm([p for *_, p in found])
    return tuple(
        CategoryEffect(category=name, control=a.n, arm=b.n, interval=interval, p=p)
        for (name, a, b, interval, _), p in zip(found, adjusted, strict=True)
    )
