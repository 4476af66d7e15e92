"""Every line of a batch routed before any is run, so that the work can be ordered by expert."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from coe import pipeline, planner
from coe.batching import results
from coe.batching.desk import Desk
from coe.batching.gate import Traffic, breathe, sleep
from coe.batching.lease import Lease
from coe.batching.source import Source, boundary
from coe.errors import CoEError
from coe.pipeline import Gateway
from coe.stores.records import Line, Outcome, Placement, Seated
from coe.types import PanelPlan, Query

ENCODERS = "encoders"
"""Stands for the backend where one of the composition's own encoders answers."""

_PAGE = 128
# An interactive request waits for the texts that are with the router already.
_AT_ONCE = 4
_ROUTER_S = 0.2


async def place(desk: Desk, lease: Lease, source: Source, gateway: Gateway) -> None:
    """Find out who is to answer each line; those that nobody can answer have failed.

    Raises:
        LeaseLost: another process has the batch.
    """
    seq = lease.batch.seq
    traffic = Traffic(gateway.telemetry, asyncio.get_running_loop().time)
    placing = _Placing(desk, lease, source, gateway)
    while lease.why is None and desk.gateway is gateway:
        lines = await asyncio.to_thread(desk.state.lines.unplaced, seq, _PAGE)
        if not lines:
            return
        placed: list[Placement] = []
        for start in range(0, len(lines), _AT_ONCE):
            await breathe(traffic, lease.stopped)
            placed += await placing.some(lines[start : start + _AT_ONCE])
        await asyncio.to_thread(desk.state.lines.place, seq, desk.owner, placed)


class _Placing:
    """Routes the lines of one batch by one gateway."""

    def __init__(self, desk: Desk, lease: Lease, source: Source, gateway: Gateway) -> None:
        self._desk = desk
        self._lease = lease
        self._source = source
        self._gateway = gateway
        self._kind = desk.kinds[lease.batch.endpoint]

    async def some(self, lines: Sequence[Line]) -> list[Placement]:
        """Return who answers some lines; records those that have failed."""
        found = await asyncio.gather(*(self._one(line) for line in lines))
        for row in found:
            if isinstance(row, Outcome):
                desk = self._desk
                record = desk.state.lines.record
                now = desk.clock()
                await asyncio.to_thread(record, self._lease.batch.seq, desk.owner, row, now)
        return [row for row in found if isinstance(row, Placement)]

    async def _one(self, line: Line) -> Placement | Outcome | None:
        """Return who answers a line; what came of it where nobody can; None when stopped."""
        query_id = self._desk.new_id()
        try:
            with boundary(self._lease.batch, line):
                return await self._placed(line, self._source.query(line, query_id))
        except CoEError as error:
            text = results.failed(line, query_id, error, {})
            self._gateway.telemetry.batch_line("none", error.status, 0.0)
            return Outcome(number=line.number, expert="", succeeded=False, text=text)

    async def _placed(self, line: Line, query: Query) -> Placement | None:
        """Return who answers a line. Raises CoEError where nobody can."""
        gateway = self._gateway
        if self._kind.encode is not None and query.model in gateway.encoders:
            return Placement(
                number=line.number,
                experts=(query.model,),
                backend=ENCODERS,
                base=query.model,
                reason="pinned",
            )
        pinned = planner.pin(gateway.composition, query.model)
        if pipeline.asks_router(gateway, query, pinned) and not await self._router():
            return None
        query = await pipeline.admitted(gateway, query)
        query, decision, plan = await pipeline.planned(gateway, query, alone=True)
        gateway.telemetry.decided(decision, plan)
        if not plan.calls:
            raise planner.refusal(plan.excluded)
        first = gateway.composition.root(plan.calls[0].expert)
        # A panel's calls are made hours apart, and nobody keeps the sum: then one expert answers.
        is_capped = query.permit.max_cost is not None
        return Placement(
            number=line.number,
            experts=tuple(call.expert for call in plan.calls),
            backend=first.backend,
            base=first.model,
            category=decision.category,
            probability=decision.probability,
            reason=decision.reason,
            seated=_seated(plan.panel) if plan.panel is not None and not is_capped else None,
        )

    async def _router(self) -> bool:
        """Wait until the router is loaded: bulk work has time, and the default expert no cause.

        False when the batch is stopped meanwhile.
        """
        classifier = self._gateway.classifier
        while classifier is not None and not classifier.ready:
            if await sleep(_ROUTER_S, self._lease.stopped):
                return False
        return True


def _seated(panel: PanelPlan) -> Seated:
    return Seated(
        panel=panel.panel,
        experts=tuple(call.expert for call in panel.calls),
        weights=panel.weights,
        detail=panel.detail,
    )
