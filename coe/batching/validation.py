"""The input of a batch, checked line by line before anything is run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from coe.batching import results
from coe.batching.checks import Raw, check, scan
from coe.batching.desk import Desk
from coe.batching.lease import Lease
from coe.stores.records import Batch, File, Line, Mistake

SHOWN = 100
"""Mistakes in a batch's `errors`; its error file has them all."""

_PAGE = 200


async def validate(desk: Desk, lease: Lease) -> None:
    """Check every line, and let the batch go on, or end it with everything that is wrong.

    Raises:
        LeaseLost: another process has the batch.
    """
    batch = lease.batch
    await asyncio.to_thread(desk.state.lines.clear, batch.seq, desk.owner)
    check_all = _Check(desk, batch)
    try:
        with desk.state.files.path(batch.input_file_id).open("rb") as stream:
            lines = scan(stream, desk.limits.line_bytes)
            while lease.why is None and await asyncio.to_thread(check_all.page, lines):
                pass
    except OSError as error:
        detail = f"the input file cannot be read: {error.strerror}"
        check_all.mistakes.append(Mistake(code="invalid_file", message=detail))
    if lease.why == "closing":
        return
    now = desk.clock()
    if lease.why is not None:
        status, why = lease.outcome
        await asyncio.to_thread(desk.state.lines.clear, batch.seq, desk.owner)
        await asyncio.to_thread(
            desk.state.batches.end,
            batch.seq,
            desk.owner,
            status,
            now=now,
            total=check_all.total,
            mistakes=why,
        )
    elif check_all.total == 0 or check_all.mistakes:
        await asyncio.to_thread(_refuse, desk, batch, check_all)
    else:
        begin = desk.state.batches.begin
        await asyncio.to_thread(begin, batch.seq, desk.owner, total=check_all.total, now=now)


class _Check:
    """What was found so far."""

    def __init__(self, desk: Desk, batch: Batch) -> None:
        self.total = 0
        self.mistakes: list[Mistake] = []
        self._desk = desk
        self._batch = batch
        self._kind = desk.kinds[batch.endpoint]

    def page(self, lines: Iterator[Raw]) -> bool:
        """Check some lines; False at the end of the file, or of what a batch may hold."""
        rows = list(islice(lines, _PAGE))
        good: list[Line] = []
        for raw in rows:
            self.total += 1
            if self.total > self._desk.limits.lines:
                self._too_many(raw)
                return False
            found = check(raw, self._batch.endpoint, self._desk.parse, self._is_known)
            if isinstance(found, Mistake):
                self.mistakes.append(found)
            else:
                good.append(
                    Line(
                        number=raw.number,
                        offset=raw.offset,
                        length=raw.length,
                        custom_id=found,
                    )
                )
        self._add(good)
        return bool(rows)

    def _add(self, lines: list[Line]) -> None:
        twice = self._desk.state.lines.add(self._batch.seq, self._desk.owner, lines)
        for line, first in twice:
            detail = f"the `custom_id` of line {first} stands here again"
            self.mistakes.append(
                Mistake(
                    code="duplicate_custom_id",
                    message=detail,
                    line=line.number,
                    param="custom_id",
                )
            )

    def _is_known(self, model: str) -> bool:
        return self._kind.is_known(self._desk.gateway, model)

    def _too_many(self, raw: Raw) -> None:
        most = self._desk.limits.lines
        detail = f"a batch has at most {most} lines (COE_BATCH_MAX_LINES); split the file"
        self.mistakes.append(Mistake(code="too_many_lines", message=detail, line=raw.number))


def _refuse(desk: Desk, batch: Batch, found: _Check) -> None:
    """End a batch whose input is wrong."""
    mistakes = sorted(found.mistakes, key=lambda row: row.line or 0)
    if found.total == 0 and not mistakes:
        mistakes = [Mistake(code="empty_file", message="the file has no lines")]
    errors = None
    if len(mistakes) > SHOWN:
        name = f"file-{batch.id.removeprefix('batch_')}-error"
        size = desk.state.files.write(name, (results.refused(row, batch.id) for row in mistakes))
        errors = File(
            id=name,
            filename=f"{batch.id}_error.jsonl",
            purpose="batch_output",
            size=size,
            created_at=int(desk.clock()),
            tenant=batch.tenant,
        )
    shown = mistakes[:SHOWN]
    if errors is not None:
        detail = f"{len(mistakes) - SHOWN} more mistakes: see the error file"
        shown.append(Mistake(code="more_errors", message=detail))
    desk.state.batches.end(
        batch.seq,
        desk.owner,
        "failed",
        now=desk.clock(),
        errors=errors,
        mistakes=shown,
        total=found.total,
    )
