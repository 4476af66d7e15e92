"""The live choice: from a decision and a fitted map to experts, the best for this query first.

    q(e) = sum_c m(c) M[c, e]   (+ what measured neighbours of the text say)
    U(e) = q(e) - price_weight * cost(e) - latency_weight * latency(e)

m are the decision's probabilities, with those of none of the categories as `NONE`. A decision that
is certain (the client named the category, the conversation keeps it, or the scores are no
probabilities) has m = 1 for its category. An abstained one is believed only as far as its best
category is probable, and the rest is `NONE`.

One fitted map serves every point of the curve of quality over cost: a willingness to pay of w for
ten points of quality is a price weight of 0.1 / w. More willingness never buys less quality (less
the latency's part), since the greatest of some straight lines is convex.

The bench of the mapping calls, once per map and then per prompt:

    chooser = Chooser(fitted)
    chosen = chooser.rank(memberships, Dial(choose="fitted"))[0].expert      # memberships: (C,)

where `Dial` is `coe.types.Dial`; `chooser.memberships(decision)` makes the row of a `Decision`.

Reference: Jitkrittum, W. et al. (2025). Universal model routing for efficient LLM inference. arXiv
2502.08773, section 3 (the weighing of quality and cost by one multiplier).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from coe.mapping.fitted import FittedMap, Residual
from coe.mapping.outcomes import NONE
from coe.mapping.residual import correct
from coe.types import Choice, Decision, Dial, Embedding, Prospect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# How far under the best expert's expected quality an expert is still good enough for
# `cheapest_good`, where no floor is given.
NEARLY = 0.05
_OF_PROBABILITIES = frozenset({"matched", "below-threshold", "ambiguous"})
_DIGITS = 12  # in which utilities must differ: what is equal on paper may not be in floats
_ROUNDING = 10.0**-_DIGITS


class Chooser:
    """Ranks experts by one fitted map. Thread-safe: nothing in it changes.

    Attributes:
        experts: those that it ranks, in the order of the map.
        instead: who answers first because the map is flagged and must not be used; else empty.
        best_single: the best expert for everything.
    """

    def __init__(
        self,
        fitted: FittedMap,
        *,
        experts: Collection[str] | None = None,
        categories: Collection[str] | None = None,
        instead: str = "",
    ) -> None:
        """Lay out the cells of those that may be chosen.

        Args:
            fitted: the map.
            experts: whose cells hold; None: of all. Those that the budget left out never count.
            categories: whose cells hold; None: of all. `NONE` always holds.
            instead: see the class.
        """
        hold = set(fitted.used) if experts is None else set(fitted.used) & set(experts)
        columns = [i for i, name in enumerate(fitted.experts) if name in hold]
        self.experts = tuple(fitted.experts[i] for i in columns)
        self.instead = instead
        self.best_single = fitted.best_single
        self._rows = {
            name: row
            for row, name in enumerate(fitted.categories)
            if name == NONE or categories is None or name in categories
        }
        self._size = len(fitted.categories)
        self._price_weight = fitted.price_weight
        self._latency_weight = fitted.latency_weight
        cost, latency = fitted.cost[:, columns], fitted.latency_s[:, columns]
        self._is_priced, self._is_timed = _known(cost), _known(latency)
        cells = (fitted.quality, fitted.lower, fitted.upper)
        parts = [*(part[:, columns] for part in cells), _filled(cost), _filled(latency)]
        # One product for all five: shape (C, 5 * E).
        self._cells = np.ascontiguousarray(np.hstack(parts))
        self._residual = _of(fitted.residual, columns)

    def choose(self, decision: Decision, dial: Dial, barred: Collection[str] = ()) -> Choice:
        """Return the choice for a decision, whose client named no expert.

        Where the map says nothing of the decision's category, or is not to be used, the choice says
        so in its `detail`.

        Args:
            decision: with the probabilities.
            dial: what is wanted; not `ranked`.
            barred: who may not answer this query; ranked all the same, but no measure for others.
        """
        memberships = self.memberships(decision)
        if self.instead:
            return self._flagged(memberships)
        if memberships is None:
            detail = f"the map is stale: it says nothing of the category `{decision.category}`"
            return Choice(choose="ranked", detail=detail)
        usable = self._usable(decision.embedding)
        return Choice(
            choose=dial.choose,
            prospects=self.rank(memberships, dial, usable, barred),
            price_weight=self._weight(dial),
            quality_floor=dial.quality_floor,
            is_corrected=usable is not None,
        )

    def memberships(self, decision: Decision) -> Floats | None:
        """Return how much a query belongs to each category, shape (C,), of sum 1.

        None where the chosen category is one whose cells do not hold. The probability of other
        such categories goes to `NONE`.
        """
        found = np.zeros(self._size)
        category = decision.category
        if category is not None and category not in self._rows:
            return None
        if decision.calibrated and decision.ranked and decision.reason in _OF_PROBABILITIES:
            for name, probability in decision.ranked:
                row = self._rows.get(name)
                if row is not None:
                    found[row] = probability
        elif category is not None:
            found[self._rows[category]] = 1.0
        found[self._rows[NONE]] = max(0.0, 1.0 - found.sum())
        return found

    def rank(
        self,
        memberships: Floats,
        dial: Dial,
        embedding: Embedding | None = None,
        barred: Collection[str] = (),
    ) -> tuple[Prospect, ...]:
        """Return the experts, best first; equal ones by less cost, then as in the map.

        `fitted` ranks by utility. `cheapest_good` ranks those whose expected quality reaches the
        floor by cost, and behind them the others by quality: where nobody reaches it, that is the
        best expert. It is the expected quality that counts and not its lower bound: the cells are
        shrunken, and few prompts would make every expert a bad one. An expert without a price
        counts as dear as the dearest, where any has a price.

        The interval is the mean of the cells' intervals, which is right where all cells of an
        expert err in the same direction and too wide otherwise.

        Args:
            memberships: shape (C,), of sum 1.
            dial: what is wanted; not `ranked`.
            embedding: of the residual's encoder; None leaves the residual out.
            barred: see `choose`.
        """
        if not self.experts:
            return ()
        quality, lower, upper, cost, latency = (memberships @ self._cells).reshape(5, -1)
        if embedding is not None and self._residual is not None:
            vector = np.asarray(embedding.vector, dtype=np.float64)
            shift = correct(self._residual, quality[None], vector[None])[0] - quality
            quality, lower, upper = np.stack([quality, lower, upper]) + shift
        weight = dial.latency_weight
        wait = latency * (self._latency_weight if weight is None else weight)
        utility = quality - self._weight(dial) * cost - wait
        if dial.choose == "cheapest_good":
            is_good = quality >= self._floor(quality, dial, barred) - _ROUNDING
            order = np.lexsort((cost, -quality, np.where(is_good, cost, 0.0), ~is_good))
        else:
            order = np.lexsort((cost, -np.round(utility, _DIGITS)))
        shown = np.where(self._is_priced, cost, np.nan), np.where(self._is_timed, latency, np.nan)
        # A correction may lead out of [0, 1]: it ranks as it is, and is shown within.
        within = np.clip([quality, lower, upper], 0.0, 1.0)
        rows = np.stack([*within, *shown, utility])[:, order].tolist()
        for place in (3, 4):
            rows[place] = [None if value != value else value for value in rows[place]]  # noqa: PLR0124
        names = [self.experts[i] for i in order.tolist()]
        return tuple(map(Prospect._make, zip(names, *rows, strict=True)))

    def _floor(self, quality: Floats, dial: Dial, barred: Collection[str]) -> float:
        """Return from which expected quality on an expert is good enough."""
        if dial.quality_floor is not None:
            return dial.quality_floor
        able = [i for i, name in enumerate(self.experts) if name not in barred]
        best = quality[able].max() if able else 1.0
        return float(best) - NEARLY

    def _weight(self, dial: Dial) -> float:
        return self._price_weight if dial.price_weight is None else dial.price_weight

    def _usable(self, embedding: Embedding | None) -> Embedding | None:
        """Return the embedding where there is a residual, and of the same encoder."""
        if embedding is None or self._residual is None:
            return None
        return embedding if embedding.encoder == self._residual.encoder else None

    def _flagged(self, memberships: Floats | None) -> Choice:
        """Return the choice by a map that is flagged and must not be used."""
        if memberships is None:
            memberships = np.zeros(self._size)
            memberships[self._rows[NONE]] = 1.0
        rows = self.rank(memberships, Dial(choose="fitted"))
        first = tuple(row for row in rows if row.expert == self.instead)
        why = "the map is flagged and routing.guard is `enforce`"
        if not first:
            detail = f"{why}, but the scores of its best single expert `{self.instead}` do not hold"
            return Choice(choose="ranked", detail=detail)
        return Choice(choose="best_single", prospects=first, detail=why)


def _known(cells: Floats) -> NDArray[np.bool_]:
    """Return of which experts anything is known, shape (E,)."""
    return np.asarray(~np.isnan(cells).all(axis=0))


def _filled(cells: Floats) -> Floats:
    """Return the cells without gaps.

    Unknown of one category: the expert's mean of the others. Unknown of an expert: the dearest of
    the category. Unknown of all: 0.
    """
    is_known = ~np.isnan(cells)
    own = np.where(is_known, cells, 0.0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
    filled = np.where(is_known, cells, own)
    known = _known(cells)
    if known.any():
        filled[:, ~known] = filled[:, known].max(axis=1, keepdims=True)
    return np.asarray(filled)


def _of(residual: Residual | None, columns: list[int]) -> Residual | None:
    """Return the residual of some experts."""
    if residual is None:
        return None
    return replace(residual, scores=residual.scores[:, columns])
