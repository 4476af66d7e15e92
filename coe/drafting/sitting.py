"""A panel sits on one request: calls are made side by side, and one answer is opened.

Decides nothing itself: see `coe.drafting.deliberation`. All calls go through the door that single
ones go through, so that slots, limits and errors are the same. When it is left, by an answer, an
error or a cancellation, nothing of it is in flight but the stream of the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from coe import door
from coe.claim import Claim
from coe.composition import Composition, Panel
from coe.drafting import bodies, passing, provenance, reading, rendering
from coe.drafting.budget import Budget, Grant, Offer
from coe.drafting.deliberation import Deliberation, Fail, Finish, Start, Stop
from coe.drafting.records import Bill
from coe.drafts import Draft, Last, Merge, Pick, Question, Relay, Remark, Write
from coe.errors import (
    AggregationError,
    BackendRejected,
    BackendUnreachable,
    CapacityError,
    CoEError,
    NoEligibleExpert,
)
from coe.protocols import Aggregator
from coe.types import Answer, Attempt, Call, Decision, PanelPlan, Plan, Query

logger = logging.getLogger(__name__)

_COSTS_NOTHING = (BackendRejected, BackendUnreachable, CapacityError)


class House(door.House, Protocol):
    """What a panel needs of the gateway.

    Attributes:
        composition: whose panels and experts there are.
        aggregators: by the name of their panel.
    """

    @property
    def composition(self) -> Composition: ...  # noqa: D102 - see the class
    @property
    def aggregators(self) -> Mapping[str, Aggregator]: ...  # noqa: D102


async def open_panel(
    house: House, query: Query, decision: Decision, plan: Plan, claim: Claim | None
) -> Answer:
    """Ask a plan's panel; the answer's first piece is there when this returns.

    Raises:
        CoEError: nobody gave a good draft; `attempts` says who was asked, and what came of it.
    """
    assert plan.panel is not None  # noqa: S101 - whoever calls this has looked
    sitting = _Sitting(house, query, plan.panel, claim)
    started = perf_counter()
    opened = await sitting.open()
    return Answer(
        query=query,
        decision=decision,
        plan=plan,
        call=opened.call,
        first=opened.first,
        frames=opened.frames,
        opened_s=perf_counter() - started - sitting.deliberation.cpu_s,
        panel=provenance.report(
            plan.panel, sitting.deliberation.records, house.composition.experts
        ),
    )


class _Opened:
    """An answer whose first piece is here."""

    __slots__ = ("call", "first", "frames")

    def __init__(self, call: Call, first: bytes, frames: AsyncGenerator[bytes, None]) -> None:
        self.call, self.first, self.frames = call, first, frames


class _Sitting:
    """One request's panel, and the calls that it has in flight."""

    def __init__(self, house: House, query: Query, plan: PanelPlan, claim: Claim | None) -> None:
        self._house = house
        self._query = query
        self._plan = plan
        self._claim = claim
        self._panel: Panel = house.composition.aggregation[plan.panel]
        self._members = bodies.members_of(plan)
        self._completions: dict[int, dict[str, Any]] = {}
        self._errors: list[tuple[str, CoEError]] = []
        self._tasks: dict[int | str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self.deliberation = Deliberation(
            house.aggregators[plan.panel],
            self._members,
            query.body["messages"],
            quorum=self._panel.quorum,
            budget=Budget(self._panel.max_cost),
            offers=self._offer,
        )

    async def open(self) -> _Opened:
        """Return the answer. Raises CoEError where there is none."""
        limit_s = self._panel.deadline_s
        due = None if limit_s is None else asyncio.get_running_loop().time() + limit_s
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                end = self._act(group)
                if isinstance(end, Fail):
                    break
                if end is None:
                    due = await self._wait(due)
                    continue
                await self._settled()
                opened = await self._finish(end)
                if opened is not None:
                    return opened
        self._report(None)
        raise self._failure()

    def _act(self, group: asyncio.TaskGroup) -> Finish | Fail | None:
        """Start and stop what is to be; return the end where there is one."""
        for action in self.deliberation.next():
            if isinstance(action, Start):
                self._start(group, action)
            elif isinstance(action, Stop):
                self._tasks[_key(action.what)].cancel()
            else:
                return action
        return None

    def _start(self, group: asyncio.TaskGroup, action: Start) -> None:
        work = (
            self._question(action.what, action.grant)
            if isinstance(action.what, Question)
            else self._draft(action.what, action.grant, logprobs=action.logprobs)
        )
        self._tasks[_key(action.what)] = group.create_task(work)

    async def _wait(self, due: float | None) -> float | None:
        """Wait for news, or for the deadline; return when that is, None once it has passed."""
        try:
            async with asyncio.timeout_at(due):
                await self._news.wait()
        except TimeoutError:
            self.deliberation.time_is_up()
            return None
        return due

    async def _settled(self) -> None:
        """Wait until the calls that were stopped have given back what they held."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _draft(self, place: int, grant: Grant, *, logprobs: bool) -> None:
        """Ask a member, and tell what came of it."""
        member = self._members[place]
        call = bodies.draft_call(self._plan.calls[place], member, grant, logprobs=logprobs)
        completion, error, bill = await self._whole(call)
        if completion is None:
            draft, is_malformed = Draft(member=place, error=error), False
        else:
            self._completions[place] = completion
            draft = reading.draft_of(completion, place)
            is_malformed = draft.has_failed
        self.deliberation.drafted(draft, bill, is_malformed=is_malformed)
        self._news.set()

    async def _question(self, question: Question, grant: Grant) -> None:
        """Ask a question, and tell the answer."""
        call = bodies.question_call(self._house.composition, self._query, question, grant)
        completion, error, bill = await self._whole(call)
        remark = Remark(error=error)
        if completion is not None:
            draft = reading.draft_of(completion, 0)
            remark = Remark(text=draft.text, error=draft.error)
        self.deliberation.remarked(question.key, remark, bill)
        self._news.set()

    async def _whole(self, call: Call) -> tuple[dict[str, Any] | None, str, Bill]:
        """Make a call; return the whole answer, or why there is none, and its bill."""
        started = perf_counter()
        limit_s = self._panel.draft_deadline_s
        try:
            async with asyncio.timeout(limit_s):
                first, frames = await self._enter(call)
                await frames.aclose()
            completion = reading.parsed(first, call.expert)
        except TimeoutError:
            return None, f"no answer within {limit_s:g} s", _bill(started, None)
        except CoEError as error:
            self._errors.append((call.expert, error))
            return None, error.message, _bill(started, error)
        expert = self._house.composition.experts[call.expert]
        return completion, "", reading.bill_of(completion.get("usage"), expert, _since(started))

    async def _enter(self, call: Call) -> tuple[bytes, AsyncGenerator[bytes, None]]:
        """Go through the door that every call goes through."""
        house, claim = self._house, self._claim
        slot = await door.schedule(house, call, claim) if claim is not None else None
        return await door.enter(house, self._query.id, call, slot)

    async def _finish(self, action: Finish) -> _Opened | None:
        """Open the answer; None where its call failed before a first byte."""
        step = action.step
        if isinstance(step, Pick | Merge):
            return self._made(step)
        call = self._last_call(step, action.grant)
        if call.stream:
            return await self._streamed(step, call)
        completion, error, bill = await self._whole(call)
        if completion is not None:
            error = reading.draft_of(completion, 0).error
        if completion is None or error:
            self.deliberation.unanswered(step, error, bill)
            return None
        self.deliberation.answered(bill)
        return self._ready(step, call, completion)

    async def _streamed(self, step: Relay | Write, call: Call) -> _Opened | None:
        """Open an answer that comes as a stream; None where it failed before a first byte."""
        started = perf_counter()
        limit_s = self._panel.draft_deadline_s
        passed: AsyncGenerator[bytes, None] | None = None
        try:
            async with asyncio.timeout(limit_s):
                first, frames = await self._enter(call)
                close = partial(self._close, step, call, started)
                passed = self._watched(passing.passed_on(first, frames, close), step)
                return _Opened(call, await anext(passed), passed)
        except TimeoutError:
            error, bill = f"no answer within {limit_s:g} s", _bill(started, None)
        except CoEError as failure:
            self._errors.append((call.expert, failure))
            error, bill = failure.message, _bill(started, failure)
        except BaseException:
            if passed is not None:
                await passed.aclose()
            raise
        if passed is not None:
            await passed.aclose()
        self.deliberation.unanswered(step, error, bill)
        return None

    def _last_call(self, step: Relay | Write, grant: Grant) -> Call:
        if isinstance(step, Relay):
            return bodies.streamed(self._plan.calls[step.member], grant)
        return bodies.answer_call(self._house.composition, self._query, step, grant)

    def _made(self, step: Pick | Merge) -> _Opened:
        """Return an answer that is there already."""
        places = (step.member,) if isinstance(step, Pick) else step.members
        call = self._plan.calls[places[0]]
        drafts = [self._completions[place] for place in places]
        if isinstance(step, Pick):
            wanted = bool(self._query.body.get("logprobs"))
            made = rendering.chosen(drafts[0], call.expert, logprobs=wanted)
        else:
            made = rendering.merged(drafts, call.expert, as_choices=step.as_choices)
        return self._ready(step, call, made)

    def _ready(self, step: Last, call: Call, completion: Mapping[str, Any]) -> _Opened:
        """Return a whole answer in the way that the client asked for."""
        usage, coe = self._told(step)
        self._report(step)
        if not self._query.stream:
            return _Opened(call, rendering.whole(completion, usage, coe), _each([]))
        frames = rendering.frames(completion, usage, coe, include_usage=self._wants_usage)
        return _Opened(call, frames[0], _each(frames[1:]))

    def _close(
        self,
        step: Last,
        call: Call,
        started: float,
        held: list[dict[str, Any]],
        head: Mapping[str, Any],
        usage: Mapping[str, Any],
    ) -> list[bytes]:
        """Return the last frames of a stream that was passed on."""
        expert = self._house.composition.experts[call.expert]
        self.deliberation.answered(reading.bill_of(usage, expert, _since(started)))
        total, coe = self._told(step)
        return rendering.closing(held, head, total, coe, include_usage=self._wants_usage)

    async def _watched(
        self, frames: AsyncGenerator[bytes, None], step: Last
    ) -> AsyncGenerator[bytes, None]:
        """Yield an answer's frames; however they end, the panel is reported."""
        try:
            async with aclosing(frames):
                async for frame in frames:
                    yield frame
        finally:
            self._report(step)

    def _report(self, step: Last | None) -> None:
        """Tell the telemetry what was done; without a step there is no answer."""
        told = self.deliberation
        if told.broken:
            logger.warning("panel %s: %s", self._plan.panel, told.broken)
        made = [record for record in told.records if record.is_made]
        lost = [record for record in told.records if record.status in {"late", "failed", "dropped"}]
        self._house.telemetry.panelled(
            self._plan.panel,
            calls=len(made),
            lost=[record.status for record in lost],
            unnecessary=0 if step is None else provenance.unnecessary(step, told.records),
            is_answered=step is not None,
            is_broken=bool(told.broken),
            cpu_s=told.cpu_s,
        )

    @property
    def _wants_usage(self) -> bool:
        options = self._query.body.get("stream_options")
        return isinstance(options, Mapping) and bool(options.get("include_usage"))

    def _told(self, step: Last) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Return the sum of all usage, and the provenance; the panel has ended."""
        panel, plan, told = self._panel, self._plan, self.deliberation
        report = provenance.report(plan, told.records, self._house.composition.experts)
        document = provenance.document(plan, panel.method, step, told, report)
        return provenance.usage(told.records), {"provenance": document}

    def _offer(self, what: int | Question | Relay | Write) -> Offer:
        """Return what a call may cost."""
        composition, query = self._house.composition, self._query
        free = Grant()
        if isinstance(what, int):
            call = bodies.draft_call(self._plan.calls[what], self._members[what], free)
        elif isinstance(what, Question):
            call = bodies.question_call(composition, query, what, free)
        else:
            call = self._last_call(what, free)
        return bodies.offer_of(call, composition.experts[call.expert])

    def _failure(self) -> CoEError:
        """Return the error of a panel without a good draft."""
        records = self.deliberation.records
        attempts = tuple(Attempt(expert=one.expert, error=one.reason) for one in records)
        error: CoEError
        kinds = {type(error) for _, error in self._errors}
        if not any(record.is_made for record in records):
            error = NoEligibleExpert(f"no call of panel `{self._plan.panel}` fits its `max_cost`")
        elif len(kinds) == 1 and len(self._errors) == len(attempts):
            error = self._errors[-1][1]
        else:
            reasons = "; ".join(f"{one.expert}: {one.error}" for one in attempts)
            error = AggregationError(f"panel `{self._plan.panel}` has no draft ({reasons})")
        error.attempts = attempts
        return error


def _key(what: int | Question) -> int | str:
    return what.key if isinstance(what, Question) else what


def _since(started: float) -> float:
    return perf_counter() - started


def _bill(started: float, error: CoEError | None) -> Bill:
    """Return the bill of a call without an answer; what it cost is known where nobody worked."""
    cost = 0.0 if isinstance(error, _COSTS_NOTHING) else None
    return Bill(cost=cost, seconds=_since(started))


async def _each(frames: list[bytes]) -> AsyncGenerator[bytes, None]:
    for frame in frames:
        yield frame
