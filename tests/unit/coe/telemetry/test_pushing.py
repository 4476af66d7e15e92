from __future__ import annotations

import pytest

from coe.errors import ConfigError
from coe.telemetry import pushing
from coe.telemetry.pushing import Destination, destination

METRICS, ALL = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
OWN_HOW, ALL_HOW = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
EXPORTER, INTERVAL = "OTEL_METRICS_EXPORTER", "OTEL_METRIC_EXPORT_INTERVAL"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({ALL: "", METRICS: "", EXPORTER: ""}, None),
        ({EXPORTER: "none", METRICS: "http://c:1/x"}, None),
        ({EXPORTER: "prometheus", ALL: "http://c:1"}, None),
        ({EXPORTER: "otlp"}, "http://localhost:4318/v1/metrics"),
        ({EXPORTER: " otlp , prometheus"}, "http://localhost:4318/v1/metrics"),
        ({ALL: "http://c:1"}, "http://c:1/v1/metrics"),
        ({ALL: "https://c/base/"}, "https://c/base/v1/metrics"),
        ({METRICS: "http://c:1/as/it/stands"}, "http://c:1/as/it/stands"),
        ({METRICS: "http://c:1/m", ALL: "http://d:1"}, "http://c:1/m"),
        ({METRICS: "http://c:1/m", ALL_HOW: "grpc", OWN_HOW: "http/protobuf"}, "http://c:1/m"),
        ({METRICS: "http://c:1/m", ALL_HOW: "http/protobuf", OWN_HOW: ""}, "http://c:1/m"),
    ],
)
def test_where_metrics_are_sent_is_as_opentelemetrys_variables_say(
    environ: dict[str, str], url: str | None
) -> None:
    assert destination(environ) == (url and Destination(url, 60.0))


def test_how_often_is_said_in_milliseconds() -> None:
    found = destination({EXPORTER: "otlp", INTERVAL: "1500"})

    assert found is not None
    assert found.every_s == 1.5


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({EXPORTER: "console"}, EXPORTER),
        ({EXPORTER: "otlp", INTERVAL: "soon"}, INTERVAL),
        ({EXPORTER: "otlp", INTERVAL: "-5"}, INTERVAL),
        ({EXPORTER: "otlp", INTERVAL: "99"}, INTERVAL),
        ({METRICS: "collector:4318"}, METRICS),
        ({METRICS: "http://user:secret@c:x"}, METRICS),
        ({ALL: "grpc://user:secret@c:1"}, ALL),
        ({ALL: "http://c:1", ALL_HOW: "grpc"}, ALL_HOW),
        ({ALL: "http://c:1", ALL_HOW: "grpc", OWN_HOW: ""}, ALL_HOW),
        ({ALL: "http://c:1", ALL_HOW: "http/protobuf", OWN_HOW: "grpc"}, OWN_HOW),
    ],
)
def test_what_cannot_be_done_is_an_error_that_names_the_variable(
    environ: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigError, match=named) as found:
        destination(environ)
    assert "secret" not in found.value.message


def test_what_is_asked_for_and_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "is_installed", lambda: False)

    assert destination({}) is None
    with pytest.raises(ConfigError, match=r"coe-gateway\[otel\]"):
        destination({EXPORTER: "otlp"})
