"""Checks of what is observed: the collector's address is one."""

from __future__ import annotations

from urllib.parse import urlsplit

from coe.composition.models import FileKeys
from coe.composition.references import References
from coe.composition.report import Report

TRACES = ("observe", "traces")

_PATH = "/v1/traces"


def check_observe(file: FileKeys, report: Report, references: References) -> None:
    """Report an address that spans cannot be sent to."""
    written = file.observe.traces
    if written is None:
        return
    address = references.resolve(written, TRACES)
    if references.is_missing(TRACES) or not address:
        return
    try:
        collector_url(address)
        has_password = "${" not in written and urlsplit(written).password
    except ValueError as error:
        report.error(TRACES, f"cannot be used: {error}", "such as `http://127.0.0.1:4318`")
        return
    if has_password:
        hint = "use a reference, or OTEL_EXPORTER_OTLP_HEADERS"
        report.error(TRACES, "a literal password in the address", hint)


def collector_url(text: str) -> str:
    """Return where spans are sent: `/v1/traces` is added where an address has no path.

    Example:
        >>> collector_url("http://127.0.0.1:4318")
        'http://127.0.0.1:4318/v1/traces'

    Raises:
        ValueError: not an http or https address; the message does not repeat it.
    """
    if not text.isprintable() or " " in text:
        raise ValueError("an address has no spaces")
    parts = urlsplit(text)
    _ = parts.port  # raises where the port is no number from 0 to 65535
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https address")
    if parts.fragment:
        raise ValueError("an address with a fragment")
    path = parts.path if parts.path.strip("/") else _PATH
    return parts._replace(path=path).geturl()
