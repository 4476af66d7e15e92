"""Other ways of choosing an expert for a prompt, fitted to the same outcomes as the map.

Each returns what it expects of the experts on the prompts asked, shape (n, E); it chooses the
greatest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from coe.mapping import OutcomeMatrix
from coe.mapping.estimates import estimate, values

Floats = NDArray[np.float64]
Method = Callable[[OutcomeMatrix, OutcomeMatrix], Floats]
Option = TypeVar("Option", int, float)

NEIGHBOURS = (10, 20, 40, 80, 160, 320, 640)
CLUSTERS = (32, 64)
STRENGTHS = (0.01, 0.03, 0.1, 1.0)
FOLDS = 3
NEAREST_CLUSTERS, SHARPNESS = 3, 9.0  # Avengers-Pro's p and b


def two_step(train: OutcomeMatrix, asked: OutcomeMatrix) -> Floats:
    """Expect what the cells say, by the probabilities of the categories."""
    return values(estimate(train).mean, asked.memberships)


def two_step_hard(train: OutcomeMatrix, asked: OutcomeMatrix) -> Floats:
    """Expect what the cells of the likeliest category say."""
    return estimate(train).mean[asked.memberships.argmax(axis=1)]


def neighbours(train: OutcomeMatrix, asked: OutcomeMatrix, k: int = 5) -> Floats:
    """Expect the mean of the k nearest prompts' scores."""
    found = np.empty((len(asked.prompts), len(train.experts)))
    for rows in np.array_split(np.arange(len(found)), max(1, len(found) // 500)):
        cosines = _vectors(asked)[rows] @ _vectors(train).T
        near = np.argpartition(-cosines, min(k, cosines.shape[1] - 1), axis=1)[:, :k]
        found[rows] = [train.scores[at].mean(axis=0) for at in near]
    return found


def neighbours_tuned(train: OutcomeMatrix, asked: OutcomeMatrix) -> Floats:
    """Expect the same, with the k that is best by cross-validation."""
    return neighbours(train, asked, _best(train, NEIGHBOURS, neighbours))


def clusters(train: OutcomeMatrix, asked: OutcomeMatrix, k: int = 64) -> Floats:
    """Expect by Avengers-Pro's rule (Zhang et al. 2025, arXiv 2508.12631), money being no object.

    Of the three nearest of k clusters, each expert's mean score there, scaled to [0, 1] within the
    cluster, weighted by e^(9 cosine).
    """
    from sklearn.cluster import KMeans

    fitted = KMeans(k, n_init=2, random_state=0).fit(_vectors(train))
    means = np.array([train.scores[fitted.labels_ == at].mean(axis=0) for at in range(k)])
    low, high = means.min(axis=1, keepdims=True), means.max(axis=1, keepdims=True)
    scaled = (means - low) / np.maximum(high - low, 1e-9)
    centres = fitted.cluster_centers_
    cosines = _vectors(asked) @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    least = -np.sort(-cosines, axis=1)[:, [NEAREST_CLUSTERS - 1]]
    weights = np.where(cosines >= least, np.exp(SHARPNESS * cosines), 0.0)
    return np.asarray(weights @ scaled / weights.sum(axis=1, keepdims=True))


def clusters_tuned(train: OutcomeMatrix, asked: OutcomeMatrix) -> Floats:
    """Expect the same, with as many clusters as are best by cross-validation."""
    return clusters(train, asked, _best(train, CLUSTERS, clusters))


def logistic(train: OutcomeMatrix, asked: OutcomeMatrix, strength: float = 0.1) -> Floats:
    """Expect of each expert what a logistic regression of its own on the embedding says.

    The strength is one over the ridge penalty. A score between 0 and 1 is a row of each outcome,
    with that weight.
    """
    from sklearn.linear_model import LogisticRegression

    found = np.empty((len(asked.prompts), len(train.experts)))
    twice = np.vstack([_vectors(train)] * 2)
    outcome = np.repeat([1, 0], len(train.prompts))
    for column, scores in enumerate(train.scores.T):
        weights = np.concatenate([scores, 1.0 - scores])
        rows = weights > 0
        fitted = LogisticRegression(C=strength, max_iter=200).fit(
            twice[rows], outcome[rows], sample_weight=weights[rows]
        )
        found[:, column] = fitted.predict_proba(_vectors(asked))[:, 1]
    return found


def logistic_tuned(train: OutcomeMatrix, asked: OutcomeMatrix) -> Floats:
    """Expect the same, with the strength that is best on a third of the rows, left out."""
    return logistic(train, asked, _best(train, STRENGTHS, logistic, folds=1))


PEERS: dict[str, Method] = {
    "two-step, cells alone": two_step,
    "two-step, likeliest category": two_step_hard,
    "kNN, k = 5": neighbours,
    "kNN, k tuned": neighbours_tuned,
    "k-means (Avengers-Pro's rule)": clusters_tuned,
    "logistic per expert": logistic_tuned,
}


def _best(
    train: OutcomeMatrix,
    options: Sequence[Option],
    method: Callable[[OutcomeMatrix, OutcomeMatrix, Option], Floats],
    folds: int = FOLDS,
) -> Option:
    fold = np.random.default_rng(0).permutation(len(train.prompts)) % FOLDS
    total = dict.fromkeys(options, 0.0)
    for number in range(folds):
        inside, outside = (
            train.rows(np.flatnonzero(rows)) for rows in (fold != number, fold == number)
        )
        every = np.arange(len(outside.prompts))
        for option in options:
            chosen = method(inside, outside, option).argmax(axis=1)
            total[option] += float(outside.scores[every, chosen].sum())
    return max(total, key=total.__getitem__)


def _vectors(matrix: OutcomeMatrix) -> NDArray[np.float32]:
    return np.asarray(matrix.embeddings, dtype=np.float32)
