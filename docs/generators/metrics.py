"""The page of the metrics, read from an application that has served nothing."""

from __future__ import annotations

import asyncio

from prometheus_client.metrics_core import Metric

from docs.generators import markdown
from docs.generators.example import application

INTRODUCTION = """\
`GET /metrics` returns these in Prometheus' text format. Labels hold names of the composition,
status codes and error classes: their number is bounded, and no prompt, answer or key is in them.
`none` stands where there is no category or expert. Times are in seconds."""


def page() -> str:
    """Return the page."""
    rows = [_row(family) for family in families()]
    header = ("metric", "type", "labels", "meaning")
    return markdown.page("Metrics", INTRODUCTION, markdown.table(header, rows))


def families() -> list[Metric]:
    """Return every metric that an application has."""
    return asyncio.run(_families())


async def _families() -> list[Metric]:
    async with application() as app:
        return list(app.live.telemetry.collect())


def _row(family: Metric) -> tuple[str, ...]:
    suffix = "_total" if family.type == "counter" else ""
    labels = getattr(family, "_labelnames", ())  # prometheus-client shows them nowhere else
    names = ", ".join(markdown.code(label) for label in labels)
    return (markdown.code(family.name + suffix), family.type, names, family.documentation)
