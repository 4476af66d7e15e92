"""The first look: which words a text has, in tens of microseconds, learnt from a slower router.

    h = gelu(sum_i rows[i] / sqrt(n) + a)        p = softmax((h V + b) / temperature)

with a row for each of the text's n words, each pair of neighbours and, of words that training never
saw, the n-grams of their letters. What the rows are is learnt by `routers.distillation`: from
labelled texts, and from what a slower router (`teacher`) says of many variations of them. It is
there to be the first stage of a chain: right on what is said plainly, and not sure of the rest. It
knows nothing of texts that belong to no category.

Reference: Iyyer et al. 2015, Deep Unordered Composition Rivals Syntactic Methods for Text
Classification, ACL, section 2.2; Bojanowski et al. 2017, Enriching Word Vectors with Subword
Information, TACL 5, equation 2; Hinton et al. 2015, Distilling the Knowledge in a Neural Network,
arXiv 1503.02531.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.errors import ArtefactError, ConfigError
from coe.options import Options
from coe.protocols import Parts, RouterSpec
from coe.types import Category, Scores
from routers import artefact
from routers.activation import gelu
from routers.lexicon import Lexicon, grams_of, pairs_of, pieces_of
from routers.stages import columns_of

KIND = "lexical"
KEYS = ("model", "teacher")
# Above these the start would wait for the fit.
MOST_AT_START = 3000

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalModel:
    """What training learns.

    Attributes:
        rows: shape (lexicon.base, width), of words (their n-grams being in it) and pairs.
        grams: shape (GRAM_ROWS, width).
        bias: shape (width,).
        outer: shape (width, n_categories).
        outer_bias: shape (n_categories,).
        temperature: of the softmax, over 0.
    """

    lexicon: Lexicon
    rows: Vectors
    grams: Vectors
    bias: Vectors
    outer: Vectors
    outer_bias: Vectors
    temperature: float

    def probabilities(self, texts: Sequence[str]) -> Vectors:
        """Return shape (n, n_categories), rows summing to at most one."""
        sums = np.stack([self._sum(pieces_of(text)) for text in texts])
        logits = gelu(sums + self.bias) @ self.outer + self.outer_bias
        logits /= np.float32(self.temperature)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        # Rounding must not lift a sum over one.
        shares *= np.float32(1 - 1e-6) / shares.sum(axis=1, keepdims=True)
        found: Vectors = shares
        return found

    def _sum(self, pieces: Sequence[str]) -> Vectors:
        words, pairs = self.lexicon.words, self.lexicon.pairs
        known = [words[piece] for piece in pieces if piece in words]
        beside = [pairs[pair] for pair in pairs_of(pieces) if pair in pairs]
        total = self.rows[known + beside].sum(axis=0)
        if len(known) < len(pieces):
            for piece in pieces:
                if piece not in words and (grams := grams_of(piece)):
                    total += self.grams[grams].sum(axis=0) / np.float32(np.sqrt(len(grams)))
        mean: Vectors = total / np.float32(np.sqrt(max(1, len(pieces))))
        return mean


class LexicalRouter:
    """Scores with a `LexicalModel`. Thread-safe; always calibrated."""

    calibrated = True

    def __init__(
        self, *, name: str, categories: Sequence[str], model: LexicalModel, trained: Sequence[str]
    ) -> None:
        """Store the model.

        Args:
            name: as in the composition.
            categories: those that the model does not know get probability zero.
            model: its columns are in the order of `trained`.
            trained: names, each among the categories.
        """
        self.name = name
        self.categories = tuple(categories)
        self._model = model
        self._columns = columns_of(self.categories, trained)

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities; there is no evidence but the sum of all texts of training."""
        values = np.zeros((len(texts), len(self.categories)), dtype=np.float32)
        if texts:
            values[:, self._columns] = self._model.probabilities(texts)
        return Scores(values=values)


def build(spec: RouterSpec, parts: Parts) -> LexicalRouter:
    """Build the router from `model` (an artefact's path) or, of few utterances, `teacher`.

    Without a model the utterances are learnt at the start, which needs scikit-learn. `teacher` is
    another router, whose judgement is learnt besides.
    """
    place = f"routers.{spec.name}"
    options = Options(place, spec.options).allow(*KEYS)
    if "model" in spec.options:
        names, model = load(Path(spec.folder, options.text("model")), spec.categories, place=place)
    else:
        names, model = _fitted(spec, options, parts)
    return LexicalRouter(
        name=spec.name,
        categories=[category.name for category in spec.categories],
        model=model,
        trained=names,
    )


def load(
    path: Path, categories: Sequence[Category], *, place: str
) -> tuple[tuple[str, ...], LexicalModel]:
    """Return the names of the model's columns and the model.

    Raises:
        ArtefactError: the file is missing, damaged, or made for another composition.
    """
    found = artefact.read(path, kind=KIND)
    artefact.expect_utterances(found, categories, place=place)
    card, arrays = found.card, found.arrays
    try:
        return tuple(card["categories"]), LexicalModel(
            lexicon=Lexicon.listed(card["words"], card["pairs"]),
            rows=arrays["rows"].astype(np.float32),
            grams=arrays["grams"].astype(np.float32),
            bias=arrays["bias"],
            outer=arrays["outer"],
            outer_bias=arrays["outer_bias"],
            temperature=float(card["temperature"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ArtefactError(
            f"{path}: misses a part of a lexical router ({error}); train the router again"
        ) from error


def _fitted(
    spec: RouterSpec, options: Options, parts: Parts
) -> tuple[tuple[str, ...], LexicalModel]:
    from routers import distillation, training

    rows = training.rows_of(spec.categories)
    if len(rows) > MOST_AT_START:
        raise ConfigError(
            f"{options.place}: {len(rows)} utterances are too many to fit at the start (most: "
            f"{MOST_AT_START}); run `coe router train --router {spec.name}`, and name the file "
            "with `model`"
        )
    try:
        trained = distillation.train(rows, distillation.teacher_of(options, parts))
    except ConfigError as error:
        raise ConfigError(f"{options.place}: {error.message}") from error
    return trained.categories, trained.model
