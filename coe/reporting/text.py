"""A report for a terminal: what was compared, on how many, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from coe.experiments.effect import Interval
from coe.reporting.report import ArmRow, Report

HEADS = ("arm", "share", "units", "requests", "with a value", "mean", "errors", "p95", "cost")


def lines(report: Report) -> Iterator[str]:
    """Yield the report's head; tables are the caller's."""
    yield f"{report.experiment} ({report.mode}, {report.status}): {what(report)}"
    yield report.verdict.sentence
    ratio = report.verdict.sample_ratio
    yield (
        f"split: {'BROKEN' if ratio.is_broken else 'as it should be'}"
        f" (p = {ratio.p_always:.2g}, always valid)"
    )
    if report.crossed:
        yield (
            f"{report.crossed} units were seen in two arms and are left out: shares or salt changed"
        )
    if report.agreed is not None:
        yield f"the judge said the same in both orders in {report.agreed:.0%} of its comparisons"


def what(report: Report) -> str:
    """Return what was compared, on how many, and when."""
    names = " and ".join(f"`{arm.name}`" for arm in report.arms)
    units = sum(arm.units for arm in report.arms)
    kind = "answer" if report.mode == "shadow" else report.unit
    when = ""
    if report.since:
        first, last = (
            datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M")
            for at in (report.since, report.until)
        )
        when = f", {first} to {last} UTC"
    return (
        f"{names} by {report.metric}, on {units:,} {kind}{'s' if units != 1 else ''} and"
        f" {report.requests:,} requests{when}"
    )


def row(report: Report, arm: ArmRow) -> tuple[str, ...]:
    """Return an arm's row under `HEADS`."""
    return (
        arm.name,
        f"{arm.share:.4g}" if report.mode == "shadow" else f"{arm.share:.2%}",
        f"{arm.units:,}",
        f"{arm.requests:,}",
        f"{arm.said:,}",
        amount(report, arm.mean),
        "-" if arm.errors is None else f"{arm.errors:.2%}",
        "-" if arm.p95_s is None else f"{arm.p95_s:.3g} s",
        "-" if arm.cost is None else f"{arm.cost:.4g}",
    )


def amount(report: Report, value: float | None, *, signed: bool = False) -> str:
    """Return a value of the metric that decides."""
    if value is None:
        return "-"
    sign = "+" if signed else ""
    if report.metric in {"feedback", "judge", "errors"}:
        return f"{100 * value:{sign}.1f} pt" if signed else f"{value:.1%}"
    return f"{value:{sign}.4g}" + (" s" if report.metric == "latency" else "")


def between(report: Report, interval: Interval | None) -> str:
    """Return a difference with its interval."""
    if interval is None:
        return "too soon to say"
    ends = (amount(report, end, signed=True) for end in (interval.low, interval.high))
    return f"{amount(report, interval.estimate, signed=True)}  [{', '.join(ends)}]"


def document(report: Report) -> dict[str, Any]:
    """Return all of a report as JSON."""
    facts = asdict(report)
    facts["verdict"]["sentence"] = report.verdict.sentence
    facts["verdict"]["is_stop"] = report.verdict.is_stop
    facts["verdict"]["sample_ratio"]["is_broken"] = report.verdict.sample_ratio.is_broken
    return {"object": "coe.experiment.report", **facts}
