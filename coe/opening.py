"""One request, one expert after the other, until one begins to answer.

Whom to ask next is decided by `coe.resilience.course`; here it is asked. Where the composition says
so, a second expert is asked beside one that is slow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from time import perf_counter
from typing import NamedTuple, Protocol

from coe import door
from coe.claim import Claim, cold_of
from coe.composition import Composition
from coe.errors import BackendTimeout, CoEError
from coe.resilience.course import Course
from coe.resilience.rules import Fallbacks, Hedge
from coe.resilience.standing import PATIENCE_S, Standing
from coe.types import Attempt, Call, Query


class House(door.House, Protocol):
    """What is needed of the gateway.

    Attributes:
        composition: its experts, and what it says of failures.
        standing: what is known of its experts' health.
    """

    @property
    def composition(self) -> Composition: ...  # noqa: D102 - see the class
    @property
    def standing(self) -> Standing: ...  # noqa: D102


class Opened(NamedTuple):
    """An answer that has begun; the attributes are those of `coe.types.Answer`."""

    call: Call
    first: bytes
    frames: AsyncGenerator[bytes, None]
    opened_s: float
    queued_s: float
    swap_s: float | None
    attempts: tuple[Attempt, ...] = ()


def set_back(house: House, query: Query) -> Mapping[str, tuple[str, str]]:
    """Return the experts that are better asked after all others now, each with a rule and why.

    Those whose breaker is open; and those that are not in memory, where a request rather goes to
    one that is.

    Raises:
        InvalidRequest: the header `x-coe-cold` means nothing.
    """
    found: dict[str, tuple[str, str]] = {}
    experts, rules = house.composition.experts, house.composition.fallbacks
    breakers = house.standing.breakers
    if rules.breaker is not None and breakers.unwell:
        for backend, name in breakers.unwell:
            expert = experts.get(name)
            if expert is not None and expert.backend == backend and breakers.bars(backend, name):
                found[name] = ("breaker", breakers.why(backend, name))
    if house.slots and (cold_of(query) or rules.cold) == "reroute":
        for slots in house.slots.values():
            for view in slots.views():
                if view.state != "ready":
                    found.setdefault(view.expert, ("cold", "it is not in memory"))
    return found


def earn(house: House) -> None:
    """Take note of a request: it earns a part of a further call, where those have a budget."""
    ratio = house.composition.fallbacks.retry_budget
    if ratio is not None:
        house.standing.budget.earn(ratio)


def may_spend(house: House) -> bool:
    """Whether a further call may be made; the retry budget has paid for it then."""
    if house.composition.fallbacks.retry_budget is None:
        return True
    return house.standing.budget.spend(time.monotonic())


async def open_in_turn(
    house: House,
    query: Query,
    calls: Sequence[Call],
    claim: Claim | None,
    *,
    is_further: bool = False,
) -> Opened:
    """Ask experts in order until one sends its first content frame.

    Args:
        house: whose experts are asked.
        query: what they are asked.
        calls: whom to ask; at least one.
        claim: how it waits; None where nothing is scheduled or kept.
        is_further: whether others were asked before: the request has earned its part then, and
            the first of these calls is paid for.

    Raises:
        CoEError: everyone who was asked failed before a first byte; `attempts` says who.
    """
    rules, standing = house.composition.fallbacks, house.standing
    if rules.retry_budget is not None and not is_further:
        standing.budget.earn(rules.retry_budget)
    if rules.breaker is not None and standing.breakers.unwell:
        calls = _well_first(standing, calls)
    hedge = rules.hedge
    if hedge is not None and len(calls) > 1 and (hedge.tools or "tools" not in query.requires):
        return await _Turn(house, query, calls, claim).race(hedge)
    if rules.total_s is not None:
        return await _Turn(house, query, calls, claim).open()
    try:  # nearly always the first one begins, and all the rest is not needed
        return await _entered(house, query.id, calls[0], _claim_of(house, claim, calls))
    except CoEError as error:
        return await _Turn(house, query, calls, claim).go_on(calls[0], error)


def insisting(house: House, calls: Iterable[Call], claim: Claim | None) -> Claim | None:
    """Return the claim of calls that are made side by side.

    It insists where all of their breakers are open: a breaker never leaves a request without
    anybody who is asked.
    """
    breakers = house.standing.breakers
    if claim is None or not breakers.unwell:
        return claim
    is_last = all(breakers.bars(call.backend, call.expert) for call in calls)
    return claim._replace(insists=is_last)


def _well_first(standing: Standing, calls: Sequence[Call]) -> Sequence[Call]:
    """Return calls with those behind the others that would not be let in now."""
    return sorted(calls, key=lambda call: standing.breakers.bars(call.backend, call.expert))


class _Turn:
    """One request on its way through the experts."""

    __slots__ = ("_calls", "_claim", "_course", "_due_s", "_house", "_query", "_rules")

    def __init__(
        self, house: House, query: Query, calls: Sequence[Call], claim: Claim | None
    ) -> None:
        self._house = house
        self._query = query
        self._calls = calls
        self._claim = claim
        self._rules: Fallbacks = house.composition.fallbacks
        total_s = self._rules.total_s
        self._due_s = None if total_s is None else time.monotonic() + total_s
        self._course: Course | None = None  # most requests need none

    async def open(self) -> Opened:
        """Ask one after the other. Raises CoEError where nobody answers."""
        try:
            return await self.ask(self._calls[0])
        except CoEError as error:
            return await self.go_on(self._calls[0], error)

    async def go_on(self, call: Call, error: CoEError) -> Opened:
        """Ask the others after a first failure. Raises CoEError where nobody answers."""
        while True:
            call = await self.following(call, error)
            try:
                return self.told(await self.ask(call))
            except CoEError as failure:
                error = failure

    async def race(self, hedge: Hedge) -> Opened:
        """Ask the next one too where one is slow. Raises CoEError where nobody answers."""
        racing = _Race(self, hedge, self._house.standing)
        try:
            return await racing.run(self._calls[0])
        finally:
            racing.end()

    @property
    def course(self) -> Course:
        """Whom to ask next."""
        if self._course is None:
            experts = self._house.composition.experts

            def context_of(name: str) -> int | None:
                return experts[name].context

            self._course = Course(
                self._calls[1:],
                self._rules,
                context_of=context_of,
                may_spend=partial(may_spend, self._house),
                random=self._house.standing.random,
                due_s=self._last_s(),
            )
        return self._course

    def _last_s(self) -> float | None:
        """Return until when anybody is asked: by the rules, and by the request's own deadline."""
        asked_s = None if self._claim is None else self._claim.due_s
        if self._due_s is None or asked_s is None:
            return asked_s if self._due_s is None else self._due_s
        return min(self._due_s, asked_s)

    async def following(self, call: Call, error: CoEError) -> Call:
        """Return whom to ask after a failure, once that is due; raise it where that is nobody."""
        ask = self.course.after(call, error, time.monotonic())
        if ask.call is None:
            error.attempts = tuple(self.course.attempts)
            raise error
        if ask.wait_s:
            await asyncio.sleep(ask.wait_s)
        return ask.call

    async def ask(self, call: Call) -> Opened:
        """Ask one expert. Raises CoEError where it does not begin to answer."""
        if self._due_s is None:
            return await self._enter(call)
        try:
            async with asyncio.timeout(max(0.0, self._due_s - time.monotonic())):
                return await self._enter(call)
        except TimeoutError:
            raise BackendTimeout(
                f"nobody began to answer within {self._rules.total_s:g} s (fallbacks.total)"
            ) from None

    def told(self, opened: Opened) -> Opened:
        """Return an answer with what failed before it."""
        if self._course is None:
            return opened
        return opened._replace(attempts=tuple(self._course.attempts))

    async def _enter(self, call: Call) -> Opened:
        rest = self._calls[1:] if self._course is None else self._course.rest
        claim = _claim_of(self._house, self._claim, (call, *rest))
        return await _entered(self._house, self._query.id, call, claim)


async def _entered(house: House, query_id: str, call: Call, claim: Claim | None) -> Opened:
    """Ask one expert. Raises CoEError where it does not begin to answer."""
    slot = await door.schedule(house, call, claim) if claim is not None and house.slots else None
    started = perf_counter()
    first, frames = await door.enter(house, query_id, call, slot, claim)
    waited_s = door.WAITED.get()
    return Opened(
        call,
        first,
        frames,
        perf_counter() - started - waited_s,
        waited_s if slot is None else waited_s + slot.queued_s,
        None if slot is None else slot.swap_s,
    )


def _claim_of(house: House, claim: Claim | None, left: Sequence[Call]) -> Claim | None:
    """Return the claim, which insists where nobody is left whose breaker is closed."""
    if claim is None or not house.standing.breakers.unwell:
        return claim
    return insisting(house, left, claim)


class _Runner(NamedTuple):
    """A call in flight: when it began, and whether the request itself waits for it."""

    call: Call
    began_s: float
    is_own: bool


class _Race:
    """Calls that are in flight side by side until one of them begins to answer.

    Most requests have one call, and wait for it themselves. Only where it is slow, a task asks
    others and waits for them; to that task the request's own call is a future as theirs are.
    """

    __slots__ = (
        "_context", "_due_s", "_hedge", "_left", "_limit", "_own", "_rivals", "_runner", "_running",
        "_standing", "_timer", "_turn",
    )  # fmt: skip

    def __init__(self, turn: _Turn, hedge: Hedge, standing: Standing) -> None:
        self._turn = turn
        self._hedge = hedge
        self._standing = standing
        self._running: dict[asyncio.Future[Opened], _Runner] = {}  # in order of their beginnings
        self._left = hedge.most
        self._own: asyncio.Future[Opened] | None = None
        self._rivals: asyncio.Task[Opened] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, call: Call) -> Opened:
        """Return the first answer that begins. Raises CoEError where none does.

        Where another one wins, the request's own call is closed first: it ends in the same task.
        """
        while True:
            self._runner = _Runner(call, time.monotonic(), is_own=True)
            opened: Opened | None = None
            error: CoEError | None = None
            try:
                async with asyncio.timeout(None) as self._limit:
                    self._watch(call)
                    opened = await self._turn.ask(call)
            except TimeoutError:
                if not self._limit.expired():
                    raise
            except CoEError as failure:
                error = failure
            finally:  # before anything is waited for: nobody is asked beside a call that is over
                self._standing.slow.leave(self)
                if self._timer is not None:
                    self._timer.cancel()
            if self._rivals is not None:
                return await self._raced(self._rivals, opened, error)
            if error is not None:
                call = await self._turn.following(call, error)
            elif opened is not None:
                took_s = time.monotonic() - self._runner.began_s
                self._standing.latencies.note(call.expert, took_s)
                return self._turn.told(opened)

    async def _raced(
        self, rivals: asyncio.Task[Opened], opened: Opened | None, error: CoEError | None
    ) -> Opened:
        """Tell a race how the request's own call ended, unless it was overtaken; return the winner.

        Raises:
            CoEError: there is none.
        """
        if self._own is not None and not self._own.done():
            if error is not None:
                self._own.set_exception(error)
            elif opened is not None:
                self._own.set_result(opened)
        won = await rivals
        self._rivals = None
        return won

    def _watch(self, call: Call) -> None:
        """See to it that others are asked where the request's own call is slow."""
        slow_s = self._slow_s(call) if self._left else None
        if slow_s is None:
            return
        self._due_s = self._runner.began_s + slow_s
        self._context = copy_context()
        if slow_s > 2 * PATIENCE_S:  # nearly all calls are answered sooner, and need no timer
            self._standing.slow.enter(self)
        else:
            self.slow()

    def slow(self) -> None:
        """Set the time at which others are asked."""
        wait_s = max(0.0, self._due_s - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._widen)

    def _widen(self) -> None:
        """Ask another one; the timer is of whoever came first, and this is of the request."""
        self._context.run(self._ask_beside)

    def _ask_beside(self) -> None:
        """Ask another one beside the request's own call, which is slow."""
        other = self._turn.course.beside()
        if other is None:
            self._left = 0
            return
        self._left -= 1
        self._own = asyncio.get_running_loop().create_future()
        self._running[self._own] = self._runner
        self._start(other)
        self._rivals = asyncio.create_task(self._race(self._slow_s(other)))
        self._rivals.add_done_callback(self._overtake)

    def _overtake(self, _: object) -> None:
        """End the request's own call: the race is over."""
        if self._own is not None and not self._own.done():
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def _race(self, slow_s: float | None) -> Opened:
        """Return the first answer that begins, of those in flight and of those asked after them.

        Raises:
            CoEError: none does.
        """
        while True:
            done, _ = await asyncio.wait(
                self._running,
                timeout=slow_s if self._left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                other = self._turn.course.beside()
                self._left = self._left - 1 if other is not None else 0
                if other is not None:
                    self._start(other)
                    slow_s = self._slow_s(other)
                continue
            won = self._won(done)
            if won is not None:
                return won
            failed = [(self._running.pop(task).call, _error(task)) for task in done]
            following = await self._after(failed)
            if following is not None:
                self._start(following)
                slow_s = self._slow_s(following)

    def end(self) -> None:
        """Give up what is in flight still; it ends behind the answer that won."""
        if self._rivals is not None and not self._rivals.cancel():
            _close(self._standing, self._rivals)  # who asked left at the moment that it had won
        for task in self._running:
            if not task.cancel():
                _close(self._standing, task)
            else:
                self._standing.leaving.add(task)
                task.add_done_callback(partial(_close, self._standing))

    def _start(self, call: Call) -> None:
        task = asyncio.create_task(self._turn.ask(call))
        self._running[task] = _Runner(call, time.monotonic(), is_own=False)

    def _slow_s(self, call: Call) -> float | None:
        """Return how long an expert may take before another one is asked; None: as it likes."""
        after_s = self._hedge.after_s
        if isinstance(after_s, float):
            return after_s
        return self._standing.latencies.p95(call.expert)

    def _won(self, done: Collection[asyncio.Future[Opened]]) -> Opened | None:
        """Return the answer that began first, if one did; the others are overtaken."""
        winner = next((t for t in self._running if t in done and t.exception() is None), None)
        if winner is None:
            return None
        won = self._running.pop(winner)
        now_s = time.monotonic()
        self._standing.latencies.note(won.call.expert, now_s - won.began_s)
        for other in self._running.values():
            # At least so long: an expert that is always overtaken must not pass for a fast one.
            self._standing.latencies.note(other.call.expert, now_s - other.began_s)
            self._turn.course.overtaken(other.call, is_beside=not other.is_own)
        if not won.is_own:
            self._standing.hedges["won"] += 1
        elif self._running:
            self._standing.hedges["lost"] += len(self._running)
        return self._turn.told(winner.result())

    async def _after(self, failed: Sequence[tuple[Call, CoEError]]) -> Call | None:
        """Return who is asked after failures; None while others are in flight.

        Raises:
            CoEError: nobody is, and nobody is left.
        """
        *others, (call, error) = failed
        if self._running:
            others.append((call, error))
        for other, why in others:
            self._turn.course.after(other, why, time.monotonic(), is_beside=True)
        return None if self._running else await self._turn.following(call, error)


def _error(task: asyncio.Future[Opened]) -> CoEError:
    """Return why a call failed; what is no error of ours is a bug, and raised."""
    error = task.exception()
    if not isinstance(error, CoEError):
        raise error or AssertionError("it has not failed")
    return error


def _close(standing: Standing, task: asyncio.Future[Opened]) -> None:
    """Close the answer of a call that began when another one had won."""
    standing.leaving.discard(task)
    if task.cancelled() or task.exception() is not None:
        return
    closing = asyncio.ensure_future(_closed(task.result().frames))
    standing.leaving.add(closing)
    closing.add_done_callback(standing.leaving.discard)


async def _closed(frames: AsyncGenerator[bytes, None]) -> None:
    await frames.aclose()
