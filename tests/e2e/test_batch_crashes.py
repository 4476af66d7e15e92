"""A batch survives a death at every transaction of its database, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_death_at_any_transaction_loses_and_repeats_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("batch_crashes.py")), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(reports) > 30
    assert {len(report["done"]) for report in reports} == {0, 1, 2, 3}
    for report in reports:
        assert report["status"] == "completed", report
        assert report["completed"] == 3, report
        assert report["answers"] == ["0", "1", "2"], report
        for name in report["done"]:
            assert report["asked"].count(name) == 1, report
        # What was asked twice was in flight at the death: one line at most, as one is at a time.
        assert len(report["asked"]) <= 4, report
        assert report["files"] == ["file-1-output", "file-in"], report
