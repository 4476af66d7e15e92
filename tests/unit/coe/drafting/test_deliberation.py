"""Whatever happens at a panel: every call ends once, the limit holds, and the answer comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.drafting.budget import Budget, Grant, Offer
from coe.drafting.deliberation import Action, Deliberation, Fail, Finish, Start, Stop
from coe.drafting.records import Bill
from coe.drafts import (
    Ask,
    Consult,
    Draft,
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

MESSAGES = ({"role": "user", "content": "hello"},)
TRIO = tuple(Member(expert=name) for name in "abc")


@dataclass
class Scripted:
    """Takes the steps that it is given, one after the other."""

    steps: list[Step | Callable[[Table], Step]]
    shown: list[Table] = field(default_factory=list)
    name: str = "scripted"

    def next(self, table: Table) -> Step:
        self.shown.append(table)
        step = self.steps.pop(0)
        return step(table) if callable(step) else step


def draft(place: int, text: str = "hello") -> Draft:
    return Draft(member=place, text=text, message={"role": "assistant", "content": text})


def starts(actions: list[object]) -> list[object]:
    return [action.what for action in actions if isinstance(action, Start)]


def question(key: str) -> Question:
    return Question(key=key, expert="judge", messages=MESSAGES)


def test_a_panel_from_its_first_call_to_its_answer() -> None:
    told = Deliberation(Scripted([Ask((0, 1)), Wait(), Wait(), Pick(member=1)]), TRIO, MESSAGES)

    assert starts(told.next()) == [0, 1]
    told.drafted(draft(0), Bill(cost=0.1))
    assert told.next() == []
    told.drafted(draft(1), Bill(cost=0.2))
    assert told.next() == [Finish(Pick(member=1))]
    assert [record.status for record in told.records] == ["unused", "answer"]
    assert told.budget.spent == pytest.approx(0.3)


def test_what_is_under_way_is_stopped_when_the_answer_is_there() -> None:
    told = Deliberation(Scripted([Ask((0, 1)), Wait(), Pick(member=0)]), TRIO, MESSAGES)
    told.next()
    told.drafted(draft(0), Bill())

    assert told.next() == [Stop(1), Finish(Pick(member=0))]
    assert told.records[1].status == "late"

    told.drafted(draft(1), Bill(cost=9.0))
    assert told.records[1].status == "late"
    assert told.budget.spent == 0.0


def test_at_the_deadline_the_table_closes() -> None:
    last = lambda table: Pick(member=table.good[0].member)  # noqa: E731
    method = Scripted([Ask((0, 1)), Wait(), Wait(), last])
    told = Deliberation(method, TRIO, MESSAGES)
    told.next()
    told.drafted(draft(1), Bill())
    told.next()
    told.time_is_up()

    assert told.next() == [Stop(0), Finish(Pick(member=1))]
    assert method.shown[-1].is_closing
    assert method.shown[-1].unasked == ()


def test_past_the_deadline_a_panel_without_a_draft_goes_on() -> None:
    method = Scripted([Ask((0,)), Wait(), Wait(), Ask((1,)), Wait(), Pick(member=1)])
    told = Deliberation(method, TRIO, MESSAGES)
    told.next()
    told.time_is_up()
    assert told.next() == []
    told.drafted(Draft(member=0, error="gone"), Bill())

    assert starts(told.next()) == [1]
    told.drafted(draft(1), Bill())
    assert told.next() == [Finish(Pick(member=1))]


def test_without_a_draft_there_is_no_answer() -> None:
    told = Deliberation(Scripted([Ask((0, 1, 2)), Wait()]), TRIO, MESSAGES)
    told.next()
    for place in range(3):
        told.drafted(Draft(member=place, error="gone"), Bill(), is_malformed=place == 1)

    assert told.next() == [Fail()]
    assert [record.status for record in told.records] == ["failed", "dropped", "failed"]


def test_a_relayed_member_that_fails_is_a_failed_draft() -> None:
    method = Scripted([Ask((0,)), Wait(), Relay(member=1), Pick(member=0)])
    told = Deliberation(method, TRIO, MESSAGES)
    told.next()
    told.drafted(draft(0), Bill())
    (end,) = told.next()
    assert isinstance(end, Finish)

    told.unanswered(end.step, "gone", Bill(cost=0.0))

    assert told.next() == [Finish(Pick(member=0))]
    assert method.shown[-1].drafts[-1] == Draft(member=1, error="gone")
    assert [record.status for record in told.records] == ["answer", "failed"]


def test_where_the_writer_fails_the_best_draft_is_the_answer() -> None:
    write = Write(expert="w", messages=MESSAGES, used=(1, 2))
    told = Deliberation(Scripted([Ask((1, 2)), Wait(), write]), TRIO, MESSAGES)
    told.next()
    for place in (2, 1):
        told.drafted(draft(place), Bill())
    (end,) = told.next()
    assert [record.status for record in told.records] == ["used", "used", "answer"]

    told.unanswered(write, "gone", Bill())

    (end,) = told.next()
    assert isinstance(end, Finish)
    assert end.step == Pick(member=1, why="the writer failed (gone): the best draft")
    assert [record.status for record in told.records] == ["answer", "unused", "failed"]


BROKEN: list[tuple[Step, str]] = [
    (Ask(()), "names no member"),
    (Ask((1, 1)), "one of them twice"),
    (Ask((0,)), "member 0 again"),
    (Ask((7,)), "a member that there is not"),
    (Wait(), "nothing is under way"),
    (Relay(member=0), "which was asked already"),
    (Relay(member=-1), "a member that there is not"),
    (Pick(member=1), "no good draft"),
    (Merge(members=(), as_choices=True), "names no member"),
    (Merge(members=(0, 1), as_choices=True), "no good draft"),
    (Write(expert="w", messages=(), used=(0,)), "written to no message"),
    (Write(expert="w", messages=MESSAGES, used=(2,)), "no good draft"),
    (Consult(()), "asks no question"),
    (Consult((question("q"), question("q"))), "one of them twice"),
    (Consult(tuple(question(str(i)) for i in range(65))), "more than 64"),
    ("nonsense", "str is no step"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("step", "why"), BROKEN, ids=lambda value: str(value)[:40])
def test_a_step_that_breaks_the_contract_costs_nobody_the_answer(step: Step, why: str) -> None:
    told = Deliberation(Scripted([Ask((0,)), Wait(), step]), TRIO, MESSAGES)
    told.next()
    told.drafted(draft(0), Bill())

    (end,) = told.next()

    assert isinstance(end, Finish)
    assert end.step == Pick(member=0, why=f"{told.broken}; the best draft")
    assert why in told.broken


def test_asking_while_the_table_closes_breaks_the_contract() -> None:
    told = Deliberation(Scripted([Ask((0,)), Wait(), Ask((1,))]), TRIO, MESSAGES)
    told.next()
    told.time_is_up()
    told.drafted(draft(0), Bill())

    assert isinstance(told.next()[-1], Finish)
    assert "while the table is closing" in told.broken


def test_a_method_that_is_broken_from_the_start_asks_one_after_the_other() -> None:
    told = Deliberation(Scripted([Wait()]), TRIO, MESSAGES)

    assert starts(told.next()) == [0]
    told.drafted(Draft(member=0, error="gone"), Bill())
    assert starts(told.next()) == [1]
    told.drafted(draft(1), Bill())
    assert isinstance(told.next()[-1], Finish)


def test_who_cannot_be_paid_for_is_not_asked() -> None:
    last = lambda table: Pick(member=table.good[0].member)  # noqa: E731
    method = Scripted([Ask((0, 1, 2)), Wait(), Wait(), last])
    told = Deliberation(
        method, TRIO, MESSAGES, budget=Budget(1.0), offers=lambda _: Offer(prompt=0.4)
    )

    assert starts(told.next()) == [0, 1]
    assert (told.records[2].status, told.records[2].is_made) == ("dropped", False)

    told.drafted(draft(1), Bill(cost=0.3))
    assert told.next() == []
    told.drafted(draft(0), Bill(cost=0.3))
    assert isinstance(told.next()[-1], Finish)
    assert method.shown[-1].is_closing
    assert told.budget.spent == pytest.approx(0.6)


def test_a_writer_that_cannot_be_paid_for_leaves_the_best_draft() -> None:
    write = Write(expert="w", messages=MESSAGES, used=(0,))
    told = Deliberation(
        Scripted([Ask((0,)), Wait(), write]),
        TRIO,
        MESSAGES,
        budget=Budget(1.0),
        offers=lambda _: Offer(prompt=0.7),
    )
    told.next()
    told.drafted(draft(0), Bill(cost=0.7))

    (end,) = told.next()

    assert isinstance(end, Finish)
    assert isinstance(end.step, Pick)
    assert told.records[-1].role == "writer"
    assert not told.records[-1].is_made


class Wild:
    """Takes any steps at all, some of which break the contract."""

    name = "wild"

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._asked = 0

    def next(self, table: Table) -> Step:
        draw = self._data.draw
        places = st.integers(-1, len(table.members))
        some = st.lists(places, max_size=3).map(tuple)
        self._asked += 1
        fair: list[Step] = []
        if table.unasked:
            fair.append(Ask(table.unasked[:2]))
            fair.append(Relay(member=table.unasked[-1]))
        if table.pending or table.open_questions:
            fair.append(Wait())
        if table.good:
            used = tuple(one.member for one in table.good)
            fair.append(Pick(member=used[-1]))
            fair.append(Write(expert="w", messages=MESSAGES, used=used))
        if not table.is_closing:
            fair.append(Consult((question(f"q{self._asked}"),)))
        wrong = st.one_of(
            st.builds(Ask, some),
            st.builds(Pick, member=places),
            st.builds(Relay, member=places),
            st.builds(Merge, members=some, as_choices=st.booleans()),
            st.just(Wait()),
        )
        step: Step = draw(st.one_of(st.sampled_from(fair), st.sampled_from(fair), wrong))
        return step


@given(
    data=st.data(),
    count=st.integers(1, 5),
    quorum=st.none() | st.integers(1, 5),
    cap=st.none() | st.floats(0.0, 3.0),
)
@settings(max_examples=300, deadline=None)
def test_whatever_happens(
    data: st.DataObject, count: int, quorum: int | None, cap: float | None
) -> None:
    offers = {}

    def offer(what: object) -> Offer:
        key = what if isinstance(what, int) else repr(what)
        if key not in offers:
            limit = data.draw(st.none() | st.integers(1, 100))
            offers[key] = Offer(data.draw(st.floats(0, 1)), data.draw(st.floats(0, 0.01)), limit)
        return offers[key]

    budget = Budget(cap)
    told = Deliberation(
        Wild(data),
        [Member(expert=f"e{place}") for place in range(count)],
        MESSAGES,
        quorum=quorum,
        budget=budget,
        offers=offer,
    )
    end = _played(data, told, cap)

    good = {one.member for one in told.table.drafts if not one.has_failed}
    if isinstance(end, Fail):
        assert not good
        assert len(told.table.asked) == count
    elif isinstance(end.step, Pick):
        assert end.step.member in good
    assert all(record.status != "asked" for record in told.records), "every call is resolved"
    if cap is not None:
        assert budget.spent <= cap + 1e-9


def _played(data: st.DataObject, told: Deliberation, cap: float | None) -> Finish | Fail:
    """Let things happen until there is an end, and return it."""
    flying: dict[int | str, Grant] = {}
    begun: set[int | str] = set()
    for _ in range(500):
        end = _acted(told.next(), flying, begun)
        if cap is not None:
            assert told.budget.spent + told.budget.held <= cap + 1e-9
        if isinstance(end, Fail):
            return end
        if end is None:
            _happened(data, told, flying, cap)
        elif isinstance(end.step, Relay | Write) and data.draw(st.booleans()):
            told.unanswered(end.step, "gone", _bill(data, end.grant, cap))
        else:
            told.answered(_bill(data, end.grant, cap))
            return end
    raise AssertionError("the answer always comes")


def _acted(
    actions: list[Action], flying: dict[int | str, Grant], begun: set[int | str]
) -> Finish | Fail | None:
    for action in actions:
        if isinstance(action, Start):
            key = _key(action.what)
            assert key not in begun, "a call is made once"
            begun.add(key)
            flying[key] = action.grant
        elif isinstance(action, Stop):
            del flying[_key(action.what)]
        else:
            assert not flying, "nothing is in flight when the answer is made"
            return action
    assert flying, "something is awaited"
    return None


def _happened(
    data: st.DataObject, told: Deliberation, flying: dict[int | str, Grant], cap: float | None
) -> None:
    if data.draw(st.integers(0, 9)) == 9:
        told.time_is_up()
        return
    key = data.draw(st.sampled_from(sorted(flying, key=str)))
    bill = _bill(data, flying.pop(key), cap)
    is_good = data.draw(st.booleans())
    if isinstance(key, int):
        made = draft(key) if is_good else Draft(member=key, error="gone")
        told.drafted(made, bill, is_malformed=data.draw(st.booleans()))
    else:
        told.remarked(key, Remark(text="1") if is_good else Remark(error="gone"), bill)


def _key(what: int | Question) -> int | str:
    return what if isinstance(what, int) else what.key


def _bill(data: st.DataObject, grant: Grant, cap: float | None) -> Bill:
    """Return what a call took: never more than what was set aside, where there is a limit."""
    if data.draw(st.booleans()):
        return Bill()
    return Bill(cost=grant.most * data.draw(st.floats(0, 1)) if cap is not None else 0.1)
