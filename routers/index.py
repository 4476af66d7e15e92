"""Utterances and near misses as matrices, and how near a text is to each category of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coe.types import Category
from routers.votes import NEIGHBOURS, Votes, choose

Floats = NDArray[np.float32]
ScoreKind = Literal["top_mean", "max", "centroid", "knn"]
Encode = Callable[[Sequence[str]], Floats]

# Stands for the similarity to a text that is not there; every cosine is greater.
ABSENT = np.float32(-2.0)
# A near miss costs a category nothing while its nearest utterance leads by this much, and
# everything once the near miss is the nearer of the two.
SAFE_LEAD = np.float32(0.03)


class Bank:
    """Unit vectors in groups, one group per category.

    Attributes:
        texts: one per vector; a text that stands twice in a group is kept once.
        owner: shape (n_texts,), the column of each text's category.
        vectors: shape (n_texts, dim).
        width: numbers that `best` looks at for one text.
    """

    def __init__(self, groups: Sequence[Sequence[str]], encode: Encode) -> None:
        unique = [tuple(dict.fromkeys(group)) for group in groups]
        sizes = [len(group) for group in unique]
        self.texts = tuple(text for group in unique for text in group)
        self.owner = np.repeat(np.arange(len(groups)), sizes)
        self.vectors = np.ascontiguousarray(encode(self.texts), dtype=np.float32)
        self._sizes = np.array(sizes, dtype=np.intp)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._there = np.flatnonzero(self._sizes)
        self._blocks = _blocks(self._sizes, self._starts, filler=len(self.texts))
        self.width = max(1, sum(members.size for _, members in self._blocks))

    def similarities(self, embeddings: Floats) -> Floats:
        """Return cosines, shape (n, n_texts + 1); the last column is ABSENT."""
        cosines = np.full((len(embeddings), len(self.texts) + 1), ABSENT)
        if self.texts:
            cosines[:, :-1] = embeddings @ self.vectors.T
        return cosines

    def best(self, similarities: Floats, count: int) -> Floats:
        """Return each category's greatest, any order, shape (n, n_categories, count).

        ABSENT stands where a category has fewer texts than that.
        """
        found = np.full((len(similarities), len(self._sizes), count), ABSENT)
        for columns, members in self._blocks:
            groups = similarities.take(members, axis=1)
            size = members.shape[1]
            if count == 1:
                groups = groups.max(axis=2, keepdims=True)
            elif size > count:
                groups = np.partition(groups, size - count, axis=2)[:, :, size - count :]
            found[:, columns, : groups.shape[2]] = groups
        return found

    def total(self, similarities: Floats) -> Floats:
        """Return each category's sum, shape (n, n_categories); minus infinity without texts."""
        nothing = np.float32(-np.inf)  # a sum of cosines may well be less than ABSENT
        found = np.full((len(similarities), len(self._sizes)), nothing)
        if len(self._there):
            inner = similarities[:, :-1]
            is_there = inner > ABSENT
            starts = self._starts[self._there]
            sums = np.add.reduceat(np.where(is_there, inner, np.float32(0.0)), starts, axis=1)
            any_there = np.logical_or.reduceat(is_there, starts, axis=1)
            found[:, self._there] = np.where(any_there, sums, nothing)
        return found


class Index:
    """How near a text is to each category.

    Attributes:
        utterances: what the categories are.
        negatives: what they are not: near misses, each of one category.
        sums: shape (n_categories, dim), the sum of a category's utterances.
        norms: shape (n_categories,), their lengths.
        votes: of `knn`; None for the other scores.
    """

    def __init__(
        self, categories: Sequence[Category], encode: Encode, *, score: ScoreKind, top_k: int | None
    ) -> None:
        """Encode every utterance and every negative.

        Args:
            categories: in the order of the columns.
            encode: unit vectors, one per text.
            score: `max`, the cosine of the nearest utterance; `top_mean`, the mean over the
                top_k nearest; `centroid`, the cosine of the category's mean utterance; `knn`,
                the votes of the text's nearest utterances, whosever they are (see `votes`).
            top_k: of `top_mean`, where a category with fewer utterances takes all that it has and
                None means 3; of `knn`, where None chooses by leaving utterances out.
        """
        self.utterances = Bank([category.utterances for category in categories], encode)
        self.negatives = Bank([category.negatives for category in categories], encode)
        bank = self.utterances
        columns = range(len(categories))
        self.sums = np.stack([bank.vectors[bank.owner == column].sum(axis=0) for column in columns])
        self.norms = np.linalg.norm(self.sums, axis=1)
        self._is_there = np.bincount(bank.owner, minlength=len(categories)) > 0
        self._score = score
        self._top_k = 1 if score == "max" else top_k or 3
        self.votes = self._votes(top_k) if score == "knn" else None

    def scores(self, near: Floats, norms: Floats | None = None) -> Floats:
        """Return scores, shape (n, n_categories); ABSENT where a category has no utterances.

        Args:
            near: similarities to the utterances, as `Bank.similarities` returns them.
            norms: shape (n, n_categories), for texts from whose own category they are left out.
        """
        if self.votes is not None:
            counted = self.votes.scores(near[:, :-1], self.utterances.owner, len(self.norms))
            return np.where(self._is_there, counted, ABSENT)
        if self._score == "centroid":
            total = self.utterances.total(near)
            lengths = np.maximum(self.norms if norms is None else norms, np.float32(1e-6))
            return np.where(np.isfinite(total), total / lengths, ABSENT).astype(np.float32)
        return _mean(self.utterances.best(near, self._top_k))

    def _votes(self, neighbours: int | None) -> Votes:
        bank = self.utterances
        if neighbours is not None:
            return Votes(neighbours=neighbours)
        if len(bank.texts) <= NEIGHBOURS[0]:
            return Votes()
        return choose(bank.vectors, bank.owner, len(self.norms))

    def clearance(self, near: Floats, far: Floats) -> Floats:
        """Return how clear of near misses each category is, shape (n, n_categories), in [0, 1].

        0 where a category's near miss is as near as its nearest utterance, or nearer; 1 where
        the utterance leads by SAFE_LEAD, and where there is no near miss.

        Args:
            near: similarities to the utterances.
            far: similarities to the negatives.
        """
        nearest = self.utterances.best(near, 1)[:, :, 0]
        nearest_miss = self.negatives.best(far, 1)[:, :, 0]
        lead: Floats = np.clip((nearest - nearest_miss) / SAFE_LEAD, 0.0, 1.0)
        return lead


def _blocks(
    sizes: NDArray[np.intp], starts: NDArray[np.intp], *, filler: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return columns, and a row of places for each of them, for groups of about the same size.

    One large category among many small ones must not make all of them as wide as itself. Short
    rows are filled up with `filler`.
    """
    classes = np.where(sizes > 0, np.ceil(np.log2(np.maximum(sizes, 1))), -1)
    blocks = []
    for each in np.unique(classes[classes >= 0]):
        columns = np.flatnonzero(classes == each)
        offsets = np.arange(sizes[columns].max())
        places = starts[columns][:, None] + offsets
        blocks.append((columns, np.where(offsets < sizes[columns][:, None], places, filler)))
    return blocks


def _mean(best: Floats) -> Floats:
    there = best > ABSENT
    count = there.sum(axis=2)
    total = np.where(there, best, np.float32(0.0)).sum(axis=2)
    return np.where(count, total / np.maximum(count, 1), ABSENT).astype(np.float32)
