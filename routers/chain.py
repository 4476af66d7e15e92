"""A chain of routers: the next one is asked only of the texts of which this one is not sure."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coe.errors import RouterUnavailable, RoutingError
from coe.protocols import Parts, Router, RouterSpec
from coe.types import Evidence, Scores
from routers.options import Options
from routers.stages import columns_of, stages

KEYS = ("stages", "confident_at", "margin")

log = logging.getLogger(__name__)


class ChainRouter:
    """Cheap and certain stages first. Thread-safe if its stages are.

    A stage is sure of a text when its best probability reaches `confident_at` and leads the
    second by `margin`. The last stage that answered has the word on texts of which none is sure.
    A stage that is not available is skipped.
    """

    def __init__(
        self,
        *,
        name: str,
        categories: Sequence[str],
        stages: Sequence[Router],
        confident_at: float = 0.7,
        margin: float = 0.1,
    ) -> None:
        """Store the stages.

        Args:
            name: as in the composition.
            categories: a stage that does not know one of them gives it zero.
            stages: first asked first; their categories are among the chain's.
            confident_at: least best probability of a sure stage.
            margin: least lead over the second best.
        """
        self.name = name
        self.categories = tuple(categories)
        self.calibrated = all(stage.calibrated for stage in stages)
        self._stages = tuple(stages)
        self._columns = [columns_of(self.categories, stage) for stage in stages]
        self._confident_at = confident_at
        self._margin = margin

    def score(self, texts: Sequence[str]) -> Scores:
        """Return each text's probabilities and evidence from the stage that decided it.

        Raises:
            RouterUnavailable: when no stage answered for a text.
        """
        values = np.zeros((len(texts), len(self.categories)), dtype=np.float32)
        decided_by = [""] * len(texts)
        evidence: list[tuple[Evidence, ...]] = [()] * len(texts)
        open_rows = list(range(len(texts)))
        failures = []
        for stage, columns in zip(self._stages, self._columns, strict=True):
            if not open_rows:
                break
            try:
                scores = stage.score([texts[row] for row in open_rows])
            except RoutingError as error:
                log.warning("routers.%s: stage %s is skipped: %s", self.name, stage.name, error)
                failures.append(f"{stage.name}: {error}")
                continue
            rows = np.array(open_rows)
            values[rows[:, None], columns] = scores.values
            for place, row in enumerate(open_rows):
                decided_by[row] = scores.stages[place] if scores.stages else stage.name
                evidence[row] = scores.evidence[place] if scores.evidence else ()
            open_rows = rows[~self._is_sure(values[rows])].tolist()
        if not all(decided_by):
            raise RouterUnavailable(
                f"routers.{self.name}: no stage answers ({'; '.join(failures)})"
            )
        return Scores(values=values, stages=tuple(decided_by), evidence=tuple(evidence))

    def _is_sure(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        if values.shape[1] == 1:
            return values[:, 0] >= self._confident_at
        ordered = np.sort(values, axis=1)
        best, second = ordered[:, -1], ordered[:, -2]
        sure: NDArray[np.bool_] = (best >= self._confident_at) & (best - second >= self._margin)
        return sure


def build(spec: RouterSpec, parts: Parts) -> ChainRouter:
    """Build the router from `stages` (names of routers), `confident_at` and `margin`."""
    options = Options(f"routers.{spec.name}", spec.options).allow(*KEYS)
    return ChainRouter(
        name=spec.name,
        categories=tuple(category.name for category in spec.categories),
        stages=stages(spec, options, parts),
        confident_at=options.number("confident_at", 0.7, least=0.0, most=1.0),
        margin=options.number("margin", 0.1, least=0.0, most=1.0),
    )
