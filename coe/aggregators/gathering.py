"""Ask everybody at once, and wait until there are drafts enough."""

from __future__ import annotations

from dataclasses import dataclass

from coe.drafts import Ask, Table, Wait
from coe.extract import spoken


@dataclass(frozen=True, slots=True)
class Said:
    """What a member said, without its thoughts; not blank."""

    member: int
    text: str


def said(table: Table) -> tuple[Said, ...]:
    """Return what there is to be read, in the order of the members.

    A draft may be good and yet say nothing: its thoughts took all the tokens that it had.
    """
    drafts = (Said(draft.member, spoken(draft.text).strip()) for draft in table.good)
    return tuple(draft for draft in drafts if draft.text)


def gather(table: Table) -> Ask | Wait | None:
    """Return what is left to be done until there are drafts enough; None where there are."""
    if table.is_closing and table.good:
        return None
    if len(said(table)) >= table.quorum:
        return None
    if table.unasked:
        return Ask(table.unasked)
    return Wait() if table.pending else None
