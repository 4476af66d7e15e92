"""Experts are asked, their answers checked, and what comes of it kept as outcomes.

An error is not a score: who fails is asked again next time. What is kept already is not asked
again, so a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from coe.asking import Reply, Site, ask
from coe.composition import Composition
from coe.composition.revisions import revision
from coe.drafting.bodies import SAMPLE_TEMPERATURE
from coe.errors import (
    BackendProtocolError,
    BackendTimeout,
    CoEError,
    ConfigError,
    ContextTooLong,
)
from coe.mapping.outcomes import Outcome, Source
from coe.pipeline import Gateway
from coe.scoring.checks import Judge, Tests
from coe.scoring.judge import judge, most_of_judge
from coe.scoring.order import Lane, lanes, left
from coe.scoring.prices import Purse, about, answer_limit, at_most, currency_of, expected, price_of
from coe.scoring.routing import route_all
from coe.scoring.rows import Row
from coe.scoring.sandbox import run_tests
from coe.stores.drafts import DraftStore, ScoredDraft
from coe.stores.outcomes import OutcomeStore, Prompt
from coe.tools import Progress

FAILURES = 5
"""So many in a row, and an expert is not asked any more."""

_TRIES = 3
_LONGEST_WAIT_S = 60.0
_SANDBOXES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How experts are scored.

    Attributes:
        source: that the outcomes are kept under.
        concurrency: most calls in flight on each backend; None: as many as the backend takes.
        max_cost: money that may be spent; None: no cap.
        currency: of the cap; empty: that of the prices.
        max_tokens: of an answer; None: as the row or the expert says.
        run_code: whether code of answers may be run.
        keep_prompts: keep the texts of the prompts, too.
        samples: how often each expert is asked each prompt; only the first counts as an outcome.
    """

    source: Source = "evaluation"
    concurrency: int | None = None
    max_cost: float | None = None
    currency: str = ""
    max_tokens: int | None = None
    run_code: bool = False
    keep_prompts: bool = False
    samples: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done.

    Attributes:
        composition: as it is.
        askable: the same, with every expert that is asked made `live`.
        rows: all of them.
        left: those that each expert has not answered yet, one for each sample.
        revisions: of the experts, by name.
        currency: of the prices; empty where no expert has one.
    """

    composition: Composition
    askable: Composition
    rows: tuple[Row, ...]
    left: Mapping[str, tuple[Row, ...]]
    revisions: Mapping[str, str]
    currency: str
    options: Options

    @property
    def calls(self) -> int:
        """How many answers are asked for; a judge's come on top."""
        return sum(map(len, self.left.values()))

    def body(self, row: Row) -> dict[str, object]:
        """Return a row's request."""
        limit = self.options.max_tokens
        return row.request if limit is None else {"max_tokens": limit, **row.request}

    def asked(self, name: str, row: Row, *, kept: bool) -> dict[str, object]:
        """Return what an expert is sent; what it is asked again it is asked as on a panel.

        Args:
            name: the expert.
            row: what it is asked.
            kept: whether its answer is kept: then what its tokens say is asked for, where it can
                tell.
        """
        body, expert = self.body(row), self.composition.experts[name]
        if row.sample:
            given = {**expert.defaults, **body}
            seed = given.get("seed")
            body = {**body, "seed": row.sample + (seed if isinstance(seed, int) else 0)}
            if given.get("temperature") is None:
                body["temperature"] = SAMPLE_TEMPERATURE
        if kept and "logprobs" in (expert.capabilities or ()):
            body = {**body, "logprobs": True}
        return body

    def cost(self, name: str) -> float | None:
        """Return about what an expert's answers will cost, less judges; None: not known."""
        expert = self.composition.experts[name]
        costs = [expected(expert, row, self.body(row)) for row in self.left[name]]
        return None if None in costs else sum(cost for cost in costs if cost is not None)


@dataclass(slots=True, kw_only=True)
class Happened:
    """What happened in a run, besides the outcomes.

    Attributes:
        scored: outcomes that were added, by expert.
        spent: money, judges included, in the work's currency.
        prompt_tokens, answer_tokens: as the backends counted them, judges included.
        failures: how often who failed, an expert or a judge.
        reasons: the first reason of each.
        stopped: who failed so often in a row that nobody asked any more.
        capped: experts that were not asked all, since the cap could have been passed.
        uncounted: answers of experts with a price, whose cost is not known.
        unrouted: why prompts have no probabilities.
    """

    scored: Counter[str] = field(default_factory=Counter)
    spent: float = 0.0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    capped: list[str] = field(default_factory=list)
    uncounted: int = 0
    unrouted: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left for another time."""
        return not (self.failures or self.stopped or self.capped or self.unrouted)


def prepare(
    composition: Composition,
    rows: Sequence[Row],
    experts: Sequence[str],
    store: OutcomeStore,
    options: Options,
    drafts: DraftStore | None = None,
) -> Work:
    """Find out what is left to do; nobody is asked.

    With `drafts` an answer is there where its text is kept, too.

    Raises:
        ConfigError: an expert is unknown, code would be run that may not be, prices and the cap
            are in several currencies, or nothing limits an answer's length, and so what it costs.
    """
    for name in experts:
        if name not in composition.experts:
            known = ", ".join(composition.experts)
            raise ConfigError(f"no expert `{name}` in {composition.source} (there are: {known})")
    for row in rows:
        if isinstance(row.check, Tests) and not options.run_code:
            raise ConfigError(
                f"{row.place}: `check`: tests run code that an expert wrote, on this machine; "
                "allow it with --run-code"
            )
    judges = {row.check.expert for row in rows if isinstance(row.check, Judge)}
    asked = dict.fromkeys((*experts, *sorted(judges)))
    try:
        currency = currency_of(composition.experts[name] for name in asked)
    except ValueError as error:
        raise ConfigError(f"{composition.source}: {error}; score them apart") from None
    if options.currency and currency not in {"", options.currency}:
        raise ConfigError(f"the prices are in {currency}, and the cap is in {options.currency}")
    revisions = {name: revision(composition, name) for name in experts}
    done = {
        name: _done(store.done(name, mark, options.source), drafts, name, mark)
        for name, mark in revisions.items()
    }
    asked_for = [replace(row, sample=i) for i in range(options.samples) for row in rows]
    live = {
        name: replace(expert, status="live") if name in asked else expert
        for name, expert in composition.experts.items()
    }
    work = Work(
        composition=composition,
        askable=replace(composition, experts=live),
        rows=tuple(rows),
        left=left(asked_for, experts, done),
        revisions=revisions,
        currency=currency,
        options=options,
    )
    if options.max_cost is not None:
        _check_limits(work)
    return work


def _done(
    scored: frozenset[str], drafts: DraftStore | None, name: str, mark: str
) -> frozenset[tuple[str, int]]:
    """Return what an expert has answered, by digest and sample."""
    first = frozenset((digest, 0) for digest in scored)
    if drafts is None:
        return first
    kept = drafts.done(name, mark)
    return frozenset(pair for pair in kept if pair[1] or pair in first)


def _check_limits(work: Work) -> None:
    for name, rows in work.left.items():
        expert = work.composition.experts[name]
        if expert.cost is None:
            continue
        for row in rows:
            if answer_limit(expert, work.body(row)) is None:
                raise ConfigError(
                    f"{row.place}: a cap needs a limit on the answers of `{name}`, which cost "
                    "money; add --max-tokens N"
                )


async def run(
    work: Work,
    gateway: Gateway,
    store: OutcomeStore,
    progress: Progress,
    *,
    router: str | None = None,
    drafts: DraftStore | None = None,
) -> Happened:
    """Route the prompts, ask the experts, and keep every outcome as soon as it is there.

    Args:
        work: what is to be done.
        gateway: with the backends, and a router that is loaded; it is not closed.
        store: where outcomes are kept.
        progress: told as it goes on.
        router: mark of the router; None: prompts are not routed.
        drafts: where the answers' texts are kept; None: they are not.
    """
    happened = Happened()
    keep = work.options.keep_prompts
    store.note(
        Prompt(digest=row.digest, category=row.category, body=row.request if keep else None)
        for row in work.rows
    )
    if router is not None:
        known = {prompt.digest: prompt for prompt in store.prompts(row.digest for row in work.rows)}
        unrouted = [row for row in work.rows if known[row.digest].router != router]
        prompts, happened.unrouted = await route_all(gateway, unrouted, router, progress)
        store.note(prompts)
    scorer = _Scorer(work, gateway, store, progress, happened, drafts)
    try:
        async with asyncio.TaskGroup() as tasks:
            for lane in lanes(work.composition, tuple(work.left), work.options.concurrency):
                tasks.create_task(scorer.follow(lane))
    except BaseExceptionGroup as group:
        raise _first(group) from None
    return happened


def _first(error: BaseException) -> BaseException:
    """Return the first of what went wrong at once; the others are consequences of the same."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass(frozen=True, slots=True)
class _Job:
    expert: str
    row: Row

    @property
    def judge(self) -> str:
        """Who judges; empty where nobody does."""
        return self.row.check.expert if isinstance(self.row.check, Judge) else ""


class _Scorer:
    """Does the work of a run; everything in it belongs to one loop."""

    def __init__(
        self,
        work: Work,
        gateway: Gateway,
        store: OutcomeStore,
        progress: Progress,
        happened: Happened,
        drafts: DraftStore | None,
    ) -> None:
        self._drafts = drafts
        self.purse = Purse(work.options.max_cost)
        self._work = work
        self._site = Site(backends=gateway.backends, telemetry=gateway.telemetry)
        self._store = store
        self._progress = progress
        self._happened = happened
        self._streaks: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._settled = asyncio.Condition()
        self._sandboxes = asyncio.Semaphore(_SANDBOXES)

    async def follow(self, lane: Lane) -> None:
        """Do a lane's groups in order, each of their calls as soon as there is room."""
        for group in lane.groups:
            jobs = iter([_Job(name, row) for name in group for row in self._work.left[name]])

            async def worker() -> None:
                for job in jobs:  # noqa: B023 - it ends before the next group begins
                    await self._do(job)

            async with asyncio.TaskGroup() as tasks:
                for _ in range(lane.at_once):
                    tasks.create_task(worker())

    async def _do(self, job: _Job) -> None:
        happened = self._happened
        blocked = {job.expert, job.judge} & {*happened.stopped, *happened.capped}
        if not blocked:
            most = self._most(job)
            if await self._hold(most):
                await self._score(job, most)
            elif job.expert not in happened.capped:
                happened.capped.append(job.expert)
        self._ended[job.expert] += 1
        total = len(self._work.left[job.expert])
        self._progress(f"asking {job.expert}", self._ended[job.expert], total)

    async def _hold(self, most: float) -> bool:
        """Set money aside; where there is none, wait for calls in flight to cost less."""
        async with self._settled:
            while not self.purse.hold(most):
                if not self.purse.held:
                    return False
                await self._settled.wait()
            return True

    async def _score(self, job: _Job, most: float) -> None:
        paid: float | None = 0.0
        who = job.expert
        try:
            reply = await self._ask(job)
            paid = self._paid_for(job.expert, reply)
            self._streaks[who] = 0
            who = job.judge or job.expert
            score, judged = await self._grade(job, reply)
            paid = None if paid is None or judged is None else paid + judged
            self._streaks[who] = 0
        except CoEError as error:
            # Who is late or is cut off may have been paid for all the same.
            paid = None if isinstance(error, BackendTimeout | BackendProtocolError) else paid
            self._fail(who, error)
        else:
            self._keep(job, reply, score)
        finally:
            self._happened.uncounted += paid is None
            self.purse.settle(most, paid)
            self._happened.spent = self.purse.spent
            async with self._settled:
                self._settled.notify_all()

    async def _ask(self, job: _Job) -> Reply:
        """Ask an expert; where it says when to come back, come back.

        Raises:
            CoEError: it gave no answer.
        """
        row = job.row
        body = self._work.asked(job.expert, row, kept=self._drafts is not None)
        for _ in range(_TRIES - 1):
            try:
                return await self._once(job.expert, body, about(row))
            except CoEError as error:
                if not error.retryable or error.retry_after_s is None:
                    raise
                await asyncio.sleep(min(error.retry_after_s, _LONGEST_WAIT_S))
        return await self._once(job.expert, body, about(row))

    async def _once(self, name: str, body: Mapping[str, Any], tokens: int) -> Reply:
        reply = await ask(self._work.askable, self._site, name, body, tokens=tokens)
        self._happened.prompt_tokens += reply.prompt_tokens or 0
        self._happened.answer_tokens += reply.completion_tokens or 0
        return reply

    async def _grade(self, job: _Job, reply: Reply) -> tuple[float, float | None]:
        """Return an answer's score, and what judging it cost; None where that is not known.

        Raises:
            CoEError: the judge or the sandbox failed.
        """
        check, text = job.row.check, reply.text or ""
        if isinstance(check, Tests):
            async with self._sandboxes:
                return float((await run_tests(check, text)).passed), 0.0
        if isinstance(check, Judge):
            score, replies = await judge(partial(self._once, job.judge), check, job.row, text)
            costs = [self._paid_for(job.judge, said) for said in replies]
            return score, None if None in costs else sum(cost for cost in costs if cost)
        return check.grade(text), 0.0

    def _most(self, job: _Job) -> float:
        """Return what a job cannot cost more than; 0 where there is no cap."""
        if self.purse.cap is None:
            return 0.0
        experts = self._work.composition.experts
        row, expert = job.row, experts[job.expert]
        limit = answer_limit(expert, self._work.body(row)) or 0
        most = at_most(expert, row.messages, limit)
        if isinstance(row.check, Judge):
            most += most_of_judge(experts[job.judge], row, limit)
        return most

    def _paid_for(self, name: str, reply: Reply) -> float | None:
        """Return what a reply cost: nothing, without a price; None where it is not known."""
        expert = self._work.composition.experts[name]
        return 0.0 if expert.cost is None else price_of(expert, reply)

    def _fail(self, who: str, error: CoEError) -> None:
        happened = self._happened
        happened.failures[who] += 1
        happened.reasons.setdefault(who, error.message)
        if not isinstance(error, ContextTooLong):  # that says something of the prompt alone
            self._streaks[who] += 1
        if self._streaks[who] >= FAILURES and who not in happened.stopped:
            happened.stopped.append(who)

    def _keep(self, job: _Job, reply: Reply, score: float) -> None:
        if self._drafts is not None:
            self._drafts.add([_draft(job, self._work.revisions[job.expert], reply, score)])
        self._happened.scored[job.expert] += 1
        if job.row.sample:
            return  # one answer is what an expert is worth; the others are for panels
        outcome = Outcome(
            prompt=job.row.digest,
            expert=job.expert,
            score=score,
            cost=price_of(self._work.composition.experts[job.expert], reply),
            latency_s=reply.latency_s,
            source=self._work.options.source,
            revision=self._work.revisions[job.expert],
            at=time.time(),
        )
        self._store.add([outcome])


def _draft(job: _Job, revision: str, reply: Reply, score: float) -> ScoredDraft:
    return ScoredDraft(
        prompt=job.row.digest,
        expert=job.expert,
        revision=revision,
        sample=job.row.sample,
        text=reply.text or "",
        score=score,
        logprob=reply.logprob,
    )
