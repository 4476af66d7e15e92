from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from coe.telemetry import names
from coe.telemetry.instruments import Instrument, Point, Spread, instruments
from coe.telemetry.series import Spread as Series
from docs.generators import metrics

LE = (0.5, 1.0, 10.0)


def test_a_counter_is_a_sum_and_a_label_without_a_value_is_none() -> None:
    family = CounterMetricFamily("coe_requests", "Requests", labels=("expert", "error_type"))
    family.add_metric(("coder", ""), 3)
    family.add_metric(("coder", "Timeout"), 2)

    assert instruments([family]) == [
        Instrument(
            "coe_requests",
            "sum",
            "",
            "Requests",
            (
                Point({"expert": "coder"}, 3.0),
                Point({"expert": "coder", "error.type": "Timeout"}, 2.0),
            ),
        )
    ]


def test_a_gauge_of_yes_or_no_is_a_number() -> None:
    (made,) = instruments([GaugeMetricFamily("coe_keys_stale", "Stale", value=True)])

    assert made == Instrument("coe_keys_stale", "gauge", "", "Stale", (Point({}, 1.0),))


def test_what_counted_nothing_yet_is_left_out() -> None:
    assert instruments([Series("coe_route_seconds", "Route").family()]) == []


@given(st.lists(st.floats(0, 100), min_size=1), st.lists(st.floats(0, 100), min_size=1))
def test_a_histogram_has_each_value_in_one_bucket(one: list[float], other: list[float]) -> None:
    series = Series(names.prometheus(names.DURATION), "Time", "error_type", bounds=LE)
    for label, values in (("", one), ("Timeout", other)):
        for value in values:
            series.observe(label, seconds=value)

    (made,) = instruments([series.family()])

    assert (made.name, made.kind, made.unit) == (names.DURATION, "histogram", "s")
    for point, values in zip(made.points, (one, other), strict=True):
        assert isinstance(point, Spread)
        edges = (-math.inf, *LE, math.inf)
        assert point.bounds == LE
        assert point.counts == tuple(
            sum(low < value <= high for value in values) for low, high in pairwise(edges)
        )
        assert math.isclose(point.total, sum(values), abs_tol=1e-9)
    assert [point.attributes for point in made.points] == [{}, {"error.type": "Timeout"}]


def test_every_metric_has_a_name_and_a_unit_of_opentelemetry() -> None:
    families = metrics.families()
    for family in families:
        if family.type != "histogram":
            family.add_sample(family.name, dict.fromkeys(getattr(family, "_labelnames", ()), ""), 1)
        else:
            family.add_sample(f"{family.name}_bucket", {"le": "+Inf"}, 1)
            family.add_sample(f"{family.name}_sum", {}, 1)

    made = {one.name: one.unit for one in instruments(families)}

    assert len(made) == len(families)
    assert {name: made[name] for name in names.UNITS} == names.UNITS
    assert {name for name in made if name.startswith("gen_ai")} == set(names.UNITS)
    assert {made[name] for name in made if name.endswith("_seconds")} == {"s"}
    assert {made[name] for name in made if name.endswith("_bytes")} == {"By"}
