import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benches.report import Goal, differences, goals_table, ratios, write_metrics

FASTER = Goal(metric="rps_vs_peer", unit="x", better="higher", goal=10)
SHORTER = Goal(metric="added_ms", unit="ms", better="lower", goal=0.35)


def test_a_metric_is_the_median_of_its_rounds() -> None:
    assert FASTER.measured([9, 30, 11]).value == 11


def test_a_metric_without_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="rps_vs_peer was not measured"):
        FASTER.measured([])


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [(FASTER, 10, True), (FASTER, 9.9, False), (SHORTER, 0.35, True), (SHORTER, 0.36, False)],
)
def test_a_goal_is_reached_from_its_better_side(goal: Goal, value: float, *, reached: bool) -> None:
    assert goal.measured([value]).is_reached is reached


def test_rounds_are_compared_pair_by_pair() -> None:
    assert ratios([10, 40], [5, 10]) == [2, 4]
    assert differences([1.5, 3.0], [1.0, 1.0]) == [0.5, 2.0]


def test_a_peer_that_answered_nothing_is_infinitely_slower() -> None:
    assert ratios([5], [0]) == [float("inf")]


def test_unequal_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_the_file_lists_metric_value_unit_better_and_goal(tmp_path: Path) -> None:
    file = tmp_path / "new" / "bench.json"

    write_metrics(file, [FASTER.measured([12.34567]), SHORTER.measured([0.2])])

    assert json.loads(file.read_text()) == [
        {"metric": "rps_vs_peer", "value": 12.35, "unit": "x", "better": "higher", "goal": 10},
        {"metric": "added_ms", "value": 0.2, "unit": "ms", "better": "lower", "goal": 0.35},
    ]


def test_no_metric_is_an_empty_list(tmp_path: Path) -> None:
    write_metrics(tmp_path / "bench.json", [])

    assert json.loads((tmp_path / "bench.json").read_text()) == []


def test_the_table_says_what_was_missed() -> None:
    out = Console(width=120, file=io.StringIO(), record=True)

    out.print(goals_table([FASTER.measured([12, 14]), SHORTER.measured([0.5])]))

    assert [line.split()[-2] for line in _rows(out)] == ["reached", "missed"]


def _rows(out: Console) -> list[str]:
    return [line for line in out.export_text().splitlines() if line.startswith("│")]
