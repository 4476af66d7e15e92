"""Nearest neighbours that vote: of all utterances the k nearest, each weighing by its nearness.

    score(c | text) = b log sum_{i in the k nearest, of category c} exp(cosine_i / b)

In units of the cosine, so that it is calibrated as the other scores are: a softmax at temperature b
gives the shares of the votes. A small bandwidth b believes the nearest alone, a large one counts
heads. One vote more, of the weight of the k-th neighbour, is shared by all categories (Laplace), so
that a category that none of the k belongs to is unlikely and not impossible.

Reference: Dudani 1976, The Distance-Weighted k-Nearest-Neighbor Rule (votes by nearness); Li 2025,
Rethinking Predictive Modeling for LLM Routing: When Simple kNN Beats Complex Learned Routers, arXiv
2505.12601 (a large k).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NEIGHBOURS = (5, 10, 20, 40, 80, 160)
BANDWIDTHS = (0.03, 0.05, 0.08, 0.15)
# At which temperature a candidate's scores fit best is not its fault: each is judged at its own.
TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0)  # in bandwidths
MOST_ROWS = 1000  # that a choice is made on; each is compared with every utterance
BLOCK_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """How many neighbours vote, and how fast a vote fades with distance.

    The defaults are what was chosen most often on CLINC150, by intents and by domains.
    """

    neighbours: int = 40
    bandwidth: float = 0.08

    def scores(self, near: Floats, owner: NDArray[np.intp], categories: int) -> Floats:
        """Return scores, shape (n, categories).

        Args:
            near: cosines to the utterances, shape (n, n_utterances); what is not there, at -2.
            owner: shape (n_utterances,), the column of each utterance.
            categories: how many columns there are.
        """
        cosines, columns = nearest(near, owner, self.neighbours)
        return self.count(cosines, columns, categories)

    def count(self, cosines: Floats, columns: NDArray[np.intp], categories: int) -> Floats:
        """Return the scores of neighbours, nearest first, of which the first `neighbours` vote."""
        cosines, columns = cosines[:, : self.neighbours], columns[:, : self.neighbours]
        top = cosines[:, :1]
        weights = np.exp((cosines - top) / np.float32(self.bandwidth))
        cells = (np.arange(len(cosines))[:, None] * categories + columns).ravel()
        votes = np.bincount(cells, weights.ravel(), minlength=len(cosines) * categories)
        votes = votes.reshape(len(cosines), categories) + weights[:, -1:] / categories
        scores: Floats = (top + self.bandwidth * np.log(np.maximum(votes, 1e-30))).astype(
            np.float32
        )
        return scores


def nearest(near: Floats, owner: NDArray[np.intp], count: int) -> tuple[Floats, NDArray[np.intp]]:
    """Return the greatest cosines of each row and whose they are, greatest first."""
    count = min(count, near.shape[1])
    places = np.argpartition(-near, count - 1, axis=1)[:, :count]
    cosines = np.take_along_axis(near, places, axis=1)
    order = np.argsort(-cosines, axis=1, kind="stable")
    return np.take_along_axis(cosines, order, axis=1), owner[np.take_along_axis(places, order, 1)]


def choose(vectors: Floats, owner: NDArray[np.intp], categories: int) -> Votes:
    """Return the votes under which utterances, each left out, are most probable.

    Args:
        vectors: unit vectors of the utterances, shape (n_utterances, dim); more than NEIGHBOURS[0].
        owner: shape (n_utterances,), the column of each.
        categories: how many columns there are.
    """
    rows = np.arange(len(owner))[:: -(-len(owner) // MOST_ROWS)]
    most = min(max(NEIGHBOURS), len(owner) - 1)
    found = [
        _left_out(vectors, owner, rows[start : start + BLOCK_ROWS], most)
        for start in range(0, len(rows), BLOCK_ROWS)
    ]
    cosines = np.concatenate([block[0] for block in found])
    columns = np.concatenate([block[1] for block in found])
    candidates = [
        Votes(neighbours=neighbours, bandwidth=bandwidth)
        for neighbours in NEIGHBOURS
        if neighbours <= most
        for bandwidth in BANDWIDTHS
    ]
    return min(
        candidates,
        key=lambda votes: _surprise(
            votes.count(cosines, columns, categories), owner[rows], votes.bandwidth
        ),
    )


def _left_out(
    vectors: Floats, owner: NDArray[np.intp], rows: NDArray[np.intp], count: int
) -> tuple[Floats, NDArray[np.intp]]:
    near = vectors[rows] @ vectors.T
    near[np.arange(len(rows)), rows] = -2.0  # itself
    return nearest(near, owner, count)


def _surprise(scores: Floats, labels: NDArray[np.intp], bandwidth: float) -> float:
    """Return the mean negative log-probability of the labels, at the best temperature."""
    rows = np.arange(len(labels))
    shifted = scores - scores.max(axis=1, keepdims=True)
    return min(
        float((np.log(np.exp(shifted / t).sum(axis=1)) - shifted[rows, labels] / t).mean())
        for t in (bandwidth * factor for factor in TEMPERATURES)
    )
