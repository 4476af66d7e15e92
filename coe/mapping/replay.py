"""Two ways to answer the same requests, side by side: who answers, how well, for what money. Pure.

What an answer is worth is measured where somebody scored that expert on that request, and otherwise
what a fitted map expects of it. The two are never mixed without being counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from coe.intervals import paired_gain
from coe.mapping import guard
from coe.mapping.fitted import GuardRow
from coe.mapping.outcomes import OutcomeMatrix
from coe.mapping.proof import Interval, with_nobody

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NOBODY = ""
"""The expert of a request that is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One way to answer n requests, in the order in which they came.

    Attributes:
        experts: n names; `NOBODY` where the request is refused.
        bases: n names of what the experts run on; an expert that is no adapter is its own.
        scores: shape (n,), measured, in [0, 1]; NaN where nobody measured.
        expected: shape (n,), what a map expects of the quality; NaN where there is none.
        costs: shape (n,), money: measured, or else expected; NaN where neither is known.
    """

    experts: tuple[str, ...]
    bases: tuple[str, ...]
    scores: Floats
    expected: Floats
    costs: Floats

    @property
    def quality(self) -> Floats:
        """Shape (n,): measured where it was, and otherwise expected."""
        return np.where(np.isnan(self.scores), self.expected, self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What one way comes to.

    Attributes:
        quality: mean over the requests whose quality is known for both ways; None without any.
        measured, expected: how many of those are measured, and how many a map's estimate.
        cost: mean money of the requests whose cost is known for both ways; None without any.
        refused: requests that nobody answers.
        swaps: how often the expert is another one than that of the request before.
        base_swaps: how often what it runs on is.
    """

    quality: float | None
    measured: int
    expected: int
    cost: float | None
    refused: int
    swaps: int
    base_swaps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Requests of a category that go from one expert to another; `NOBODY` is a refusal."""

    category: str
    old: str
    new: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What becomes of a category's requests.

    Attributes:
        count, moved: requests, and those that another expert answers.
        gain: mean score less that of before, on those that are measured both ways, with its paired
            95 % interval; None where none of them is, or where no moved one is.
        expected_gain: mean quality less that of before, measured or expected; None without any.
    """

    category: str
    count: int
    moved: int
    gain: Interval | None
    expected_gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a change would do to some requests.

    Attributes:
        before, after: the two ways; before is None where nothing is known of it.
        total: of all requests.
        shares: by category.
        moved: from whom to whom, the most first.
        guard: the new way beside what it has to beat, on the requests that were scored.
        verdict: of the guard; empty where too little was scored for one.
    """

    before: Way | None
    after: Way
    total: Share
    shares: tuple[Share, ...]
    moved: tuple[Moved, ...]
    guard: tuple[GuardRow, ...] = ()
    verdict: str = ""


def compare(
    categories: Sequence[str],
    before: Answers | None,
    after: Answers,
    matrix: OutcomeMatrix | None = None,
    *,
    seed: int = 0,
) -> Replay:
    """Return what a change does.

    Args:
        categories: n names, of the requests.
        before: how they are answered now; None where that is not known.
        after: how they would be.
        matrix: scores of those who may answer after the change, n rows; None without scores.
        seed: of the intervals.
    """
    then = after if before is None else before
    rows, verdict = ((), "") if matrix is None else _guard(matrix, after, before, seed)
    names = list(dict.fromkeys(categories))
    named = np.array(list(categories), dtype=object)
    moved = Counter(
        (category, old, new)
        for category, old, new in zip(categories, then.experts, after.experts, strict=True)
        if old != new
    )
    return Replay(
        before=None if before is None else _way(before, after),
        after=_way(after, then),
        total=_share("all", then, after, np.full(len(named), fill_value=True), seed),
        shares=tuple(_share(name, then, after, named == name, seed) for name in names),
        moved=tuple(
            Moved(category=category, old=old, new=new, count=count)
            for (category, old, new), count in moved.most_common()
        ),
        guard=rows,
        verdict=verdict,
    )


def _way(ours: Answers, other: Answers) -> Way:
    both = ~np.isnan(ours.quality) & ~np.isnan(other.quality)
    paid = ~np.isnan(ours.costs) & ~np.isnan(other.costs)
    is_measured = both & ~np.isnan(ours.scores)
    return Way(
        quality=float(ours.quality[both].mean()) if both.any() else None,
        measured=int(is_measured.sum()),
        expected=int(both.sum() - is_measured.sum()),
        cost=float(ours.costs[paid].mean()) if paid.any() else None,
        refused=sum(name == NOBODY for name in ours.experts),
        swaps=_swaps(ours.experts),
        base_swaps=_swaps(ours.bases),
    )


def _swaps(names: Sequence[str]) -> int:
    """Return how often the next one is another; who is refused swaps nothing."""
    asked = [name for name in names if name != NOBODY]
    return sum(a != b for a, b in pairwise(asked))


def _share(name: str, before: Answers, after: Answers, rows: NDArray[np.bool_], seed: int) -> Share:
    is_moved = np.array(
        [old != new for old, new in zip(before.experts, after.experts, strict=True)], dtype=bool
    )
    measured = rows & ~np.isnan(before.scores) & ~np.isnan(after.scores)
    difference = (after.quality - before.quality)[rows]
    is_known = ~np.isnan(difference)
    # Of requests that stay where they are nobody learns anything.
    tells = bool((measured & is_moved).any()) or (measured.any() and not (rows & is_moved).any())
    return Share(
        category=name,
        count=int(rows.sum()),
        moved=int((rows & is_moved).sum()),
        gain=paired_gain(after.scores[measured], before.scores[measured], seed) if tells else None,
        expected_gain=float(difference[is_known].mean()) if is_known.any() else None,
    )


def _guard(
    matrix: OutcomeMatrix, after: Answers, before: Answers | None, seed: int
) -> tuple[tuple[GuardRow, ...], str]:
    """Return the new way beside what it has to beat; nothing where too little was scored."""
    columns = {name: i for i, name in enumerate(matrix.experts)}
    whole = with_nobody(matrix)
    chosen = np.array([columns.get(name, -1) for name in after.experts], dtype=np.intp)
    is_scored = (~np.isnan(matrix.scores)).sum(axis=1) > 1
    try:
        rows, verdict = guard.compare(
            whole.rows(np.flatnonzero(is_scored)), chosen[is_scored], seed=seed
        )
    except ValueError:
        return (), ""
    if before is None or np.isnan(before.scores[is_scored]).all():
        return rows, verdict
    then, now = before.scores[is_scored], after.scores[is_scored]
    gain, low, high = paired_gain(now, then, seed)
    paid = before.costs[is_scored]
    incumbent = GuardRow(
        policy=guard.INCUMBENT,
        quality=float(np.nanmean(then)),
        cost=None if np.isnan(paid).all() else float(np.nanmean(paid)),
        gain=gain,
        gain_low=low,
        gain_high=high,
    )
    return (
        replace(rows[0], policy="after"),
        replace(incumbent, policy="before"),
        *rows[1:],
    ), verdict
