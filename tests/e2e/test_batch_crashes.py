"""A batch survives a death at any transaction of its database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def deaths(folder: Path, step: int, what: str) -> list[Any]:
    """Run the program beside this one: what came of each death, in the order of the statements."""
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("batch_crashes.py")),
            folder,
            f"{step}",
            what,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("what", "step"),
    [
        ("lines", 4),
        ("panels", 8),
        pytest.param("lines", 1, marks=pytest.mark.slow),
        pytest.param("panels", 1, marks=pytest.mark.slow),
    ],
)
def test_a_death_at_any_transaction_loses_and_repeats_nothing(
    tmp_path: Path, what: str, step: int
) -> None:
    reports = deaths(tmp_path, step, what)
    lines, calls = {"lines": (3, 3), "panels": (2, 6)}[what]

    assert len(reports) > 30 / step
    assert {0, calls} <= {len(report["done"]) for report in reports}
    for report in reports:
        assert report["status"] == "completed", report
        assert report["completed"] == lines, report
        assert report["answers"] == [f"{line}" for line in range(lines)], report
        assert report["left"] == 0, report
        for name in report["done"]:
            assert report["asked"].count(name) == 1, report
        # What was asked twice was in flight at the death: one call at most, as one is at a time.
        assert len(report["asked"]) <= calls + 1, report
        assert report["files"] == ["file-1-output", "file-in"], report
