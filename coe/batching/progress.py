"""How far a batch is, and when it will be done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coe.stores.records import Batch, Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch is.

    Attributes:
        done: lines that were run, failed ones included.
        share: of all lines, 0 to 1; of a panel's lines, the calls that were made count in part.
        placed: lines whose experts are known.
        per_s: lines run a second, while it ran; None before the first call has ended.
        eta_s: seconds until the last line, as it runs now; None where nothing can be said.
    """

    done: int
    share: float
    placed: int
    per_s: float | None = None
    eta_s: float | None = None


def progress(batch: Batch, groups: Sequence[Group]) -> Progress:
    """Return how far a batch is.

    A call of an expert takes as long as those of it that were made did, and as many are in flight
    at a time as were on average. Experts that have not run yet are taken for the average one, and
    lines that are not routed yet for one call. What follows on drafts is not known before it is
    asked for: the time that is left grows where a panel's next round begins.
    """
    done = batch.completed + batch.failed
    lines = done + batch.partly
    share = 1.0 if batch.status == "completed" else lines / batch.total if batch.total else 0.0
    ran = sum(group.done for group in groups)
    took_s = sum(group.took_s for group in groups)
    if not ran or batch.ran_s <= 0 or took_s <= 0:
        return Progress(done=done, share=share, placed=batch.placed)
    mean_s = took_s / ran
    at_once = took_s / batch.ran_s
    work_s = sum(
        group.left * (group.took_s / group.done if group.done else mean_s) for group in groups
    )
    work_s += max(0, batch.total - batch.placed) * mean_s
    eta_s = 0.0 if batch.has_ended else work_s / at_once
    return Progress(
        done=done, share=share, placed=batch.placed, per_s=lines / batch.ran_s, eta_s=eta_s
    )
