"""Spans over OTLP, by OpenTelemetry's own exporter. Nothing else imports OpenTelemetry.

Certificates, headers and compression are as its variables say (`OTEL_EXPORTER_OTLP_HEADERS`, ...);
`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say whose spans they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import coe
from coe.telemetry.spans import Kind, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

TIMEOUT_S = 5.0
"""Of one batch, with the exporter's own tries."""

_SCOPE = "coe"
_NEEDED = "opentelemetry.exporter.otlp.proto.http"


def is_installed() -> bool:
    """Whether spans can be sent."""
    try:
        return find_spec(_NEEDED) is not None
    except ModuleNotFoundError:
        return False


class Exporter:
    """Sends spans to one collector. Blocks its thread."""

    def __init__(self, url: str) -> None:
        """Load OpenTelemetry, which takes a tenth of a second; nothing connects."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        # It writes a line for every batch that fails; `coe.telemetry.tracing` writes one a minute.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self.url = url
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=TIMEOUT_S)
        own = Resource.create({"service.version": coe.__version__})
        if str(own.attributes.get("service.name", "")).startswith("unknown_service"):
            own = own.merge(Resource({"service.name": "coe"}))
        self._resource = own
        self._scope = InstrumentationScope(_SCOPE, coe.__version__)
        self._span, self._context, self._flags = ReadableSpan, SpanContext, TraceFlags(1)
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
            instrumentation_scope=self._scope,
        )
