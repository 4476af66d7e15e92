"""An aggregator on drafts that were recorded: what it would have made of them, and with how many.

The very aggregators that serve, on the same tables; only who answers them is another. A member's
draft is there as soon as it is asked for, so what is played knows of no time.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    Table,
    Wait,
    Write,
)
from coe.protocols import Aggregator


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A draft that was recorded, once.

    Attributes:
        text: what the expert wrote.
        score: of it, in [0, 1].
        logprob: as in `coe.drafts.Draft`.
    """

    text: str
    score: float
    logprob: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A member, and what it would write."""

    member: Member
    sample: Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a table.

    Attributes:
        score: of the answer, in [0, 1]; None where it was written anew, or is several drafts: then
            somebody has to grade `text`.
        text: of the answer.
        drafts: calls of members.
        questions: further calls, one that writes the answer among them.
    """

    score: float | None
    text: str
    drafts: int
    questions: int = 0

    @property
    def calls(self) -> int:
        """Calls in all."""
        return self.drafts + self.questions


Asked = Question | Write
Play = Generator[Asked, Remark, Played]


def play(
    aggregator: Aggregator,
    seats: Sequence[Seat],
    messages: Sequence[Mapping[str, Any]] = (),
    *,
    quorum: int | None = None,
) -> Play:
    """Yield what experts have to be asked, take their answers, and return what comes of it.

    Args:
        aggregator: that is shown the table.
        seats: the members, best first; at least one.
        messages: the conversation that is answered.
        quorum: drafts that are enough; None: all.
    """
    table = Table(
        messages=messages,
        members=tuple(seat.member for seat in seats),
        quorum=len(seats) if quorum is None else min(quorum, len(seats)),
    )
    step = aggregator.next(table)
    while not isinstance(step, Last):
        table = yield from _acted(table, step, seats)
        step = aggregator.next(table)
    return (yield from _ended(table, step, seats))


def _acted(
    table: Table, step: Ask | Consult | Wait, seats: Sequence[Seat]
) -> Generator[Asked, Remark, Table]:
    match step:
        case Ask():
            drafts = tuple(_draft(place, seats) for place in step.members)
            return replace(
                table,
                asked=table.asked.union(step.members),
                drafts=(*table.drafts, *drafts),
            )
        case Consult():
            remarks = dict(table.remarks)
            for question in step.questions:
                remarks[question.key] = yield question
            consulted = table.consulted | remarks.keys()
            return replace(table, consulted=consulted, remarks=remarks)
        case Wait():
            # Nothing is pending here, so there is nothing to wait for: time is up.
            return replace(table, is_closing=True)


def _ended(table: Table, step: Last, seats: Sequence[Seat]) -> Play:
    drafts, questions = len(table.asked), len(table.consulted)
    match step:
        case Pick() | Relay():
            sample = seats[step.member].sample
            asked = drafts + isinstance(step, Relay)
            return Played(score=sample.score, text=sample.text, drafts=asked, questions=questions)
        case Merge():
            text = "\n\n".join(seats[place].sample.text for place in step.members)
            score = seats[step.members[0]].sample.score if step.as_choices else None
            return Played(score=score, text=text, drafts=drafts, questions=questions)
        case Write():
            remark = yield step
            if not remark.error:
                text = remark.text
                return Played(score=None, text=text, drafts=drafts, questions=questions + 1)
            sample = seats[min(table.asked)].sample  # the best member's stands, as when it is live
            return Played(
                score=sample.score, text=sample.text, drafts=drafts, questions=questions + 1
            )


def _draft(place: int, seats: Sequence[Seat]) -> Draft:
    sample = seats[place].sample
    return Draft(
        member=place,
        text=sample.text,
        message={"role": "assistant", "content": sample.text},
        logprob=sample.logprob,
    )


def alone(game: Play) -> Played | None:
    """Return what comes of a table where nobody needs to be asked; None where somebody does."""
    try:
        next(game)
    except StopIteration as end:
        played: Played = end.value
        return played
    game.close()
    return None
