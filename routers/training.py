"""Train a linear router from labelled texts and save it: scikit-learn here, numpy at serving.

    from routers.training import rows_of, save, train

    trained = train(rows_of(composition.categories), encoder)
    save(Path("router.npz"), trained, utterances=rows_of(composition.categories))

Everything that judges the classifier is learnt on rows that it has not seen. In each of some fits
every fifth row is left out: their logits calibrate. In each of some more fits a third of the
categories is left out too: their rows are what outside looks like to the gate (see `gate`). There
are as many of these fits as it takes to leave out some thousand rows, or all.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError
from coe.protocols import Encoder
from coe.types import Category
from routers import artefact, calibrators, gate, metrics, perceptron
from routers.balance import Floats
from routers.linear import KIND, Classifier, LinearModel
from routers.ridge import solve
from routers.views import Views, beside, views_of
from routers.words import count_pairs

FOLDS = 5
GROUPS = 3
# Left out to calibrate and to teach the gate: the three and six numbers that are learnt from them
# are not known better from more.
ENOUGH_LEFT_OUT = 3000
# Rows per category from which perceptrons are worth their time: below, the logistic alone is as
# good, and knows better what is outside.
LEAST_FOR_PERCEPTRONS = 30
# The spelling's least squares say one for the right category where the logistic says three or so;
# on the split `val` of CLINC150 this is best from 5 utterances per category to 100.
SPELLING_WORTH = np.float32(3.0)
SPELLING_RIDGE = 1.0
LEAST_PER_CATEGORY = 3
TEXTS_PER_STEP = 64
ITERATIONS = 60
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
        perceptrons: how many are fitted besides (see `perceptron`), where rows are many enough.
        hidden: units of each.
        seed: of the folds and the perceptrons.
    """

    strength: float = 20.0
    calibration: calibrators.Kind = "platt"
    names: bool = True
    perceptrons: int = 3
    hidden: int = 512
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What training found out on rows that were left out.

    Attributes:
        rows: after duplicates were dropped. Of some thousands the rest are of a share of them.
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
    views: Views
    labels: Columns
    hints: Views
    beyond: Views

    @property
    def categories(self) -> int:
        return int(self.labels.max()) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """The sample as a judge reads it, and a mask of the rows that it has not seen."""

    sample: _Sample
    unseen: NDArray[np.bool_]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A twin of an encoder that was tuned on the rows: tuned like it, but not on all of them.

    To the encoder itself its rows are easier than others of their kind, so nothing that judges can
    be learnt from what it makes of them.

    Attributes:
        unseen: the rows that it was not tuned on.
    """

    encoder: Encoder
    unseen: frozenset[Row]


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
    judge: Judge | None = None,
) -> Trained:
    """Return a linear router fitted to the rows; the same rows and seed give the same router.

    Args:
        rows: (text, category); a row that stands twice counts once.
        encoder: as it will serve. Wrap it in a `StoredEncoder`, and what was encoded before an
            interruption is not encoded again.
        outside: texts that belong to no category, if some are known; they only teach the gate.
        recipe: None for the defaults.
        progress: see `Progress`.
        judge: where the encoder was tuned on the rows.

    Raises:
        ConfigError: too few rows, or scikit-learn is not installed; the message says what to do.
    """
    _scikit_learn()  # that it is missing is said before anything is encoded
    rows = list(dict.fromkeys(rows))
    names, labels = _labels(rows)
    recipe = recipe or Recipe()
    texts = [text for text, _ in rows]
    hints = [words(name) for name in names] if recipe.names else []

    def sample_of(encoder: Encoder) -> _Sample:
        return _Sample(
            texts=texts,
            views=_read(encoder, texts, "encode utterances", progress),
            labels=labels,
            hints=views_of(encoder, hints),
            beyond=_read(encoder, outside, "encode texts outside", progress),
        )

    sample, trial = sample_of(encoder), None
    if judge is not None:
        unseen = np.array([row in judge.unseen for row in rows])
        trial = _Trial(sample=sample_of(judge.encoder), unseen=unseen)
    model, report = _fit(sample, trial, recipe, progress)
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
    card = {
        "categories": trained.categories,
        "encoder": trained.encoder,
        "utterances": artefact.utterance_digests(by_category(utterances)),
        "neighbours": model.landmarks.neighbours,
        "perceptrons": model.classifier.votes,
        "calibration": {
            "kind": model.calibrator.kind,
            "temperature": model.calibrator.temperature,
        },
        "texts": model.texts,
        "pairs": {" ".join(pair): count for pair, count in model.pairs.items()},
        "report": {key: _json(value) for key, value in asdict(trained.report).items()},
    }
    of_gate = model.gate
    arrays: dict[str, NDArray[Any]] = {
        "weights": model.classifier.weights,
        "bias": model.classifier.bias,
        "spelling": model.classifier.spelling,
        "curve": model.calibrator.curve,
        "rows": model.landmarks.rows,
        "owner": model.landmarks.owner.astype(np.int32),
        "centroids": model.landmarks.centroids,
        "whitening": model.landmarks.whitening,
        "white_means": model.landmarks.white_means,
        "gate": np.concatenate([of_gate.centre, of_gate.scale, of_gate.weights, [of_gate.offset]]),
    }
    others = model.classifier.others
    if others is not None:
        arrays |= {part: getattr(others, part) for part in perceptron.PARTS}
    artefact.write(path, kind=KIND, card=card, arrays=arrays)


def by_category(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return each category's texts, in the order of the rows."""
    texts: dict[str, list[str]] = {}
    for text, name in rows:
        texts.setdefault(name, []).append(text)
    return texts


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


def words(name: str) -> str:
    """Return a name as one would say it: `book_hotel` and `travel.hotel` have two words."""
    return re.sub(r"[\W_]+", " ", name).strip() or name


def _read(encoder: Encoder, texts: Sequence[str], what: str, progress: Progress) -> Views:
    blocks = [np.empty((0, encoder.dim), dtype=np.float32)]
    for start in range(0, len(texts), TEXTS_PER_STEP):
        progress(what, start, len(texts))
        blocks.append(encoder.encode(texts[start : start + TEXTS_PER_STEP]))
    progress(what, len(texts), len(texts))
    return beside(np.concatenate(blocks), texts)


def _fit(
    sample: _Sample, trial: _Trial | None, recipe: Recipe, progress: Progress
) -> tuple[LinearModel, FitReport]:
    if len(sample.labels) < LEAST_FOR_PERCEPTRONS * sample.categories:
        recipe = replace(recipe, perceptrons=0)
    generator = np.random.default_rng(recipe.seed)
    if trial is None:
        judged, strangers = sample, np.ones(len(sample.labels), dtype=np.bool_)
        fold = _folds(sample.labels, FOLDS, generator)
        parts = [np.flatnonzero(fold == turn) for turn in range(FOLDS)]
    else:
        judged, strangers = trial.sample, trial.unseen
        parts = [np.flatnonzero(trial.unseen)]
    turns = _until_enough(parts)
    groups = list(_groups(sample.labels, parts, strangers, generator))
    steps = len(turns) + len(groups) + 1
    done = iter(range(steps))

    every = np.arange(len(sample.labels))

    def fitted(sample: _Sample, rows: Columns) -> Classifier:
        progress("fit", next(done), steps)
        return _classifier(sample, rows, recipe)

    logits = np.concatenate(
        [fitted(judged, np.setdiff1d(every, held)).logits(judged.views[held]) for held in turns]
    )
    labels = sample.labels[np.concatenate(turns)]
    calibrator = calibrators.fit(recipe.calibration, logits.astype(np.float64), labels)
    learnt, auroc, threshold = _gate(
        [_evidence(judged, group, fitted(judged, group.inner)) for group in groups]
    )
    classifier = fitted(sample, every)
    landmarks = gate.Landmarks.of(sample.views.meaning, sample.labels)
    progress("fit", steps, steps)
    model = LinearModel(
        classifier=classifier,
        calibrator=calibrator,
        landmarks=landmarks,
        gate=learnt,
        texts=tuple(sample.texts[row] for row in landmarks.kept),
        pairs=count_pairs(sample.texts),
    )
    report = _report(logits, labels, calibrator, auroc, threshold)
    return model, replace(report, rows=len(every))


def _until_enough(parts: Sequence[Columns]) -> list[Columns]:
    """Return the first parts that hold ENOUGH_LEFT_OUT rows together, or all."""
    sizes = np.cumsum([len(part) for part in parts])
    return list(parts[: int(np.searchsorted(sizes, ENOUGH_LEFT_OUT)) + 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Rows when some categories are left out: to fit, left out of the others, of those left out."""

    inner: Columns
    inside: Columns
    outside: Columns


def _groups(
    labels: Columns,
    parts: Sequence[Columns],
    strangers: NDArray[np.bool_],
    generator: np.random.Generator,
) -> Iterator[_Group]:
    """Yield groups until enough rows were left out inside, or every category once.

    Args:
        labels: of the rows.
        parts: rows that are left out inside, in their turn.
        strangers: a mask of the rows that may stand for what is outside.
        generator: of the categories' order.
    """
    categories = int(labels.max()) + 1
    if categories < GROUPS:
        return
    group = generator.permutation(categories) % GROUPS
    left_out = 0
    for turn in range(GROUPS):
        is_out = group[labels] == turn
        is_held = np.isin(np.arange(len(labels)), parts[turn % len(parts)])
        found = _Group(
            inner=np.flatnonzero(~is_out & ~is_held),
            inside=np.flatnonzero(~is_out & is_held),
            outside=np.flatnonzero(is_out & strangers),
        )
        yield found
        left_out += len(found.inside)
        if left_out >= ENOUGH_LEFT_OUT / 2:
            return


def _evidence(
    sample: _Sample, group: _Group, classifier: Classifier
) -> tuple[Floats, Floats, Floats]:
    """Return the signals of rows inside, of rows outside, and of the texts known to be outside."""
    columns = np.unique(sample.labels[group.inner], return_inverse=True)[1]
    marks = gate.Landmarks.of(sample.views.meaning[group.inner], columns.astype(np.intp))

    def signals(views: Views) -> Floats:
        _, modest = classifier.opinions(views)
        return marks.signals(views.meaning, marks.nearest(views.meaning), modest)

    inside, outside = sample.views[group.inside], sample.views[group.outside]
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


def _classifier(sample: _Sample, rows: Columns, recipe: Recipe) -> Classifier:
    """Return the classifier of these rows; its columns are the categories they have, in order."""
    views = sample.views[rows]
    present, labels = np.unique(sample.labels[rows], return_inverse=True)
    if len(sample.hints):
        views = views.and_(sample.hints[present])
        labels = np.concatenate([labels, np.arange(len(present))])
    weights, bias = _logistic(views.meaning, labels, recipe.strength)
    generator = np.random.default_rng(recipe.seed)
    others = [
        perceptron.fit(views.meaning, labels, hidden=recipe.hidden, generator=generator)
        for _ in range(recipe.perceptrons)
    ]
    targets = np.eye(len(present), dtype=np.float32)[labels]
    spelling = solve(
        views.spelling, targets, strength=SPELLING_RIDGE, asked=np.empty(0, dtype=np.intp)
    ).weights
    return Classifier(
        weights=weights,
        bias=bias,
        spelling=SPELLING_WORTH * spelling,
        others=perceptron.side_by_side(others) if others else None,
        votes=len(others),
    )


def _logistic(vectors: Vectors, labels: Columns, strength: float) -> tuple[Vectors, Vectors]:
    """Return weights (dim, n_columns) and biases of a multinomial logistic regression."""
    regression, unfinished = _scikit_learn()
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
