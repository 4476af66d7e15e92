"""How often experts are right: alone, where others are wrong, and by a vote.

Counted on outcomes, never assumed: experts err together, so that rates of their own say little
about what several of them reach (Kim et al. 2025, Correlated errors in large language models,
arXiv 2506.07962: two models that err name the same wrong choice in 60 % of cases).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from coe.mapping.outcomes import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.mapping.outcomes import OutcomeMatrix

    Floats = NDArray[np.float64]
    Marks = NDArray[np.int8]

RIGHT, WRONG, UNKNOWN = 1, 0, -1
STRENGTH = 20.0
"""Prompts that what is known from elsewhere counts for; as in `coe.mapping.estimates`."""
BEFORE = 2.0
"""Prompts that one half counts for where nothing at all is known (Laplace 1774)."""
MOST_KNOWN = 4096
"""Questions whose answers are kept: who may answer differs little from request to request."""
GOOD = 0.5
"""A score from here on is a right answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Who was right together, P patterns of E experts.

    Attributes:
        patterns: shape (P, E): `RIGHT`, `WRONG` or `UNKNOWN`; no two rows are the same.
        counts: shape (P,), prompts of each pattern, above 0.
    """

    patterns: Marks
    counts: Floats

    @classmethod
    def of(cls, marks: Marks) -> Tally:
        """Return the tally of prompts, shape (n, E)."""
        if not len(marks):
            return cls(patterns=marks, counts=np.zeros(0))
        patterns, counts = np.unique(marks, axis=0, return_counts=True)
        return cls(patterns=patterns, counts=counts.astype(np.float64))

    def right(self, wrong: Sequence[int]) -> tuple[Floats, Floats]:
        """Return of each expert the right answers and all of them, shape (E,) both.

        Args:
            wrong: only prompts count that all of these experts, by column, answered wrongly.
        """
        there = (self.patterns[:, list(wrong)] == WRONG).all(axis=1)
        patterns, counts = self.patterns[there], self.counts[there]
        return counts @ (patterns == RIGHT), counts @ (patterns != UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What was measured of E experts.

    A rate is shrunken twice: that of a category towards that of all prompts, and that where others
    are wrong towards that where fewer of them are, each counting for `strength` prompts. With
    nobody wrong it is the posterior mean of a beta-binomial model.

    Attributes:
        experts: E names, in the order of the columns.
        categories: the tally of each category.
        overall: that of all prompts.
        strength: prompts that what is shrunken towards counts for.

    Reference:
        Chen, J. et al. (2025). Symbolic mixture-of-experts. arXiv 2503.05641: experts are recruited
        by their record on the skills that a prompt needs. Ours counts rates and not sums of +1 and
        -1, so that an expert that was asked more often is not better or worse for that.
    """

    experts: tuple[str, ...]
    categories: Mapping[str, Tally]
    overall: Tally
    strength: float = STRENGTH
    _known: dict[tuple[str | None, tuple[int, ...]], Floats] = field(
        default_factory=dict, repr=False, compare=False
    )

    def of(
        self, category: str | None, *, probability: float = 1.0, wrong: Sequence[str] = ()
    ) -> dict[str, float]:
        """Return how often each expert is right where all of some others are wrong.

        Args:
            category: of the request; where it is None or was not measured, all prompts count.
            probability: that the request is of the category, in [0, 1]; otherwise it is any prompt.
            wrong: experts; those that were not measured are left out.
        """
        columns = tuple(sorted({self.experts.index(e) for e in wrong if e in self.experts}))
        found = self._rates(None, columns)
        if category in self.categories and probability > 0:
            found = probability * self._rates(category, columns) + (1 - probability) * found
        return dict(zip(self.experts, found.tolist(), strict=True))

    def only(self, experts: Collection[str]) -> Rates:
        """Return the rates of some of the experts."""
        columns = [i for i, name in enumerate(self.experts) if name in experts]

        def kept(tally: Tally) -> Tally:
            part = Tally(patterns=tally.patterns[:, columns], counts=tally.counts)
            return merged([part], len(columns))

        return Rates(
            experts=tuple(self.experts[i] for i in columns),
            categories={name: kept(tally) for name, tally in self.categories.items()},
            overall=kept(self.overall),
            strength=self.strength,
        )

    def _rates(self, category: str | None, wrong: tuple[int, ...]) -> Floats:
        """Return the rates, shape (E,); counted once for the same question."""
        found = self._known.get((category, wrong))
        if found is None:
            tally = self.overall if category is None else self.categories[category]
            right, count = tally.right(wrong)
            towards, strength = self._towards(category, wrong)
            found = (right + strength * towards) / (count + strength)
            if len(self._known) < MOST_KNOWN:
                self._known[category, wrong] = found
        return found

    def _towards(self, category: str | None, wrong: tuple[int, ...]) -> tuple[Floats, float]:
        if category is not None:
            return self._rates(None, wrong), self.strength
        if not wrong:
            return np.full(len(self.experts), GOOD), BEFORE
        # Of the sets with one fewer that is wrong, the one that leaves the least hope.
        fewer = [self._rates(None, wrong[:i] + wrong[i + 1 :]) for i in range(len(wrong))]
        return np.min(fewer, axis=0), self.strength


def merged(tallies: Iterable[Tally], experts: int) -> Tally:
    """Return the tally of all of their prompts."""
    some = [tally for tally in tallies if len(tally.counts)]
    if not some:
        return Tally.of(np.zeros((0, experts), dtype=np.int8))
    patterns, place = np.unique(
        np.concatenate([tally.patterns for tally in some]), axis=0, return_inverse=True
    )
    counts = np.bincount(place.ravel(), np.concatenate([tally.counts for tally in some]))
    return Tally(patterns=patterns, counts=counts.astype(np.float64))


def count(matrix: OutcomeMatrix, *, strength: float = STRENGTH) -> Rates:
    """Return the rates of some outcomes.

    A prompt counts for its likeliest category, which may be none of them.
    """
    marks = np.where(np.isnan(matrix.scores), UNKNOWN, matrix.scores >= GOOD).astype(np.int8)
    likeliest = matrix.memberships.argmax(axis=1)
    categories = {
        name: Tally.of(marks[likeliest == i])
        for i, name in enumerate((*matrix.categories, NONE))
        if (likeliest == i).any()
    }
    return Rates(
        experts=matrix.experts,
        categories=categories,
        overall=merged(categories.values(), len(matrix.experts)),
        strength=strength,
    )
