"""Panels: what came of those that sat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric

from coe.telemetry.series import Spread, Tally


class Panels:
    """Counts panels and their calls."""

    def __init__(self) -> None:
        self._panels = Tally(
            "coe_panels",
            "Panels that sat, by what came of it: a method that broke its contract still answers",
            ("panel", "result"),
        )
        self._calls = Tally(
            "coe_panel_calls",
            "Calls that panels made; those that changed nothing about the answer",
            ("panel", "use"),
        )
        self._losses = Tally(
            "coe_panel_losses",
            "Calls of panels of which nothing could be used, by why",
            ("panel", "why"),
        )
        self._cpu = Spread(
            "coe_panel_cpu_seconds", "CPU that making one answer of drafts took", "panel"
        )

    def sat(  # noqa: PLR0913 - what is to be counted, by name
        self,
        panel: str,
        *,
        calls: int,
        lost: Iterable[str],
        unnecessary: int,
        is_answered: bool,
        is_broken: bool,
        cpu_s: float,
    ) -> None:
        """Count a panel that has sat.

        Args:
            panel: which.
            calls: that it made.
            lost: for each call of which nothing could be used, why: `late`, `failed`, `dropped`.
            unnecessary: calls without which the answer would be the same.
            is_answered: whether there was an answer.
            is_broken: whether its method broke its contract.
            cpu_s: that its method took.
        """
        result = "broken" if is_broken else "answered" if is_answered else "failed"
        self._panels.counts[panel, result] += 1
        self._calls.counts[panel, "unnecessary"] += unnecessary
        self._calls.counts[panel, "other"] += calls - unnecessary
        for why in lost:
            self._losses.counts[panel, why] += 1
        self._cpu.observe(panel, seconds=cpu_s)

    def families(self) -> Iterator[Metric]:
        """Yield what was counted and timed."""
        for tally in (self._panels, self._calls, self._losses):
            yield tally.family()
        yield self._cpu.family()
