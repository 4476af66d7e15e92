"""Whether experiments can be trusted: `make bench-experiments`, a part at a time with `--only`.

Each part is a module of `benches.experiments_parts` with a function `measure` from `Options` to
metrics; it prints what else it has to say. Their rows are gathered in build/bench/experiments.json.
With `--only`, the rows of the other parts stay as they were.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Iterable
from pathlib import Path

from benches import report
from benches.experiments_parts import Options
from benches.report import Metric

PARTS = ("statistics", "bandit", "ope", "drift", "requests")
"""Modules of `benches.experiments_parts`, in the order in which they run."""

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
WRITTEN = ROOT / "build" / "bench" / "experiments.json"


def main() -> None:
    """Run the parts, print their tables and the goals, write the metrics."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    options = Options(console=report.console(), seed=asked.seed, data=asked.data)
    metrics: list[Metric] = []
    for name in asked.only or PARTS:
        began = time.perf_counter()
        metrics += importlib.import_module(f"benches.experiments_parts.{name}").measure(options)
        options.console.print(f"{name}: {time.perf_counter() - began:.0f} s")
    options.console.print(report.goals_table(metrics))
    kept = _kept(WRITTEN, metrics) if asked.only else []
    report.write_metrics(WRITTEN, [*kept, *metrics])
    options.console.print(f"written: {WRITTEN}")


def _kept(path: Path, measured: Iterable[Metric]) -> list[Metric]:
    """Return the metrics of the file that were not measured again."""
    again = {metric.metric for metric in measured}
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [Metric(**row, rounds=(row["value"],)) for row in rows if row["metric"] not in again]


if __name__ == "__main__":
    main()
