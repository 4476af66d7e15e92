"""Batches: their lines, and the experts that they make a backend load."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from coe.telemetry.series import Spread, Tally


class Batches:
    """Counts and times the lines of batches."""

    def __init__(self) -> None:
        self._lines = Tally(
            "coe_batch_lines",
            "Lines of batches that were run, by their own status",
            ("expert", "status"),
        )
        self._switches = Tally(
            "coe_batch_experts",
            "Experts whose lines were begun: what batches make a backend load",
            ("backend",),
        )
        self._batches = Tally("coe_batches", "Batches that have ended", ("status",))
        self._line = Spread(
            "coe_batch_line_seconds", "A line of a batch, waits between tries included", "expert"
        )

    def line(self, expert: str, status: int, took_s: float) -> None:
        """Count and time a line of a batch that has been run."""
        self._lines.counts[expert, str(status)] += 1
        self._line.observe(expert, seconds=took_s)

    def switch(self, backend: str) -> None:
        """Count an expert whose lines of a batch are about to be run."""
        self._switches.counts[backend,] += 1

    def ended(self, status: str) -> None:
        """Count a batch that has ended."""
        self._batches.counts[status,] += 1

    def families(self) -> Iterator[Metric]:
        """Yield what was counted and timed."""
        for tally in (self._lines, self._switches, self._batches):
            yield tally.family()
        yield self._line.family()
