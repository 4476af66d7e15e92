"""Who waits for a busy backend: never too many at once, nobody for ever, interactive first."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coe.claim import Claim
from coe.errors import Overloaded
from coe.resilience.crowd import LANES, ROOM, Crowd, Refusal
from coe.resilience.shedding import CrowdKeeper, Line
from coe.scheduler import events
from coe.types import Call

CALL = Call(expert="a", backend="up", model="m", body={})


def test_the_lanes_are_the_schedulers() -> None:
    assert LANES == get_args(events.Lane) == events.LANES


def test_a_free_place_is_taken_at_once() -> None:
    crowd = Crowd(2)

    assert [crowd.enter(n, "interactive", 1.0) for n in range(3)] == [True, True, False]


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    crowd = Crowd(1)
    crowd.enter(0, "interactive", 1.0)
    crowd.leave(4.0)
    crowd.enter(1, "interactive", 1.0)

    assert crowd.enter(2, "interactive", 3.9) == Refusal("wait", 4.0)
    assert crowd.enter(3, "interactive", 4.1) is False
    assert crowd.enter(4, "interactive", 7.9) == Refusal("wait", 8.0)


def test_bulk_waits_for_all_and_interactive_for_its_own() -> None:
    crowd = Crowd(1)
    crowd.enter(0, "interactive", 9.0)
    crowd.leave(1.0)
    crowd.enter(1, "bulk", 9.0)
    for number in (2, 3):
        assert crowd.enter(number, "bulk", 9.0) is False
    assert crowd.enter(4, "interactive", 1.0) is False

    assert crowd.expected_s("bulk") == 4.0
    assert crowd.expected_s("interactive") == 2.0
    crowd.leave(1.0)
    assert crowd.next() == 4


def test_a_line_is_bounded_before_anything_is_known() -> None:
    crowd = Crowd(1)
    entered = [crowd.enter(n, "interactive", 9.0) for n in range(ROOM + 2)]

    assert entered == [True] + [False] * ROOM + [Refusal("room", 1.0)]


class Machine(RuleBasedStateMachine):
    """Any comings and goings."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.inside = 0
        self.waiting: list[tuple[int, str]] = []

    @initialize(places=st.integers(1, 4))
    def begin(self, places: int) -> None:
        self.crowd = Crowd(places)

    @rule(lane=st.sampled_from(LANES), patience_s=st.floats(0, 50))
    def come(self, lane: Any, patience_s: float) -> None:
        self.number += 1
        entered = self.crowd.enter(self.number, lane, patience_s)
        if entered is True:
            assert not self.waiting
            self.inside += 1
        elif entered is False:
            assert self.inside == self.crowd.places
            self.waiting.append((self.number, lane))

    @precondition(lambda self: self.inside)
    @rule(took_s=st.none() | st.floats(0, 30))
    def go(self, took_s: float | None) -> None:
        self.crowd.leave(took_s)
        self.inside -= 1
        following = self.crowd.next()
        ordered = sorted(self.waiting, key=lambda row: LANES.index(row[1]))  # type: ignore[arg-type]
        assert following == (ordered[0][0] if ordered else None)
        if following is not None:
            self.waiting = [row for row in self.waiting if row[0] != following]
            self.inside += 1

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: Any) -> None:
        row = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(row)
        assert self.crowd.give_up(row[0])
        assert not self.crowd.give_up(row[0])

    @invariant()
    def never_too_many(self) -> None:
        if hasattr(self, "crowd"):
            assert self.crowd.running == self.inside <= self.crowd.places
            assert len(self.crowd) == len(self.waiting)


TestMachine = Machine.TestCase


# ---------------------------------------------------------------- the keeper


def keeper(patience_s: float = 60.0) -> tuple[CrowdKeeper, dict[str, Line], Counter[Any]]:
    lines: dict[str, Line] = {}
    shed: Counter[Any] = Counter()
    return CrowdKeeper({"up": 1}, patience_s, lines, shed), lines, shed


@pytest.mark.anyio
async def test_interactive_calls_pass_bulk_in_line() -> None:
    one, _, _ = keeper()
    order: list[str] = []

    async def ask(lane: Any) -> None:
        visit = await one.admit(CALL, Claim(lane=lane))
        order.append(lane)
        assert visit is not None
        visit.ended(b"", None)

    first = await one.admit(CALL, None)
    tasks = [asyncio.create_task(ask(lane)) for lane in ("bulk", "bulk", "interactive")]
    await asyncio.sleep(0)
    assert first is not None
    first.ended(b"", None)
    await asyncio.gather(*tasks)

    assert order == ["interactive", "bulk", "bulk"]


@pytest.mark.anyio
async def test_a_wait_that_lasts_too_long_is_given_up_and_counted() -> None:
    one, lines, shed = keeper(patience_s=0.01)
    await one.admit(CALL, None)

    with pytest.raises(Overloaded, match="`up` is too busy"):
        await one.admit(CALL, None)

    assert len(lines["up"].crowd) == 0
    assert shed == {("up", "wait"): 1}


@pytest.mark.anyio
async def test_who_leaves_the_line_leaves_no_place_taken() -> None:
    one, lines, _ = keeper()
    first = await one.admit(CALL, None)
    waiting = [asyncio.create_task(one.admit(CALL, None)) for _ in range(2)]
    await asyncio.sleep(0)
    assert first is not None

    first.ended(b"", None)  # the next is let in, and goes away in the same moment
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]

    second = await waiting[1]
    assert second is not None
    second.ended(b"", None)
    assert lines["up"].crowd.running == 0


@pytest.mark.anyio
async def test_a_composition_that_is_never_served_changes_no_places() -> None:
    one, lines, shed = keeper()
    await one.admit(CALL, None)
    waiting = asyncio.create_task(one.admit(CALL, None))
    await asyncio.sleep(0)

    other = CrowdKeeper({"up": 3}, 60.0, lines, shed)
    assert lines["up"].crowd.places == 1

    await other.admit(CALL, None)  # it is served after all: who waits has a place, too
    assert await waiting is not None
    assert lines["up"].crowd.running == 3


@pytest.mark.anyio
async def test_a_backend_without_a_limit_has_no_line() -> None:
    one, _, _ = keeper()

    assert await one.admit(Call(expert="a", backend="other", model="m", body={}), None) is None
