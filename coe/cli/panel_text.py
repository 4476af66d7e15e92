"""Fitted panels for people to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from coe.cli.printed import columns
from coe.panels.fitted import FittedPanels, Verdict
from coe.panels.gate import Gain

HEADER = (
    "category",
    "panel",
    "",
    "prompts",
    "panel's",
    "expert's",
    "samples'",
    "over samples, points",
    "over the expert, points",
    "calls",
    "in vain",
)


def report(fitted: FittedPanels) -> str:
    """Return where panels pay, and what speaks for and against."""
    scored, drafted = (fitted.about.get(key, 0) for key in ("prompts", "drafted"))
    lines = [
        f"{scored} prompts were scored; the drafts of {drafted} were kept",
        "",
        *columns(HEADER, map(_row, fitted.verdicts)),
        "",
    ]
    for why, times in Counter(row.why for row in fitted.verdicts).items():
        lines.append(f"{times} of {len(fitted.verdicts)}: {why}")
    if fitted.tests:
        tests = (
            (
                row.category,
                row.panel,
                str(row.tests),
                f"{row.hits:.2f}",
                f"{row.low:.2f}-{row.high:.2f}",
            )
            for row in fitted.tests
        )
        head = ("category", "aggregator of", "tests", "right", "95 %")
        lines += ["", "of one right draft and two wrong ones:", *columns(head, tests)]
    on = ", ".join(f"{name}: {panel}" for name, panel in fitted.panels.items())
    return "\n".join([*lines, "", f"on: {on or 'nothing; one expert answers everything'}"])


def changes(fitted: FittedPanels, now: Mapping[str, str]) -> dict[str, dict[str, str | None]]:
    """Return the categories whose panel would change, of those that were measured."""
    measured = {row.category for row in fitted.verdicts if row.prompts} | fitted.panels.keys()
    return {
        name: {"old": now.get(name), "new": fitted.panels.get(name)}
        for name in sorted(measured)
        if now.get(name) != fitted.panels.get(name)
    }


def difference(changed: Mapping[str, Mapping[str, str | None]]) -> str:
    """Return what a proposal would change."""
    if not changed:
        return "every category is answered as it is now"
    rows = ((name, row["old"] or "-", row["new"] or "-") for name, row in changed.items())
    return "\n".join([*columns(("category", "now", "new"), rows), "", "-: one expert"])


def document(fitted: FittedPanels) -> dict[str, Any]:
    """Return fitted panels as JSON has them."""
    rates = fitted.rates
    return {
        "panels": dict(fitted.panels),
        "verdicts": [asdict(row) for row in fitted.verdicts],
        "tests": [asdict(row) for row in fitted.tests],
        "rates": {name: rates.of(name) for name in rates.categories},
        "curves": {name: [list(knot) for knot in knots] for name, knots in fitted.curves.items()},
        "about": dict(fitted.about),
    }


def _row(row: Verdict) -> tuple[str, ...]:
    if not row.prompts:
        return (row.category, row.panel, "no", "0", *("-",) * (len(HEADER) - 4))
    return (
        row.category,
        row.panel,
        "yes" if row.is_on else "no",
        str(row.prompts),
        f"{row.quality:.3f}",
        f"{row.single:.3f} {row.expert}",
        f"{row.self_moa:.3f} x{row.samples}",
        _gain(row.over_self),
        _gain(row.over_single),
        f"{row.calls:.2f}",
        f"{row.unnecessary:.0%}",
    )


def _gain(gain: Gain) -> str:
    return f"{100 * gain.mean:+.1f}  {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
