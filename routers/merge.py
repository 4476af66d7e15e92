"""A weighted mixture of routers: all stages read every text, and the weights say whom to believe.

    p(category | text) = sum_s weight_s * p_s(category | text) / sum_s weight_s

The linear opinion pool. A mixture of calibrated forecasts is a forecast; where the stages disagree
it is less sure than either, which is what a merge is for.

Reference: Stone 1961, The Opinion Pool, Annals of Mathematical Statistics 32(4); Ranjan and
Gneiting 2010, Combining Probability Forecasts, section 2, for what pooling does to calibration.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from coe.errors import ConfigError, RouterUnavailable, RoutingError
from coe.options import Options, nearest
from coe.protocols import Parts, Router, RouterSpec
from coe.types import Embedding, Evidence, Scores
from routers.stages import columns_of, stages

KEYS = ("stages", "weights")
HEAVIEST = 1e6

log = logging.getLogger(__name__)


class MergeRouter:
    """The weighted mean of its stages' scores. Thread-safe if its stages are.

    A stage takes part in a text unless it gives every category zero: a rule that does not hit says
    nothing, which is not the same as "none of these". A stage that is not available is left out.
    The weights of those that take part are scaled to sum to one.
    """

    def __init__(
        self,
        *,
        name: str,
        categories: Sequence[str],
        stages: Sequence[Router],
        weights: Sequence[float],
    ) -> None:
        """Store the stages.

        Args:
            name: as in the composition.
            categories: a stage that does not know one of them gives it zero.
            stages: their categories are among the merge's.
            weights: one per stage, positive.
        """
        self.name = name
        self.categories = tuple(categories)
        self.calibrated = all(stage.calibrated for stage in stages)
        self._stages = tuple(stages)
        self._columns = [columns_of(self.categories, stage.categories) for stage in stages]
        self._weights = tuple(weights)

    def score(self, texts: Sequence[str]) -> Scores:
        """Return the mixture, the evidence of every stage that takes part, and the last embedding.

        Raises:
            RouterUnavailable: when no stage answers.
        """
        values = np.zeros((len(texts), len(self.categories)))
        weights = np.zeros((len(texts), 1))
        evidence: list[list[Evidence]] = [[] for _ in texts]
        embeddings: list[Embedding | None] = [None] * len(texts)
        silent: list[list[str]] = [[] for _ in texts]
        failures = []
        parts = zip(self._stages, self._columns, self._weights, strict=True)
        for stage, columns, weight in parts:
            try:
                scores = stage.score(texts)
            except RoutingError as error:
                log.warning("routers.%s: stage %s is left out: %s", self.name, stage.name, error)
                failures.append(f"{stage.name}: {error}")
                continue
            values[:, columns] += weight * scores.values
            weights += weight * scores.values.any(axis=1, keepdims=True)
            for row, found in enumerate(scores.evidence):
                evidence[row] += found
            for row, embedding in enumerate(scores.embeddings):
                embeddings[row] = embedding or embeddings[row]
            for row, failure in enumerate(scores.failures or [""] * len(texts)):
                silent[row] += [f"{stage.name}: {failure}"] if failure else []
        if len(failures) == len(self._stages):
            raise RouterUnavailable(
                f"routers.{self.name}: no stage answers ({'; '.join(failures)})"
            )
        values /= np.where(weights > 0, weights, 1.0)
        return Scores(
            values=values.astype(np.float32),
            evidence=tuple(_strongest_first(row) for row in evidence),
            failures=tuple(
                f"no stage answers ({'; '.join([*failures, *said])})"
                if len(failures) + len(said) == len(self._stages)
                else ""
                for said in silent
            ),
            embeddings=tuple(embeddings) if any(embeddings) else (),
        )


def build(spec: RouterSpec, parts: Parts) -> MergeRouter:
    """Build the router from `stages` (names of routers) and `weights` (by name; else equal)."""
    options = Options(f"routers.{spec.name}", spec.options).allow(*KEYS)
    return MergeRouter(
        name=spec.name,
        categories=tuple(category.name for category in spec.categories),
        stages=stages(spec, options, parts),
        weights=_weights(options, options.names("stages")),
    )


def _weights(options: Options, names: Sequence[str]) -> tuple[float, ...]:
    given = options.values.get("weights", dict.fromkeys(names, 1.0))
    if not isinstance(given, Mapping):
        raise options.wrong("weights", f"a weight for each stage: {{{names[0]}: 1.0, ...}}")
    weights = Options(f"{options.place}.weights", given)
    for name in given:
        if name not in names:
            hint = nearest(str(name), names)
            raise ConfigError(
                f"{weights.place}.{name}: not a stage ({hint}stages: {', '.join(names)})"
            )
    for name in names:
        if name not in given:
            raise ConfigError(f"{weights.place}.{name}: is missing; every stage needs a weight")
    return tuple(weights.number(name, 1.0, least=1e-6, most=HEAVIEST) for name in names)


def _strongest_first(found: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Return hits of rules, which are certain, and then by similarity."""
    certain = [item for item in found if item.similarity is None]
    graded = [item for item in found if item.similarity is not None]
    graded.sort(key=lambda item: -(item.similarity or 0.0))
    return tuple(dict.fromkeys(chain(certain, graded)))
