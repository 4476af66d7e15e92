"""A chain of routers: the next one is asked only of the texts of which this one is not sure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coe.errors import ConfigError, RouterUnavailable, RoutingError
from coe.options import Options
from coe.protocols import Parts, Router, RouterSpec
from coe.types import Embedding, Evidence, Scores
from routers.early_exit import MOST_LOST, NONE, Exit, Rehearsal, Rehearses, fit_stages
from routers.keyword import KeywordRouter
from routers.rows import RowSet, read_rows
from routers.stages import all_values, columns_of, stages

KEYS = ("stages", "confident_at", "margin", "held_out", "most_lost")
FITTED = "fitted"

log = logging.getLogger(__name__)


class ChainRouter:
    """Cheap and certain stages first. Thread-safe if its stages are.

    A stage is sure of a text when its best probability reaches `confident_at` and leads the
    second by `margin`, or, where it has an exit of its own, when that lets the text out. The last
    stage that answered has the word on texts of which none is sure. A stage that is not available
    is skipped, as is for one text a stage that has no scores of it.
    """

    def __init__(
        self,
        *,
        name: str,
        categories: Sequence[str],
        stages: Sequence[Router],
        confident_at: float = 0.7,
        margin: float = 0.1,
        exits: Sequence[Exit | None] = (),
    ) -> None:
        """Store the stages.

        Args:
            name: as in the composition.
            categories: a stage that does not know one of them gives it zero.
            stages: first asked first; their categories are among the chain's.
            confident_at: least best probability of a sure stage.
            margin: least lead over the second best.
            exits: one per stage, None where the two numbers decide; empty means None for all.
        """
        self.name = name
        self.categories = tuple(categories)
        self.calibrated = all(stage.calibrated for stage in stages)
        self._stages = tuple(stages)
        self._columns = [columns_of(self.categories, stage.categories) for stage in stages]
        self._confident_at = confident_at
        self._margin = margin
        self.exits = tuple(exits) or (None,) * len(self._stages)

    def score(self, texts: Sequence[str]) -> Scores:
        """Return each text's probabilities and evidence from the stage that decided it.

        Its embedding is that of the last stage that has one.

        Raises:
            RouterUnavailable: when no stage is available.
        """
        values = np.zeros((len(texts), len(self.categories)), dtype=np.float32)
        decided_by = [""] * len(texts)
        evidence: list[tuple[Evidence, ...]] = [()] * len(texts)
        embeddings: list[Embedding | None] = [None] * len(texts)
        silent: list[list[str]] = [[] for _ in texts]
        open_rows = list(range(len(texts)))
        failures = []
        for stage, columns, exit_ in zip(self._stages, self._columns, self.exits, strict=True):
            if not open_rows:
                break
            try:
                scores = stage.score([texts[row] for row in open_rows])
            except RoutingError as error:
                log.warning("routers.%s: stage %s is skipped: %s", self.name, stage.name, error)
                failures.append(f"{stage.name}: {error}")
                continue
            rows = np.array(open_rows)
            spoke = np.ones(len(rows), dtype=np.bool_)
            for place, row in enumerate(open_rows):
                found = scores.evidence[place] if scores.evidence else ()
                if scores.embeddings:
                    embeddings[row] = scores.embeddings[place] or embeddings[row]
                if scores.failures and scores.failures[place]:
                    spoke[place] = False
                    silent[row].append(f"{stage.name}: {scores.failures[place]}")
                    evidence[row] += found
                else:
                    decided_by[row] = scores.stages[place] if scores.stages else stage.name
                    evidence[row] = found
            values[rows[spoke, None], columns] = scores.values[spoke]
            if stage is self._stages[-1]:
                break
            sure = exit_.lets_out(values[rows]) if exit_ else self._is_sure(values[rows])
            open_rows = rows[~(sure & spoke)].tolist()
        if len(failures) == len(self._stages):
            raise RouterUnavailable(
                f"routers.{self.name}: no stage answers ({'; '.join(failures)})"
            )
        return Scores(
            values=values,
            stages=tuple(name or self.name for name in decided_by),
            evidence=tuple(evidence),
            failures=tuple(
                "" if name else f"no stage answers ({'; '.join([*failures, *said])})"
                for name, said in zip(decided_by, silent, strict=True)
            ),
            embeddings=tuple(embeddings) if any(embeddings) else (),
        )

    def _is_sure(self, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        if values.shape[1] == 1:
            return values[:, 0] >= self._confident_at
        ordered = np.sort(values, axis=1)
        best, second = ordered[:, -1], ordered[:, -2]
        sure: NDArray[np.bool_] = (best >= self._confident_at) & (best - second >= self._margin)
        return sure


def build(spec: RouterSpec, parts: Parts) -> ChainRouter:
    """Build the router from `stages`, `confident_at`, `margin`, `held_out` and `most_lost`.

    `confident_at: fitted` fits an exit for each stage but rules and the last (see `early_exit`):
    to the stages' own utterances, each held out, or to the rows of the file `held_out`. No more
    than `most_lost` of the accuracy of the last stage is given away.
    """
    options = Options(f"routers.{spec.name}", spec.options).allow(*KEYS)
    found = stages(spec, options, parts)
    is_fitted = spec.options.get("confident_at") == FITTED
    if not is_fitted:
        for key in ("held_out", "most_lost"):
            if key in spec.options:
                raise ConfigError(f"{options.place}.{key}: goes with `confident_at: {FITTED}`")
    return ChainRouter(
        name=spec.name,
        categories=tuple(category.name for category in spec.categories),
        stages=found,
        confident_at=0.7 if is_fitted else options.number("confident_at", 0.7, least=0.0, most=1.0),
        margin=options.number("margin", 0.1, least=0.0, most=1.0),
        exits=_fit(spec, options, found) if is_fitted else (),
    )


def _fit(spec: RouterSpec, options: Options, found: Sequence[Router]) -> list[Exit | None]:
    """Return an exit for each stage, None for rules and for the last."""
    most_lost = options.number("most_lost", MOST_LOST, least=0.0, most=1.0)
    categories = tuple(category.name for category in spec.categories)
    rows = None
    if "held_out" in spec.options:
        rows = read_rows(Path(spec.folder, options.text("held_out")), categories)
    learned = [stage for stage in found[:-1] if not isinstance(stage, KeywordRouter)]
    if not learned:
        raise ConfigError(
            f"{options.place}.confident_at: nothing to fit: no stage but the last learns from "
            "utterances; add one (`ridge` on the encoder `hashed`), or give a number"
        )
    *early, last = [
        _rehearsal(stage, rows, categories, options.place) for stage in (*learned, found[-1])
    ]
    fitted = dict(zip(learned, fit_stages(early, last, most_lost=most_lost), strict=True))
    for stage, exit_ in fitted.items():
        _report(f"routers.{spec.name}: stage {stage.name}", exit_, most_lost / len(learned))
    return [fitted.get(stage) for stage in found]


def _rehearsal(
    stage: Router, rows: RowSet | None, categories: Sequence[str], place: str
) -> Rehearsal:
    """Return what a stage says of held-out texts, in the columns of the chain."""
    columns = columns_of(categories, stage.categories)
    if rows is not None:
        texts = tuple(row.text for row in rows.rows)
        places = {name: column for column, name in enumerate(categories)}
        labels = [NONE if row.category is None else places[row.category] for row in rows.rows]
        values = all_values(stage, texts)
        return Rehearsal(
            texts=texts,
            labels=np.array(labels, dtype=np.intp),
            values=_spread(values, columns, len(categories)),
        )
    if not isinstance(stage, Rehearses) or len(columns) < len(categories):
        raise ConfigError(
            f"{place}.confident_at: stage {stage.name!r} cannot be judged on its own utterances; "
            f'add `held_out: FILE`, lines of {{"text": "...", "category": "..."}}, or give a number'
        )
    own = stage.rehearse()
    values = _spread(own.values, columns, len(categories))
    return Rehearsal(texts=own.texts, labels=columns[own.labels], values=values)


def _spread(
    values: NDArray[np.float32], columns: NDArray[np.intp], width: int
) -> NDArray[np.float32]:
    spread = np.zeros((len(values), width), dtype=np.float32)
    spread[:, columns] = values
    return spread


def _report(stage: str, exit_: Exit, most_lost: float) -> None:
    if exit_.is_open:
        log.info(
            "%s decides %.0f%% of texts; of %d held-out texts it costs %.2f points of accuracy",
            stage,
            100 * exit_.share,
            exit_.rows,
            100 * exit_.lost,
        )
    else:
        log.warning(
            "%s decides nothing: %d held-out texts do not show that it would cost at most %.2f "
            "points of accuracy",
            stage,
            exit_.rows,
            100 * most_lost,
        )
