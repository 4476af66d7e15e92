"""The lines of a batch run, expert by expert, behind the interactive requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter

import orjson

from coe import pipeline, planner
from coe.batching import plan as plans
from coe.batching import results
from coe.batching.desk import Desk
from coe.batching.gate import Gate, Traffic, sleep
from coe.batching.lease import Lease
from coe.batching.placing import ENCODERS
from coe.batching.plan import Lane, Visit
from coe.batching.source import Source, boundary
from coe.claim import Claim
from coe.errors import BackendProtocolError, CoEError
from coe.pipeline import Gateway
from coe.stores.records import Group, Line, Outcome
from coe.types import Answer, Call, Decision, Exclusion, Plan, Query, RankedCategory

_PAGE = 64


class Execution:
    """Runs the placed lines of one batch by one gateway."""

    def __init__(self, desk: Desk, lease: Lease, source: Source, gateway: Gateway) -> None:
        """Store the parts."""
        self._desk = desk
        self._lease = lease
        self._source = source
        self._gateway = gateway
        self._kind = desk.kinds[lease.batch.endpoint]
        self._chance = random.Random()  # noqa: S311 - spreads retries

    async def run(self) -> bool:
        """Run what is placed, until it is done or stopped; False where there was nothing to run.

        Raises:
            LeaseLost: another process has the batch.
        """
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
        """Run the lines of a base's experts; returns when the last of them has ended."""
        async with asyncio.TaskGroup() as tasks:
            for group in visit:
                self._gateway.telemetry.batch_switch(group.backend)
                async with aclosing(self._lines(group)) as lines:
                    async for line in lines:
                        if not await gate.enter(self._lease.stopped):
                            return
                        if not self._goes_on:
                            gate.leave()
                            return
                        tasks.create_task(self._line(group, line, gate))

    async def _lines(self, group: Group) -> AsyncGenerator[Line, None]:
        """Yield the lines of a group that are to be run, a page at a time in memory."""
        after, to_do = 0, self._desk.state.lines.to_do
        while True:
            seq = self._lease.batch.seq
            lines = await asyncio.to_thread(to_do, seq, group.expert, after, _PAGE)
            for line in lines:
                yield line
            if len(lines) < _PAGE:
                return
            after = lines[-1].number

    async def _line(self, group: Group, line: Line, gate: Gate) -> None:
        telemetry = self._gateway.telemetry
        telemetry.batch_in_flight += 1
        try:
            outcome = await self._outcome(group, line)
            if outcome is not None:
                desk = self._desk
                record = desk.state.lines.record
                now = desk.clock()
                await asyncio.to_thread(record, self._lease.batch.seq, desk.owner, outcome, now)
        finally:
            telemetry.batch_in_flight -= 1
            gate.leave()

    async def _outcome(self, group: Group, line: Line) -> Outcome | None:
        """Return what came of a line; None where it was stopped before it could be tried again."""
        started = perf_counter()
        query_id = self._desk.new_id()
        try:
            with boundary(self._lease.batch, line):
                query = self._source.query(line, query_id)
                answer = await self._answer(group, line, query)
                if answer is None:
                    return None
                usage = _usage(answer.first)
        except CoEError as error:
            took_s = perf_counter() - started
            self._gateway.telemetry.batch_line(group.expert, error.status, took_s)
            return Outcome(
                number=line.number,
                expert=group.expert,
                succeeded=False,
                text=results.failed(line, query_id, error, _chosen(group.expert, line)),
                took_s=took_s,
            )
        took_s = perf_counter() - started
        expert = answer.call.expert
        self._gateway.telemetry.batch_line(expert, 200, took_s)
        chosen = {**_chosen(expert, line), "reason": answer.reason}
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
        if group.backend == ENCODERS and self._kind.encode is not None:
            return await self._kind.encode(self._gateway, query)
        plan, decision = self._planned(line, query)
        first = Plan(calls=plan.calls[:1], excluded=plan.excluded)
        tried = 0
        while True:
            tried += 1
            try:
                return await _open(self._gateway, query, decision, first)
            except CoEError as error:
                pause_s = self._desk.limits.patience.pause_s(error, tried, self._chance.random())
                if pause_s is None:
                    if len(plan.calls) == 1 or not pipeline.may_fall_back(error):
                        raise
                    break
            if await sleep(pause_s, self._lease.stopped):
                return None
        return await _open(self._gateway, query, decision, plan)

    def _planned(self, line: Line, query: Query) -> tuple[Plan, Decision]:
        """Return the plan that the line was placed by, as calls of this request."""
        calls: list[Call] = []
        excluded: list[Exclusion] = []
        for name in line.experts:
            named = Decision(reason="pinned", pinned_expert=name)
            plan = planner.plan(self._gateway.composition, query, named)
            calls += plan.calls
            excluded += plan.excluded
        if not calls:
            raise planner.refusal(excluded)
        return Plan(calls=tuple(calls), excluded=tuple(excluded)), _decision(line)


async def _open(gateway: Gateway, query: Query, decision: Decision, plan: Plan) -> Answer:
    answer = await pipeline.open_plan(gateway, query, decision, plan, claim=Claim(lane="bulk"))
    await answer.frames.aclose()  # a call that is not streamed has one piece, and it is here
    return answer


def _decision(line: Line) -> Decision:
    """Return what is left of the decision that was made when the line was placed."""
    if line.category is None or line.probability is None:
        return Decision(category=line.category, reason=line.reason)  # type: ignore[arg-type]
    ranked = (RankedCategory(line.category, line.probability),)
    return Decision(ranked=ranked, category=line.category, reason=line.reason)  # type: ignore[arg-type]


def _chosen(expert: str, line: Line) -> dict[str, object]:
    return {
        "expert": expert,
        "category": line.category,
        "probability": line.probability,
        "reason": line.reason,
    }


def _usage(body: bytes) -> tuple[int, int]:
    """Return the tokens of the prompt and of the answer, 0 where the answer does not say.

    Raises:
        BackendProtocolError: the answer is no JSON object.
    """
    try:
        usage = orjson.loads(body).get("usage") or {}
        return int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        raise BackendProtocolError("the answer is not a JSON object of OpenAI's") from None
