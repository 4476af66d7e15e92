"""The trained router: a linear classifier of embeddings, calibrated, behind a gate.

    p(category c | text) = inside(text) * calibrated(logits(v, s))[c]
    logits(v, s) = W v + b + U s

v is the embedding, s the hashed n-grams (see `views`); of many utterances, W v + b is averaged with
what some perceptrons say.

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
from coe.options import Options
from coe.protocols import Encoder, Parts, RouterSpec
from coe.types import Category, Evidence, Scores
from routers import artefact
from routers.balance import Floats
from routers.cache import CachedEncoder, rows_of
from routers.calibrators import Calibrator
from routers.gate import SHOWN, SIGNALS, Columns, Gate, Landmarks, Nearest
from routers.perceptron import PARTS, Perceptron
from routers.spelling import repair
from routers.stages import columns_of
from routers.store import stored
from routers.views import Views, views_of
from routers.words import KnowsWords, Vocabulary, vocabulary

KIND = "linear"
KEYS = ("encoder", "model", "cache", "spelling")
# Above these the start would wait for the fit (a minute for 3000 utterances of 150 categories).
MOST_AT_START = 3000

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """The logistic regression and, where rows were many, perceptrons beside it; both with spelling.

    Attributes:
        weights: shape (dim, n_categories), of the meaning.
        bias: shape (n_categories,).
        spelling: shape (SPELLING_DIM, n_categories).
        others: perceptrons of the meaning side by side; each has a vote like the logistic's.
        votes: how many they are.
    """

    weights: Vectors
    bias: Vectors
    spelling: Vectors
    others: Perceptron | None = None
    votes: int = 0

    def logits(self, views: Views) -> Vectors:
        """Return shape (n, n_categories)."""
        return self.opinions(views)[0]

    def opinions(self, views: Views) -> tuple[Vectors, Vectors]:
        """Return the logits, and those that the gate reads, each of shape (n, n_categories).

        The gate reads the perceptrons alone: trained with noise and smoothed labels, they are
        modest where there were no rows, and the logistic is not.
        """
        spelt = _sparse_product(views.spelling, self.spelling)
        linear: Vectors = views.meaning @ self.weights + self.bias
        if self.others is None:
            return linear + spelt, linear + spelt
        others = self.others.logits(views.meaning)
        logits = (linear + others) / np.float32(1 + self.votes)
        return logits + spelt, others / np.float32(self.votes) + spelt


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """What training learns, as numbers.

    Attributes:
        texts: one per row of the landmarks; they are shown as evidence.
        pairs: how often each word follows another in the rows of training (see `words`).
    """

    classifier: Classifier
    calibrator: Calibrator
    landmarks: Landmarks
    gate: Gate
    texts: tuple[str, ...]
    pairs: Mapping[tuple[str, str], int]

    def logits(self, views: Views) -> Vectors:
        """Return shape (n, n_categories)."""
        return self.classifier.logits(views)

    def given_inside(self, views: Views) -> Floats:
        """Return the probabilities of texts that belong to some category; rows sum to one."""
        return self.calibrator.apply(self.logits(views))

    def inside(self, views: Views) -> Floats:
        """Return the probability that each text belongs to some category, shape (n,)."""
        near = self.landmarks.nearest(views.meaning)
        _, modest = self.classifier.opinions(views)
        return self.gate.inside(self.landmarks.signals(views.meaning, near, modest))

    def read(self, views: Views) -> tuple[Vectors, Nearest]:
        """Return probabilities, rows summing to at most one, and the nearest of the kept rows."""
        near = self.landmarks.nearest(views.meaning)
        logits, modest = self.classifier.opinions(views)
        inside = self.gate.inside(self.landmarks.signals(views.meaning, near, modest))
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
        known: Vocabulary | None = None,
    ) -> None:
        """Store the model.

        Args:
            name: as in the composition.
            categories: those that the model does not know get probability zero.
            encoder: the one that the model was trained with.
            model: its columns are in the order of `trained`.
            trained: names, each among the categories.
            known: what typing errors are repaired by; None leaves them.
        """
        self.name = name
        self.categories = tuple(categories)
        self._encoder = encoder
        self._model = model
        self._trained = tuple(trained)
        self._known = known
        self._columns = columns_of(self.categories, trained)

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities and the nearest texts of training.

        Raises:
            RouterUnavailable: when a remote encoder does not answer.
        """
        values = np.zeros((len(texts), len(self.categories)), dtype=np.float32)
        if not texts:
            return Scores(values=values)
        if self._known is not None:
            texts = [repair(text, self._known) for text in texts]
        views = views_of(self._encoder, texts)
        values[:, self._columns], near = self._model.read(views)
        return Scores(
            values=values,
            evidence=tuple(map(self._evidence, near.places, near.cosines)),
            embeddings=rows_of(views.meaning, self._encoder),
        )

    def _evidence(self, places: Columns, cosines: Vectors) -> tuple[Evidence, ...]:
        """Return the nearest rows, nearest first."""
        owner = self._model.landmarks.owner
        return tuple(
            Evidence(
                kind="utterance",
                category=self._trained[owner[place]],
                text=self._model.texts[place],
                similarity=float(cosine),
            )
            for place, cosine in zip(places[:SHOWN], cosines[:SHOWN], strict=True)
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
    known = None
    if is_repaired and isinstance(encoder, KnowsWords):
        known = vocabulary(model.pairs, encoder.words())
    return LinearRouter(
        name=spec.name,
        categories=[category.name for category in spec.categories],
        encoder=CachedEncoder(encoder, entries=entries) if entries else encoder,
        model=model,
        trained=names,
        known=known,
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
    together = np.argsort(arrays["owner"], kind="stable")
    landmarks = Landmarks(
        rows=arrays["rows"].astype(np.float32)[together],
        kept=np.arange(len(together)),
        owner=arrays["owner"].astype(np.intp)[together],
        centroids=arrays["centroids"],
        whitening=arrays["whitening"],
        white_means=arrays["white_means"],
        neighbours=int(card["neighbours"]),
    )
    width = len(SIGNALS)
    return LinearModel(
        classifier=Classifier(
            weights=arrays["weights"],
            bias=arrays["bias"],
            spelling=arrays["spelling"],
            others=_perceptrons(found),
            votes=int(card["perceptrons"]),
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
        texts=tuple(card["texts"][place] for place in together),
        pairs={_pair(pair): int(count) for pair, count in card["pairs"].items()},
    )


def _sparse_product(rows: Vectors, weights: Vectors) -> Vectors:
    """Return rows @ weights, reading only the weights that a number other than zero meets."""
    product = np.empty((len(rows), weights.shape[1]), dtype=np.float32)
    for row, into in zip(rows, product, strict=True):
        places = np.flatnonzero(row)
        np.matmul(row[places], weights[places], out=into)
    return product


def _pair(words: str) -> tuple[str, str]:
    before, after = words.split(" ")
    return before, after


def _perceptrons(found: artefact.Artefact) -> Perceptron | None:
    if not found.card["perceptrons"]:
        return None
    return Perceptron(**{part: found.arrays[part] for part in PARTS})


def _fitted(spec: RouterSpec, encoder: Encoder, place: str) -> tuple[tuple[str, ...], LinearModel]:
    from routers import training

    rows = training.rows_of(spec.categories)
    if len(rows) > MOST_AT_START:
        raise ConfigError(
            f"{place}: {len(rows)} utterances are too many to fit at the start (most: "
            f"{MOST_AT_START}); run `coe router train`, and name the file with `model`"
        )
    try:
        trained = training.train(rows, encoder)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error.message}") from error
    return trained.categories, trained.model
