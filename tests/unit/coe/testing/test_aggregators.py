"""Every rule of the contract is broken once, and found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from coe.aggregators.plain import PlainAggregator
from coe.drafts import (
    Ask,
    Conflict,
    Consult,
    Last,
    Merge,
    Pick,
    Question,
    Relay,
    Step,
    Table,
    Wait,
    Write,
)
from coe.protocols import AggregatorSpec
from coe.testing.aggregators import check_aggregator

HELLO = ({"role": "user", "content": "hello"},)


class Best(PlainAggregator):
    def choose(self, table: Table) -> Last:
        return Pick(member=table.good[0].member)


def stepping(step: Callable[[Table], Step]) -> Callable[[], Best]:
    """An aggregator that does something of its own, and is as it should be otherwise."""

    class Broken(Best):
        def next(self, table: Table) -> Step:
            return step(table)

    return lambda: Broken(AggregatorSpec(name="b", type="broken"))


def choosing(last: Callable[[Table], Last]) -> Callable[[], Best]:
    class Broken(Best):
        def choose(self, table: Table) -> Last:
            return last(table)

    return lambda: Broken(AggregatorSpec(name="b", type="broken"))


def asking(*questions: Question) -> Callable[[], Best]:
    class Broken(Best):
        def next(self, table: Table) -> Step:
            if table.good and not table.is_closing:
                return Consult(questions)
            return super().next(table)

    return lambda: Broken(AggregatorSpec(name="b", type="broken"))


def patient(table: Table) -> Step:
    if table.unasked:
        return Ask(table.unasked)
    return Wait() if table.pending else Pick(member=table.good[0].member)


def question(key: str = "q", expert: str = "large") -> Question:
    return Question(key=key, expert=expert, messages=HELLO)


def test_one_that_is_as_it_should_be_passes() -> None:
    check_aggregator(lambda: Best(AggregatorSpec(name="b", type="best")))


def test_it_has_a_name() -> None:
    with pytest.raises(AssertionError, match="an aggregator has a name"):
        check_aggregator(lambda: Best(AggregatorSpec(name="", type="best")))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (stepping(lambda table: Ask(tuple(range(len(table.members))))), "nobody is asked twice"),
        (stepping(lambda table: Ask((*table.unasked, *table.unasked))), "nobody is asked twice"),
        (stepping(lambda table: Ask((len(table.members),))), "only members are asked"),
        (stepping(lambda _: Ask(())), "whoever asks, asks somebody"),
        (stepping(lambda _: Wait()), "it waits only for what is pending, or open"),
        (
            stepping(patient),
            "while the table is closing and holds a good draft, the step is a last one",
        ),
        (stepping(lambda _: Pick(member=0)), "the draft that is picked is good"),
        (choosing(lambda table: Pick(member=table.drafts[0].member)), "is picked is good"),
        (choosing(lambda _: Relay(member=0)), "a member whose answer is passed on is unasked"),
        (choosing(lambda _: Write(expert="", messages=HELLO, used=())), "somebody writes"),
        (
            choosing(lambda _: Write(expert="x", messages=(), used=())),
            "whoever is asked is sent at least one message",
        ),
        (
            choosing(lambda _: Write(expert="x", messages=({},), used=())),
            "a message has a role",
        ),
        (
            choosing(lambda t: Write(expert="x", messages=HELLO, used=tuple(t.asked))),
            "the drafts that are written from are good",
        ),
        (choosing(lambda _: Merge(members=(), as_choices=True)), "at least one draft is merged"),
        (
            choosing(lambda t: Merge(members=tuple(t.asked), as_choices=True)),
            "the drafts that are merged are good",
        ),
        (
            choosing(lambda t: Merge(members=(t.good[0].member,) * 2, as_choices=False)),
            "no draft is merged twice",
        ),
        (asking(), "whoever consults, asks something"),
        (asking(question(), question()), "no question is asked twice"),
        (asking(question(expert="")), "somebody is asked"),
        (asking(question()), "no question is asked twice"),
    ],
)
def test_a_broken_one_is_found(make: Callable[[], Best], sentence: str) -> None:
    with pytest.raises(AssertionError, match=f"contract broken: .*{sentence}"):
        check_aggregator(make)


@pytest.mark.parametrize(
    ("conflicts", "sentence"),
    [
        (lambda t: (Conflict(answer="a", members=(t.good[0].member,)),), "at least two answers"),
        (
            lambda t: (Conflict(answer="a", members=(t.good[0].member,)),) * 2,
            "a draft gives one answer",
        ),
        (
            lambda t: (
                Conflict(answer="a", members=(t.good[0].member,)),
                Conflict(answer="b", members=()),
            ),
            "somebody gives an answer in conflict",
        ),
        (
            lambda t: (
                Conflict(answer="a", members=(t.good[0].member,)),
                Conflict(answer="b", members=(len(t.members),)),
            ),
            "conflicts are between good drafts",
        ),
    ],
)
def test_conflicts_that_are_none_are_found(
    conflicts: Callable[[Table], tuple[Conflict, ...]], sentence: str
) -> None:
    make = choosing(lambda t: Pick(member=t.good[0].member, conflicts=conflicts(t)))

    with pytest.raises(AssertionError, match=sentence):
        check_aggregator(make)


def test_one_that_asks_on_and_on_is_found() -> None:
    def step(table: Table) -> Step:
        if table.unasked:
            return Ask(table.unasked)
        if table.is_closing and table.good:
            return Pick(member=table.good[0].member)
        return Wait() if table.pending else Consult((question(key=f"q{len(table.consulted)}"),))

    with pytest.raises(AssertionError, match="no more than 64 questions are asked at one table"):
        check_aggregator(stepping(step))


def test_one_that_consults_while_it_closes_is_found() -> None:
    def step(table: Table) -> Step:
        if table.good:
            return Pick(member=table.good[0].member)
        if table.is_closing:
            return Consult((question(),))
        return Ask(table.unasked) if table.unasked else Wait()

    with pytest.raises(AssertionError, match="while the table is closing nobody is consulted"):
        check_aggregator(stepping(step))


def test_one_that_asks_while_it_closes_is_found() -> None:
    def step(table: Table) -> Step:
        if table.good:
            return Pick(member=table.good[0].member)
        free = [place for place in range(len(table.members)) if place not in table.asked]
        return Ask((free[0],)) if free else Wait()

    with pytest.raises(AssertionError, match="while the table is closing nobody is asked"):
        check_aggregator(stepping(step))


def test_one_that_changes_its_mind_is_found() -> None:
    mind = count()

    with pytest.raises(AssertionError, match="the same table gives the same step"):
        check_aggregator(choosing(lambda t: Pick(member=t.good[0].member, why=str(next(mind)))))


def test_one_that_writes_into_the_conversation_is_found() -> None:
    def step(table: Table) -> Last:
        table.messages[0]["content"] = "mine"  # type: ignore[index]
        return Pick(member=table.good[0].member)

    with pytest.raises(AssertionError, match="the table that it is shown is not changed"):
        check_aggregator(choosing(step))
