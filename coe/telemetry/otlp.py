"""Spans and metrics over OTLP, by OpenTelemetry's exporters. Nothing else imports OpenTelemetry.

Certificates, headers and compression are as its variables say (`OTEL_EXPORTER_OTLP_HEADERS`, ...);
`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say whose they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import coe
from coe.telemetry.instruments import Instrument, Point, Spread
from coe.telemetry.spans import Kind, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

TIMEOUT_S = 5.0
"""Of one batch, with the exporter's own tries."""

_SCOPE = "coe"
_NEEDED = "opentelemetry.exporter.otlp.proto.http"
_SERVICE, _INSTANCE = "service.name", "service.instance.id"
_THIS = str(uuid4())


def is_installed() -> bool:
    """Whether anything can be sent."""
    try:
        return find_spec(_NEEDED) is not None
    except ModuleNotFoundError:
        return False


class Exporter:
    """Sends spans to one collector. Blocks its thread."""

    def __init__(self, url: str) -> None:
        """Load OpenTelemetry, which takes a tenth of a second; nothing connects."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

        self.url = url
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_S)
        self._resource = _resource()
        self._scope = InstrumentationScope(_SCOPE, coe.__version__)
        self._span, self._context, self._flags = ReadableSpan, SpanContext, TraceFlags(1)
        self._link = Link
        self._failed, self._fine = Status(StatusCode.ERROR), Status(StatusCode.UNSET)
        self._kinds: dict[Kind, SpanKind] = {
            "server": SpanKind.SERVER,
            "internal": SpanKind.INTERNAL,
            "client": SpanKind.CLIENT,
        }

    def send(self, spans: Sequence[Span]) -> bool:
        """Send spans; whether the collector took them."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        result = self._exporter.export([self._made(span) for span in spans])
        return result is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is being sent again."""
        self._exporter.shutdown()

    def _made(self, span: Span) -> ReadableSpan:
        parent = None
        if span.parent_id:
            parent = self._context(span.trace_id, span.parent_id, is_remote=span.kind == "server")
        return self._span(
            name=span.name,
            context=self._context(
                span.trace_id, span.span_id, is_remote=False, trace_flags=self._flags
            ),
            parent=parent,
            resource=self._resource,
            attributes=dict(span.attributes),
            kind=self._kinds[span.kind],
            status=self._failed if span.has_failed else self._fine,
            start_time=span.started_ns,
            end_time=span.ended_ns,
            links=[self._link(self._context(*link, is_remote=False)) for link in span.links],
            instrumentation_scope=self._scope,
        )


class MetricExporter:
    """Sends metrics to one collector. Blocks its thread.

    Args:
        url: where to.
        since_ns: from when on they are counted, since the epoch.
    """

    def __init__(self, url: str, since_ns: int) -> None:
        """Load OpenTelemetry, which takes a tenth of a second; nothing connects."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._exporter = OTLPMetricExporter(endpoint=url, timeout=TIMEOUT_S)
        self._resource = _resource()
        self._scope = InstrumentationScope(_SCOPE, coe.__version__)
        self._since_ns = since_ns

    def send(self, instruments: Sequence[Instrument], at_ns: int) -> bool:
        """Send what instruments say at a time since the epoch; whether the collector took it."""
        from opentelemetry.sdk.metrics.export import (
            MetricExportResult,
            MetricsData,
            ResourceMetrics,
            ScopeMetrics,
        )

        metrics = [self._made(instrument, at_ns) for instrument in instruments]
        scope = ScopeMetrics(scope=self._scope, metrics=metrics, schema_url="")
        row = ResourceMetrics(resource=self._resource, scope_metrics=[scope], schema_url="")
        result = self._exporter.export(MetricsData(resource_metrics=[row]))
        return result is MetricExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is being sent again."""
        self._exporter.shutdown()

    def _made(self, instrument: Instrument, at_ns: int) -> Metric:
        from opentelemetry.sdk.metrics.export import (
            AggregationTemporality,
            Gauge,
            Histogram,
            Metric,
            Sum,
        )

        points: Any = [self._point(point, at_ns) for point in instrument.points]
        whole = AggregationTemporality.CUMULATIVE
        data: Gauge | Histogram | Sum
        if instrument.kind == "gauge":
            data = Gauge(points)
        elif instrument.kind == "sum":
            data = Sum(points, aggregation_temporality=whole, is_monotonic=True)
        else:
            data = Histogram(points, aggregation_temporality=whole)
        return Metric(instrument.name, instrument.description, instrument.unit, data)

    def _point(self, point: Point | Spread, at_ns: int) -> object:
        from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

        times = {"start_time_unix_nano": self._since_ns, "time_unix_nano": at_ns}
        if isinstance(point, Point):
            return NumberDataPoint(dict(point.attributes), value=point.value, **times)
        unknown: Any = None  # neither of them is counted; the protocol lets them be left out
        return HistogramDataPoint(
            dict(point.attributes),
            count=sum(point.counts),
            sum=point.total,
            bucket_counts=point.counts,
            explicit_bounds=point.bounds,
            min=unknown,
            max=unknown,
            **times,
        )


def _resource() -> Resource:
    """Return whose spans and metrics these are: this process's, which others' are not added to."""
    from opentelemetry.sdk.resources import Resource

    # The exporters write a line for everything that fails; who uses them here writes fewer.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    own = Resource.create({"service.version": coe.__version__})
    missing = {}
    if str(own.attributes.get(_SERVICE, "")).startswith("unknown_service"):
        missing[_SERVICE] = "coe"
    if _INSTANCE not in own.attributes:  # OpenTelemetry makes one itself from some version on
        missing[_INSTANCE] = _THIS
    return own.merge(Resource(missing))
