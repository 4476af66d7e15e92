"""The dashboard asks for metrics and labels that the gateway has, in PromQL that parses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.generators import metrics

promql = pytest.importorskip("promql_parser", reason="promql-parser is not installed")

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "coe.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# What Prometheus adds to every series that it scrapes.
SCRAPED = {"job", "instance"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def exposition() -> dict[str, set[str]]:
    """Return the labels of every series that the gateway has, by its name."""
    series: dict[str, set[str]] = {}
    for family in metrics.families():
        for suffix in SUFFIXES[family.type]:
            bucket = {"le"} if suffix == "_bucket" else set()
            # prometheus-client shows them nowhere else
            series[family.name + suffix] = {*getattr(family, "_labelnames", ()), *bucket, *SCRAPED}
    return series


SERIES = exposition()


def targets() -> Iterator[tuple[str, str, str]]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def selectors(node: Any) -> Iterator[Any]:
    """Return every selector of series in a parsed expression."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (inner := getattr(node, name, None)) is not None:
            yield from selectors(inner)
    for inner in getattr(node, "args", None) or []:
        yield from selectors(inner)


def parsed(expression: str) -> Any:
    return promql.parse(expression.replace("$__rate_interval", "5m"))


@pytest.mark.parametrize(("title", "expression", "legend"), [*targets()])
def test_a_panel_asks_for_what_there_is(title: str, expression: str, legend: str) -> None:
    found = list(selectors(parsed(expression)))
    assert found, title
    for selector in found:
        labels = SERIES[selector.name]
        assert {matcher.name for matcher in selector.matchers.matchers} <= labels
    named = set().union(*(SERIES[selector.name] for selector in found))
    grouped = {
        each.strip()
        for group in re.findall(r"by \(([^)]*)\)", expression)
        for each in group.split(",")
    }
    assert grouped <= named
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= grouped


def test_every_metric_has_its_place() -> None:
    asked = {
        selector.name
        for _, expression, _ in targets()
        for selector in selectors(parsed(expression))
    }
    shown = {
        family.name
        for family in metrics.families()
        if asked & {family.name + suffix for suffix in SUFFIXES[family.type]}
    }
    assert {family.name for family in metrics.families()} - shown == set()


def test_the_variables_are_declared() -> None:
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(DASHBOARD["panels"])))
    assert used == declared
    variables = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    queries = [
        query for each in variables for query in (each["definition"], each["query"]["query"])
    ]
    asked = [re.match(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)$", query) for query in queries]
    assert all(found and found[2] in SERIES[found[1]] for found in asked)


def test_panels_have_a_title_an_id_and_a_place_of_their_own() -> None:
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    cells: set[tuple[int, int]] = set()
    for panel in every:
        grid = panel["gridPos"]
        taken = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert panel["title"]
        assert not cells & taken
        assert max(x for x, _ in taken) < 24
        cells |= taken
