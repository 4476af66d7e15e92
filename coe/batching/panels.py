"""Lines of a batch that panels answer: their calls are made, and what follows is put down."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from coe import pipeline, planner
from coe.batching import kept, results
from coe.batching.asking import Asking
from coe.batching.desk import Desk
from coe.batching.gate import Traffic, breathe
from coe.batching.lease import Lease
from coe.batching.rounds import FIRST_DRAFT, Need, Said, stand
from coe.batching.source import Source, boundary
from coe.drafting import reading
from coe.drafting.case import Case, Result
from coe.errors import CoEError
from coe.pipeline import Gateway
from coe.stores.records import Kept, Line, Outcome, Placement, Wanted
from coe.types import Call, Decision, PanelPlan, Plan, Query

_PAGE = 64
_AT_ONCE = 4  # lines whose methods are asked before other requests have their turn


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a line came to.

    Attributes:
        took_s: what its calls took, one after the other.
        is_done: whether the line is done; otherwise more is asked for it.
    """

    case: Case | None
    found: tuple[Need, ...] | Said | CoEError
    took_s: float
    is_done: bool


class Panels:
    """The panels of one batch's lines, run by one gateway."""

    def __init__(
        self, desk: Desk, lease: Lease, source: Source, gateway: Gateway, asking: Asking
    ) -> None:
        """Store the parts."""
        self._desk = desk
        self._lease = lease
        self._source = source
        self._gateway = gateway
        self._asking = asking

    async def prepare(self) -> None:
        """Ask for what lines want that wait for no call: those that are new, or were left so.

        Raises:
            LeaseLost: another process has the batch.
        """
        traffic = Traffic(self._gateway.telemetry, asyncio.get_running_loop().time)
        after, due = 0, self._desk.state.calls.due
        while lines := await asyncio.to_thread(due, self._lease.batch.seq, after, _PAGE):
            for place, line in enumerate(lines):
                if self._lease.why is not None or self._desk.gateway is not self._gateway:
                    return
                if place % _AT_ONCE == 0:
                    await breathe(traffic, self._lease.stopped)
                await self._advance(line)
            after = lines[-1].number

    async def ask(self, line: Line, key: str, expert: str) -> None:
        """Make a call that a line wants, and record what came of it.

        Where it was the last one that the line waits for, what follows is put down at once.

        Raises:
            LeaseLost: another process has the batch.
        """
        started = perf_counter()
        try:
            with boundary(self._lease.batch, line):
                text = await self._text(line, key)
        except CoEError as error:
            has_failed, text = True, kept.spelt(error)
        else:
            has_failed = False
            if text is None:
                return
        desk = self._desk
        made = Kept(
            key=key,
            expert=expert,
            succeeded=not has_failed,
            text=text,
            took_s=perf_counter() - started,
        )
        record, seq = desk.state.calls.record, self._lease.batch.seq
        if await asyncio.to_thread(record, seq, desk.owner, line.number, made, desk.clock()):
            await self._advance(line)

    async def _text(self, line: Line, key: str) -> bytes | None:
        """Return a call's whole answer; None where it was stopped before it could be tried again.

        Raises:
            CoEError: there is none.
        """
        query_id = self._desk.new_id()
        with self._asking.traced(line, query_id) as work:
            query = self._source.query(line, query_id)
            if key == FIRST_DRAFT and not await self._asking.counted(query):
                return None
            call, is_capped = await asyncio.to_thread(self._call, line, query, key)
            query = await self._source.admitted(self._gateway, line, query)
            work.answer = answer = await self._asking.patiently(
                query, Decision(), Plan(calls=(call,)), is_capped=is_capped
            )
        if answer is None:
            return None
        reading.parsed(answer.first, call.expert)
        return answer.first

    def _call(self, line: Line, query: Query, key: str) -> tuple[Call, bool]:
        """Return a call that a line wants, and whether there is a limit on its money."""
        case = self._case(line, query)
        found = stand(case, self._results(line))
        needs = found if isinstance(found, tuple) else ()
        call = next((need.call for need in needs if need.key == key), None)
        if call is None:
            raise CoEError(f"`{key}` is wanted no more: the method is another one than it was")
        return call, case.panel.max_cost is not None

    def _case(self, line: Line, query: Query) -> Case:
        """Return a line's case, as if nobody had been asked."""
        composition, seated = self._gateway.composition, line.seated
        assert seated is not None  # noqa: S101 - it is a panel's line
        calls = tuple(
            planner.call_of(composition, name, composition.experts[name], query)
            for name in seated.experts
        )
        plan = PanelPlan(
            panel=seated.panel, calls=calls, weights=seated.weights, detail=seated.detail
        )
        return Case(composition, self._gateway.aggregators[seated.panel], query, plan)

    def _results(self, line: Line) -> dict[str, Result]:
        made = self._desk.state.calls.of(self._lease.batch.seq, line.number)
        return {key: _result(row) for key, row in made.items()}

    async def _advance(self, line: Line) -> None:
        """Put down what follows on a line's calls, all of which have been made."""
        query_id = self._desk.new_id()
        turn = await asyncio.to_thread(self._turn, line, query_id)
        found, telemetry = turn.found, self._gateway.telemetry
        if isinstance(found, tuple):
            return
        if turn.case is not None:
            turn.case.tell(telemetry, found.step if isinstance(found, Said) else None)
        if isinstance(found, Said):
            telemetry.batch_line(found.expert, 200, turn.took_s)
        elif turn.is_done:
            telemetry.batch_line("none", found.status, turn.took_s)

    def _turn(self, line: Line, query_id: str) -> _Turn:
        """Find out what follows on a line's calls, and write it down. Raises LeaseLost."""
        case: Case | None = None
        took_s = 0.0
        found: tuple[Need, ...] | Said | CoEError
        try:
            with boundary(self._lease.batch, line):
                known = self._results(line)
                took_s = sum(result.seconds for result in known.values())
                case = self._case(line, self._source.query(line, query_id))
                found = stand(case, known)
        except CoEError as error:
            found = error
        seq, desk, is_done = self._lease.batch.seq, self._desk, False
        if isinstance(found, tuple):
            desk.state.calls.want(seq, desk.owner, line.number, [self._wanted(n) for n in found])
        elif isinstance(found, CoEError) and (others := self._others(line, case, found)):
            desk.state.lines.place(seq, desk.owner, [others])
        else:
            outcome = self._outcome(line, query_id, case, found, took_s)
            desk.state.lines.record(seq, desk.owner, outcome, desk.clock())
            is_done = True
        return _Turn(case, found, took_s, is_done)

    def _wanted(self, need: Need) -> Wanted:
        root = self._gateway.composition.root(need.call.expert)
        return Wanted(key=need.key, expert=need.call.expert, backend=root.backend, base=root.model)

    def _others(self, line: Line, case: Case | None, error: CoEError) -> Placement | None:
        """Return who answers in the place of a panel that has no draft, as without a batch."""
        asked = {attempt.expert for attempt in error.attempts}
        others = tuple(name for name in line.experts if name not in asked)
        is_capped = case is None or case.panel.max_cost is not None
        if not others or is_capped or not pipeline.may_fall_back(self._gateway, error):
            return None
        first = self._gateway.composition.root(others[0])
        return Placement(
            number=line.number,
            experts=others,
            backend=first.backend,
            base=first.model,
            category=line.category,
            probability=line.probability,
            reason="fallback",
        )

    def _outcome(
        self, line: Line, query_id: str, case: Case | None, found: Said | CoEError, took_s: float
    ) -> Outcome:
        chosen: dict[str, Any] = results.chosen(
            found.expert if isinstance(found, Said) else None, line
        )
        if case is not None:
            report = case.report
            chosen |= {"panel": report.panel, "calls": report.calls, "cost": report.cost}
        if isinstance(found, CoEError):
            text = results.failed(line, query_id, found, chosen)
            return Outcome(number=line.number, expert="", succeeded=False, text=text)
        sent, made = results.usage(found.body)
        return Outcome(
            number=line.number,
            expert="",
            succeeded=True,
            text=results.answered(line, query_id, found.body, chosen),
            took_s=took_s,
            input_tokens=sent,
            output_tokens=made,
        )


def _result(row: Kept) -> Result:
    if row.succeeded:
        return Result(completion=reading.parsed(row.text, row.expert), seconds=row.took_s)
    error = kept.read(row.text)
    return Result(error=error.message, failure=error, seconds=row.took_s)
