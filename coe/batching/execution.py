"""What a batch asks, expert by expert, behind the interactive requests: one round of it.

Most lines are asked once and are done. Those of panels want several calls, and more when these have
been made: another round.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from time import perf_counter
from typing import Any

from coe import pipeline, planner
from coe.batching import plan as plans
from coe.batching import results
from coe.batching.asking import Asking
from coe.batching.desk import Desk
from coe.batching.gate import Gate, Traffic
from coe.batching.lease import Lease
from coe.batching.panels import Panels
from coe.batching.placing import ENCODERS
from coe.batching.plan import Lane, Visit
from coe.batching.source import Source, boundary
from coe.errors import CoEError
from coe.pipeline import Gateway
from coe.stores.calls import FIRST
from coe.stores.records import Group, Line, Outcome
from coe.types import Answer, Call, Decision, Exclusion, Plan, Query, RankedCategory

Job = Callable[[], Coroutine[Any, Any, None]]

_PAGE = 64


class Execution:
    """Runs a round of one batch's placed lines by one gateway."""

    def __init__(self, desk: Desk, lease: Lease, source: Source, gateway: Gateway) -> None:
        """Store the parts."""
        self._desk = desk
        self._lease = lease
        self._source = source
        self._gateway = gateway
        self._kind = desk.kinds[lease.batch.endpoint]
        self._asking = Asking(desk, lease, gateway)
        self._panels = Panels(desk, lease, source, gateway, self._asking)

    async def run(self) -> bool:
        """Run what is placed, until it is done or stopped; False where there was nothing to run.

        Each expert has its turn once; what lines of panels want then is for the next round.

        Raises:
            LeaseLost: another process has the batch.
        """
        await self._panels.prepare()
        groups = await asyncio.to_thread(self._desk.state.lines.groups, self._lease.batch.seq)
        lanes = plans.lanes(groups, self._resident or plans.last_seen(groups))
        self._lease.run()
        async with asyncio.TaskGroup() as tasks:
            for lane in lanes:
                tasks.create_task(self._lane(lane))
        return bool(lanes)

    @property
    def _resident(self) -> tuple[str, ...]:
        """The experts that are known to be in memory."""
        views = (view for slots in self._gateway.slots.values() for view in slots.views())
        return tuple(view.expert for view in views if view.state == "ready")

    @property
    def _goes_on(self) -> bool:
        self._lease.check_key()
        return self._lease.why is None and self._desk.gateway is self._gateway

    async def _lane(self, lane: Lane) -> None:
        backend = self._gateway.composition.backends.get(lane[0][0].backend)
        limit = self._desk.limits.concurrency
        if backend is not None and backend.concurrency is not None:
            limit = min(limit, backend.concurrency)
        traffic = Traffic(self._gateway.telemetry, asyncio.get_running_loop().time)
        gate = Gate(limit, traffic)
        for visit in lane:
            if self._goes_on:
                await self._visit(visit, gate)

    async def _visit(self, visit: Visit, gate: Gate) -> None:
        """Ask a base's experts what they are to be asked; returns when the last call has ended."""
        async with asyncio.TaskGroup() as tasks:
            for group in visit:
                self._gateway.telemetry.batch_switch(group.backend)
                async with aclosing(self._jobs(group)) as jobs:
                    async for job in jobs:
                        if not await gate.enter(self._lease.stopped):
                            return
                        if not self._goes_on:
                            gate.leave()
                            return
                        tasks.create_task(self._do(job, gate))

    async def _jobs(self, group: Group) -> AsyncGenerator[Job, None]:
        """Yield what an expert is to be asked: lines, then calls of panels, a page in memory."""
        state, seq, expert = self._desk.state, self._lease.batch.seq, group.expert
        after = 0
        while lines := await asyncio.to_thread(state.lines.to_do, seq, expert, after, _PAGE):
            for line in lines:
                yield partial(self._line, group, line)
            after = lines[-1].number
        place = FIRST
        while calls := await asyncio.to_thread(state.calls.to_do, seq, expert, place, _PAGE):
            for line, key in calls:
                yield partial(self._panels.ask, line, key, expert)
            place = (calls[-1][0].number, calls[-1][1])

    async def _do(self, job: Job, gate: Gate) -> None:
        telemetry = self._gateway.telemetry
        telemetry.batch_in_flight += 1
        try:
            await job()
        finally:
            telemetry.batch_in_flight -= 1
            gate.leave()

    async def _line(self, group: Group, line: Line) -> None:
        outcome = await self._outcome(group, line)
        if outcome is not None:
            desk = self._desk
            record = desk.state.lines.record
            seq = self._lease.batch.seq
            await asyncio.to_thread(record, seq, desk.owner, outcome, desk.clock())

    async def _outcome(self, group: Group, line: Line) -> Outcome | None:
        """Return what came of a line; None where it was stopped before it could be tried again."""
        started = perf_counter()
        query_id = self._desk.new_id()
        try:
            with boundary(self._lease.batch, line), self._asking.traced(line, query_id) as work:
                query = self._source.query(line, query_id)
                work.answer = answer = await self._answer(group, line, query)
                if answer is None:
                    return None
                usage = results.usage(answer.first)
        except CoEError as error:
            took_s = perf_counter() - started
            self._gateway.telemetry.batch_line(group.expert, error.status, took_s)
            return Outcome(
                number=line.number,
                expert=group.expert,
                succeeded=False,
                text=results.failed(line, query_id, error, results.chosen(group.expert, line)),
                took_s=took_s,
            )
        took_s = perf_counter() - started
        expert = answer.call.expert
        self._gateway.telemetry.batch_line(expert, 200, took_s)
        chosen = {**results.chosen(expert, line), "reason": answer.reason}
        return Outcome(
            number=line.number,
            expert=group.expert,
            succeeded=True,
            text=results.answered(line, query_id, answer.first, chosen),
            took_s=took_s,
            input_tokens=usage[0],
            output_tokens=usage[1],
        )

    async def _answer(self, group: Group, line: Line, query: Query) -> Answer | None:
        """Return a line's answer; tries the group's expert some times, then the others, too.

        Raises:
            CoEError: nobody answers; the last reason.
        """
        if not await self._asking.counted(query):
            return None
        if group.backend == ENCODERS and self._kind.encode is not None:
            return await self._kind.encode(self._gateway, query)
        query = await self._source.admitted(self._gateway, line, query)
        plan, decision = self._planned(line, query)
        first = Plan(calls=plan.calls[:1], excluded=plan.excluded)
        try:
            return await self._asking.patiently(query, decision, first)
        except CoEError as error:
            if len(plan.calls) == 1 or not pipeline.may_fall_back(self._gateway, error):
                raise
        return await self._asking.once(query, decision, plan)

    def _planned(self, line: Line, query: Query) -> tuple[Plan, Decision]:
        """Return the plan that the line was placed by, as calls of this request."""
        calls: list[Call] = []
        excluded: list[Exclusion] = []
        for name in line.experts:
            named = Decision(reason="pinned", pinned_expert=name)
            plan = pipeline.plan_of(self._gateway, query, named)
            calls += plan.calls
            excluded += plan.excluded
        if not calls:
            raise planner.refusal(excluded)
        made = Plan(calls=tuple(calls), excluded=tuple(excluded), permit=query.permit)
        return made, _decision(line)


def _decision(line: Line) -> Decision:
    """Return what is left of the decision that was made when the line was placed."""
    if line.category is None or line.probability is None:
        return Decision(category=line.category, reason=line.reason)  # type: ignore[arg-type]
    ranked = (RankedCategory(line.category, line.probability),)
    return Decision(ranked=ranked, category=line.category, reason=line.reason)  # type: ignore[arg-type]
