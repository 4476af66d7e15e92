"""Least squares on embeddings: a linear router that is fitted when it is built, in closed form.

    W = (X'X + strength I)^-1 X'Y        scores(text) = x W

X has a row per utterance, Y a one in its category's column; a near miss is a row without a one.
What the router would have said of an utterance had it never seen it needs no second fit:

    held out = (x_i W - h_i y_i) / (1 - h_i),    h_i = x_i (X'X + strength I)^-1 x_i'

so that the calibration, and the exits of a chain, are fitted to every utterance. On `hashed` it
tells the categories apart by their spelling, for a few microseconds a text: the first stage of a
chain. Needs no library for training.

Reference: Allen 1974, The Relationship between Variable Selection and Data Augmentation and a
Method for Prediction (PRESS, the second formula); Rifkin and Lippert 2007, Notes on Regularized
Least Squares, MIT-CSAIL-TR-2007-025, section 4 (both forms of the solution).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError
from coe.options import Options
from coe.protocols import Encoder, Parts, RouterSpec
from coe.types import Category, Scores
from routers.cache import CachedEncoder, rows_of
from routers.calibration import Calibration
from routers.early_exit import Rehearsal
from routers.holdout import HeldOut, is_enough, learn, sample
from routers.store import stored

KEYS = ("encoder", "strength", "cache")
STRENGTH = 1.0

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Solution:
    """What least squares found.

    Attributes:
        weights: shape (dim, n_categories).
        leverages: shape (n_rows,), h_i in [0, 1) of each row asked for.
    """

    weights: Floats
    leverages: Floats


class RidgeRouter:
    """Scores by one matrix product, as probabilities. Thread-safe.

    Attributes:
        calibrated: whether calibration was fitted; with too few utterances the defaults stand in.
    """

    def __init__(
        self,
        *,
        name: str,
        categories: Sequence[Category],
        encoder: Encoder,
        utterance_encoder: Encoder | None = None,
        strength: float = STRENGTH,
    ) -> None:
        """Encode the utterances and fit.

        Args:
            name: as in the composition.
            categories: at least one of them with utterances.
            encoder: encodes the texts.
            utterance_encoder: the same encoder for utterances and near misses, e.g. with a store;
                None means `encoder`.
            strength: of the regularisation, over 0; embeddings have length 1.
        """
        self.name = name
        self.categories = tuple(category.name for category in categories)
        self._encoder = encoder
        encode = (utterance_encoder or encoder).encode
        groups = [tuple(dict.fromkeys(category.utterances)) for category in categories]
        texts = [text for group in groups for text in group]
        owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        misses = [(text, n) for n, c in enumerate(categories) for text in c.negatives]
        miss_labels = np.array([column for _, column in misses], dtype=np.intp)
        rows = np.concatenate([encode(texts), encode([text for text, _ in misses])])
        targets = np.zeros((len(rows), len(groups)), dtype=np.float32)
        targets[np.arange(len(owner)), owner] = 1.0
        asked = np.concatenate([sample(owner), np.arange(len(owner), len(rows))])
        solution = solve(rows, targets, strength=strength, asked=asked)
        self._weights = solution.weights
        left_out = _left_out(rows, targets, solution, asked)
        inner = len(asked) - len(misses)
        outer = np.arange(inner, len(asked))
        self._rehearsed = tuple(texts[row] for row in asked[:inner])
        evidence = HeldOut(
            scores=left_out[:inner],
            labels=owner[asked[:inner]],
            misses=left_out[outer, miss_labels],
            miss_labels=miss_labels,
        )
        self._labels, self._left_out = evidence.labels, evidence.scores
        self.calibrated = is_enough(categories)
        if self.calibrated:
            self._handicaps, self.calibration = learn(evidence)
        else:
            self._handicaps = np.where([bool(group) for group in groups], 0.0, -np.inf)
            self.calibration = Calibration()

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities; there is no evidence but the sum of all utterances.

        Raises:
            RouterUnavailable: when a remote encoder does not answer.
        """
        if not texts:
            return Scores(values=np.empty((0, len(self.categories)), dtype=np.float32))
        embeddings = self._encoder.encode(texts)
        return Scores(
            values=self.calibration.apply(embeddings @ self._weights + self._handicaps),
            embeddings=rows_of(embeddings, self._encoder),
        )

    def rehearse(self) -> Rehearsal:
        """Return what the router says of its own utterances, each held out."""
        return Rehearsal(
            texts=self._rehearsed,
            labels=self._labels,
            values=self.calibration.apply(self._left_out + self._handicaps),
        )


def solve(rows: Floats, targets: Floats, *, strength: float, asked: NDArray[np.intp]) -> Solution:
    """Solve in whichever form has the smaller matrix: dim by dim, or row by row.

    Args:
        rows: shape (n, dim), n at least 1.
        targets: shape (n, n_categories).
        strength: over 0.
        asked: the rows whose leverage is wanted.
    """
    count, dim = rows.shape
    if count > dim:
        inverse = _inverse(rows.T @ rows, strength)
        wanted = rows[asked]
        leverages = ((wanted @ inverse) * wanted).sum(axis=1)
        return Solution(inverse @ (rows.T @ targets), leverages)
    inverse = _inverse(rows @ rows.T, strength)
    leverages = np.float32(1.0) - np.float32(strength) * np.diag(inverse)[asked]
    return Solution(rows.T @ (inverse @ targets), leverages)


def build(spec: RouterSpec, parts: Parts) -> RidgeRouter:
    """Build the router from `encoder`, `strength` and `cache` (entries)."""
    place = f"routers.{spec.name}"
    options = Options(place, spec.options).allow(*KEYS)
    if not any(category.utterances for category in spec.categories):
        raise ConfigError(
            f"{place}: a ridge router needs utterances; give at least one category some"
        )
    encoder = parts.encoder(options.text("encoder"))
    entries = options.integer("cache", 0, least=0, most=10_000_000)
    return RidgeRouter(
        name=spec.name,
        categories=spec.categories,
        encoder=CachedEncoder(encoder, entries=entries) if entries else encoder,
        utterance_encoder=stored(encoder, spec.cache_folder),
        strength=options.number("strength", STRENGTH, least=1e-3, most=1e3),
    )


def _inverse(gram: Floats, strength: float) -> Floats:
    gram[np.diag_indices(len(gram))] += strength
    return np.asarray(np.linalg.inv(gram), dtype=np.float32)


def _left_out(
    rows: Floats, targets: Floats, solution: Solution, asked: NDArray[np.intp]
) -> NDArray[np.float64]:
    own = solution.leverages[:, None].astype(np.float64)
    fitted = (rows[asked] @ solution.weights).astype(np.float64)
    return (fitted - own * targets[asked]) / (1.0 - own)
