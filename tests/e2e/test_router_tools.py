"""The tools for routers, as a process that is interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import COE

Coe = Callable[..., subprocess.CompletedProcess[str]]

FILE = """
version: 1
backends: {gone: http://127.0.0.1:9}
experts: {one: gone/m}
encoders: {small: {type: hashed}}
routers: {default: {type: embedding, encoder: small}}
categories:
  sums: {utterances: [add two and two, what is one plus one, sum these, subtract two, times three]}
  trips: {utterances: [a train to Rome, book a flight, find a hotel, rent a car, see the museum]}
default: one
"""


def rows(count: int) -> str:
    """Return so many rows, each another text."""
    return "".join(
        json.dumps({"text": f"add {n} to {n + 1}", "category": "sums"}) + "\n" for n in range(count)
    )


def test_an_interruption_keeps_what_was_scored(coe: Coe, tmp_path: Path) -> None:
    """Interrupted as by Ctrl-C, once something was kept; the next run goes on and tidies up."""
    tmp_path.joinpath("experts.yaml").write_text(FILE)
    tmp_path.joinpath("set.jsonl").write_text(rows(6_000))
    kept = tmp_path / "set.jsonl.scores"
    process = subprocess.Popen(
        [str(COE), "router", "evaluate", "set.jsonl"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not (kept.exists() and kept.stat().st_size > 1000) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 130, said
    assert "what was scored is kept beside set.jsonl" in said
    assert kept.stat().st_size > 1000

    tmp_path.joinpath("set.jsonl").write_text(rows(40))
    again = coe("router", "evaluate", "set.jsonl", cwd=tmp_path)

    assert again.returncode == 0, again.stderr
    assert "40 rows, 40 inside" in again.stdout
    assert not kept.exists()
