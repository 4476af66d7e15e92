"""Shadow experiments: a sample of the requests is answered by every arm, unseen, and compared.

It happens behind the answer that the client gets, in the bulk lane, a few at a time, and never in
the client's conversation: arms route by the prompt alone, and nothing is remembered of it. What
waits too long is dropped, and counted. Where a judge is named it compares each arm with the
control, blind and in both orders: an arm has won only where the judge prefers it in both (1), lost
where it prefers the control in both (0), and else it is a tie (0.5). Two arms that would ask the
same expert the same are not asked twice, nor compared.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from coe import pipeline
from coe.aggregators.fences import mark
from coe.aggregators.judging import JUDGE_TOKENS, compared, names, transcript, winner
from coe.asking import Reply, ask
from coe.batching.desk import Held
from coe.claim import behind
from coe.composition import Experiment
from coe.decisions.event import Event
from coe.decisions.log import DecisionLog
from coe.drafting.reading import draft_of, parsed
from coe.drafts import Remark
from coe.errors import CoEError, StoreUnavailable
from coe.pipeline import Gateway
from coe.policies.permits import bars
from coe.stores.decisions import SHADOW, Feedback
from coe.telemetry.trace import CURRENT, Link
from coe.telemetry.work import Kind, Piece, Work
from coe.trials import opted_out, sampled, takes_part
from coe.types import Answer, Decision, Plan, Query

logger = logging.getLogger(__name__)

AT_ONCE = 2
_MOST_WAITING = 100
_TYPICAL_TOKENS = 500
"""Of an answer without a limit, for what a shadow may cost before it has."""
_PER_TOKEN = 4  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request that was sampled.

    Attributes:
        experiment: its name.
        query: as the client sent it.
        answer: that the client got.
        link: its trace; None where it was not traced.
    """

    experiment: str
    query: Query
    answer: Answer
    link: Link | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an arm answered.

    Attributes:
        text: None where it did not answer.
        asked: the experts, and what they were sent; equal where two arms ask the same.
        event: what was written down of it.
    """

    arm: str
    text: str | None
    asked: object
    event: Event


class Purse(Protocol):
    """Money that several replicas spend together."""

    async def spend(self, experiment: str, day: str, amount: float, cap: float) -> bool:
        """Take an amount out of an experiment's money for a day; False where that passes the cap.

        Raises:
            StoreUnavailable: nobody can say.
        """


class Shadows:
    """The shadow experiments of a process. Belongs to one event loop.

    Attributes:
        done: requests that were answered by the arms.
        dropped: requests that were sampled and never will be, by why.
    """

    def __init__(
        self,
        current: Callable[[], Held],
        log: DecisionLog,
        clock: Callable[[], float] = time.time,
        purse: Purse | None = None,
    ) -> None:
        """Store the parts.

        Args:
            current: returns the gateway that serves now.
            log: where answers and verdicts are written down.
            clock: seconds since the epoch.
            purse: the money of all replicas; None: the log keeps it, as this process is alone.
        """
        self.done = 0
        self.dropped = {"busy": 0, "money": 0, "failed": 0}
        self._current = current
        self._log = log
        self._clock = clock
        self._purse = purse
        self._waiting: asyncio.Queue[Job] = asyncio.Queue(_MOST_WAITING)

    def offer(self, gateway: Gateway, answer: Answer) -> None:
        """Take a request into the samples that it falls into. Takes a microsecond where none is."""
        if answer.recalled is not None:
            return  # nobody answered now whom an arm could be compared with
        query, decision = answer.query, answer.decision
        for one in gateway.composition.experiments.values():
            if not one.is_shadow or decision.pinned_expert is not None or opted_out(query):
                continue
            if query.endpoint != "chat/completions" or query.body.get("tools"):
                continue  # an arm would call the client's tools again
            if takes_part(one, query, decision.category) and sampled(one, query):
                trace = CURRENT.get()
                link = None if trace is None else Link(trace.trace_id, trace.span_id)
                job = Job(experiment=one.name, query=query, answer=answer, link=link)
                try:
                    self._waiting.put_nowait(job)
                except asyncio.QueueFull:
                    self.dropped["busy"] += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work in the background meanwhile; what is not done in the end is dropped."""
        tasks = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            job = await self._waiting.get()
            try:
                with self._current() as gateway:
                    await self._do(gateway, job)
            except CoEError as error:
                self.dropped["failed"] += 1
                logger.warning("shadow %s: %s", job.experiment, error.logged)
            except Exception:  # a supervisor: the next one may do
                self.dropped["failed"] += 1
                logger.exception("shadow %s", job.experiment)

    async def _do(self, gateway: Gateway, job: Job) -> None:
        one = gateway.composition.experiments.get(job.experiment)
        if one is None or not one.is_shadow:
            return  # it ended meanwhile
        if not await self._pay(one, _most(gateway, one, job.query)):
            self.dropped["money"] += 1
            return
        readings: list[Reading] = []
        for arm in one.arms:
            serving = gateway.shadows.get((one.name, arm.name), gateway)
            readings.append(await self._answered(serving, one, arm.name, job, readings))
        self.done += 1
        control = readings[0]
        if one.judge is None or control.text is None:
            return
        if bars(pipeline.settled(gateway, job.query).permit, (one.judge,)):
            return  # the judge may not see the conversation
        for reading in readings[1:]:
            if reading.text is not None:
                await self._judge(gateway, one, job, control, reading)

    async def _answered(
        self, gateway: Gateway, one: Experiment, arm: str, job: Job, before: list[Reading]
    ) -> Reading:
        """Return what an arm answers, and write it down."""
        body = {key: value for key, value in job.query.body.items() if key not in _STREAMING}
        name = _name(job.query, one, arm)
        query = pipeline.settled(gateway, replace(job.query, id=name, body=body, stream=False))
        with _traced("shadow", gateway, one, arm, job) as work:
            started = time.perf_counter()
            query, decision, plan = await pipeline.planned(gateway, query, alone=True)
            if work.trace is not None:
                work.trace.decided(decision, plan, time.perf_counter() - started)
            asked = [(call.expert, call.body) for call in (plan.panel or plan).calls]
            reading = next((reading for reading in before if reading.asked == asked), None)
            if reading is None:
                event, text = await self._opened(gateway, query, decision, plan)
                reading = Reading(arm=arm, text=text, asked=asked, event=event)
            work.answer, work.error = reading.event.answer, reading.event.error
        # An answer to the same question would differ by chance alone, and cost as much.
        event = reading.event._replace(query=query, arms={one.name: arm})
        self._log.add(event)
        return replace(reading, arm=arm)

    async def _opened(
        self, gateway: Gateway, query: Query, decision: Decision, plan: Plan
    ) -> tuple[Event, str | None]:
        """Return what a plan's experts answer, and what there is to write down of it."""
        event = Event(
            at=self._clock(),
            query=query,
            composition=gateway.composition,
            tenant=query.identity.tenant,
            status=200,
            took_s=0.0,
            endpoint=SHADOW,
        )
        started = time.perf_counter()
        claim = behind(query)
        try:
            answer = await pipeline.open_decided(gateway, query, decision, plan, claim=claim)
            await answer.frames.aclose()
        except CoEError as error:
            error.made = (decision, plan)
            took_s = time.perf_counter() - started
            return event._replace(status=error.status, took_s=took_s, error=error), None
        took_s = time.perf_counter() - started
        text = draft_of(parsed(answer.first, answer.call.expert), 0).text
        return event._replace(took_s=took_s, first_s=took_s, answer=answer), text

    async def _judge(
        self, gateway: Gateway, one: Experiment, job: Job, control: Reading, arm: Reading
    ) -> None:
        """Have an arm's answer compared with the control's, and write the verdict down."""
        if arm.asked == control.asked or arm.text == control.text:
            value, agreed = 0.5, True
        else:
            with _traced("judge", gateway, one, arm.arm, job):
                verdicts = await _verdicts(gateway, one, job.query, control, arm)
            if verdicts is None:
                return
            value, agreed = verdicts
        now = self._clock()
        store = await asyncio.to_thread(self._log.store)
        tags = {"experiment": one.name, "agreed": "yes" if agreed else "no"}
        for reading, score in ((arm, value), (control, 1.0 - value)):
            said = Feedback(
                decision=_name(job.query, one, reading.arm),
                at=now,
                source="judge",
                value=score,
                tags={**tags, "against": control.arm if reading is arm else arm.arm},
                key=f"judge:{arm.arm}",
            )
            await asyncio.to_thread(store.say, said)

    async def _pay(self, one: Experiment, most: float) -> bool:
        """Take what a request may cost out of the day's money; False where that is not there."""
        cap = one.max_cost_per_day
        if cap is None:
            return True
        day = datetime.fromtimestamp(self._clock(), tz=UTC).date().isoformat()
        if self._purse is not None:
            try:
                return await self._purse.spend(one.name, day, most, cap)
            except StoreUnavailable:
                return False  # better none than more than the cap
        store = await asyncio.to_thread(self._log.store)
        return await asyncio.to_thread(store.spend, one.name, day, most, cap)


_STREAMING = frozenset({"stream", "stream_options"})


def _name(query: Query, one: Experiment, arm: str) -> str:
    """Return the id of an arm's answer in the log."""
    return f"{query.id}.{one.name}.{arm}"


def _traced(kind: Kind, gateway: Gateway, one: Experiment, arm: str, job: Job) -> Work:
    """Return what is traced of an arm's answer, or of the verdict on it."""
    piece = Piece(
        kind,
        job.query.endpoint,
        gateway.composition.fingerprint,
        _name(job.query, one, arm),
        arm=f"{one.name}:{arm}",
    )
    return Work(gateway.telemetry.tracing, piece, about=job.link)


async def _verdicts(
    gateway: Gateway, one: Experiment, query: Query, control: Reading, arm: Reading
) -> tuple[float, bool] | None:
    """Return the arm's score, and whether both orders agree; None where there is no verdict."""
    texts = (arm.text or "", control.text or "")
    conversation = transcript(query.body["messages"])
    word = mark(conversation, *texts)
    called = names(word, 0, 1)
    wins: list[int] = []
    for order in ((0, 1), (1, 0)):
        messages = compared(
            conversation,
            (texts[order[0]], texts[order[1]]),
            (called[order[0]], called[order[1]]),
            word,
        )
        body = {"messages": list(messages), "max_tokens": JUDGE_TOKENS, "temperature": 0}
        try:
            reply: Reply = await ask(
                gateway.composition,
                gateway,
                one.judge or "",
                body,
                tokens=len(conversation) // _PER_TOKEN,
                claim=behind(query),
            )
        except CoEError as error:
            logger.warning("shadow %s: the judge: %s", one.name, error.logged)
            return None
        place = winner(Remark(text=reply.text or ""), called)
        wins.append(0 if place is None else 1 if place == 0 else -1)
    return {2: 1.0, -2: 0.0}.get(sum(wins), 0.5), wins[0] == wins[1]


def _most(gateway: Gateway, one: Experiment, query: Query) -> float:
    """Return about what a request's shadow can cost at most: every arm, and the judge twice each.

    Whoever an arm asks, it is none of those that cost more than the dearest expert.
    """
    experts = gateway.composition.experts
    tokens = query.max_output or _TYPICAL_TOKENS
    prices = [expert.cost for expert in experts.values() if expert.cost is not None]
    dearest = max((cost.of(query.tokens, tokens) or 0.0 for cost in prices), default=0.0)
    judging = 0.0
    if one.judge is not None and (cost := experts[one.judge].cost) is not None:
        judging = 2 * (cost.of(query.tokens + 2 * tokens, JUDGE_TOKENS) or 0.0)
    return len(one.arms) * dearest + (len(one.arms) - 1) * judging
