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
        width: numbers that `grouped` returns for one text.
    """

    def __init__(self, groups: Sequence[Sequence[str]], encode: Encode) -> None:
        unique = [tuple(dict.fromkeys(group)) for group in groups]
        sizes = [len(group) for group in unique]
        self.texts = tuple(text for group in unique for text in group)
        self.owner = np.repeat(np.arange(len(groups)), sizes)
        self.vectors = encode(self.texts)
        # Row c lists the places of c's texts. Short rows are filled up with the place after the
        # last, where `similarities` has ABSENT.
        self._members = np.full((len(groups), max([1, *sizes])), len(self.texts))
        self.width = self._members.size
        for column, size in enumerate(sizes):
            start = sum(sizes[:column])
            self._members[column, :size] = np.arange(start, start + size)

    def similarities(self, embeddings: Floats) -> Floats:
        """Return cosines, shape (n, n_texts + 1); the last column is ABSENT."""
        cosines = np.full((len(embeddings), len(self.texts) + 1), ABSENT)
        if self.texts:
            cosines[:, :-1] = embeddings @ self.vectors.T
        return cosines

    def grouped(self, similarities: Floats) -> Floats:
        """Return the same by category, shape (n, n_categories, size of the largest group)."""
        return similarities.take(self._members, axis=1)


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
        groups = self.utterances.grouped(near)
        if self._score == "centroid":
            return _centroid(groups, self.norms if norms is None else norms)
        return _top_mean(groups, self._top_k)

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
        nearest = self.utterances.grouped(near).max(axis=2)
        nearest_miss = self.negatives.grouped(far).max(axis=2)
        lead: Floats = np.clip((nearest - nearest_miss) / SAFE_LEAD, 0.0, 1.0)
        return lead


def _top_mean(groups: Floats, top_k: int) -> Floats:
    size = groups.shape[2]
    k = min(top_k, size)
    best = np.partition(groups, size - k, axis=2)[:, :, size - k :]
    there = best > ABSENT
    count = there.sum(axis=2)
    total = np.where(there, best, np.float32(0.0)).sum(axis=2)
    return np.where(count, total / np.maximum(count, 1), ABSENT).astype(np.float32)


def _centroid(groups: Floats, norms: Floats) -> Floats:
    there = groups > ABSENT
    total = np.where(there, groups, np.float32(0.0)).sum(axis=2)
    cosines = total / np.maximum(norms, np.float32(1e-6))
    return np.where(there.any(axis=2), cosines, ABSENT).astype(np.float32)
