"""Which of the texts that went wrong would help most as utterances.

A text is worth what it covers: how much nearer it brings the texts of its category that went wrong,
itself included, to their nearest utterance. One far-off text is worth its own distance; one in the
middle of a cluster of failures is worth the cluster's. Texts are taken greedily, each counting only
what those before it left uncovered; for this kind of sum that reaches 1 - 1/e of the best choice.

Reference: Nemhauser, Wolsey and Fisher 1978, An Analysis of Approximations for Maximizing
Submodular Set Functions I, Mathematical Programming 14 (facility location, greedy).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coe.protocols import Encoder
from coe.types import Category

MOST = 20
MOST_PER_CATEGORY = 200  # of the texts that went wrong; the work grows with their square
NEAR = 0.5  # cosine at which a suggestion is said to speak for another text


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A text that is worth adding to its category's utterances.

    Attributes:
        gain: summed cosine that the category's failures win; the order of the suggestions.
        covers: failures of the category that are nearer to this text than to what is there, and at
            a cosine of at least NEAR; itself included.
        nearest: the utterance that is nearest to it now; empty where the category has none.
        similarity: their cosine.
    """

    category: str
    text: str
    gain: float
    covers: int
    nearest: str
    similarity: float


def suggest(
    failures: Mapping[str, Sequence[str]],
    categories: Sequence[Category],
    encoder: Encoder,
    *,
    most: int = MOST,
) -> tuple[Suggestion, ...]:
    """Return the best texts to add, the most helpful first; of equal ones, the first given.

    Args:
        failures: by category, texts that belong to it and were not given it.
        categories: with their utterances.
        encoder: what says how near texts are.
        most: of all categories together.
    """
    ranked = [
        _of_one(category, list(dict.fromkeys(failures[category.name])), encoder, most)
        for category in categories
        if failures.get(category.name)
    ]
    # Each list falls in gain, so merging them is the greedy choice among all.
    merged = heapq.merge(*ranked, key=lambda suggestion: -suggestion.gain)
    return tuple(merged)[:most]


def _of_one(category: Category, texts: list[str], encoder: Encoder, most: int) -> list[Suggestion]:
    texts = texts[:MOST_PER_CATEGORY]
    vectors = encoder.encode(texts).astype(np.float64)
    among = vectors @ vectors.T
    nearest, covered = np.zeros(len(texts), dtype=np.intp), np.full(len(texts), -1.0)
    if category.utterances:
        near = vectors @ encoder.encode(category.utterances).T.astype(np.float64)
        nearest, covered = near.argmax(axis=1), near.max(axis=1)
    before = covered.copy()
    found: list[Suggestion] = []
    while len(found) < min(most, len(texts)):
        gains = np.maximum(among - covered, 0.0).sum(axis=1)
        best = int(gains.argmax())
        if gains[best] <= 1e-6:  # noqa: PLR2004 - rounding: everything is covered
            break
        found.append(
            Suggestion(
                category=category.name,
                text=texts[best],
                gain=float(gains[best]),
                covers=int(((among[best] > covered) & (among[best] >= NEAR)).sum()),
                nearest=category.utterances[nearest[best]] if category.utterances else "",
                similarity=float(before[best]),
            )
        )
        covered = np.maximum(covered, among[best])
    return found
