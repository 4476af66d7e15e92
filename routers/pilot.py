"""Pilots: each expert is the mean of the queries that it is best at; the nearest pilot decides.

An expert comes and goes with its rows: nobody else's pilot changes, so nothing is fitted again but
the three numbers of the calibration, which never change a ranking. The rows come from measurement
(which expert answered this query best), not from a definition of what belongs to a category.

    {"text": "how many feet are 12 metres", "expert": "units"}

Reference: Lee et al. 2024, RouterRetriever: Exploring the Benefits of Routing over Multiple Expert
Embedding Models, arXiv 2409.02685, section 3.2. It keeps one pilot per expert and data set and
takes the mean similarity over an expert's; rows without data sets give one pilot per expert.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coe.errors import ConfigError
from coe.options import Options
from coe.protocols import Encoder, Parts, RouterSpec
from coe.types import Category, Evidence, Scores
from routers.cache import CachedEncoder, rows_of
from routers.calibration import Calibration, fit
from routers.holdout import HeldOut, held_out, is_enough
from routers.index import Floats, Index
from routers.leads import Leads
from routers.store import stored

KEYS = ("encoder", "queries", "cache")
ROW = '{"text": "...", "expert": "..."}'
EVIDENCE = 3
TEMPERATURES = np.geomspace(0.01, 1.0, 25)

log = logging.getLogger(__name__)


class PilotRouter:
    """Scores by cosine similarity to pilots, as probabilities. Thread-safe.

    A category has the probability of the expert that it leads to; categories that lead to the same
    expert share it.

    Attributes:
        calibrated: whether the queries were enough to fit the calibration.
    """

    def __init__(
        self,
        *,
        name: str,
        categories: Sequence[Category],
        experts: Collection[str],
        queries: Mapping[str, Sequence[str]],
        encoder: Encoder,
        query_encoder: Encoder | None = None,
    ) -> None:
        """Encode the queries.

        Args:
            name: as in the composition.
            categories: with their experts.
            experts: those that may answer.
            queries: by expert, what it is best at; of at least one to which a category leads.
            encoder: encodes the texts.
            query_encoder: the same encoder for the queries, e.g. with a store; None: `encoder`.
        """
        self.name = name
        self.categories = tuple(category.name for category in categories)
        self._encoder = encoder
        self._leads = Leads(categories, eligible=experts, judged=queries)
        pilots = [
            Category(name=expert, utterances=tuple(queries[expert]))
            for expert in self._leads.experts
        ]
        encode = (query_encoder or encoder).encode
        self._index = Index(pilots, encode, score="centroid", top_k=None)
        self.calibrated = is_enough(pilots)
        self.calibration = _fitted(held_out(self._index)) if self.calibrated else Calibration()

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities, the nearest pilots, and the query of the best one that is nearest.

        Raises:
            RouterUnavailable: when a remote encoder does not answer.
        """
        if not texts:
            return Scores(values=np.empty((0, len(self.categories)), dtype=np.float32))
        embeddings = self._encoder.encode(texts)
        near = self._index.utterances.similarities(embeddings)
        cosines = self._index.scores(near)
        values = self._leads.spread(self.calibration.apply(cosines))
        evidence = tuple(self._evidence(*row) for row in zip(cosines, near, strict=True))
        return Scores(
            values=values, evidence=evidence, embeddings=rows_of(embeddings, self._encoder)
        )

    def _evidence(self, cosines: Floats, near: Floats) -> tuple[Evidence, ...]:
        ranked = np.argsort(-cosines, kind="stable")[:EVIDENCE]
        found = [
            Evidence(
                kind="expert",
                category=self._leads.category_of[place],
                text=self._leads.experts[place],
                similarity=float(cosines[place]),
            )
            for place in ranked
        ]
        bank = self._index.utterances
        own = np.flatnonzero(bank.owner == ranked[0])
        nearest = own[near[own].argmax()]
        query = Evidence(
            kind="utterance",
            category=found[0].category,
            text=bank.texts[nearest],
            similarity=float(near[nearest]),
        )
        return tuple(sorted([*found, query], key=lambda item: -(item.similarity or 0.0)))


def build(spec: RouterSpec, parts: Parts) -> PilotRouter:
    """Build the router from `encoder`, `queries` (a file of rows) and `cache` (entries)."""
    place = f"routers.{spec.name}"
    options = Options(place, spec.options).allow(*KEYS)
    path = Path(spec.folder, options.text("queries"))
    entries = options.integer("cache", 4096, least=0, most=10_000_000)
    queries = _read(path, f"{place}.queries")
    known = {card.name for card in spec.experts}
    if strangers := sorted(set(queries) - known):
        log.warning("%s.queries: rows of %s are left out: no such experts", place, strangers)
    if not Leads(spec.categories, eligible=known, judged=queries).experts:
        raise ConfigError(
            f"{place}.queries: no category leads to an expert that has rows in {path}; add rows of "
            f"{', '.join(sorted(known)) or 'experts'}, or `experts` to the categories"
        )
    encoder = parts.encoder(options.text("encoder"))
    return PilotRouter(
        name=spec.name,
        categories=spec.categories,
        experts=known,
        queries=queries,
        encoder=CachedEncoder(encoder, entries=entries) if entries else encoder,
        query_encoder=stored(encoder, spec.cache_folder),
    )


def _fitted(evidence: HeldOut) -> Calibration:
    """Return the calibration of queries, each left out of its own pilot."""
    scores, rows = evidence.scores, np.arange(len(evidence.labels))
    shifted = scores - scores.max(axis=1, keepdims=True)
    own = shifted[rows, evidence.labels]
    surprise = [(np.log(np.exp(shifted / t).sum(axis=1)) - own / t).mean() for t in TEMPERATURES]
    inside, outside = evidence.tops(np.zeros(scores.shape[1]))
    return fit(inside, outside, temperature=float(TEMPERATURES[int(np.argmin(surprise))]))


def _read(path: Path, place: str) -> dict[str, list[str]]:
    """Return the texts of each expert, in the order of the file. Raises ConfigError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{place}: cannot read {path}: {reason}") from error
    queries: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line)
        if row is None:
            raise ConfigError(
                f"{place}: {path}:{number}: expected {ROW}, found {line.strip()[:80]}"
            )
        queries.setdefault(row[1], []).append(row[0])
    return queries


def _row(line: str) -> tuple[str, str] | None:
    try:
        found: Any = json.loads(line)
    except json.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    text, expert = found.get("text"), found.get("expert")
    if not (isinstance(text, str) and text.strip() and isinstance(expert, str) and expert):
        return None
    return text, expert
