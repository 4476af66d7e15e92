"""The parts of `benches.experiments`: one module each, with `measure(Options) -> list[Metric]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every part is given.

    Attributes:
        console: where tables are printed.
        seed: of all random draws; the same seed, the same rows.
        data: the folder with data that nobody here made; a part says so and returns no metric
            where what it needs is absent.
    """

    console: Console
    seed: int
    data: Path
