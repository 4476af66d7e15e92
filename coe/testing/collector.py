"""A collector of OpenTelemetry's spans and metrics by OTLP over HTTP, which may not answer."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple

from coe.testing.listener import Listener

Mood = Literal["ok", "refuses", "frozen"]
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
_NO = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"


class TakenSpan(NamedTuple):
    """A span as it was received; ids are hexadecimal, times nanoseconds since the epoch.

    Attributes:
        kind: `SERVER`, `CLIENT` or `INTERNAL`.
        links: trace and span of each.
        service: the name of whose it is.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    started_ns: int
    ended_ns: int
    has_failed: bool
    attributes: dict[str, Any]
    service: str
    links: list[tuple[str, str]]


class TakenPoint(NamedTuple):
    """A number, or a histogram's numbers, of one metric, as it was received.

    Attributes:
        name, unit: of the metric.
        kind: `counter`, `gauge` or `histogram`. Only what is counted from the beginning is known.
        started_ns, at_ns: from when, and until when, it counts; since the epoch.
        value: a histogram's sum.
        counts, bounds: of a histogram's buckets.
        resource: whose it is.
    """

    name: str
    unit: str
    kind: str
    attributes: dict[str, Any]
    started_ns: int
    at_ns: int
    value: float
    counts: tuple[int, ...]
    bounds: tuple[float, ...]
    resource: dict[str, Any]


class Collector(Listener):
    """Listens on a free port of loopback. Start it with `async with`.

    Args:
        mood: `refuses` answers 400; `frozen` takes a request and never answers.

    Attributes:
        url: its address, without a path.
        spans: those that were taken.
        exports: the metrics that were taken, of each request.
        bodies: what was received, as it came.
        asked: set once a request has arrived.
    """

    def __init__(self, mood: Mood = "ok") -> None:
        self.spans: list[TakenSpan] = []
        self.exports: list[list[TakenPoint]] = []
        self.bodies: list[bytes] = []
        self.asked = asyncio.Event()
        self.mood: Mood = mood
        self._writers: set[asyncio.StreamWriter] = set()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def _address(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    def cut_connections(self) -> None:
        """See `Listener.cut_connections`."""
        for writer in tuple(self._writers):
            writer.close()

    def named(self, start: str) -> list[TakenSpan]:
        """Return the spans whose name starts so."""
        return [span for span in self.spans if span.name.startswith(start)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
                body = await reader.readexactly(int(length))
                self.bodies.append(body)
                self.asked.set()
                if self.mood == "frozen":
                    await reader.read()  # until whoever waits has gone
                    return
                if self.mood == "ok" and b"/v1/metrics" in head.split(b"\r\n", 1)[0]:
                    self.exports.append(_points(body))
                elif self.mood == "ok":
                    self.spans += _spans(body)
                writer.write(_OK if self.mood == "ok" else _NO)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def _spans(body: bytes) -> list[TakenSpan]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest.FromString(body)
    return [
        TakenSpan(
            name=span.name,
            kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            started_ns=span.start_time_unix_nano,
            ended_ns=span.end_time_unix_nano,
            has_failed=span.status.code == span.status.STATUS_CODE_ERROR,
            attributes={one.key: _value(one.value) for one in span.attributes},
            service=next(
                (
                    one.value.string_value
                    for one in row.resource.attributes
                    if one.key == "service.name"
                ),
                "",
            ),
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        )
        for row in request.resource_spans
        for scope in row.scope_spans
        for span in scope.spans
    ]


def _points(body: bytes) -> list[TakenPoint]:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    request = ExportMetricsServiceRequest.FromString(body)
    return [
        TakenPoint(
            name=metric.name,
            unit=metric.unit,
            kind=_kind(metric),
            attributes={one.key: _value(one.value) for one in point.attributes},
            started_ns=point.start_time_unix_nano,
            at_ns=point.time_unix_nano,
            value=point.sum if metric.HasField("histogram") else point.as_double,
            counts=tuple(point.bucket_counts) if metric.HasField("histogram") else (),
            bounds=tuple(point.explicit_bounds) if metric.HasField("histogram") else (),
            resource={one.key: _value(one.value) for one in row.resource.attributes},
        )
        for row in request.resource_metrics
        for scope in row.scope_metrics
        for metric in scope.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


def _kind(metric: Any) -> str:
    kind: str = metric.WhichOneof("data")
    if kind == "gauge":
        return kind
    data = getattr(metric, kind)
    if (
        data.aggregation_temporality
        != data.DESCRIPTOR.fields_by_name["aggregation_temporality"]
        .enum_type.values_by_name["AGGREGATION_TEMPORALITY_CUMULATIVE"]
        .number
    ):
        raise ValueError(f"{metric.name}: not counted from the beginning")
    if kind == "sum" and not data.is_monotonic:
        raise ValueError(f"{metric.name}: may fall")
    return "counter" if kind == "sum" else kind


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
