"""The breaker of one expert, with a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coe.claim import Claim
from coe.errors import (
    BackendRejected,
    BackendTimeout,
    BackendUnreachable,
    BreakerOpen,
    ContextTooLong,
    QueueFull,
)
from coe.resilience.breaker import LEAST_CALLS, Breaker, Ticket
from coe.resilience.breakers import BreakerKeeper, Breakers, Change
from coe.resilience.rules import BreakerRules
from coe.types import Call

RULES = BreakerRules(failures=3, window_s=30.0, open_s=20.0)
CALL = Call(expert="a", backend="up", model="m", body={})


def let_in(breaker: Breaker, now_s: float, **how: Any) -> Ticket:
    ticket = breaker.admit(now_s, **how)
    assert ticket is not None
    return ticket


def broken(breaker: Breaker, now_s: float, rules: BreakerRules = RULES) -> None:
    for _ in range(rules.failures):
        breaker.failed(let_in(breaker, now_s), rules, now_s)


def test_so_many_failures_in_a_row_open_it() -> None:
    breaker = Breaker()

    opened = [breaker.failed(let_in(breaker, n), RULES, n) for n in (0.0, 1.0, 2.0)]

    assert opened == [False, False, True]
    assert breaker.admit(21.9) is None
    assert breaker.left_s(12.0) == 10.0


def test_an_answer_in_between_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(20):
        breaker.failed(let_in(breaker, 0.0), RULES, 0.0)
        breaker.failed(let_in(breaker, 0.0), RULES, 0.0)
        breaker.answered(let_in(breaker, 0.0), RULES, 0.0)

    assert breaker.is_closed


def test_failures_out_of_the_window_do_not_count() -> None:
    breaker = Breaker()
    for n in range(20):
        breaker.failed(let_in(breaker, 0.0), RULES, n * 15.1)

    assert breaker.is_closed


def test_a_large_share_of_failures_opens_it_though_never_in_a_row() -> None:
    rules = BreakerRules(failures=100, window_s=30.0, open_s=20.0, error_rate=0.5)
    breaker = Breaker()
    opened = []
    for n in range(LEAST_CALLS // 2):
        breaker.answered(let_in(breaker, n), rules, n)
        opened.append(breaker.failed(let_in(breaker, n), rules, n))

    assert opened == [False] * (LEAST_CALLS // 2 - 1) + [True]


def test_few_calls_say_nothing_of_a_rate() -> None:
    rules = BreakerRules(failures=100, window_s=30.0, open_s=20.0, error_rate=0.1)
    breaker = Breaker()
    for _ in range(LEAST_CALLS - 1):
        breaker.failed(let_in(breaker, 0.0), rules, 0.0)

    assert breaker.is_closed


def test_answers_leave_the_window_slice_by_slice() -> None:
    rules = BreakerRules(failures=100, window_s=10.0, open_s=20.0, error_rate=0.9)
    breaker = Breaker()
    for _ in range(1000):
        breaker.answered(let_in(breaker, 0.0), rules, 0.0)
    for _ in range(LEAST_CALLS):
        breaker.failed(let_in(breaker, 11.0), rules, 11.0)

    assert not breaker.is_closed


def test_one_call_finds_out_and_the_others_wait_for_it() -> None:
    breaker = Breaker()
    broken(breaker, 0.0)

    probe = let_in(breaker, 20.0)

    assert probe.is_probe
    assert breaker.admit(20.0) is None
    assert breaker.answered(probe, RULES, 21.0)
    assert breaker.is_closed


def test_a_probe_that_fails_opens_it_for_the_whole_time() -> None:
    breaker = Breaker()
    broken(breaker, 0.0)

    breaker.failed(let_in(breaker, 25.0), RULES, 26.0)

    assert breaker.left_s(26.0) == 20.0
    assert breaker.opened == 1


def test_a_probe_that_nothing_came_of_leaves_the_place_to_the_next() -> None:
    breaker = Breaker()
    broken(breaker, 0.0)
    breaker.abandoned(let_in(breaker, 20.0))

    assert let_in(breaker, 20.0).is_probe


def test_opening_again_never_shortens_what_was_said_before() -> None:
    breaker = Breaker()
    breaker.open(100.0)

    breaker.open(30.0)

    assert breaker.left_s(0.0) == 100.0


def test_calls_from_before_it_opened_change_nothing() -> None:
    breaker = Breaker()
    early, late = let_in(breaker, 0.0), let_in(breaker, 0.0)
    broken(breaker, 0.0)

    assert not breaker.answered(early, RULES, 1.0)
    assert not breaker.failed(late, RULES, 19.0)
    assert breaker.left_s(1.0) == 19.0


def test_who_insists_is_let_in_and_an_answer_closes_it() -> None:
    breaker = Breaker()
    broken(breaker, 0.0)

    ticket = let_in(breaker, 1.0, insists=True)

    assert not ticket.is_probe
    assert breaker.answered(ticket, RULES, 2.0)
    assert breaker.is_closed


class Machine(RuleBasedStateMachine):
    """Any calls, in any order, with any clock that does not go back."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now_s = 0.0
        self.tickets: list[Ticket] = []
        self.probes: list[Ticket] = []
        self.until_s = 0.0

    @initialize(failures=st.integers(1, 4), open_s=st.floats(0.5, 50), rate=st.booleans())
    def begin(self, failures: int, open_s: float, *, rate: bool) -> None:
        self.rules = BreakerRules(
            failures=failures, window_s=10.0, open_s=open_s, error_rate=0.5 if rate else None
        )

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(insists=st.booleans())
    def ask(self, *, insists: bool) -> None:
        was_barred = self.breaker.bars(self.now_s)
        ticket = self.breaker.admit(self.now_s, insists=insists)
        assert (ticket is None) == (was_barred and not insists)
        if ticket is not None:
            self.tickets.append(ticket)
            if ticket.is_probe:
                self.probes.append(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), what=st.sampled_from(["answered", "failed", "abandoned"]))
    def end(self, data: Any, what: str) -> None:
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        if ticket in self.probes:
            self.probes.remove(ticket)
        before_s = self.breaker.left_s(self.now_s)
        was_closed = self.breaker.is_closed
        if what == "abandoned":
            self.breaker.abandoned(ticket)
        elif what == "answered":
            self.breaker.answered(ticket, self.rules, self.now_s)
        else:
            self.breaker.failed(ticket, self.rules, self.now_s)
            assert self.breaker.left_s(self.now_s) >= before_s
            assert was_closed or not self.breaker.is_closed

    @rule(seconds=st.floats(0.1, 100))
    def told(self, seconds: float) -> None:
        before_s = self.breaker.left_s(self.now_s)
        self.breaker.open(self.now_s + seconds)
        assert self.breaker.left_s(self.now_s) >= before_s

    @invariant()
    def one_probe_at_most(self) -> None:
        live = [probe for probe in self.probes if probe.era == self.breaker.era]
        assert len(live) <= 1
        assert (self.breaker.state() == "probing") == bool(live)

    @invariant()
    def never_shut_for_ever(self) -> None:
        if not any(probe.era == self.breaker.era for probe in self.probes):
            assert not self.breaker.bars(self.now_s + self.breaker.left_s(self.now_s) + 1e-6)


TestMachine = Machine.TestCase


@given(st.integers(2, 40), st.integers(1, 10))
def test_of_many_that_come_at_once_one_probes(callers: int, failures: int) -> None:
    breaker = Breaker()
    broken(breaker, 0.0, BreakerRules(failures=failures, open_s=5.0))

    tickets = [breaker.admit(5.0) for _ in range(callers)]

    assert [ticket is not None for ticket in tickets].count(True) == 1


# ---------------------------------------------------------------- all of them, and the keeper


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def fail(breakers: Breakers, times: int = 3) -> None:
    for _ in range(times):
        breakers.enter(CALL, RULES).ended(b"", BackendUnreachable("gone"))


def test_an_open_breaker_says_for_how_long() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    fail(breakers)
    clock.now_s = 5.0

    with pytest.raises(BreakerOpen, match="its breaker is open for 15 s") as caught:
        breakers.enter(CALL, RULES)

    assert caught.value.retry_after_s == 15.0
    assert breakers.bars("up", "a")
    assert not breakers.bars("other", "a")


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (BackendTimeout("late"), True),
        (BackendRejected("no", backend_status=503), True),
        (BackendRejected("no", backend_status=429), True),
        (BackendRejected("no", backend_status=401), True),
        (BackendRejected("no", backend_status=400), False),
        (ContextTooLong("long"), False),
        (QueueFull("full"), False),
        (None, False),
    ],
)
def test_only_what_is_the_experts_fault_counts(error: Exception | None, *, counts: bool) -> None:
    breakers = Breakers(Clock())
    for _ in range(3):
        breakers.enter(CALL, RULES).ended(b"", error)

    assert breakers.bars("up", "a") == counts


def test_a_stream_that_breaks_counts_as_a_failure() -> None:
    breakers = Breakers(Clock())
    for _ in range(3):
        visit = breakers.enter(CALL, RULES)
        visit.opened(b"data")
        visit.ended(b"data", BackendTimeout("silence"))

    assert breakers.bars("up", "a")


def test_a_probe_that_begins_to_answer_lets_the_others_in() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    fail(breakers)
    clock.now_s = 20.0

    breakers.enter(CALL, RULES).opened(b"data")

    assert breakers.unwell == {}
    assert breakers.state("up", "a") == "closed"


def test_replicas_are_told_of_what_was_seen_here_alone() -> None:
    told: list[Change] = []
    breakers = Breakers(Clock())
    breakers.on_change = told.append

    breakers.heard(Change("up", "a", 7.0))
    assert breakers.bars("up", "a")
    breakers.heard(Change("up", "a", 0.0))
    assert not breakers.bars("up", "a")
    assert told == []

    fail(breakers)
    assert told == [Change("up", "a", 20.0)]


@pytest.mark.anyio
async def test_the_keeper_lets_in_who_insists() -> None:
    breakers = Breakers(Clock())
    fail(breakers)
    keeper = BreakerKeeper(breakers, RULES)

    with pytest.raises(BreakerOpen):
        await keeper.admit(CALL, Claim())
    await keeper.admit(CALL, Claim(insists=True))
