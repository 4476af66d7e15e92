"""Outcomes: what an expert scored on a prompt; and many of them as one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# The row of what belongs to no category. It is no category's name: those have no parentheses.
NONE = "(none)"

Source = Literal["evaluation", "panel", "shadow", "feedback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one expert scored on one prompt, once.

    Attributes:
        prompt: digest of what was asked and how it was checked; the same prompt has the same one.
        score: in [0, 1].
        probabilities: of the categories, by name; what is missing to 1 is none of them. Empty
            where no router was asked.
        category: the category that the prompt's file names, if it names one.
        cost: money, in the composition's currency; None where no price is known.
        latency_s: from the dispatch to the last token, in seconds.
        revision: digest of what makes the expert answer as it does; scores of another revision are
            another expert's.
        at: when, in seconds since 1970.
    """

    prompt: str
    expert: str
    score: float
    probabilities: Mapping[str, float] = field(default_factory=dict)
    category: str | None = None
    cost: float | None = None
    latency_s: float | None = None
    source: Source = "evaluation"
    revision: str = ""
    at: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a score outside of [0, 1]; NaN is outside. Raises ValueError."""
        if not 0 <= self.score <= 1:
            raise ValueError(f"the score {self.score} of `{self.expert}` is not between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeMatrix:
    """Outcomes as arrays: n prompts, C categories, E experts.

    Attributes:
        prompts: n ids.
        experts: E names.
        categories: C names, without `NONE`.
        probabilities: shape (n, C); each row is at least 0 and sums to at most 1, and what is
            missing is the probability of none of them.
        scores: shape (n, E), in [0, 1]; NaN where nobody measured.
        costs: shape (n, E), money per prompt; NaN where unknown.
        latencies: shape (n, E), seconds; NaN where unknown.
        embeddings: shape (n, dim), unit rows; None where nobody encoded the prompts.
    """

    prompts: tuple[str, ...]
    experts: tuple[str, ...]
    categories: tuple[str, ...]
    probabilities: Floats
    scores: Floats
    costs: Floats
    latencies: Floats
    embeddings: Floats | None = None

    @property
    def memberships(self) -> Floats:
        """Shape (n, C + 1): the probabilities, and that of `NONE` as the last column."""
        rest = np.clip(1.0 - self.probabilities.sum(axis=1, keepdims=True), 0.0, 1.0)
        return np.hstack([self.probabilities, rest])

    def rows(self, index: NDArray[np.intp]) -> OutcomeMatrix:
        """Return the matrix of those prompts, in that order."""
        return OutcomeMatrix(
            prompts=tuple(self.prompts[i] for i in index),
            experts=self.experts,
            categories=self.categories,
            probabilities=self.probabilities[index],
            scores=self.scores[index],
            costs=self.costs[index],
            latencies=self.latencies[index],
            embeddings=None if self.embeddings is None else self.embeddings[index],
        )

    def of(self, experts: Sequence[str]) -> OutcomeMatrix:
        """Return the matrix of those experts, in that order. Raises ValueError for an unknown one.

        Prompts without a score of any of them stay.
        """
        columns = [self.experts.index(name) for name in experts]
        return OutcomeMatrix(
            prompts=self.prompts,
            experts=tuple(experts),
            categories=self.categories,
            probabilities=self.probabilities,
            scores=self.scores[:, columns],
            costs=self.costs[:, columns],
            latencies=self.latencies[:, columns],
            embeddings=self.embeddings,
        )


def matrix(
    outcomes: Iterable[Outcome], *, experts: Sequence[str], categories: Sequence[str]
) -> OutcomeMatrix:
    """Return the matrix of some outcomes; prompts in the order in which they are first seen.

    Several outcomes of one prompt and expert are averaged. Outcomes of experts that are not asked
    for are left out, and so are probabilities of categories that are not.

    Args:
        outcomes: that have probabilities, or the name of their category (then of probability 1).
        experts: the columns.
        categories: without `NONE`.
    """
    column = {name: i for i, name in enumerate(experts)}
    place = {name: i for i, name in enumerate(categories)}
    row: dict[str, int] = {}
    shares: list[Floats] = []
    kept: list[tuple[int, int, Outcome]] = []
    for outcome in outcomes:
        if outcome.expert not in column:
            continue
        if outcome.prompt not in row:
            row[outcome.prompt] = len(row)
            shares.append(_shares(outcome, place))
        kept.append((row[outcome.prompt], column[outcome.expert], outcome))
    shape = (len(row), len(experts))
    return OutcomeMatrix(
        prompts=tuple(row),
        experts=tuple(experts),
        categories=tuple(categories),
        probabilities=np.array(shares).reshape(len(row), len(place)),
        scores=_mean(shape, ((i, j, o.score) for i, j, o in kept)),
        costs=_mean(shape, ((i, j, o.cost) for i, j, o in kept if o.cost is not None)),
        latencies=_mean(
            shape, ((i, j, o.latency_s) for i, j, o in kept if o.latency_s is not None)
        ),
    )


def _shares(outcome: Outcome, place: Mapping[str, int]) -> Floats:
    row = np.zeros(len(place))
    stated = outcome.probabilities or ({outcome.category: 1.0} if outcome.category else {})
    for name, share in stated.items():
        if name in place:
            row[place[name]] = share
    return row


def _mean(shape: tuple[int, int], cells: Iterable[tuple[int, int, float]]) -> Floats:
    """Return the means of the cells, NaN where there are none."""
    total, count = np.zeros(shape), np.zeros(shape)
    for i, j, value in cells:
        total[i, j] += value
        count[i, j] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)
