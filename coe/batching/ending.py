"""The files of a batch that ends: every line of the input stands in exactly one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from coe.batching import results
from coe.batching.desk import Desk
from coe.stores.records import Batch, File, Mistake, Status


def end(desk: Desk, batch: Batch, status: Status, mistakes: tuple[Mistake, ...] = ()) -> None:
    """Write the output and the error file and end the batch. Blocks; may be done again.

    Args:
        desk: where it lies.
        batch: that ends.
        status: what it ends as.
        mistakes: why, where that is `failed`.

    Raises:
        LeaseLost: another process has the batch.
        CoEError: the disk does not take them.
    """
    lines = desk.state.lines
    if status == "completed":
        desk.state.batches.finalize(batch.seq, desk.owner, desk.clock())
    errors: Iterable[bytes] = lines.results(batch.seq, succeeded=False)
    if status in results.NOT_RUN and batch.in_progress_at is not None:
        errors = chain(errors, _not_run(desk, batch, status))
    output = _file(desk, batch, "output", lines.results(batch.seq, succeeded=True))
    failed = _file(desk, batch, "error", errors)
    desk.state.batches.end(
        batch.seq,
        desk.owner,
        status,
        now=desk.clock(),
        output=output,
        errors=failed,
        mistakes=mistakes,
    )


def _not_run(desk: Desk, batch: Batch, status: Status) -> Iterator[bytes]:
    return (
        results.not_run(line, batch.id, status) for line in desk.state.lines.not_done(batch.seq)
    )


def _file(desk: Desk, batch: Batch, kind: str, pieces: Iterable[bytes]) -> File | None:
    """Write a file whose id follows from the batch's: done twice, there is one."""
    name = f"file-{batch.id.removeprefix('batch_')}-{kind}"
    size = desk.state.files.write(name, pieces)
    if size == 0:
        return None
    return File(
        id=name,
        filename=f"{batch.id}_{kind}.jsonl",
        purpose="batch_output",
        size=size,
        created_at=int(desk.clock()),
        tenant=batch.tenant,
    )
