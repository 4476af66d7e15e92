"""The retry budget: never more than a part of the traffic, and never none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coe.resilience.budget import PER_S, RESERVE, RetryBudget
from coe.resilience.latencies import KEPT, LEAST, Latencies

RATIO = 0.2
STEPS = st.lists(
    st.tuples(st.floats(0, 0.2), st.sampled_from(["request", "call"])), min_size=1, max_size=300
)


@given(STEPS)
def test_further_calls_are_a_part_of_the_requests(steps: list[tuple[float, str]]) -> None:
    budget, now_s, requests = RetryBudget(0.0), 0.0, 0
    for pause_s, what in steps:
        now_s += pause_s
        if what == "request":
            budget.earn(RATIO)
            requests += 1
        else:
            budget.spend(now_s)

        assert budget.spent <= RESERVE + PER_S * now_s + RATIO * requests + 1e-9


@given(st.integers(100, 2000))
def test_where_everything_fails_a_fifth_more_is_asked(requests: int) -> None:
    budget = RetryBudget(0.0)
    for _ in range(requests):
        budget.earn(RATIO)
        budget.spend(0.0)

    assert abs(budget.spent - RESERVE - RATIO * requests) <= 2
    assert budget.spent + budget.refused == requests


def test_a_gateway_with_few_requests_can_always_fall_back() -> None:
    budget = RetryBudget(0.0)
    for minute in range(1000):
        budget.earn(RATIO)
        assert budget.spend(60.0 * minute)


def test_a_clock_that_goes_back_earns_nothing() -> None:
    budget = RetryBudget(100.0)
    spent = sum(budget.spend(now_s) for now_s in (100.0, 50.0) * 20)

    assert spent == RESERVE


def test_what_nineteen_of_twenty_did_not_exceed() -> None:
    latencies = Latencies()
    for n in range(1, LEAST):
        latencies.note("a", n)
    assert latencies.p95("a") is None

    latencies.note("a", LEAST)
    assert latencies.p95("a") == 20
    assert latencies.p95("b") is None

    for _ in range(KEPT):
        latencies.note("a", 1.0)
    assert latencies.p95("a") == 1.0
