"""How right a gateway's answers are: prompts sent to a model that is routed, as a client would.

`coe.scoring.run` asks every expert; here whoever the gateway chooses is asked, and the question is
how good the choice is. Two such evaluations of the same prompts are compared prompt by prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coe.intervals import paired_gain, wilson
from coe.mapping.outcomes import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALL = "all"

Interval = tuple[float, float, float]
"""A mean, and the lower and upper ends of its 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """One prompt that was answered.

    Attributes:
        digest: of the prompt and its check; see `Row.digest`.
        category: that the prompt's file names; None where it names none.
        expert: who answered.
        score: in [0, 1].
        cost: money; None where it is not known.
        latency_s: of the whole answer, routing included.
    """

    digest: str
    category: str | None
    expert: str
    score: float
    cost: float | None
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The prompts of one category, or all of them.

    Attributes:
        count: prompts that were answered.
        right: mean score with its interval (Wilson).
        experts: who answered how many, the most first.
        gain: mean score less that of the evaluation before, on the prompts that both answered,
            with its paired interval; None without one, or where no prompt is in both.
        moved: how many of these prompts another expert answered before.
    """

    category: str
    count: int
    right: Interval
    experts: Mapping[str, int]
    gain: Interval | None
    moved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation found; `ALL` is the last part.

    Attributes:
        cost: mean money of an answer; None where it is not known of any.
        latency_s: mean seconds of an answer.
        compared: prompts that the evaluation before had, too.
    """

    parts: tuple[Part, ...]
    cost: float | None
    latency_s: float
    compared: int


def evaluate(
    answered: Sequence[Routed],
    before: Mapping[str, tuple[str, float]] | None = None,
    *,
    categories: Sequence[str] = (),
    seed: int = 0,
) -> Evaluation:
    """Return how right the answers are, by category and in all.

    Args:
        answered: at least one.
        before: expert and score of an evaluation before, by digest.
        categories: the order of the parts.
        seed: of the paired intervals.

    Raises:
        ValueError: nothing was answered.
    """
    if not answered:
        raise ValueError("no prompt was answered")
    grouped: dict[str, list[Routed]] = {}
    for row in answered:
        grouped.setdefault(row.category or NONE, []).append(row)
    order = [name for name in (*categories, NONE) if name in grouped]
    order += [name for name in grouped if name not in order]
    known = [row.cost for row in answered if row.cost is not None]
    before = before or {}
    return Evaluation(
        parts=(
            *(_part(name, grouped[name], before, seed) for name in order),
            _part(ALL, answered, before, seed),
        ),
        cost=float(np.mean(known)) if known else None,
        latency_s=float(np.mean([row.latency_s for row in answered])),
        compared=sum(row.digest in before for row in answered),
    )


def _part(
    name: str, rows: Sequence[Routed], before: Mapping[str, tuple[str, float]], seed: int
) -> Part:
    scores = np.array([row.score for row in rows])
    share, count = scores.mean(keepdims=True), np.array([float(len(rows))])
    low, high = wilson(share, count)
    both = [(row, *before[row.digest]) for row in rows if row.digest in before]
    gain = None
    if both:
        then: Floats = np.array([score for _, _, score in both])
        gain = paired_gain(np.array([row.score for row, _, _ in both]), then, seed)
    return Part(
        category=name,
        count=len(rows),
        right=(float(share[0]), float(low[0]), float(high[0])),
        experts=dict(Counter(row.expert for row in rows).most_common()),
        gain=gain,
        moved=sum(row.expert != expert for row, expert, _ in both),
    )
