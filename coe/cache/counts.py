"""What became of look-ups, for metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, Metric

RESULTS = ("hit", "similar", "miss", "barred", "skipped", "unavailable")


class Counts:
    """Counts look-ups by what came of them, and answers that were kept.

    Attributes:
        found: by result: the same request was answered before (`hit`), one that means the same was
            (`similar`), none was (`miss`), or by an expert that this one may not reach (`barred`);
            the client wanted none (`skipped`), or the store did not answer (`unavailable`).
        kept: answers that were kept; `dropped`: that were not, as they were not whole and good.
    """

    def __init__(self) -> None:
        self.found = dict.fromkeys(RESULTS, 0)
        self.kept = 0
        self.dropped = 0

    def families(self) -> Iterator[Metric]:
        """Yield what Prometheus is told."""
        looked = CounterMetricFamily(
            "coe_cache_lookups", "Look-ups in the cache, by what came of them", labels=("result",)
        )
        for result, count in self.found.items():
            looked.add_metric((result,), count)
        yield looked
        answers = CounterMetricFamily(
            "coe_cache_answers",
            "Answers that ended while the cache is on, by whether they were kept",
            labels=("result",),
        )
        answers.add_metric(("kept",), self.kept)
        answers.add_metric(("dropped",), self.dropped)
        yield answers
