"""Train a linear router from labelled texts and save it: scikit-learn here, numpy at serving.

    from routers.training import rows_of, save, train

    trained = train(rows_of(composition.categories), encoder)
    save(Path("router.npz"), trained, utterances=rows_of(composition.categories))

Everything that judges the classifier is learnt on rows that it has not seen. In each of FOLDS fits
every fifth row is left out: their logits calibrate. In each of GROUPS more fits a third of the
categories is left out too: their rows are what outside looks like to the gate (see `gate`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError
from coe.protocols import Encoder
from coe.types import Category
from routers import artefact, calibrators, gate, metrics
from routers.balance import Floats
from routers.linear import KIND, LinearModel

FOLDS = 5
GROUPS = 3
LEAST_PER_CATEGORY = 3
TEXTS_PER_STEP = 64
ITERATIONS = 100
ACCEPTANCE = 0.95

Vectors = NDArray[np.float32]
Columns = NDArray[np.intp]
Row = tuple[str, str]
# Called with what is being done, the steps done and the steps in all. What it raises ends the
# training, and nothing is written.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        strength: one over the ridge penalty (scikit-learn's C).
        calibration: see `calibrators`.
        names: whether a category's name is read as one more text of it. A name says what few
            utterances may not: with five of them it is worth one to two points of accuracy.
        seed: of the folds.
    """

    strength: float = 20.0
    calibration: calibrators.Kind = "platt"
    names: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What training found out on rows that were left out.

    Attributes:
        rows: after duplicates were dropped.
        accuracy: share of the rows that go to their category.
        ece_raw: expected calibration error of the softmax.
        ece: of the calibrated probabilities. The calibration was fitted to the same rows.
        outside_auroc: how well the gate tells rows from those of categories that were left out;
            NaN where there are too few categories to leave some out.
        threshold: of the gate, at which 95 % of the rows are accepted.
    """

    rows: int
    categories: int
    accuracy: float
    ece_raw: float
    ece: float
    outside_auroc: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """What is learnt from; `hints` are the categories' names, one row each, or none at all."""

    texts: Sequence[str]
    vectors: Vectors
    labels: Columns
    hints: Vectors
    beyond: Vectors

    @property
    def categories(self) -> int:
        return int(self.labels.max()) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model with what it was made from.

    Attributes:
        categories: the model's columns.
        encoder: the fingerprint of the encoder.
    """

    model: LinearModel
    categories: tuple[str, ...]
    encoder: str
    report: FitReport


def rows_of(categories: Sequence[Category]) -> list[Row]:
    """Return the utterances of a composition as rows."""
    return [(text, category.name) for category in categories for text in category.utterances]


def train(
    rows: Sequence[Row],
    encoder: Encoder,
    *,
    outside: Sequence[str] = (),
    recipe: Recipe | None = None,
    progress: Progress = lambda *_: None,
) -> Trained:
    """Return a linear router fitted to the rows; the same rows and seed give the same router.

    Args:
        rows: (text, category); a row that stands twice counts once.
        encoder: as it will serve. Wrap it in a `StoredEncoder`, and what was encoded before an
            interruption is not encoded again.
        outside: texts that belong to no category, if some are known; they only teach the gate.
        recipe: None for the defaults.
        progress: see `Progress`.

    Raises:
        ConfigError: too few rows, or scikit-learn is not installed; the message says what to do.
    """
    _scikit_learn()  # that it is missing is said before anything is encoded
    rows = list(dict.fromkeys(rows))
    names, labels = _labels(rows)
    recipe = recipe or Recipe()
    texts = [text for text, _ in rows]
    hints = [_words(name) for name in names] if recipe.names else []
    sample = _Sample(
        texts=texts,
        vectors=_encode(encoder, texts, "encode utterances", progress),
        labels=labels,
        hints=encoder.encode(hints),
        beyond=_encode(encoder, outside, "encode texts outside", progress),
    )
    model, report = _fit(sample, recipe, progress)
    return Trained(model=model, categories=names, encoder=encoder.fingerprint, report=report)


def save(path: Path, trained: Trained, *, utterances: Sequence[Row] = ()) -> None:
    """Write the artefact that the option `model` of a `linear` router names.

    It holds the texts of the landmarks, at most 4000 rows of training, to show them as evidence.

    Args:
        path: a name that ends in .npz is usual.
        trained: what `train` returned.
        utterances: the composition's, where the router was trained on them: it is then refused
            once they change. Nothing where the rows came from a file of their own.

    Raises:
        ArtefactError: the file cannot be written.
    """
    model = trained.model
    texts: dict[str, list[str]] = {}
    for text, name in utterances:
        texts.setdefault(name, []).append(text)
    card = {
        "categories": trained.categories,
        "encoder": trained.encoder,
        "utterances": artefact.utterance_digests(texts),
        "neighbours": model.landmarks.neighbours,
        "calibration": {
            "kind": model.calibrator.kind,
            "temperature": model.calibrator.temperature,
        },
        "texts": model.texts,
        "report": {key: _json(value) for key, value in asdict(trained.report).items()},
    }
    of_gate = model.gate
    arrays: artefact.Arrays = {
        "weights": model.weights,
        "bias": model.bias,
        "curve": model.calibrator.curve,
        "rows": model.landmarks.rows,
        "owner": model.landmarks.owner.astype(np.int32),
        "centroids": model.landmarks.centroids,
        "whitening": model.landmarks.whitening,
        "white_means": model.landmarks.white_means,
        "gate": np.concatenate([of_gate.centre, of_gate.scale, of_gate.weights, [of_gate.offset]]),
    }
    artefact.write(path, kind=KIND, card=card, arrays=arrays)


def _labels(rows: Sequence[Row]) -> tuple[tuple[str, ...], Columns]:
    names = tuple(dict.fromkeys(name for _, name in rows))
    if len(names) < 2:  # noqa: PLR2004 - one category leaves nothing to tell apart
        raise ConfigError(
            f"a linear router needs utterances of two categories at least, found {len(names)}; "
            "add some, or use a router of type embedding"
        )
    labels = np.array([names.index(name) for _, name in rows], dtype=np.intp)
    sizes = np.bincount(labels)
    few = [
        f"{name} ({size})"
        for name, size in zip(names, sizes, strict=True)
        if size < LEAST_PER_CATEGORY
    ]
    if few:
        raise ConfigError(
            f"a linear router needs {LEAST_PER_CATEGORY} different utterances per category at "
            f"least; too few: {', '.join(few[:5])}; add some, or use a router of type embedding"
        )
    return names, labels


def _words(name: str) -> str:
    """Return a name as one would say it: `book_hotel` and `travel.hotel` have two words."""
    return re.sub(r"[\W_]+", " ", name).strip() or name


def _encode(encoder: Encoder, texts: Sequence[str], what: str, progress: Progress) -> Vectors:
    blocks = [np.empty((0, encoder.dim), dtype=np.float32)]
    for start in range(0, len(texts), TEXTS_PER_STEP):
        progress(what, start, len(texts))
        blocks.append(encoder.encode(texts[start : start + TEXTS_PER_STEP]))
    progress(what, len(texts), len(texts))
    return np.concatenate(blocks)


def _fit(sample: _Sample, recipe: Recipe, progress: Progress) -> tuple[LinearModel, FitReport]:
    generator = np.random.default_rng(recipe.seed)
    fold = _folds(sample.labels, FOLDS, generator)
    groups = list(_groups(sample.labels, fold, generator))
    steps = FOLDS + len(groups) + 1
    turns = iter(range(steps))

    def fitted(rows: Columns) -> tuple[Vectors, Vectors]:
        progress("fit", next(turns), steps)
        return _logistic(sample, rows, recipe.strength)

    logits = np.empty((len(fold), sample.categories), dtype=np.float32)
    for turn in range(FOLDS):
        weights, bias = fitted(np.flatnonzero(fold != turn))
        held = fold == turn
        logits[held] = sample.vectors[held] @ weights + bias
    calibrator = calibrators.fit(recipe.calibration, logits.astype(np.float64), sample.labels)
    learnt, auroc, threshold = _gate(
        [_evidence(sample, group, fitted(group.inner)) for group in groups]
    )
    weights, bias = fitted(np.arange(len(fold)))
    landmarks = gate.Landmarks.of(sample.vectors, sample.labels)
    progress("fit", steps, steps)
    model = LinearModel(
        weights=weights,
        bias=bias,
        calibrator=calibrator,
        landmarks=landmarks,
        gate=learnt,
        texts=tuple(sample.texts[row] for row in landmarks.kept),
    )
    return model, _report(logits, sample.labels, calibrator, auroc, threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Rows when some categories are left out: to fit, left out of the others, of those left out."""

    inner: Columns
    inside: Columns
    outside: Columns


def _groups(labels: Columns, fold: Columns, generator: np.random.Generator) -> list[_Group]:
    categories = int(labels.max()) + 1
    if categories < GROUPS:
        return []
    group = generator.permutation(categories) % GROUPS
    found = []
    for turn in range(GROUPS):
        is_out, is_held = group[labels] == turn, fold == turn
        found.append(
            _Group(
                inner=np.flatnonzero(~is_out & ~is_held),
                inside=np.flatnonzero(~is_out & is_held),
                outside=np.flatnonzero(is_out),
            )
        )
    return found


def _evidence(
    sample: _Sample, group: _Group, fitted: tuple[Vectors, Vectors]
) -> tuple[Floats, Floats, Floats]:
    """Return the signals of rows inside, of rows outside, and of the texts known to be outside."""
    weights, bias = fitted
    columns = np.unique(sample.labels[group.inner], return_inverse=True)[1]
    marks = gate.Landmarks.of(sample.vectors[group.inner], columns.astype(np.intp))

    def signals(vectors: Vectors) -> Floats:
        return marks.signals(vectors, marks.cosines(vectors), vectors @ weights + bias)

    inside, outside = sample.vectors[group.inside], sample.vectors[group.outside]
    return signals(inside), signals(outside), signals(sample.beyond)


def _gate(evidence: Sequence[tuple[Floats, ...]]) -> tuple[gate.Gate, float, float]:
    """Return the gate, its AUROC on the evidence, and the threshold at ACCEPTANCE."""
    if not evidence:
        return gate.unlearnt(), float("nan"), 0.0
    inside, outside, beyond = (np.concatenate(parts) for parts in zip(*evidence, strict=True))
    learnt = gate.learn(inside, outside, beyond)
    scores = learnt.inside(inside)
    return (
        learnt,
        metrics.auroc(scores, learnt.inside(outside)),
        metrics.threshold_at_acceptance(scores, ACCEPTANCE),
    )


def _folds(labels: Columns, count: int, generator: np.random.Generator) -> Columns:
    """Return each row's fold; the rows of a category are spread evenly over the folds."""
    fold = np.empty(len(labels), dtype=np.intp)
    for column in range(int(labels.max()) + 1):
        rows = generator.permutation(np.flatnonzero(labels == column))
        fold[rows] = (np.arange(len(rows)) + generator.integers(count)) % count
    return fold


def _logistic(sample: _Sample, rows: Columns, strength: float) -> tuple[Vectors, Vectors]:
    """Return weights (dim, n_columns) and biases of a multinomial logistic regression.

    The columns are the categories that the rows have, in order.
    """
    regression, unfinished = _scikit_learn()
    vectors, labels = sample.vectors[rows], sample.labels[rows]
    if len(sample.hints):
        present = np.unique(labels)
        vectors = np.concatenate([vectors, sample.hints[present]])
        labels = np.concatenate([labels, present])
    with warnings.catch_warnings():
        # A fit that is cut short after so many steps is as good as a longer one.
        warnings.simplefilter("ignore", unfinished)
        fitted = regression(C=strength, max_iter=ITERATIONS).fit(vectors, labels)
    weights, bias = fitted.coef_.T, fitted.intercept_
    if weights.shape[1] == 1:  # of two categories scikit-learn gives the second one's log-odds
        weights, bias = (
            np.hstack([-weights / 2, weights / 2]),
            np.array([-bias[0] / 2, bias[0] / 2]),
        )
    return weights.astype(np.float32), bias.astype(np.float32)


def _scikit_learn() -> tuple[Any, type[Warning]]:
    """Return the logistic regression, and what it warns of when it is cut short."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ConfigError(
            "training a linear router needs scikit-learn, which is not installed; run: "
            "pip install 'coe-gateway[train]'"
        ) from error
    return LogisticRegression, ConvergenceWarning


def _report(
    logits: Vectors,
    labels: Columns,
    calibrator: calibrators.Calibrator,
    auroc: float,
    threshold: float,
) -> FitReport:
    shares = calibrator.apply(logits)
    raw = calibrators.Calibrator(curve=np.empty(0)).apply(logits)
    correct = shares.argmax(axis=1) == labels
    return FitReport(
        rows=len(labels),
        categories=logits.shape[1],
        accuracy=float(correct.mean()),
        ece_raw=metrics.ece(raw.max(axis=1), correct),
        ece=metrics.ece(shares.max(axis=1), correct),
        outside_auroc=auroc,
        threshold=threshold,
    )


def _json(value: float) -> float | None:
    """Return None for NaN, which JSON has not."""
    return None if value != value else value  # noqa: PLR0124 - NaN alone differs from itself
