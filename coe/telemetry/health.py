"""What is known of the experts' health, as Prometheus has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from coe.composition import Composition
from coe.resilience.breaker import State
from coe.resilience.standing import Standing

VALUES: dict[State, int] = {"closed": 0, "probing": 1, "open": 2}


class Health:
    """Yields the families; see `coe.telemetry.Telemetry.sources`."""

    def __init__(self, standing: Standing, served: Callable[[], Composition]) -> None:
        """Args are what is known, and what returns the composition that is served."""
        self._standing = standing
        self._served = served

    def families(self) -> Iterator[Metric]:
        """Yield every family; series are of experts that the composition has."""
        standing, composition = self._standing, self._served()
        state = GaugeMetricFamily(
            "coe_breaker_state",
            "Breakers: 0 closed, 1 open while one call finds out, 2 open",
            labels=("backend", "expert"),
        )
        opens = CounterMetricFamily(
            "coe_breaker_opens",
            "Breakers that opened by what this process saw",
            labels=("backend", "expert"),
        )
        if composition.fallbacks.breaker is not None:
            for (backend, name), times in standing.breakers.opened().items():
                expert = composition.experts.get(name)
                if expert is not None and expert.backend == backend:
                    value = VALUES[standing.breakers.state(backend, name)]
                    state.add_metric((backend, name), value)
                    opens.add_metric((backend, name), times)
        yield state
        yield opens
        further = CounterMetricFamily(
            "coe_further_calls",
            "Calls beyond one a request, by whether the retry budget had them",
            labels=("result",),
        )
        further.add_metric(("made",), standing.budget.spent)
        further.add_metric(("refused",), standing.budget.refused)
        yield further
        hedges = CounterMetricFamily(
            "coe_hedges", "Experts asked beside a slow one, by what came of it", labels=("result",)
        )
        for result in ("won", "lost"):
            hedges.add_metric((result,), standing.hedges[result])
        yield hedges
        shed = CounterMetricFamily(
            "coe_shed_calls",
            "Calls refused because their backend is too busy, by why",
            labels=("backend", "why"),
        )
        for (backend, why), times in standing.shed.items():
            if backend in composition.backends:
                shed.add_metric((backend, why), times)
        yield shed
