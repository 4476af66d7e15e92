"""The trained router: a linear classifier of embeddings, calibrated, behind a gate.

    p(category c | text) = inside(text) * calibrated(logits(v))[c]
    logits(v) = W v + b, or, of many utterances, the mean of that and of some perceptrons

The best there is on a CPU when every category has ten utterances or more: it learns which
directions of the embedding tell the categories apart, where `embedding` compares whole vectors. It
is trained with `routers.training`, once, and served as matrix products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.errors import ArtefactError, ConfigError
from coe.protocols import Encoder, Parts, RouterSpec
from coe.types import Category, Evidence, Scores
from routers import artefact
from routers.balance import Floats
from routers.cache import CachedEncoder
from routers.calibrators import Calibrator
from routers.gate import SIGNALS, Gate, Landmarks
from routers.options import Options
from routers.perceptron import PARTS, Perceptron
from routers.spelling import KnowsWords, RepairingEncoder, vocabulary
from routers.store import stored

KIND = "linear"
KEYS = ("encoder", "model", "cache", "spelling")
EVIDENCE = 3
# Above these the start would wait for the fit (a minute for 3000 utterances of 150 categories).
MOST_AT_START = 3000

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """The logistic regression and, where rows were many, perceptrons beside it.

    Attributes:
        weights: shape (dim, n_categories).
        bias: shape (n_categories,).
        others: each has a vote like the logistic's.
    """

    weights: Vectors
    bias: Vectors
    others: tuple[Perceptron, ...] = ()

    def logits(self, vectors: Vectors) -> Vectors:
        """Return the mean of all, shape (n, n_categories)."""
        return self.opinions(vectors)[0]

    def opinions(self, vectors: Vectors) -> tuple[Vectors, Vectors]:
        """Return the logits, and those that the gate reads, each of shape (n, n_categories).

        The gate reads the perceptrons alone: trained with noise and smoothed labels, they are
        modest where there were no rows, and the logistic is not.
        """
        linear: Vectors = vectors @ self.weights + self.bias
        if not self.others:
            return linear, linear
        others = np.stack([other.logits(vectors) for other in self.others])
        logits = (linear + others.sum(axis=0)) / np.float32(1 + len(self.others))
        return logits, others.mean(axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """What training learns, as numbers.

    Attributes:
        texts: one per row of the landmarks; they are shown as evidence.
        words: how often each word stands in the rows of training (see `spelling`).
    """

    classifier: Classifier
    calibrator: Calibrator
    landmarks: Landmarks
    gate: Gate
    texts: tuple[str, ...]
    words: Mapping[str, int]

    def logits(self, vectors: Vectors) -> Vectors:
        """Return shape (n, n_categories)."""
        return self.classifier.logits(vectors)

    def given_inside(self, vectors: Vectors) -> Floats:
        """Return the probabilities of texts that belong to some category; rows sum to one."""
        return self.calibrator.apply(self.logits(vectors))

    def inside(self, vectors: Vectors) -> Floats:
        """Return the probability that each text belongs to some category, shape (n,)."""
        near = self.landmarks.cosines(vectors)
        _, modest = self.classifier.opinions(vectors)
        return self.gate.inside(self.landmarks.signals(vectors, near, modest))

    def read(self, vectors: Vectors) -> tuple[Vectors, Vectors]:
        """Return probabilities, rows summing to at most one, and cosines with the kept rows."""
        near = self.landmarks.cosines(vectors)
        logits, modest = self.classifier.opinions(vectors)
        inside = self.gate.inside(self.landmarks.signals(vectors, near, modest))
        # Rounding to 32 bits must not lift a sum over one.
        exact = inside[:, None] * self.calibrator.apply(logits) * (1.0 - 1e-6)
        return exact.astype(np.float32), near


class LinearRouter:
    """Scores with a `LinearModel`. Thread-safe; always calibrated."""

    calibrated = True

    def __init__(
        self,
        *,
        name: str,
        categories: Sequence[str],
        encoder: Encoder,
        model: LinearModel,
        trained: Sequence[str],
    ) -> None:
        """Store the model.

        Args:
            name: as in the composition.
            categories: those that the model does not know get probability zero.
            encoder: the one that the model was trained with.
            model: its columns are in the order of `trained`.
            trained: names, each among the categories.
        """
        self.name = name
        self.categories = tuple(categories)
        self._encoder = encoder
        self._model = model
        self._trained = tuple(trained)
        self._columns = [self.categories.index(category) for category in trained]

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities and the nearest texts of training.

        Raises:
            RouterUnavailable: when a remote encoder does not answer.
        """
        values = np.zeros((len(texts), len(self.categories)), dtype=np.float32)
        if not texts:
            return Scores(values=values)
        values[:, self._columns], near = self._model.read(self._encoder.encode(texts))
        return Scores(values=values, evidence=tuple(self._evidence(row) for row in near))

    def _evidence(self, near: Vectors) -> tuple[Evidence, ...]:
        """Return the nearest rows, nearest first."""
        count = min(EVIDENCE, len(near))
        places = np.argpartition(near, len(near) - count)[len(near) - count :]
        ordered = places[np.argsort(-near[places], kind="stable")]
        owner = self._model.landmarks.owner
        return tuple(
            Evidence(
                kind="utterance",
                category=self._trained[owner[place]],
                text=self._model.texts[place],
                similarity=float(near[place]),
            )
            for place in ordered
        )


def build(spec: RouterSpec, parts: Parts) -> LinearRouter:
    """Build the router from `encoder`, `model` (an artefact's path), `cache` and `spelling`.

    Without a model the utterances are fitted at the start, which needs scikit-learn. `cache` is in
    entries. `spelling: false` leaves typing errors to an encoder that knows which words exist.
    """
    place = f"routers.{spec.name}"
    options = Options(place, spec.options).allow(*KEYS)
    entries = options.integer("cache", 4096, least=0, most=10_000_000)
    is_repaired = options.flag("spelling", default=True)
    encoder = parts.encoder(options.text("encoder"))
    if "model" in spec.options:
        path = Path(spec.folder, options.text("model"))
        names, model = load(path, encoder, spec.categories, place=place)
    else:
        names, model = _fitted(spec, stored(encoder, spec.cache_folder), place)
    reader: Encoder = CachedEncoder(encoder, entries=entries) if entries else encoder
    if is_repaired and isinstance(encoder, KnowsWords):
        reader = RepairingEncoder(reader, vocabulary(model.words, model.texts, encoder.words()))
    return LinearRouter(
        name=spec.name,
        categories=[category.name for category in spec.categories],
        encoder=reader,
        model=model,
        trained=names,
    )


def load(
    path: Path, encoder: Encoder, categories: Sequence[Category], *, place: str
) -> tuple[tuple[str, ...], LinearModel]:
    """Return the names of the model's columns and the model.

    Args:
        path: what `routers.training.save` wrote.
        encoder: that the vectors will come from.
        categories: the composition's.
        place: where the path stands, for messages.

    Raises:
        ArtefactError: the file is missing, damaged, or made for another encoder or composition.
    """
    found = artefact.read(path, kind=KIND)
    artefact.expect_encoder(found, encoder, place=place)
    artefact.expect_utterances(found, categories, place=place)
    try:
        return tuple(found.card["categories"]), _model(found)
    except (KeyError, ValueError, TypeError) as error:
        raise ArtefactError(
            f"{path}: misses a part of a linear router ({error}); train the router again"
        ) from error


def _model(found: artefact.Artefact) -> LinearModel:
    card, arrays = found.card, found.arrays
    gate = arrays["gate"]
    landmarks = Landmarks(
        rows=arrays["rows"].astype(np.float32),
        kept=np.arange(len(arrays["rows"])),
        owner=arrays["owner"].astype(np.intp),
        centroids=arrays["centroids"],
        whitening=arrays["whitening"],
        white_means=arrays["white_means"],
        neighbours=int(card["neighbours"]),
    )
    width = len(SIGNALS)
    return LinearModel(
        classifier=Classifier(
            weights=arrays["weights"], bias=arrays["bias"], others=_perceptrons(found)
        ),
        calibrator=Calibrator(
            kind=card["calibration"]["kind"],
            temperature=float(card["calibration"]["temperature"]),
            curve=arrays["curve"],
        ),
        landmarks=landmarks,
        gate=Gate(
            centre=gate[:width],
            scale=gate[width : 2 * width],
            weights=gate[2 * width : 3 * width],
            offset=float(gate[3 * width]),
        ),
        texts=tuple(card["texts"]),
        words=card["words"],
    )


def _perceptrons(found: artefact.Artefact) -> tuple[Perceptron, ...]:
    return tuple(
        Perceptron(**{part: found.arrays[f"{part}_{number}"] for part in PARTS})
        for number in range(found.card["perceptrons"])
    )


def _fitted(spec: RouterSpec, encoder: Encoder, place: str) -> tuple[tuple[str, ...], LinearModel]:
    from routers import training

    rows = training.rows_of(spec.categories)
    if len(rows) > MOST_AT_START:
        raise ConfigError(
            f"{place}: {len(rows)} utterances are too many to fit at the start (most: "
            f"{MOST_AT_START}); train with routers.training, and name the file with `model`"
        )
    try:
        trained = training.train(rows, encoder)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error.message}") from error
    return trained.categories, trained.model
