"""What Prometheus is told -> OpenTelemetry's instruments. Pure, and run off the event loop.

The standard metrics get their dotted names back, and so do their attributes; ours keep the names
that they have on `/metrics`, less the `_total` of a counter. Counts are of the whole life of a
process ("cumulative"). See OpenTelemetry's "Prometheus and OpenMetrics Compatibility", "Prometheus
Metric points to OTLP"; a label without a value is none, as there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from coe.telemetry import names

Kind = Literal["sum", "gauge", "histogram"]
Attributes = Mapping[str, str]

_KINDS: Final[Mapping[str, Kind]] = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}
_SUFFIXES: Final = {"_seconds": "s", "_bytes": "By"}
_BOUND = "le"


class Point(NamedTuple):
    """What a counter or a gauge says of one set of attributes."""

    attributes: Attributes
    value: float


class Spread(NamedTuple):
    """What a histogram says of one set of attributes.

    Attributes:
        counts: of each bucket, the last one without a bound: one more than there are `bounds`.
        bounds: ascending; a bucket holds values up to and including its bound.
        total: of all values.
    """

    attributes: Attributes
    counts: tuple[int, ...]
    bounds: tuple[float, ...]
    total: float


class Instrument(NamedTuple):
    """One metric.

    Attributes:
        unit: in UCUM's words; empty where it is a number of things.
        points: of a histogram, `Spread`s; else `Point`s.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    points: tuple[Point, ...] | tuple[Spread, ...]


def instruments(families: Iterable[Metric]) -> list[Instrument]:
    """Return the instruments of families that count something."""
    return [made for family in families if (made := _made(family)).points]


def _made(family: Metric) -> Instrument:
    kind, name = _KINDS[family.type], names.opentelemetry(family.name)
    points: tuple[Point, ...] | tuple[Spread, ...]
    if kind == "histogram":
        points = _spreads(family)
    else:
        points = tuple(Point(_attributes(one), float(one.value)) for one in family.samples)
    return Instrument(name, kind, _unit(name), family.documentation, points)


def _unit(name: str) -> str:
    """Return what an instrument is counted in."""
    found = (unit for suffix, unit in _SUFFIXES.items() if name.endswith(suffix))
    return names.UNITS.get(name) or next(found, "")


def _spreads(family: Metric) -> tuple[Spread, ...]:
    """Return the series of a histogram, whose samples come one series after the other."""
    found: list[Spread] = []
    below: list[float] = []
    bounds: list[float] = []
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            below.append(sample.value)
            bounds.append(float(sample.labels[_BOUND]))
        elif sample.name.endswith("_sum"):
            counts = (int(high - low) for low, high in zip([0.0, *below], below, strict=False))
            finite = (bound for bound in bounds if not math.isinf(bound))
            found.append(Spread(_attributes(sample), tuple(counts), tuple(finite), sample.value))
            below, bounds = [], []
    return tuple(found)


def _attributes(sample: Sample) -> Attributes:
    return {names.opentelemetry(name): value for name, value in sample.labels.items() if value}
