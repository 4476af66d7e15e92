"""A record as plain values, and back: what `GET /v1/scheduling` says of one pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from coe.scheduler.chronicle import INSIDE, Call, Depth, Mark, Record, Spell, What

WHATS = frozenset(get_args(What))
DIGITS = 3  # milliseconds


def document(record: Record, *, offset_s: float = 0.0) -> dict[str, Any]:
    """Return a record as values for JSON.

    Args:
        record: what is said.
        offset_s: added to every time, from the scheduler's clock to the reader's.
    """

    def time(at_s: float) -> float:
        return round(at_s + offset_s, DIGITS)

    return {
        "since": time(record.since_s),
        "until": time(record.until_s),
        "before": dict(record.before),
        "events": [
            {
                "at": time(mark.at_s),
                "expert": mark.expert,
                "what": mark.what,
                "waiting": mark.waiting,
                **({"for": mark.for_expert} if mark.for_expert else {}),
                **({"source": mark.source} if mark.source else {}),
            }
            for mark in record.marks
        ],
        "served": [
            {
                "expert": spell.expert,
                "from": time(spell.from_s),
                "until": time(spell.until_s),
                "calls": spell.calls,
            }
            for spell in record.spells
        ],
        "depth": [[time(depth.at_s), depth.waiting] for depth in record.depths],
        "calls": [
            {
                "at": time(call.at_s),
                "expert": call.expert,
                "waited": round(call.waited_s, DIGITS),
                "took": round(call.took_s, DIGITS),
            }
            for call in record.calls
        ],
    }


def read(values: Mapping[str, Any]) -> Record:
    """Return what `document` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        return Record(
            since_s=float(values["since"]),
            until_s=float(values["until"]),
            before={
                str(expert): _what(what)
                for expert, what in values["before"].items()
                if what in INSIDE
            },
            marks=tuple(_mark(row) for row in values["events"]),
            spells=tuple(_spell(row) for row in values["served"]),
            depths=tuple(Depth(float(at_s), int(waiting)) for at_s, waiting in values["depth"]),
            calls=tuple(_call(row) for row in values["calls"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"no record of a scheduler: {error!r:.80}") from error


def _mark(row: Mapping[str, Any]) -> Mark:
    return Mark(
        at_s=float(row["at"]),
        expert=str(row["expert"]),
        what=_what(row["what"]),
        waiting=int(row["waiting"]),
        for_expert=str(row.get("for", "")),
        source=str(row.get("source", "")),
    )


def _spell(row: Mapping[str, Any]) -> Spell:
    return Spell(
        expert=str(row["expert"]),
        from_s=float(row["from"]),
        until_s=float(row["until"]),
        calls=int(row["calls"]),
    )


def _call(row: Mapping[str, Any]) -> Call:
    return Call(
        at_s=float(row["at"]),
        expert=str(row["expert"]),
        waited_s=float(row["waited"]),
        took_s=float(row["took"]),
    )


def _what(value: Any) -> What:
    if value not in WHATS:
        raise ValueError(f"`{value}` happens to no expert")
    return cast("What", value)
