"""Train a lexical router: a sum of rows with one hidden layer, taught by labels and by a teacher.

The labelled texts teach what they are; variations of them (see `variations`) teach what a slower
router, the teacher, makes of them: its probabilities, not its choice alone, as they are given that
the text belongs to some category.

A twin that has not seen every fifth row says how sure the router may be of new texts.

Reference: Hinton et al. 2015, Distilling the Knowledge in a Neural Network, arXiv 1503.02531,
section 2; Kingma and Ba 2015, Adam, arXiv 1412.6980, algorithm 1 (here only the rows that a batch
has are moved).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError
from coe.options import Options
from coe.protocols import Parts, Router
from routers import artefact, calibrators, metrics
from routers.activation import gelu, gelu_and_slope
from routers.lexical import KIND, LexicalModel
from routers.lexicon import GRAM_ROWS, Lexicon, grams_of, pairs_of, pieces_of
from routers.stages import all_values
from routers.training import Progress, Row, by_category
from routers.variations import EACH, variations

WIDTH = 128
# How much a pair, and all n-grams of a word together, weigh beside a word; and all beside the bias.
PAIR, GRAM, SCALE = 0.7, 0.3, 8.0
EPOCHS, LEAST_STEPS, BATCH = 10, 300, 256
RATE, WARM_UP = 2e-3, 0.05
KEEP_INPUT, KEEP_HIDDEN = np.float32(0.8), np.float32(0.7)
SMOOTHING = np.float32(0.05)
MOMENTUM, MEMORY_ROWS, MEMORY, HAIR = 0.9, 0.99, 0.999, np.float32(1e-8)
FOLDS = 5
TEXTS_PER_STEP = 64

Vectors = NDArray[np.float32]
Columns = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What the twin made of rows that it had not seen.

    Attributes:
        rows: that were learnt from.
        texts: variations included.
        accuracy: of the twin.
        ece: after calibration, which was fitted to the same rows.
    """

    rows: int
    texts: int
    accuracy: float
    ece: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model and its columns."""

    model: LexicalModel
    categories: tuple[str, ...]
    report: FitReport


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Texts as sparse rows, what is to be said of each, and from which row of training it is."""

    features: Any
    targets: Vectors
    origin: Columns

    def __getitem__(self, chosen: NDArray[Any]) -> _Sample:
        return _Sample(
            features=self.features[chosen],
            targets=self.targets[chosen],
            origin=self.origin[chosen],
        )


@dataclass(slots=True, kw_only=True)
class _Weights:
    """What is fitted: a row per feature, and the dense rest (bias, outer, outer bias)."""

    rows: Vectors
    dense: list[Vectors]

    def logits(self, features: Any) -> Vectors:
        hidden = gelu(features @ self.rows + self.dense[0])
        logits: Vectors = hidden @ self.dense[1] + self.dense[2]
        return logits


def teacher_of(options: Options, parts: Parts) -> Router | None:
    """Return the router that the option `teacher` names, if it does."""
    return parts.router(options.text("teacher")) if "teacher" in options.values else None


def train(
    rows: Sequence[Row],
    teacher: Router | None,
    *,
    progress: Progress = lambda *_: None,
    seed: int = 0,
) -> Trained:
    """Return a lexical router; the same rows, teacher and seed give the same one.

    Args:
        rows: (text, category); a row that stands twice counts once.
        teacher: its categories must hold those of the rows; None to learn from the labels alone.
        progress: see `training.Progress`.
        seed: of the variations, the weights and the order.

    Raises:
        ConfigError: too few rows, a teacher of other categories, or scikit-learn is missing.
    """
    _sparse()
    rows = list(dict.fromkeys(rows))
    names = tuple(dict.fromkeys(name for _, name in rows))
    if len(names) < 2:  # noqa: PLR2004 - one category leaves nothing to tell apart
        raise ConfigError(
            f"a lexical router needs utterances of two categories at least, found {len(names)}; "
            "add some, or leave the router out"
        )
    places = {name: place for place, name in enumerate(names)}
    labels = np.array([places[name] for _, name in rows], dtype=np.intp)
    texts = [text for text, _ in rows]
    lexicon = Lexicon.of(texts)
    held = np.arange(len(rows)) % FOLDS == 0
    # Nothing of a row that is held out may stand in a variation of another one.
    varied = variations(texts, (2 * labels + held).tolist(), seed=seed)
    known = np.eye(len(names), dtype=np.float32)[labels]
    taught = np.repeat(known, EACH, axis=0)
    if teacher is not None:
        taught = _said(teacher, varied, names, progress)
    sample = _sample(texts, varied, np.concatenate([known, taught]), lexicon)
    generator = np.random.default_rng(seed)
    is_seen = ~held[sample.origin]
    twin = _fit(sample[np.flatnonzero(is_seen)], generator, progress, "fit a twin")
    told = np.flatnonzero(held)
    logits = twin.logits(sample.features[told])
    temperature, report = _judged(logits, labels[told])
    weights = _fit(sample, generator, progress, "fit")
    return Trained(
        model=_model(lexicon, weights, temperature),
        categories=names,
        report=replace(report, rows=len(rows), texts=sample.features.shape[0]),
    )


def save(path: Path, trained: Trained, *, utterances: Sequence[Row] = ()) -> None:
    """Write the artefact that the option `model` of a `lexical` router names.

    It holds the words of the training and its pairs of words, in the order of the counts.

    Args:
        path: a name that ends in .npz is usual.
        trained: what `train` returned.
        utterances: the composition's, where the router is bound to them.

    Raises:
        ArtefactError: the file cannot be written.
    """
    model = trained.model
    artefact.write(
        path,
        kind=KIND,
        card={
            "categories": trained.categories,
            "utterances": artefact.utterance_digests(by_category(utterances)),
            "words": list(model.lexicon.words),
            "pairs": list(model.lexicon.pairs),
            "temperature": model.temperature,
            "accuracy": trained.report.accuracy,
        },
        arrays={
            # Half the bytes, and the probabilities differ by less than a thousandth.
            "rows": model.rows.astype(np.float16),
            "grams": model.grams.astype(np.float16),
            "bias": model.bias,
            "outer": model.outer,
            "outer_bias": model.outer_bias,
        },
    )


def _sample(
    texts: Sequence[str], varied: Sequence[str], targets: Vectors, lexicon: Lexicon
) -> _Sample:
    places = np.arange(len(texts))
    return _Sample(
        features=_features([*texts, *varied], lexicon),
        targets=(1 - SMOOTHING) * targets + SMOOTHING / np.float32(targets.shape[1]),
        origin=np.concatenate([places, np.repeat(places, EACH)]),
    )


def _said(
    teacher: Router, texts: Sequence[str], names: tuple[str, ...], progress: Progress
) -> Vectors:
    """Return what the teacher says, shape (n, n_categories), rows summing to one."""
    if missing := sorted(set(names) - set(teacher.categories)):
        raise ConfigError(
            f"the teacher {teacher.name!r} does not know {', '.join(missing[:5])}; "
            "name a router of the same categories"
        )
    columns = [teacher.categories.index(name) for name in names]
    blocks = []
    for start in range(0, len(texts), TEXTS_PER_STEP):
        progress("ask the teacher", start, len(texts))
        blocks.append(all_values(teacher, texts[start : start + TEXTS_PER_STEP])[:, columns])
    said: Vectors = np.concatenate(blocks) + HAIR
    said /= said.sum(axis=1, keepdims=True)
    return said


def _features(texts: Sequence[str], lexicon: Lexicon) -> Any:
    """Return a sparse matrix, shape (n_texts, lexicon.base + GRAM_ROWS)."""
    columns: list[int] = []
    weights: list[float] = []
    ends = [0]
    for text in texts:
        pieces = pieces_of(text)
        worth = SCALE / max(1, len(pieces)) ** 0.5
        counts: Counter[int] = Counter()
        for piece in pieces:
            if piece in lexicon.words:
                counts[lexicon.words[piece]] += worth
            grams = grams_of(piece)
            for gram in grams:
                counts[lexicon.base + gram] += worth * GRAM / len(grams) ** 0.5
        for pair in pairs_of(pieces):
            if pair in lexicon.pairs:
                counts[lexicon.pairs[pair]] += worth * PAIR
        columns += counts.keys()
        weights += counts.values()
        ends.append(len(columns))
    return _sparse().csr_matrix(
        (np.array(weights, dtype=np.float32), np.array(columns, dtype=np.int32), ends),
        shape=(len(texts), lexicon.base + GRAM_ROWS),
    )


def _fit(
    sample: _Sample, generator: np.random.Generator, progress: Progress, what: str
) -> _Weights:
    count, width = sample.features.shape
    outputs = sample.targets.shape[1]
    weights = _Weights(
        rows=_normal(generator, width, WIDTH, 0.05),
        dense=[
            np.zeros(WIDTH, dtype=np.float32),
            _normal(generator, WIDTH, outputs, 0.5 / WIDTH**0.5),
            np.zeros(outputs, dtype=np.float32),
        ],
    )
    means = [np.zeros_like(part) for part in (weights.rows, *weights.dense)]
    squares = [np.zeros_like(part) for part in means]
    steps = max(EPOCHS * -(-count // BATCH), LEAST_STEPS)
    order = np.empty(0, dtype=np.intp)
    for step in range(1, steps + 1):
        if step % 20 == 1:
            progress(what, step, steps)
        if not len(order):
            order = generator.permutation(count)
        batch, order = sample[order[:BATCH]], order[BATCH:]
        touched, rows, dense = _gradients(weights, batch, generator)
        rate = np.float32(RATE * _schedule(step / steps))
        moments = means[0][touched], squares[0][touched]
        weights.rows[touched] -= rate * _slope(rows, *moments, memory=MEMORY_ROWS)
        means[0][touched], squares[0][touched] = moments
        for place, gradient in enumerate(dense):
            slope = _slope(gradient, means[place + 1], squares[place + 1], memory=MEMORY)
            unbiased = np.float32((1 - MEMORY**step) ** 0.5 / (1 - MOMENTUM**step))
            weights.dense[place] -= rate * unbiased * slope
    progress(what, steps, steps)
    return weights


def _slope(gradient: Vectors, mean: Vectors, square: Vectors, *, memory: float) -> Vectors:
    """Return the step of Adam before its corrections; the moments are changed in place."""
    mean += (1 - MOMENTUM) * (gradient - mean)
    square += (1 - memory) * (gradient**2 - square)
    slope = mean.copy()
    slope /= np.sqrt(square) + HAIR
    return slope


def _gradients(
    weights: _Weights, batch: _Sample, generator: np.random.Generator
) -> tuple[Columns, Vectors, list[Vectors]]:
    """Return the rows that the batch has, their gradients, and those of the dense parts."""
    found = batch.features
    kept = generator.random(len(found.data), dtype=np.float32) < KEEP_INPUT
    touched, places = np.unique(found.indices, return_inverse=True)
    features = _sparse().csr_matrix(
        (found.data * kept / KEEP_INPUT, places.astype(np.int32), found.indptr),
        shape=(found.shape[0], len(touched)),
    )
    bias, outer, outer_bias = weights.dense
    hidden, derivative = gelu_and_slope(features @ weights.rows[touched] + bias)
    mask = (generator.random(hidden.shape, dtype=np.float32) < KEEP_HIDDEN).astype(np.float32)
    mask /= KEEP_HIDDEN
    masked = hidden * mask
    logits = masked @ outer + outer_bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    errors = (shares - batch.targets) / np.float32(found.shape[0])
    back = (errors @ outer.T) * mask * derivative
    return touched, features.T @ back, [back.sum(axis=0), masked.T @ errors, errors.sum(axis=0)]


def _judged(logits: Vectors, labels: Columns) -> tuple[float, FitReport]:
    """Return the temperature at which new rows are most probable, and how good they are told."""
    calibrator = calibrators.fit("temperature", logits.astype(np.float64), labels)
    shares = calibrator.apply(logits)
    is_right = shares.argmax(axis=1) == labels
    report = FitReport(
        rows=0,
        texts=0,
        accuracy=float(is_right.mean()),
        ece=metrics.ece(shares.max(axis=1), is_right),
    )
    return calibrator.temperature, report


def _model(lexicon: Lexicon, weights: _Weights, temperature: float) -> LexicalModel:
    """Return the model with everything that is multiplied at training multiplied once."""
    grams = weights.rows[lexicon.base :] * np.float32(SCALE * GRAM)
    rows = weights.rows[: lexicon.base] * np.float32(SCALE)
    rows[len(lexicon.words) :] *= np.float32(PAIR)
    for word, row in lexicon.words.items():
        if found := grams_of(word):
            rows[row] += grams[found].sum(axis=0) / np.float32(len(found) ** 0.5)
    bias, outer, outer_bias = weights.dense
    return LexicalModel(
        lexicon=lexicon,
        rows=rows,
        grams=grams,
        bias=bias,
        outer=outer,
        outer_bias=outer_bias,
        temperature=temperature,
    )


def _normal(generator: np.random.Generator, rows: int, columns: int, scale: float) -> Vectors:
    drawn: Vectors = generator.standard_normal((rows, columns), dtype=np.float32)
    return drawn * np.float32(scale)


def _schedule(share: float) -> float:
    """Return the rate's factor: a short rise, then half a cosine down to nothing."""
    return min(1.0, share / WARM_UP) * float(0.5 + 0.5 * np.cos(np.pi * share))


def _sparse() -> Any:
    try:
        from scipy import sparse
    except ImportError as error:
        raise ConfigError(
            "training a lexical router needs scipy, which comes with scikit-learn and is not "
            "installed; run: pip install 'coe-gateway[train]'"
        ) from error
    return sparse
