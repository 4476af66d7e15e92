"""A panel sits on one request: calls are made side by side, and one answer is opened.

Decides nothing itself: see `coe.drafting.case`. All calls go through the door that single
ones go through, so that slots, limits and errors are the same. When it is left, by an answer, an
error or a cancellation, nothing of it is in flight but the stream of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from coe import door
from coe.claim import Claim
from coe.composition import Composition
from coe.drafting import passing, reading, rendering
from coe.drafting.case import Case, Result
from coe.drafting.deliberation import Fail, Finish, Start, Stop
from coe.drafts import Last, Merge, Pick, Question, Relay, Write
from coe.errors import CoEError
from coe.protocols import Aggregator
from coe.types import Answer, Call, Decision, PanelPlan, Plan, Query


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
        opened_s=perf_counter() - started - sitting.case.deliberation.cpu_s,
        panel=sitting.case.report,
    )


class _Opened:
    """An answer whose first piece is here."""

    __slots__ = ("call", "first", "frames")

    def __init__(self, call: Call, first: bytes, frames: AsyncGenerator[bytes, None]) -> None:
        self.call, self.first, self.frames = call, first, frames


class _Sitting:
    """One request's panel, and the calls that it has in flight."""

    def __init__(self, house: House, query: Query, plan: PanelPlan, claim: Claim | None) -> None:
        self.case = Case(house.composition, house.aggregators[plan.panel], query, plan)
        self._house = house
        self._query = query
        self._claim = claim
        self._tasks: dict[int | str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    async def open(self) -> _Opened:
        """Return the answer. Raises CoEError where there is none."""
        limit_s = self.case.panel.deadline_s
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
        raise self.case.failure()

    def _act(self, group: asyncio.TaskGroup) -> Finish | Fail | None:
        """Start and stop what is to be; return the end where there is one."""
        for action in self.case.deliberation.next():
            if isinstance(action, Start):
                self._tasks[_key(action.what)] = group.create_task(self._ask(action))
            elif isinstance(action, Stop):
                self._tasks[_key(action.what)].cancel()
            else:
                return action
        return None

    async def _wait(self, due: float | None) -> float | None:
        """Wait for news, or for the deadline; return when that is, None once it has passed."""
        try:
            async with asyncio.timeout_at(due):
                await self._news.wait()
        except TimeoutError:
            self.case.deliberation.time_is_up()
            return None
        return due

    async def _settled(self) -> None:
        """Wait until the calls that were stopped have given back what they held."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _ask(self, action: Start) -> None:
        """Ask a member, or a question, and tell what came of it."""
        call = self.case.call(action)
        self.case.came(action.what, call.expert, await self._whole(call))
        self._news.set()

    async def _whole(self, call: Call) -> Result:
        """Make a call; return the whole answer, or why there is none."""
        started = perf_counter()
        limit_s = self.case.panel.draft_deadline_s
        try:
            async with asyncio.timeout(limit_s):
                first, frames = await self._enter(call)
                await frames.aclose()
            completion = reading.parsed(first, call.expert)
        except TimeoutError:
            return _late(started, limit_s)
        except CoEError as error:
            return _failed(started, error)
        return Result(completion=completion, seconds=_since(started))

    async def _enter(self, call: Call) -> tuple[bytes, AsyncGenerator[bytes, None]]:
        """Go through the door that every call goes through."""
        house, claim = self._house, self._claim
        slot = await door.schedule(house, call, claim) if claim is not None else None
        return await door.enter(house, self._query.id, call, slot, claim)

    async def _finish(self, action: Finish) -> _Opened | None:
        """Open the answer; None where its call failed before a first byte."""
        step = action.step
        if isinstance(step, Pick | Merge):
            return self._ready(step, *self.case.made(step))
        call = self.case.last_call(step, action.grant)
        if call.stream:
            return await self._streamed(step, call)
        result = await self._whole(call)
        if not self.case.ended(step, call.expert, result) or result.completion is None:
            return None
        return self._ready(step, call, result.completion)

    async def _streamed(self, step: Relay | Write, call: Call) -> _Opened | None:
        """Open an answer that comes as a stream; None where it failed before a first byte."""
        started = perf_counter()
        limit_s = self.case.panel.draft_deadline_s
        passed: AsyncGenerator[bytes, None] | None = None
        try:
            async with asyncio.timeout(limit_s):
                first, frames = await self._enter(call)
                close = partial(self._close, step, call, started)
                passed = self._watched(passing.passed_on(first, frames, close), step)
                return _Opened(call, await anext(passed), passed)
        except TimeoutError:
            result = _late(started, limit_s)
        except CoEError as error:
            result = _failed(started, error)
        except BaseException:
            if passed is not None:
                await passed.aclose()
            raise
        if passed is not None:
            await passed.aclose()
        self.case.ended(step, call.expert, result)
        return None

    def _ready(self, step: Last, call: Call, completion: Mapping[str, Any]) -> _Opened:
        """Return a whole answer in the way that the client asked for."""
        usage, coe = self.case.told(step)
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
        self.case.deliberation.answered(reading.bill_of(usage, expert, _since(started)))
        total, coe = self.case.told(step)
        return rendering.closing(held, head, total, coe, include_usage=self._wants_usage)

    async def _watched(
        self, frames: AsyncGenerator[bytes, None], step: Last
    ) -> AsyncGenerator[bytes, None]:
        """Yield an answer's frames; once there was one, the panel is reported, however they end."""
        has_begun = False
        try:
            async with aclosing(frames):
                async for frame in frames:
                    has_begun = True
                    yield frame
        finally:
            if has_begun:
                self._report(step)

    def _report(self, step: Last | None) -> None:
        self.case.tell(self._house.telemetry, step)

    @property
    def _wants_usage(self) -> bool:
        options = self._query.body.get("stream_options")
        return isinstance(options, Mapping) and bool(options.get("include_usage"))


def _key(what: int | Question) -> int | str:
    return what.key if isinstance(what, Question) else what


def _since(started: float) -> float:
    return perf_counter() - started


def _late(started: float, limit_s: float | None) -> Result:
    return Result(error=f"no answer within {limit_s:g} s", seconds=_since(started))


def _failed(started: float, error: CoEError) -> Result:
    return Result(error=error.logged, failure=error, seconds=_since(started))


async def _each(frames: list[bytes]) -> AsyncGenerator[bytes, None]:
    for frame in frames:
        yield frame
