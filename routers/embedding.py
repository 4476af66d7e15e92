"""The router over utterances: a text belongs to the category whose utterances it is nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError
from coe.options import Options
from coe.protocols import Encoder, Parts, RouterSpec
from coe.types import Category, Evidence, Scores
from routers.cache import CachedEncoder, rows_of
from routers.calibration import Calibration
from routers.early_exit import Rehearsal
from routers.holdout import held_out, is_enough, learn, sample
from routers.index import ABSENT, Floats, Index, ScoreKind
from routers.store import stored

KEYS = ("encoder", "score", "top_k", "temperature", "cache")
EVIDENCE = 3


class EmbeddingRouter:
    """Scores by cosine similarity to utterances, as probabilities. Thread-safe.

    Attributes:
        calibrated: whether handicaps and calibration were fitted to these utterances; with too
            few of them there are no handicaps, and the defaults of `Calibration` stand in.
        handicaps: shape (n_categories,), added to the scores, see `balance`; minus infinity for a
            category without utterances.
        calibration: of the scores that include the handicaps.
    """

    def __init__(  # noqa: PLR0913 - what it reads, and the three numbers of how
        self,
        *,
        name: str,
        categories: Sequence[Category],
        encoder: Encoder,
        utterance_encoder: Encoder | None = None,
        score: ScoreKind = "top_mean",
        top_k: int | None = None,
        temperature: float | None = None,
    ) -> None:
        """Encode the utterances and fit the calibration by leaving each of them out.

        Args:
            name: as in the composition.
            categories: at least one of them with utterances.
            encoder: encodes the texts.
            utterance_encoder: the same encoder for utterances and near misses, e.g. with a store;
                None means `encoder`.
            score: see `Index`.
            top_k: see `Index`.
            temperature: of the softmax; None fits it.
        """
        self.name = name
        self.categories = tuple(category.name for category in categories)
        self._encoder = encoder
        encode = (utterance_encoder or encoder).encode
        self._index = Index(categories, encode, score=score, top_k=top_k)
        self.calibrated = is_enough(categories)
        if self.calibrated:
            self.handicaps, self.calibration = learn(held_out(self._index), temperature)
        else:
            self.handicaps = _no_handicaps(self._index)
            self.calibration = Calibration(temperature=temperature or Calibration().temperature)

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities and the nearest utterances and near misses of each text.

        Raises:
            RouterUnavailable: when a remote encoder does not answer.
        """
        if not texts:
            return Scores(values=np.empty((0, len(self.categories)), dtype=np.float32))
        embeddings = self._encoder.encode(texts)
        near = self._index.utterances.similarities(embeddings)
        far = self._index.negatives.similarities(embeddings)
        scores = self._index.scores(near) + self.handicaps
        values = self.calibration.apply(scores)
        if self._index.negatives.texts:
            # What a near miss takes from its category goes to "none of these", not to the others.
            values *= self._index.clearance(near, far)
        evidence = tuple(self._evidence(*row) for row in zip(near, far, strict=True))
        return Scores(
            values=values, evidence=evidence, embeddings=rows_of(embeddings, self._encoder)
        )

    def rehearse(self) -> Rehearsal:
        """Return what the router says of its own utterances, each held out."""
        texts = self._index.utterances.texts
        evidence = held_out(self._index)
        return Rehearsal(
            texts=tuple(texts[row] for row in sample(self._index.utterances.owner)),
            labels=evidence.labels,
            values=self.calibration.apply(evidence.scores + self.handicaps),
        )

    def _evidence(self, near: Floats, far: Floats) -> tuple[Evidence, ...]:
        """Return the nearest utterances and the near misses that lowered a score, nearest first."""
        utterances, negatives = self._index.utterances, self._index.negatives
        found = [
            Evidence(
                kind="utterance",
                category=self.categories[utterances.owner[place]],
                text=utterances.texts[place],
                similarity=float(near[place]),
            )
            for place in _nearest(near)
        ]
        if negatives.texts:
            found += self._near_misses(near, far)
            found.sort(key=lambda item: -(item.similarity or 0.0))
        return tuple(found)

    def _near_misses(self, near: Floats, far: Floats) -> list[Evidence]:
        negatives = self._index.negatives
        clearance = self._index.clearance(near[None], far[None])[0]
        found = []
        for place in _nearest(far):
            column = negatives.owner[place]
            if clearance[column] < 1:
                item = Evidence(
                    kind="negative",
                    category=self.categories[column],
                    text=negatives.texts[place],
                    similarity=float(far[place]),
                )
                found.append(item)
        return found


def build(spec: RouterSpec, parts: Parts) -> EmbeddingRouter:
    """Build the router from `encoder`, `score`, `top_k`, `temperature` and `cache` (entries)."""
    place = f"routers.{spec.name}"
    options = Options(place, spec.options).allow(*KEYS)
    if not any(category.utterances for category in spec.categories):
        raise ConfigError(
            f"{place}: an embedding router needs utterances; give at least one category some"
        )
    score: ScoreKind = options.choice("score", "top_mean", get_args(ScoreKind))  # type: ignore[assignment]
    temperature = None
    if "temperature" in spec.options:
        temperature = options.number("temperature", 0.05, least=0.001, most=10.0)
    entries = options.integer("cache", 4096, least=0, most=10_000_000)
    top_k = options.integer("top_k", 3, least=1, most=1000) if "top_k" in spec.options else None
    encoder = parts.encoder(options.text("encoder"))
    return EmbeddingRouter(
        name=spec.name,
        categories=spec.categories,
        encoder=CachedEncoder(encoder, entries=entries) if entries else encoder,
        utterance_encoder=stored(encoder, spec.cache_folder),
        score=score,
        top_k=top_k,
        temperature=temperature,
    )


def _no_handicaps(index: Index) -> NDArray[np.float64]:
    sizes = np.bincount(index.utterances.owner, minlength=len(index.norms))
    return np.where(sizes > 0, 0.0, -np.inf)


def _nearest(similarities: Floats) -> list[int]:
    """Return the places of the greatest similarities, greatest first."""
    count = min(EVIDENCE, len(similarities) - 1)
    if count == 0:
        return []
    places = np.argpartition(similarities, -count)[-count:]
    ordered = places[np.argsort(-similarities[places], kind="stable")]
    return [int(place) for place in ordered if similarities[place] > ABSENT]
