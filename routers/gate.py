"""Does a text belong to any category at all? Several signals, one probability.

Five signals are read of a text, each greater the more the text is like the rows of training:

    energy       log sum_c exp(logit_c) of the classifier
    share        the classifier's best log-probability
    distance     -min_c sqrt((v - mean_c)' S^-1 (v - mean_c)), S the covariance within categories
    neighbours   mean cosine of the k nearest rows
    centroid     greatest cosine with a category's mean

They fail in different places: distances know nothing of which directions tell categories apart, the
classifier nothing of how far a text is from everything it saw. A logistic over the standardised
signals joins them. It is learnt without a text that is truly outside: categories are left out of
the training, and their rows are what outside looks like. No signal may speak for the outside by
growing, so a text unlike anything seen is outside, however unlike.

Reference: Lee et al. 2018, A Simple Unified Framework for Detecting Out-of-Distribution Samples,
arXiv 1807.03888, equation 2 (tied-covariance Mahalanobis); Ledoit and Wolf 2004, A Well-Conditioned
Estimator for Large-Dimensional Covariance Matrices, JMVA 88(2), section 3.2 (shrinkage); Sun et al.
2022, Out-of-Distribution Detection with Deep Nearest Neighbors, arXiv 2204.06507; Liu et al. 2020,
Energy-based Out-of-distribution Detection, arXiv 2010.03759, equation 4. We differ in joining them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routers.balance import Floats
from routers.calibration import OUTSIDE_SHARE, Calibration
from routers.logistic import logistic, sigmoid, smoothed

Vectors = NDArray[np.float32]
Columns = NDArray[np.intp]

SIGNALS = ("energy", "share", "distance", "neighbours", "centroid")
MOST_NEIGHBOURS = 10
# Rows that are kept to be neighbours, spread evenly over the categories: reading ten thousand takes
# longer than everything else a router does.
MOST_ROWS = 4000
# From so many rows on, a text is compared with those of the categories nearest to it alone: the
# rows of the others are hardly ever among its nearest, and most of the time went to them.
LEAST_TO_CHOOSE = 1000
NEAR_CATEGORIES = 8
SHOWN = 3  # least rows that are found, to be shown as evidence
# So strong that signals which say much the same share their weight. The categories left out are no
# likeness of what is outside in truth: of them the classifier alone tells most, of others distances
# tell as much. On the split `val` of CLINC150, AUROC 0.981 at 0.001, 0.9835 at 0.1, 0.984 from 0.3.
RIDGE = 1.0
HAIR = 1e-12


@dataclass(frozen=True, slots=True)
class Nearest:
    """The rows that are nearest to each text, nearest first.

    Attributes:
        places: shape (n, k), among the kept rows.
        cosines: shape (n, k), falling.
        centroid: shape (n,), greatest cosine with a category's mean.
    """

    places: Columns
    cosines: Vectors
    centroid: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """The rows of training, as far as distances need them.

    Attributes:
        rows: shape (n_kept, dim), unit vectors; `kept` says which rows of training they are. The
            rows of a category stand together.
        owner: shape (n_kept,), the column of each row's category, never falling.
        centroids: shape (n_categories, dim), unit vectors.
        whitening: shape (dim, dim); v @ whitening has covariance one within categories.
        white_means: shape (n_categories, dim), the categories' means after whitening.
        neighbours: k.
        edges: where the rows of each category begin, and where the last ones end.
        white_squares: shape (n_categories,), squared lengths of `white_means`.
    """

    rows: Vectors
    kept: Columns
    owner: Columns
    centroids: Vectors
    whitening: Vectors
    white_means: Vectors
    neighbours: int
    edges: tuple[int, ...] = field(init=False, repr=False)
    white_squares: Vectors = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out what does not depend on the text."""
        edges = np.searchsorted(self.owner, np.arange(len(self.centroids) + 1))
        object.__setattr__(self, "edges", tuple(edges.tolist()))
        object.__setattr__(self, "white_squares", (self.white_means**2).sum(axis=1))

    @classmethod
    def of(cls, vectors: Vectors, labels: Columns) -> Self:
        """Find the landmarks of rows whose category is known; each column has a row at least.

        Args:
            vectors: shape (n, dim), unit vectors.
            labels: shape (n,), columns.
        """
        wide = vectors.astype(np.float64)
        sizes = np.bincount(labels)
        means = np.stack([wide[labels == column].mean(axis=0) for column in range(len(sizes))])
        whitening = _whitening(wide - means[labels])
        lengths = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), HAIR)
        kept = _spread(labels)
        return cls(
            rows=vectors[kept],
            kept=kept,
            owner=labels[kept],
            centroids=(means / lengths).astype(np.float32),
            whitening=whitening.astype(np.float32),
            white_means=(means @ whitening).astype(np.float32),
            neighbours=int(np.clip(np.median(sizes) // 2, 1, min(MOST_NEIGHBOURS, len(kept)))),
        )

    def nearest(self, vectors: Vectors) -> Nearest:
        """Return the nearest rows, `neighbours` of them or SHOWN, whichever is more.

        Of many rows those of the categories with the nearest centroids are looked at.
        """
        count = min(max(self.neighbours, SHOWN), len(self.rows))
        places = np.empty((len(vectors), count), dtype=np.intp)
        cosines = np.empty((len(vectors), count), dtype=np.float32)
        centroid = vectors @ self.centroids.T
        for row, vector in enumerate(vectors):
            found, near = self._candidates(vector, centroid[row])
            top = np.argpartition(near, len(near) - count)[len(near) - count :]
            order = top[np.argsort(-near[top], kind="stable")]
            places[row], cosines[row] = found[order], near[order]
        return Nearest(places, cosines, centroid.max(axis=1))

    def signals(self, vectors: Vectors, near: Nearest, logits: Vectors) -> Floats:
        """Return shape (n, 5), in the order of SIGNALS.

        Args:
            vectors: shape (n, dim).
            near: what `nearest` returns for them.
            logits: the classifier's, shape (n, n_categories).
        """
        top = logits.max(axis=1)
        rest = np.log(np.exp(logits - top[:, None]).sum(axis=1))
        white = vectors @ self.whitening
        beside = (self.white_squares - 2 * (white @ self.white_means.T)).min(axis=1)
        square = (white**2).sum(axis=1) + beside
        columns = (
            top + rest,
            -rest,
            -np.sqrt(np.maximum(square, 0.0)),
            near.cosines[:, : self.neighbours].mean(axis=1),
            near.centroid,
        )
        return np.stack(columns, axis=1).astype(np.float64)

    def _candidates(self, vector: Vectors, centroid: Vectors) -> tuple[Columns, Vectors]:
        """Return the rows that are compared with the vector, and their cosines with it."""
        if len(self.rows) < LEAST_TO_CHOOSE or len(self.centroids) <= NEAR_CATEGORIES:
            return np.arange(len(self.rows)), self.rows @ vector
        chosen = np.argpartition(centroid, -NEAR_CATEGORIES)[-NEAR_CATEGORIES:].tolist()
        # Slices are read where they stand; rows[places] would copy them first.
        parts = [(self.edges[column], self.edges[column + 1]) for column in chosen]
        places = np.concatenate([np.arange(start, end) for start, end in parts])
        return places, np.concatenate([self.rows[start:end] @ vector for start, end in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """How the signals are weighed; arrays of shape (5,), in the order of SIGNALS.

    Attributes:
        centre: subtracted from the signals.
        scale: the signals are divided by it; positive.
        weights: never negative.
    """

    centre: Floats
    scale: Floats
    weights: Floats
    offset: float

    def inside(self, signals: Floats) -> Floats:
        """Return the probability that each text belongs to some category, shape (n,)."""
        return sigmoid((signals - self.centre) / self.scale @ self.weights + self.offset)


def unlearnt() -> Gate:
    """Return the gate for too few categories to leave one out: the nearest rows alone.

    It says "maybe" at the cosine at which `Calibration` does.
    """
    default = Calibration()
    weights = np.zeros(len(SIGNALS))
    weights[SIGNALS.index("neighbours")] = default.slope
    return Gate(
        centre=np.zeros(len(SIGNALS)),
        scale=np.ones(len(SIGNALS)),
        weights=weights,
        offset=default.offset,
    )


def learn(inside: Floats, outside: Floats, examples: Floats | None = None) -> Gate:
    """Return the gate that tells held-out signals apart best.

    Args:
        inside: signals of rows that were left out, shape (n, 5).
        outside: signals of rows of categories that were left out, shape (m, 5).
        examples: signals of texts that are known to be outside; where there are some, they weigh
            as much as `outside` does, however few they are.
    """
    centre, scale = inside.mean(axis=0), np.maximum(inside.std(axis=0), HAIR)
    groups = [inside, outside]
    masses = [1 - OUTSIDE_SHARE, OUTSIDE_SHARE]
    if examples is not None and len(examples):
        groups.append(examples)
        masses = [1 - OUTSIDE_SHARE, OUTSIDE_SHARE / 2, OUTSIDE_SHARE / 2]
    features = (np.concatenate(groups) - centre) / scale
    belongs = np.repeat([1.0] + [0.0] * (len(groups) - 1), [len(group) for group in groups])
    row_weights = np.concatenate(
        [np.full(len(group), mass / len(group)) for group, mass in zip(groups, masses, strict=True)]
    )
    used = np.arange(len(SIGNALS))
    while True:
        beta = logistic(features[:, used], smoothed(belongs), row_weights, ridge=RIDGE)
        if len(used) == 0 or beta[:-1].min() >= 0:
            break
        # Signals that say the same get weights of opposite signs; the weaker one is left out.
        used = np.delete(used, int(beta[:-1].argmin()))
    weights = np.zeros(len(SIGNALS))
    weights[used] = beta[:-1]
    # The penalty has made the weights small as well as alike: one number makes them great again.
    joined = features @ weights
    scale_of_joined = max(float(joined.std()), HAIR)
    slope, offset = logistic(joined[:, None] / scale_of_joined, smoothed(belongs), row_weights)
    return Gate(
        centre=centre,
        scale=scale,
        weights=weights * max(slope, 0.0) / scale_of_joined,
        offset=float(offset),
    )


def _whitening(residuals: Floats) -> Floats:
    """Return W with W W' = S^-1, S the shrunk covariance of rows whose mean is zero.

    Ledoit and Wolf's shrinkage towards the identity needs no choice: it is the one that is nearest
    to the truth in expectation.
    """
    count, dim = residuals.shape
    covariance = residuals.T @ residuals / count
    mean = float(np.trace(covariance)) / dim
    if mean < HAIR:  # one row per category: nothing is known of how they vary
        return np.eye(dim)
    spread = float((covariance**2).sum()) / dim - mean**2
    fourth = float(((residuals**2).sum(axis=1) ** 2).mean())
    noise = (fourth - float((covariance**2).sum())) / count / dim
    shrinkage = float(np.clip(noise / max(spread, HAIR), 0.0, 1.0))
    shrunk = (1 - shrinkage) * covariance + (shrinkage * mean + HAIR) * np.eye(dim)
    values, axes = np.linalg.eigh(shrunk)
    whitening: Floats = axes / np.sqrt(np.maximum(values, HAIR))
    return whitening


def _spread(labels: Columns) -> Columns:
    """Return the rows that are kept, by category: the same number of each or all that it has."""
    if len(labels) <= MOST_ROWS:
        return np.argsort(labels, kind="stable")
    groups = [np.flatnonzero(labels == column) for column in np.unique(labels)]
    share = max(1, MOST_ROWS // len(groups))
    return np.concatenate(
        [
            group[np.linspace(0, len(group) - 1, min(len(group), share)).astype(int)]
            for group in groups
        ]
    )
