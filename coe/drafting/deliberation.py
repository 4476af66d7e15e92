"""One request's panel at work, decided purely: what came in goes in, what is to be done comes out.

Whoever runs it makes the calls that it starts and tells what came of them, until it says what the
answer is. The aggregator sees the table and nothing else. It may break its contract, and the
answer comes all the same: the best draft that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import thread_time
from typing import Any

from coe.drafting.budget import FREE, Budget, Grant, Offer
from coe.drafting.contract import BrokenStep, check
from coe.drafting.records import NOTHING, Bill, Record
from coe.drafts import (
    Ask,
    Consult,
    Draft,
    Last,
    Member,
    Merge,
    Pick,
    Question,
    Relay,
    Remark,
    Step,
    Table,
    Wait,
    Write,
)
from coe.protocols import Aggregator

ANSWER = "answer"
LATE = "the deadline passed first"
OVER = "max_cost: the money that is left does not pay for it"
UNNEEDED = "the answer did not wait for it"


@dataclass(frozen=True, slots=True)
class Start:
    """Make a call.

    Attributes:
        what: the position of a member, or a question.
        grant: what it may cost.
        logprobs: whether the log-probabilities of the answer's tokens are wanted.
    """

    what: int | Question
    grant: Grant = FREE
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """End a call that was started; what it would say is not awaited any more."""

    what: int | Question


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer: a draft that is there, or a last call to be made."""

    step: Last
    grant: Grant = FREE


@dataclass(frozen=True, slots=True)
class Fail:
    """There is no answer: nobody gave a good draft, and nobody is left to be asked."""


Action = Start | Stop | Finish | Fail
Offers = Callable[[int | Question | Relay | Write], Offer]


class Deliberation:
    """The panel of one request.

    Attributes:
        records: the calls so far, in the order in which they were started.
        budget: the money.
        broken: how the aggregator broke its contract; empty where it did not.
        cpu_s: seconds of CPU that the aggregator has taken.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        members: Sequence[Member],
        messages: Sequence[Mapping[str, Any]],
        *,
        quorum: int | None = None,
        budget: Budget | None = None,
        offers: Offers | None = None,
    ) -> None:
        """Store the parts; nobody is asked yet.

        Args:
            aggregator: decides.
            members: best first.
            messages: the conversation that is answered.
            quorum: drafts that are enough; None waits for all that are asked.
            budget: the money; None: there is no limit.
            offers: what a call may cost; asked for only where the money has a limit.
        """
        self.records: list[Record] = []
        self.budget = budget or Budget()
        self.broken = ""
        self.cpu_s = 0.0
        self._aggregator = aggregator
        self._members = tuple(members)
        self._messages = messages
        self._quorum = min(quorum or len(self._members), len(self._members))
        self._offers = offers
        self._asked: set[int] = set()
        self._drafts: list[Draft] = []
        self._questions: dict[str, Question] = {}
        self._remarks: dict[str, Remark] = {}
        self._open: dict[str, tuple[Record, int | Question]] = {}
        self._last: Record | None = None
        self._instead = ""  # why the best draft is the answer, whatever the aggregator would say
        self._is_late = False
        self._is_spent = False

    @property
    def table(self) -> Table:
        """What the aggregator is shown."""
        return Table(
            messages=self._messages,
            members=self._members,
            quorum=self._quorum,
            asked=frozenset(self._asked),
            drafts=tuple(self._drafts),
            consulted=frozenset(self._questions),
            remarks=dict(self._remarks),
            is_closing=self._is_closing,
        )

    def next(self) -> list[Action]:
        """Return what is to be done now; nothing where something is awaited."""
        actions: list[Action] = []
        while True:
            if self._is_closing and self._open:
                actions += self._stop_all(LATE if self._is_late else OVER)
            table = self.table
            if not (table.good or table.pending or table.unasked):
                return [*actions, *self._stop_all(UNNEEDED), Fail()]
            step = self._step(table)
            if isinstance(step, Wait):
                return actions
            if isinstance(step, Ask):
                actions += self._ask(step)
            elif isinstance(step, Consult):
                actions += self._consult(step)
            else:
                actions += self._stop_all(UNNEEDED)
                if (finish := self._finish(step)) is not None:
                    return [*actions, finish]

    def drafted(self, draft: Draft, bill: Bill, *, is_malformed: bool = False) -> None:
        """Take what came of asking a member; what comes after it was stopped changes nothing.

        Args:
            draft: what came.
            bill: what it took.
            is_malformed: whether there was an answer and it cannot be used.
        """
        record = self._close(_of_member(draft.member), bill)
        if record is None:
            return
        record.status, record.reason = "unused", ""
        if draft.has_failed:
            record.status = "dropped" if is_malformed else "failed"
            record.reason = draft.error
        self._drafts.append(draft)

    def remarked(self, key: str, remark: Remark, bill: Bill) -> None:
        """Take the answer to a question, or why there is none."""
        record = self._close(_of_question(key), bill)
        if record is None:
            return
        record.status, record.reason = ("failed", remark.error) if remark.error else ("used", "")
        self._remarks[key] = remark

    def time_is_up(self) -> None:
        """Take note that the deadline has passed: a good draft is enough from now on."""
        self._is_late = True

    def answered(self, bill: Bill) -> None:
        """Take what the last call took, which wrote the answer."""
        if self._last is not None:
            self._last.bill = bill
            self.budget.settle(ANSWER, bill.cost)

    def unanswered(self, step: Last, error: str, bill: Bill) -> None:
        """Take note that the last call failed before its first byte; `next` says what follows.

        Where a member was relayed, it has failed, and the aggregator is asked again. Where an
        expert wrote, the best draft is the answer.
        """
        self.answered(bill)
        if self._last is not None:
            self._last.status, self._last.reason = "failed", error
            self._last = None
        if isinstance(step, Relay):
            self._drafts.append(Draft(member=step.member, error=error))
        else:
            self._instead = f"the writer failed ({error}): the best draft"

    @property
    def _is_closing(self) -> bool:
        """Whether the answer is to be made of what is there.

        Late: as soon as there is a good draft. Without money: once what is paid for has come, or
        enough of it.
        """
        good = sum(not draft.has_failed for draft in self._drafts)
        if not good:
            return False
        return self._is_late or (self._is_spent and (good >= self._quorum or not self._open))

    def _step(self, table: Table) -> Step:
        """Return the aggregator's step; ours once it cannot go on."""
        if not self._instead:
            started = thread_time()
            try:
                step = self._aggregator.next(table)
                check(step, table)
            except Exception as error:  # noqa: BLE001 - a plugin's mistake costs nobody the answer
                what = (
                    error if isinstance(error, BrokenStep) else f"{type(error).__name__}: {error}"
                )
                self.broken = f"the method broke its contract: {what}"
                self._instead = f"{self.broken}; the best draft"
            else:
                return step
            finally:
                self.cpu_s += thread_time() - started
        if table.good:
            return Pick(member=table.good[0].member, why=self._instead)
        return Wait() if table.pending else Ask((table.unasked[0],))

    def _ask(self, step: Ask) -> list[Action]:
        """Start calls of members; who cannot be paid for has failed."""
        actions: list[Action] = []
        for place in step.members:
            shares = len(self._members) - len(self._asked) + 1  # one for who writes the answer
            self._asked.add(place)
            grant = self._reserve(_of_member(place), place, shares)
            record = self._record(Record(expert=self._members[place].expert, role="draft"), grant)
            record.member = place
            if grant is None:
                self._drafts.append(Draft(member=place, error=OVER))
            else:
                self._open[_of_member(place)] = (record, place)
                actions.append(Start(place, grant, logprobs=step.logprobs))
        return actions

    def _consult(self, step: Consult) -> list[Action]:
        """Start calls that answer questions; one that cannot be paid for is not answered."""
        actions: list[Action] = []
        for question in step.questions:
            key = _of_question(question.key)
            self._questions[question.key] = question
            grant = self._reserve(key, question)
            record = self._record(Record(expert=question.expert, role="judge"), grant)
            if grant is None:
                self._remarks[question.key] = Remark(error=OVER)
            else:
                self._open[key] = (record, question)
                actions.append(Start(question, grant))
        return actions

    def _finish(self, step: Last) -> Finish | None:
        """Return the end; None where its call cannot be paid for: another one is to be found."""
        if isinstance(step, Pick | Merge):
            parts = (step.member,) if isinstance(step, Pick) else step.members
            self._mark(answer=parts)
            return Finish(step)
        if isinstance(step, Relay):
            self._asked.add(step.member)
            record = Record(expert=self._members[step.member].expert, role="draft")
            record.member = step.member
        else:
            record = Record(expert=step.expert, role="writer")
        grant = self._reserve(ANSWER, step)
        self._record(record, grant)
        if grant is None:
            if isinstance(step, Relay):
                self._drafts.append(Draft(member=step.member, error=OVER))
            else:
                self._instead = f"{OVER}: the best draft"
            return None
        self._mark(used=step.used if isinstance(step, Write) else ())
        record.status = "answer"
        self._last = record
        return Finish(step, grant)

    def _reserve(
        self, key: str, what: int | Question | Relay | Write, shares: int = 1
    ) -> Grant | None:
        if self.budget.cap is None or self._offers is None:
            return FREE
        grant = self.budget.reserve(key, self._offers(what), shares)
        if grant is None:
            self._is_spent = True
        return grant

    def _record(self, record: Record, grant: Grant | None) -> Record:
        """Keep the record of a call; one that could not be paid for was not made."""
        self.records.append(record)
        if grant is None:
            record.status, record.reason, record.is_made = "dropped", OVER, False
            record.bill = NOTHING
        return record

    def _close(self, key: str, bill: Bill) -> Record | None:
        """Return the record of a call that ended; None where it was stopped before."""
        record, _ = self._open.pop(key, (None, None))
        if record is not None:
            record.bill = bill
            self.budget.settle(key, bill.cost)
        return record

    def _stop_all(self, why: str) -> list[Action]:
        """Stop what is under way; what it has cost so far is not known."""
        actions: list[Action] = []
        for key, (record, what) in self._open.items():
            record.status, record.reason = "late", why
            self.budget.settle(key, None)
            actions.append(Stop(what))
            if isinstance(what, Question):
                self._remarks[what.key] = Remark(error=why)
            else:
                self._drafts.append(Draft(member=what, error=why))
        self._open.clear()
        return actions

    def _mark(self, *, answer: Sequence[int] = (), used: Sequence[int] = ()) -> None:
        """Note which drafts the answer is made of."""
        good = {draft.member for draft in self._drafts if not draft.has_failed}
        for record in self.records:
            if record.member in good:
                part = record.member in answer
                record.status = "answer" if part else "used" if record.member in used else "unused"


def _of_member(place: int) -> str:
    return f"draft {place}"


def _of_question(key: str) -> str:
    return f"question {key}"
