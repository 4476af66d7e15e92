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
        share: of all lines, 0 to 1.
        placed: lines whose expert is known.
        per_s: lines run a second, while it ran; None before the first.
        eta_s: seconds until the last line, as it runs now; None where nothing can be said.
    """

    done: int
    share: float
    placed: int
    per_s: float | None = None
    eta_s: float | None = None


def progress(batch: Batch, groups: Sequence[Group]) -> Progress:
    """Return how far a batch is.

    A line of an expert takes as long as those of it that were run did, and as many are in flight
    at a time as were on average. Experts that have not run yet are taken for the average one.
    """
    done = batch.completed + batch.failed
    share = 1.0 if batch.status == "completed" else done / batch.total if batch.total else 0.0
    placed = sum(group.lines for group in groups)
    ran = sum(group.done for group in groups)
    took_s = sum(group.took_s for group in groups)
    if not ran or batch.ran_s <= 0 or took_s <= 0:
        return Progress(done=done, share=share, placed=placed)
    mean_s = took_s / ran
    at_once = took_s / batch.ran_s
    work_s = sum(
        group.left * (group.took_s / group.done if group.done else mean_s) for group in groups
    )
    work_s += max(0, batch.total - done - sum(group.left for group in groups)) * mean_s
    eta_s = 0.0 if batch.has_ended else work_s / at_once
    return Progress(done=done, share=share, placed=placed, per_s=ran / batch.ran_s, eta_s=eta_s)
