"""The tools of the command line, found by entry point `coe.tools`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from coe.tools import (
    Aim,
    ChosenThreshold,
    ChosenThresholds,
    Progress,
    RouterAtWork,
    TrainedRouter,
    TrainingOrder,
)
from routers import thresholds, trainer
from routers.evaluation import evaluate as measure
from routers.evaluation import outcomes
from routers.report import Report
from routers.report.text import render_thresholds
from routers.rows import RowSet, read_rows
from routers.score_file import ScoreFile
from routers.scoring import NONE, Scorer, choose, thresholds_of


def evaluate(work: RouterAtWork, rows: Path, progress: Progress) -> Report:
    """Measure a router; see `coe.tools.Evaluator`."""
    found = read_rows(rows, work.router.categories)
    file = _score_file(work, rows)
    evaluation = measure(
        work, found.rows, Scorer(work.router, file, progress), rows_digest=found.digest
    )
    file.remove()
    return Report(evaluation)


def calibrate(work: RouterAtWork, rows: Path, aim: Aim, progress: Progress) -> ChosenThresholds:
    """Choose thresholds; see `coe.tools.Calibrator`."""
    found = read_rows(rows, work.router.categories)
    file = _score_file(work, rows)
    scorer = Scorer(work.router, file, progress)
    values = scorer.values([row.text for row in found.rows], "scoring the rows")
    places = {name: column for column, name in enumerate(work.router.categories)}
    labels = np.array(
        [NONE if row.category is None else places[row.category] for row in found.rows],
        dtype=np.intp,
    )
    chosen = thresholds.calibrate(work, labels, values, aim)
    now = replace(work, thresholds={name: _least(gate) for name, gate in chosen.items()})
    shown = render_thresholds(
        chosen,
        outcomes(labels, choose(values, thresholds_of(work), work.margin)[2]),
        outcomes(labels, choose(values, thresholds_of(now), now.margin)[2]),
    )
    file.remove()
    return ChosenThresholds(
        thresholds=chosen, aim=thresholds.described(aim), rows=_described(found), text=shown
    )


def train(order: TrainingOrder, progress: Progress) -> TrainedRouter:
    """Train a router; see `coe.tools.Trainer`."""
    return trainer.train(order, progress)


def _least(gate: ChosenThreshold) -> float:
    return float("inf") if gate.threshold is None else gate.threshold


def _described(found: RowSet) -> str:
    return f"{found.path.name}, {len(found.rows)} rows, {found.digest}"


def _score_file(work: RouterAtWork, rows: Path) -> ScoreFile:
    """Return the file in which scores outlive an interruption, beside the rows."""
    path = rows.with_name(f"{rows.name}.scores")
    key = f"{work.fingerprint} {work.router.name}"
    return ScoreFile(path, key=key, columns=len(work.router.categories))
