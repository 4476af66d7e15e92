import json
import math
from pathlib import Path

import numpy as np
import pytest

from benches.experiments import _kept
from benches.experiments_parts.statistics_paths import Radius, first, growing
from benches.report import Goal, write_metrics
from coe.experiments import sequential


def test_a_part_run_alone_keeps_the_rows_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "experiments.json"
    mine, other = (
        Goal(metric=name, unit="share", better="lower", goal=0.05).measured([0.01])
        for name in ("mine", "other")
    )
    write_metrics(file, [mine, other])

    write_metrics(file, [*_kept(file, [mine]), mine])

    assert [row["metric"] for row in json.loads(file.read_text())] == ["other", "mine"]
    assert _kept(tmp_path / "absent.json", [mine]) == []


def test_tabled_radii_are_those_of_the_package() -> None:
    radius = Radius(0.03, 0.95, 1e-7, 1e-2)

    for variance in (1e-7, 3.3e-5, 9.9e-3):
        expected = sequential.radius(variance, 0.03)
        assert float(radius(np.array(variance))) == pytest.approx(expected, rel=1e-6)
    assert math.isclose(radius.scale, 0.03)


def test_looks_are_at_every_unit_until_they_are_far_enough_apart() -> None:
    n = growing(1, 1000, 0.1)

    assert n[:12].tolist() == list(range(1, 13))
    assert (np.diff(n[n > 100]) / n[n > 100][:-1]).min() > 0.09


def test_an_experiment_stops_at_its_first_alarm_or_at_the_end() -> None:
    stops = np.array([[False, True, True], [False, False, False]])

    assert first(stops, np.array([10, 20, 30]), 40).tolist() == [20, 40]
