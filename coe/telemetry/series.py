"""Numbers that one thread adds to, and their form in Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

NONE = "none"
"""The label where there is no category or expert."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


def results(name: str, help_text: str, counts: Mapping[str, int]) -> Metric:
    """Return a counter by what came of something; those that never came are 0."""
    family = CounterMetricFamily(name, help_text, labels=("result",))
    for result, count in counts.items():
        family.add_metric((result,), count)
    return family


class Tally:
    """A counter with labels."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...]) -> None:
        self.name, self.help_text, self.labels = name, help_text, labels
        self.counts: defaultdict[tuple[str, ...], int] = defaultdict(int)

    def family(self) -> Metric:
        """Return it as Prometheus has it."""
        family = CounterMetricFamily(self.name, self.help_text, labels=self.labels)
        for values, count in self.counts.items():
            family.add_metric(values, count)
        return family


class Spread:
    """A histogram with labels, of seconds if nothing else is said.

    Attributes:
        bounds: of its buckets, ascending; a bucket holds values up to and including its bound.
    """

    def __init__(
        self, name: str, help_text: str, *labels: str, bounds: Sequence[float] = SECONDS
    ) -> None:
        self.name, self.help_text, self.labels, self.bounds = name, help_text, labels, bounds
        self._series: dict[tuple[str, ...], list[float]] = {}

    def observe(self, *values: str, seconds: float) -> None:
        """Add an observation."""
        series = self._series.get(values)
        if series is None:
            series = self.series(*values)
        series[bisect_left(self.bounds, seconds)] += 1
        series[-1] += seconds

    def series(self, *values: str) -> list[float]:
        """Return the counts of each bucket, and the sum, for one set of labels: add to them."""
        return self._series.setdefault(values, [0.0] * (len(self.bounds) + 2))

    def family(self) -> Metric:
        """Return it as Prometheus has it: cumulative buckets, and the sum."""
        family = HistogramMetricFamily(self.name, self.help_text, labels=self.labels)
        for values, series in self._series.items():
            if not any(series):
                continue  # nothing was ever added
            total, buckets = 0.0, []
            for bound, count in zip((*map(str, self.bounds), "+Inf"), series[:-1], strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric(values, buckets, series[-1])
        return family
