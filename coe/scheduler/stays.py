"""From the marks of a chronicle to who was in memory from when to when. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from coe.scheduler.chronicle import Mark, Record, What

End = Literal["left", "failed", "lost", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One time that an expert was in memory, or on its way there. Times as in the record.

    Attributes:
        from_s: when it took its place; the record's begin where it was there before.
        ready_s: when it could be used; None where it never could.
        leaves_s: when it was told to leave; None where it was not.
        until_s: when its place was free; the record's end where it is there still.
        source: from where it was loaded, `host` or `disk`; None where it was there before.
        end: how it ended; empty where it has not.
        for_expert: who needed the room, where it left for somebody.
    """

    expert: str
    from_s: float
    ready_s: float | None
    leaves_s: float | None = None
    until_s: float
    source: str | None
    end: End = ""
    for_expert: str = ""


def stays(record: Record) -> list[Stay]:
    """Return every stay of a record, by when it ended; those that last come last."""
    ended: list[Stay] = []
    begun = {
        expert: _begun(expert, record.since_s, what, record)
        for expert, what in record.before.items()
    }
    for mark in record.marks:
        stay = begun.get(mark.expert)
        match mark.what:
            case "loading":
                begun[mark.expert] = _begun(
                    mark.expert, mark.at_s, "loading", record, source=mark.source
                )
            case "ready" if stay is None:
                begun[mark.expert] = _begun(mark.expert, mark.at_s, "ready", record)
            case "left" | "failed" | "lost":
                if stay is not None:
                    ended.append(replace(stay, until_s=mark.at_s, end=mark.what))
                    del begun[mark.expert]
            case _ if stay is not None:
                begun[mark.expert] = _moved(stay, mark)
    return [*ended, *begun.values()]


def loads(record: Record) -> int:
    """Return how many loads were begun."""
    return sum(mark.what == "loading" for mark in record.marks)


def _begun(expert: str, at_s: float, what: What, record: Record, *, source: str = "") -> Stay:
    return Stay(
        expert=expert,
        from_s=at_s,
        ready_s=None if what == "loading" else at_s,
        leaves_s=at_s if what == "leaving" else None,
        until_s=record.until_s,
        source=source if what == "loading" else None,
    )


def _moved(stay: Stay, mark: Mark) -> Stay:
    match mark.what:
        case "ready" if stay.ready_s is None:
            return replace(stay, ready_s=mark.at_s)
        case "leaving":
            return replace(stay, leaves_s=mark.at_s, for_expert=mark.for_expert)
        case "stayed":
            return replace(stay, leaves_s=None, for_expert="")
    return stay
