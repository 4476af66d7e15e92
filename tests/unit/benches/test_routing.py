from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benches.report import Goal
from benches.routing import Answers, Task, _keep, centroid, neighbours, score, task_of

AXES = np.eye(4, dtype=np.float32)
PLACES = {"a1": 0, "a2": 0, "b1": 1, "b2": 1, "a": 0, "b": 1, "out": 2}
ROWS = {
    "train": [("a1", "alpha"), ("a2", "alpha"), ("b1", "beta"), ("b2", "beta"), ("x", "oos")],
    "val": [],
    "test": [("a", "alpha"), ("b", "beta"), ("out", "oos")],
}
TASK = task_of(ROWS, lambda texts: AXES[[PLACES[text] for text in texts]])


def test_rows_outside_are_never_learnt_from() -> None:
    assert TASK.rows() == [("a1", "alpha"), ("a2", "alpha"), ("b1", "beta"), ("b2", "beta")]
    assert TASK.outside.shape == (1, 4)


def test_a_draw_has_so_many_rows_of_each_category() -> None:
    drawn = TASK.draw(1, seed=3)

    assert np.bincount(drawn.labels).tolist() == [1, 1]
    assert drawn.texts[0].startswith("a")
    assert TASK.draw(1, seed=3).texts == drawn.texts
    assert len(TASK.draw(0, seed=3).texts) == 4


@pytest.mark.parametrize("method", [centroid, neighbours])
def test_a_peer_that_is_right_scores_one(method: object) -> None:
    big = replace(TASK, texts=TASK.texts * 3, vectors=np.tile(TASK.vectors, (3, 1)))
    task: Task = replace(big, labels=np.tile(TASK.labels, 3))

    found = score(task, method(task, 0))  # type: ignore[operator]

    assert (found["accuracy"], found["auroc"], found["recall"]) == (1.0, 1.0, 1.0)


def test_the_joint_accuracy_counts_what_is_refused() -> None:
    answers = Answers(
        chosen=np.array([0, 0, 0]),
        sure=np.array([0.9, 0.8, 0.1]),
        belongs=np.array([0.9, 0.8, 0.1]),
        fit_s=0.0,
    )

    found = score(TASK, answers)

    assert found["accuracy"] == 0.5
    assert found["joint"] == pytest.approx(2 / 3)


def test_metrics_that_were_not_measured_now_stay(tmp_path: Path) -> None:
    one = Goal(metric="one", unit="ms", better="lower", goal=1)
    two = Goal(metric="two", unit="ms", better="lower", goal=1)
    path = tmp_path / "routing.json"

    _keep(path, [one.measured([1.0]), two.measured([2.0])])
    _keep(path, [two.measured([3.0])])

    values = {found["metric"]: found["value"] for found in json.loads(path.read_text())}
    assert values == {"one": 1.0, "two": 3.0}
