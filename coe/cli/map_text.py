"""Fitted maps for people to read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from coe.cli.printed import columns
from coe.mapping.budget import PER, Constraints
from coe.mapping.fit import Proposal
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import OutcomeMatrix
from coe.mapping.proof import Interval, points
from coe.mapping.store import CELLS

_SHOWN = 5  # experts of a category, unless one category is asked for
_LEGEND = (
    "gain: on the category's prompts, each answered by a map that did not see it; 95 % interval",
    "same: resamples with the same expert; regret: points that the maps of the resamples lose",
)


def proposal(found: Proposal, outcomes: OutcomeMatrix, constraints: Constraints) -> str:
    """Return what a proposal would change and why, and what speaks for it."""
    fitted = found.fitted
    scores = int((~np.isnan(outcomes.scores)).sum())
    lines = [
        (
            f"fitted to {scores:,} scores of {len(outcomes.experts)} experts on "
            f"{len(outcomes.prompts):,} prompts; the map is {_method(found.method)}"
        ),
        "",
        *columns(
            ("category", "now", "new", "gain, points", "same", "regret", "prompts"),
            [
                (
                    row.category,
                    row.old or "-",
                    "=" if row.new == row.old else row.new,
                    _gain(row.gain) if row.prompts else "-",
                    _share(row.same),
                    f"{100 * row.regret:.1f}",
                    str(row.prompts),
                )
                for row in found.changes
            ],
        ),
        "",
        *_LEGEND,
        "",
        *_guard(fitted, constraints.currency),
        "",
        *_kept(found),
        *_prices(fitted, constraints),
        *_neighbours(fitted, outcomes),
        f"verdict: {_verdict(fitted)}",
        f"{'accepted' if found.is_accepted else 'REFUSED'}: {found.reason}",
    ]
    return "\n".join(lines)


def cells(fitted: FittedMap, category: str | None) -> str:
    """Return the cells of a map with their intervals: of a category, or the best of each."""
    rows: list[tuple[str, ...]] = []
    for i, name in enumerate(fitted.categories):
        if category not in {None, name}:
            continue
        order = [int(j) for j in np.argsort(-fitted.quality[i], kind="stable")]
        shown = order if category is not None else order[:_SHOWN]
        for place, j in enumerate(shown):
            rows.append(
                (
                    f"{name} ({_share(fitted.traffic[i])})" if place == 0 else "",
                    _mark(fitted, i, j) + fitted.experts[j],
                    f"{fitted.quality[i, j]:.3f}",
                    f"{fitted.lower[i, j]:.3f} to {fitted.upper[i, j]:.3f}",
                    f"{fitted.counts[i, j]:.0f}",
                    _number(fitted.cost[i, j] * PER),
                    _number(fitted.latency_s[i, j]),
                )
            )
    more = len(fitted.experts) - _SHOWN
    note = ["* answers the category where it is certain; - is not used"]
    if category is None and more > 0:
        note.append(f"the best {_SHOWN} of each category; {more} more with --category NAME")
    about = fitted.about
    made = f"fitted {about.get('at', '')} to {about.get('scores', 0):,} scores"
    forced = [f"APPLIED BY FORCE: {about['forced']}"] if about.get("forced") else []
    header = ("category (traffic)", "expert", "quality", "95 %", "scores", "cost/1k", "seconds")
    return "\n".join(
        [
            f"{made}, by the router `{fitted.router}`",
            *forced,
            "",
            *columns(header, rows),
            "",
            *note,
            "",
            *_guard(fitted, ""),
            "",
            f"verdict: {_verdict(fitted)}",
        ]
    )


def difference(before: Mapping[str, str], live: FittedMap | None, after: FittedMap) -> str:
    """Return what changes from one map, or from the written lists, to another."""
    none = after.categories[-1]
    rows = [
        (name, before.get(name, before.get(none, "-")), new)
        for name, new in zip(after.categories, after.assignment, strict=True)
        if before.get(name, before.get(none)) != new
    ]
    lines = (
        columns(("category", "now", "new"), rows) if rows else ["every category keeps its expert"]
    )
    if live is None:
        return "\n".join([*lines, "", "now: by the written lists; new: by a map"])
    out = sorted(set(live.used) - set(after.used))
    into = sorted(set(after.used) - set(live.used))
    for what, names in (("no longer used", out), ("used from now on", into)):
        lines += [f"{what}: {', '.join(names)}"] if names else []
    for what, old, new in (
        ("price weight", live.price_weight, after.price_weight),
        ("latency weight", live.latency_weight, after.latency_weight),
    ):
        lines += [f"{what}: {old:.4g} -> {new:.4g}"] if not math.isclose(old, new) else []
    if live.verdict != after.verdict:
        lines.append(f"verdict: {live.verdict} -> {after.verdict}")
    return "\n".join(lines)


def document(fitted: FittedMap) -> dict[str, Any]:
    """Return a map as JSON has it; what is not known is null."""
    return {
        "router": fitted.router,
        "verdict": fitted.verdict,
        "is_flagged": fitted.is_flagged,
        "best_single": fitted.best_single,
        "price_weight": fitted.price_weight,
        "latency_weight": fitted.latency_weight,
        "used": list(fitted.used),
        "categories": [
            {
                "category": name,
                "expert": fitted.assignment[i],
                "traffic": float(fitted.traffic[i]),
                "cells": [
                    {"expert": expert} | {key: _known(getattr(fitted, key)[i, j]) for key in CELLS}
                    for j, expert in enumerate(fitted.experts)
                ],
            }
            for i, name in enumerate(fitted.categories)
        ],
        "guard": [asdict(row) for row in fitted.guard],
        "about": dict(fitted.about),
        "parts": dict(fitted.parts),
    }


def _method(method: str) -> str:
    return {
        "exact": "the best one within the budget",
        "stopped": "the best one that was found in time",
        "greedy": "a greedy one, not the best",
    }[method]


def _guard(fitted: FittedMap, currency: str) -> Sequence[str]:
    header = ("policy", "expert", "quality", f"{currency or 'cost'}/1k", "the map gains, points")
    rows = [
        (
            row.policy,
            row.expert or "-",
            f"{row.quality:.3f}",
            "-" if row.cost is None else _number(row.cost * PER),
            "" if row.policy == "map" else _gain((row.gain, row.gain_low, row.gain_high)),
        )
        for row in fitted.guard
    ]
    return columns(header, rows)


def _kept(found: Proposal) -> list[str]:
    fitted = found.fitted
    left = [name for name in fitted.experts if name not in fitted.used]
    lines = [f"used: {', '.join(fitted.used)}"]
    if left:
        lines.append(f"not used: {', '.join(left)}")
    if found.new:
        lines.append(f"new, so by their lower bounds: {', '.join(found.new)}")
    return lines


def _prices(fitted: FittedMap, constraints: Constraints) -> list[str]:
    lines = []
    if fitted.price_weight:
        worth = 0.01 / fitted.price_weight
        lines.append(f"a point of quality is worth {worth:.3g} {constraints.currency} a request")
    if fitted.latency_weight:
        lines.append(f"a point of quality is worth {0.01 / fitted.latency_weight:.3g} s")
    return lines


def _neighbours(fitted: FittedMap, outcomes: OutcomeMatrix) -> list[str]:
    if outcomes.embeddings is None:
        return []
    if fitted.residual is None:
        return ["neighbours: not shown to gain anything, so the map goes without"]
    kept = fitted.residual
    return [f"neighbours: the nearest {kept.k} correct the cells, with a weight of {kept.weight:g}"]


def _verdict(fitted: FittedMap) -> str:
    flag = "FLAGGED, " if fitted.is_flagged else ""
    return f"{flag}{fitted.verdict} than the best single expert, `{fitted.best_single}`".replace(
        "not better than", "not shown to be better than"
    )


def _mark(fitted: FittedMap, i: int, j: int) -> str:
    if fitted.assignment[i] == fitted.experts[j]:
        return "* "
    return "  " if fitted.experts[j] in fitted.used else "- "


def _gain(gain: Interval) -> str:
    return points(gain).replace(" points, 95 % interval", " ")


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
