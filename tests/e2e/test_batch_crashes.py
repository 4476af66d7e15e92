"""A batch survives a death at any transaction of its database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def deaths(folder: Path, step: int) -> list[Any]:
    """Run the program beside this one: what came of each death, in the order of the statements."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("batch_crashes.py")), folder, str(step)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_death_at_any_transaction_loses_and_repeats_nothing(tmp_path: Path, step: int) -> None:
    reports = deaths(tmp_path, step)

    assert len(reports) > 30 / step
    assert {0, 3} <= {len(report["done"]) for report in reports}
    for report in reports:
        assert report["status"] == "completed", report
        assert report["completed"] == 3, report
        assert report["answers"] == ["0", "1", "2"], report
        for name in report["done"]:
            assert report["asked"].count(name) == 1, report
        # What was asked twice was in flight at the death: one line at most, as one is at a time.
        assert len(report["asked"]) <= 4, report
        assert report["files"] == ["file-1-output", "file-in"], report
