"""Who wrote what: a panel's calls and what they took, as the client is told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coe.composition import Expert
from coe.drafting.deliberation import Deliberation
from coe.drafting.records import Record
from coe.drafts import Conflict, Last, Member, Merge, Pick, Write
from coe.types import PanelPlan, PanelReport
from coe.usage import summed


def report(
    plan: PanelPlan, records: Sequence[Record], experts: Mapping[str, Expert]
) -> PanelReport:
    """Return what is known of a panel's calls by now."""
    made = [record for record in records if record.is_made]
    costs = [record.bill.cost for record in made if record.bill.cost is not None]
    prices = (experts[record.expert].cost for record in made)
    return PanelReport(
        panel=plan.panel,
        calls=len(made),
        cost=sum(costs) if costs else None,
        currency=next((cost.currency for cost in prices if cost is not None), ""),
    )


def document(
    plan: PanelPlan, method: str, step: Last, deliberation: Deliberation, told: PanelReport
) -> dict[str, Any]:
    """Return the provenance of an answer, as JSON.

    Args:
        plan: whom the panel was to ask.
        method: how drafts become an answer.
        step: what the answer is.
        deliberation: what was done.
        told: what is known of the calls.
    """
    members = deliberation.table.members
    return {
        "panel": plan.panel,
        "method": method,
        "why": step.why or None,
        "members": plan.detail or None,
        "fault": deliberation.broken or None,
        "cost": told.cost,
        "currency": told.currency or None,
        "calls": [_call(record, members) for record in deliberation.records],
        "conflicts": [_conflict(row, members) for row in step.conflicts],
    }


def usage(records: Iterable[Record]) -> dict[str, Any] | None:
    """Return what all calls took together; None where no backend said."""
    return summed(record.bill.usage or None for record in records)


def unnecessary(step: Last, records: Sequence[Record]) -> int:
    """Return how many drafts changed nothing: without them, the answer would be the same.

    The best member's own draft is the answer: then all the others. An expert wrote the answer:
    those that it was not shown.
    """
    drafts = [one for one in records if one.role == "draft" and one.is_made]
    if isinstance(step, Pick):
        return len(drafts) - 1 if step.member == 0 else 0
    if isinstance(step, Write | Merge):
        return sum(one.status not in {"answer", "used"} for one in drafts)
    return 0


def _call(record: Record, members: Sequence[Member]) -> dict[str, Any]:
    bill = record.bill
    row: dict[str, Any] = {"expert": record.expert, "role": record.role, "status": record.status}
    if record.member is not None and (sample := members[record.member].sample):
        row["sample"] = sample
    if record.reason:
        row["reason"] = record.reason
    return {
        **row,
        "prompt_tokens": bill.prompt_tokens,
        "completion_tokens": bill.completion_tokens,
        "cost": bill.cost,
        "ms": None if bill.seconds is None else round(bill.seconds * 1000, 1),
    }


def _conflict(conflict: Conflict, members: Sequence[Member]) -> dict[str, Any]:
    return {
        "answer": conflict.answer,
        "experts": [members[place].expert for place in conflict.members],
    }
