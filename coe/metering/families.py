"""What limits did, as Prometheus is told it. Labels are kinds, never names: they are few."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, Metric

from coe.limits.ledger import Tolls
from coe.limits.rules import NANO


def families(tolls: Tolls) -> Iterator[Metric]:
    """Yield the metrics."""
    refused = CounterMetricFamily(
        "coe_limit_refusals",
        "Requests and calls that were not let in, by whose limit and of what",
        labels=("scope", "what"),
    )
    for (kind, what), count in sorted(tolls.refused.items()):
        refused.add_metric((kind, what), count)
    yield refused
    spent = CounterMetricFamily(
        "coe_limit_spent",
        "Money of calls that ended, by the kind of the budgets that it counts for",
        labels=("scope", "currency"),
    )
    for (kind, currency), amount in sorted(tolls.spent.items()):
        spent.add_metric((kind, currency), amount / NANO)
    yield spent
