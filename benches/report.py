"""What a bench says: medians over rounds, metrics beside their goals, tables, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from rich.console import Console
from rich.table import Table

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A number to reach.

    Attributes:
        goal: reached when the value is at least this, or, where lower is better, at most this.
    """

    metric: str
    unit: str
    better: Better
    goal: float

    def measured(self, rounds: Sequence[float]) -> Metric:
        """Return the metric: the median over rounds, to four significant digits.

        Raises:
            ValueError: there is no round.
        """
        if not rounds:
            raise ValueError(f"{self.metric} was not measured")
        return Metric(
            metric=self.metric,
            value=float(f"{median(rounds):.4g}"),
            rounds=tuple(rounds),
            unit=self.unit,
            better=self.better,
            goal=self.goal,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A measured number beside its goal.

    Attributes:
        rounds: what the value is the median of.
    """

    metric: str
    value: float
    rounds: tuple[float, ...]
    unit: str
    better: Better
    goal: float

    @property
    def is_reached(self) -> bool:
        """Whether the goal is met."""
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours / theirs by round: pairing cancels what slows a shared machine for both.

    A round in which theirs is 0 counts as infinitely better.

    Raises:
        ValueError: the numbers of rounds differ.
    """
    return [a / b if b else math.inf for a, b in zip(ours, theirs, strict=True)]


def differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours - theirs by round.

    Raises:
        ValueError: the numbers of rounds differ.
    """
    return [a - b for a, b in zip(ours, theirs, strict=True)]


def write_metrics(path: Path, metrics: Iterable[Metric]) -> None:
    """Write metric, value, unit, better and goal of each as a JSON list, one per line."""
    lines = ",\n ".join(
        json.dumps({name: value for name, value in asdict(metric).items() if name != "rounds"})
        for metric in metrics
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[{lines}]\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table: the first column is text, the others are numbers."""
    drawn = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        drawn.add_row(*row)
    return drawn


def goals_table(metrics: Iterable[Metric]) -> Table:
    """Return the metrics beside their goals."""
    return table(
        "Goals",
        ("metric", "value", "rounds", "goal", "unit", ""),
        (
            (
                metric.metric,
                f"{metric.value:g}",
                f"{min(metric.rounds):.3g} .. {max(metric.rounds):.3g}",
                f"{'>=' if metric.better == 'higher' else '<='} {metric.goal:g}",
                metric.unit,
                "[green]reached[/]" if metric.is_reached else "[red]missed[/]",
            )
            for metric in metrics
        ),
    )


def console() -> Console:
    """Return where a bench prints: as wide as the terminal, or as a table needs in a file."""
    probe = Console()
    return probe if probe.is_terminal else Console(width=160)
