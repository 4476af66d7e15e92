"""Replays for people to read."""

from __future__ import annotations

from coe.cli.printed import columns, gained
from coe.mapping.budget import PER
from coe.mapping.replay import Replay, Share, Way

_MOVED = 20  # lines of who moves where


def text(found: Replay, currency: str) -> str:
    """Return what a change does, for a terminal."""
    total = found.total
    lines = [f"{total.moved:,} of {total.count:,} requests move"]
    if found.before is None:
        lines = [f"{total.count:,} requests; nothing is known of who answers them now"]
    lines += ["", *_ways(found, currency), ""]
    if found.before is not None:
        if found.moved:
            lines += [*_moved(found), "", *_shares(found), ""]
        lines += [_gain_line(total), ""]
    if found.guard:
        rows = [
            (
                row.policy,
                row.expert or "-",
                f"{row.quality:.3f}",
                "-" if row.cost is None else f"{PER * row.cost:.3g}",
                ""
                if row.policy in {"after", "map"}
                else gained((row.gain, row.gain_low, row.gain_high)),
            )
            for row in found.guard
        ]
        header = ("policy", "expert", "quality", f"{currency or 'cost'}/1k", "it gains, points")
        lines += [*columns(header, rows), "", f"verdict: {found.verdict}, by the scored requests"]
    else:
        lines.append("no guard: a comparison needs scores of several experts on the same requests")
    return "\n".join(lines)


def _ways(found: Replay, currency: str) -> list[str]:
    header = ("", "quality", "of", f"{currency or 'cost'}/1k", "refused", "swaps", "of base")
    ways = [("now", found.before), ("then", found.after)]
    return columns(header, [_way(name, way) for name, way in ways if way is not None])


def _way(name: str, way: Way) -> tuple[str, ...]:
    known = [f"{way.measured:,} measured"] if way.measured else []
    known += [f"{way.expected:,} estimated"] if way.expected else []
    return (
        name,
        "-" if way.quality is None else f"{way.quality:.3f}",
        ", ".join(known) or "nothing known",
        "-" if way.cost is None else f"{PER * way.cost:.3g}",
        str(way.refused),
        str(way.swaps),
        str(way.base_swaps),
    )


def _moved(found: Replay) -> list[str]:
    rows = [
        (row.category, row.old or "(refused)", row.new or "(refused)", str(row.count))
        for row in found.moved[:_MOVED]
    ]
    more = len(found.moved) - len(rows)
    return columns(("category", "now", "then", "requests"), rows) + (
        [f"and {more} more"] if more else []
    )


def _shares(found: Replay) -> list[str]:
    rows = [
        (row.category, str(row.count), str(row.moved), gained(row.gain), _expected(row))
        for row in found.shares
        if row.moved
    ]
    header = ("category", "requests", "moved", "gain measured, points", "with estimates")
    return columns(header, rows)


def _gain_line(total: Share) -> str:
    if not total.moved:
        return "nothing moves, so nothing is gained"
    if total.gain is None:
        estimate = "" if total.expected_gain is None else f"; the map expects {_expected(total)}"
        return f"gain: not measured on any request that moves{estimate}"
    return f"gain: {gained(total.gain)} points, 95 % interval, where both were measured"


def _expected(share: Share) -> str:
    return "-" if share.expected_gain is None else f"{100 * share.expected_gain:+.2f}"
