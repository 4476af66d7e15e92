"""What is done behind the answers: decisions written down, shadows, who watches experiments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric


class Written(Protocol):
    """A log that counts what it wrote, and what it could not."""

    written: int
    lost: int


class Watching(Protocol):
    """Who watches experiments, and what is wrong with them now, by their names."""

    alarms: dict[str, str]


class Beside(Protocol):
    """Who answers requests beside the answer that is sent, and counts them."""

    done: int
    dropped: dict[str, int]


def logged(log: Written) -> Iterator[Metric]:
    """Yield what became of decisions."""
    written = CounterMetricFamily(
        "coe_decisions_logged",
        "Decisions by whether the log has them",
        labels=("result",),
    )
    written.add_metric(("written",), log.written)
    written.add_metric(("lost",), log.lost)
    yield written


def alarmed(watch: Watching) -> Iterator[Metric]:
    """Yield what is wrong with experiments now."""
    alarm = GaugeMetricFamily(
        "coe_experiment_alarm",
        "1 while a running experiment has a broken split, or a broken guardrail",
        labels=("experiment", "alarm"),
    )
    for name, found in watch.alarms.items():
        alarm.add_metric((name, found), 1)
    yield alarm


def shadowed(shadows: Beside) -> Iterator[Metric]:
    """Yield what became of the requests that shadow experiments sampled."""
    answered = CounterMetricFamily(
        "coe_shadows",
        "Requests that shadow experiments sampled, by what came of them",
        labels=("result",),
    )
    for result, count in {"done": shadows.done, **shadows.dropped}.items():
        answered.add_metric((result,), count)
    yield answered
