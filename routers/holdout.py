"""The evidence that a router learns from: its own utterances, each one held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routers.balance import Floats
from routers.index import ABSENT, Index

BLOCK_ELEMENTS = 4_000_000  # of a working array: some megabytes, however large the index
# More utterances say nothing new, and the time grows with their square: of a larger index, every
# category gives the same number, or all that it has.
MOST_ROWS = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Scores of texts whose category is known, each made as if the text were not in the index.

    Attributes:
        scores: shape (n_rows, n_categories), a row per utterance, or per sampled utterance.
        labels: shape (n_rows,), the column of each utterance's own category.
        misses: shape (n_negatives,), the score of each negative in the category it must not have.
        miss_labels: shape (n_negatives,), that category's column.
    """

    scores: Floats
    labels: NDArray[np.intp]
    misses: Floats
    miss_labels: NDArray[np.intp]

    def tops(self, handicaps: Floats) -> tuple[Floats, Floats]:
        """Return the best scores of texts inside the categories, and of texts outside them.

        Outside are: each utterance as if its own category did not exist, and each negative in
        the category that it is a near miss of.
        """
        inside = self.scores + handicaps
        others = inside.copy()
        others[np.arange(len(self.labels)), self.labels] = ABSENT
        misses = self.misses + handicaps[self.miss_labels]
        misses = misses[np.isfinite(misses)]  # of categories without utterances
        return inside.max(axis=1), np.concatenate([others.max(axis=1), misses])


def held_out(index: Index) -> HeldOut:
    """Score the utterances and the negatives of an index, each against the rest of it."""
    bank, negatives = index.utterances, index.negatives
    rows = _sample(bank.owner)
    size = max(1, BLOCK_ELEMENTS // bank.width)
    blocks = [_block(index, rows[start : start + size]) for start in range(0, len(rows), size)]
    near = bank.similarities(negatives.vectors)
    own = (np.arange(len(negatives.owner)), negatives.owner)
    return HeldOut(
        scores=np.concatenate(blocks),
        labels=bank.owner[rows],
        misses=index.scores(near)[own].astype(np.float64),
        miss_labels=negatives.owner,
    )


def _block(index: Index, rows: NDArray[np.intp]) -> Floats:
    bank = index.utterances
    near = bank.similarities(bank.vectors[rows])
    near[np.arange(len(rows)), rows] = ABSENT  # itself
    norms = np.tile(index.norms, (len(rows), 1))
    for place, row in enumerate(rows):
        column = bank.owner[row]
        total = index.sums[column] - bank.vectors[row]
        norms[place, column] = np.linalg.norm(total)
    return index.scores(near, norms).astype(np.float64)


def _sample(owner: NDArray[np.intp]) -> NDArray[np.intp]:
    if len(owner) <= MOST_ROWS:
        return np.arange(len(owner))
    groups = [np.flatnonzero(owner == column) for column in np.unique(owner)]
    share = max(1, MOST_ROWS // len(groups))
    return np.concatenate([group[:: -(-len(group) // share)] for group in groups])
