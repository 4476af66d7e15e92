"""Amounts are set aside, put right, and slide out of the way."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.identity import ANONYMOUS, GATEWAY, Identity
from coe.limits.rules import read
from coe.limits.scopes import Account, Limit, accounts_of, scope_of
from coe.limits.tally import BEYOND, Entry, Refusal, Tally
from coe.limits.windows import window

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0


def account(text: str, key: str = "all") -> Account:
    rule = read(text)
    return Account(f"{key}/{rule.what}/{rule.period}", "all", "everybody", rule)


def test_what_is_set_aside_is_counted_and_no_more_than_the_limit() -> None:
    tally, five = Tally(), account("5 USD/day")

    held = tally.reserve([Entry(five, 3 * 10**9)], NOON)
    refusal = tally.reserve([Entry(five, 3 * 10**9)], NOON)

    assert not isinstance(held, Refusal)
    assert isinstance(refusal, Refusal)
    assert refusal.used == 3 * 10**9
    assert refusal.wait_s == DAY / 2
    tally.settle(held[0], 10**9)
    assert not isinstance(tally.reserve([Entry(five, 4 * 10**9)], NOON), Refusal)
    assert tally.used(five, NOON) == five.rule.most


def test_nothing_is_counted_where_one_of_two_says_no() -> None:
    tally, wide, narrow = Tally(), account("9 requests/min", "a"), account("1 request/min", "b")

    tally.reserve([Entry(wide, 1), Entry(narrow, 1)], NOON)
    tally.reserve([Entry(wide, 1), Entry(narrow, 1)], NOON)

    assert (tally.used(wide, NOON), tally.used(narrow, NOON)) == (1, 1)


def test_a_minute_slides_and_says_when_there_is_room() -> None:
    tally, ten = Tally(), account("10 requests/min")
    tally.reserve([Entry(ten, 10)], NOON + 59)

    refusal = tally.reserve([Entry(ten, 1)], NOON + 60)

    assert isinstance(refusal, Refusal)
    assert refusal.wait_s is not None
    assert isinstance(tally.reserve([Entry(ten, 1)], NOON + 59.9 + refusal.wait_s), Refusal)
    assert not isinstance(tally.reserve([Entry(ten, 1)], NOON + 60 + refusal.wait_s), Refusal)


def test_a_day_and_a_month_are_the_calendars() -> None:
    tally, month = Tally(), account("5 USD/month")
    tally.reserve([Entry(month, 5 * 10**9)], NOON)

    assert isinstance(tally.reserve([Entry(month, 1)], NOON + DAY / 2 - 1), Refusal)
    assert not isinstance(tally.reserve([Entry(month, 1)], NOON + DAY / 2), Refusal)  # 1 April


def test_more_than_the_limit_itself_never_fits() -> None:
    refusal = Tally().reserve([Entry(account("10 tokens/min"), 11)], NOON)

    assert isinstance(refusal, Refusal)
    assert refusal.wait_s is None


def test_what_is_settled_in_the_next_minute_counts_where_it_was_taken() -> None:
    tally, limit = Tally(), account("100 tokens/min")
    held = tally.reserve([Entry(limit, 100)], NOON + 59)
    assert not isinstance(held, Refusal)
    tally.used(limit, NOON + 60)

    tally.settle(held[0], 10)

    assert tally.used(limit, NOON + 60) == 10


def test_calls_at_once_are_given_back() -> None:
    tally, one = Tally(), account("1 at once")
    held = tally.reserve([Entry(one, 1)], NOON)
    assert not isinstance(held, Refusal)
    refusal = tally.reserve([Entry(one, 1)], NOON + 9)
    assert isinstance(refusal, Refusal)
    assert refusal.wait_s == 1.0

    tally.settle(held[0], 0)

    assert not isinstance(tally.reserve([Entry(one, 1)], NOON), Refusal)


def test_counters_of_which_nothing_counts_are_forgotten() -> None:
    tally = Tally()
    for number in range(1000):
        tally.reserve([Entry(account("10 requests/min", f"key:{number}"), 1)], NOON)
    tally.reserve([Entry(account("10 requests/day", "day"), 1)], NOON)

    tally.forget(NOON + 150)

    assert len(tally) == 1


_PERIODS = st.sampled_from(["s", "min", "h", "day", "month"])


@given(
    _PERIODS,
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 40), st.integers(0, 30), st.integers(0, 60)), max_size=40),
)
def test_sec_22_no_period_has_more_set_aside_than_the_limit(
    period: str, most: int, calls: list[tuple[float, int, int]]
) -> None:
    """And what is settled is at most what was set aside: so no more is used, either."""
    tally, limit = Tally(), account(f"{most} tokens/{period}")
    now_s, used = NOON, {}
    for step_s, amount, actual in calls:
        now_s += step_s
        number = window(limit.rule.period, now_s).number
        held = tally.reserve([Entry(limit, amount)], now_s)
        if isinstance(held, Refusal):
            continue
        assert used.get(number, 0) + amount <= most
        tally.settle(held[0], min(actual, amount))
        used[number] = used.get(number, 0) + min(actual, amount)


@given(st.integers(0, 10**40))
def test_sec_10_a_backend_that_tells_nonsense_overflows_nothing(amount: int) -> None:
    tally, limit = Tally(), account("5 USD/day")
    held = tally.reserve([Entry(limit, 1)], NOON)
    assert not isinstance(held, Refusal)

    tally.settle(held[0], amount)

    assert 0 <= tally.used(limit, NOON) <= BEYOND < 2**63


@given(_PERIODS, st.floats(0, 4e9))
def test_periods_follow_each_other_without_a_gap(period: str, now_s: float) -> None:
    kind = read(f"1 request/{period}").period
    now = window(kind, now_s)

    assert now.left_s > 0
    assert 0 <= now.weight <= 1
    assert window(kind, now_s + now.left_s + 0.001).number == now.number + 1


CI = Identity(tenant="t1", key="k1", name="ci", team="research", limits=("5 requests/min",))


@given(
    text=st.sampled_from(["9 requests/s", "9 requests/min", "9 requests/day", "9 requests/month"]),
    waits=st.lists(st.sampled_from([0.0, 0.25, 7.0, 40.0]), max_size=9),
)
def test_a_limit_is_whole_again_when_it_says_and_no_sooner(text: str, waits: list[float]) -> None:
    tally, limit, now_s = Tally(), account(text), NOON + 3.5
    for wait_s in waits:
        tally.put([Entry(limit, 1)], now_s)
        now_s += wait_s
    used, left_s = tally.standing(limit, now_s)

    assert (left_s == 0.0) is (used == 0)
    if used:
        assert tally.used(limit, now_s + left_s - 0.01) > 0
        assert tally.used(limit, now_s + left_s + 0.01) == 0


@pytest.mark.parametrize(
    ("scope", "identity", "keys"),
    [
        ("all", CI, ["all/requests/day"]),
        ("team", CI, ["team:research/requests/day"]),
        ("team:research", CI, ["team:research/requests/day"]),
        ("team:sales", CI, []),
        ("team", Identity(tenant="x"), []),
        ("key", CI, ["key:k1/requests/day"]),
        ("key:ci", CI, ["key:k1/requests/day"]),
        ("key:k1", CI, ["key:k1/requests/day"]),
        ("key:other", CI, []),
        ("key", Identity(tenant="x"), ["key:x/requests/day"]),
        ("key", ANONYMOUS, ["key:/requests/day"]),
        ("key", GATEWAY, []),
        ("all", GATEWAY, ["all/requests/day"]),
    ],
)
def test_a_scope_says_whose_account_it_is(scope: str, identity: Identity, keys: list[str]) -> None:
    limit = Limit(scope=scope_of(scope), rule=read("9 requests/day"))

    found = [one.key for one in accounts_of([limit], identity)]

    assert [key for key in found if key.endswith("/day")] == keys


def test_a_keys_own_limits_hold_beside_the_compositions() -> None:
    limits = [
        Limit(scope=scope_of("key"), rule=read("9 requests/min")),
        Limit(scope=scope_of("all"), rule=read("90 requests/min")),
    ]

    found = accounts_of(limits, CI)

    assert [(one.key, one.rule.most) for one in found] == [
        ("all/requests/minute", 90),
        ("key:k1/requests/minute", 5),
    ]


@pytest.mark.parametrize("text", ["2 requests/min", "2 requests/day", "2 requests/month"])
def test_after_a_clock_that_was_years_ahead_periods_end_again(text: str) -> None:
    tally, two = Tally(), account(text)
    ahead = NOON + 1000 * DAY
    tally.reserve([Entry(two, 2)], ahead)

    assert isinstance(tally.reserve([Entry(two, 1)], NOON), Refusal)  # nothing is given back
    assert not isinstance(tally.reserve([Entry(two, 1)], NOON + 40 * DAY), Refusal)


def test_a_clock_that_goes_back_a_little_gives_nothing_back() -> None:
    tally, two = Tally(), account("2 requests/min")
    tally.reserve([Entry(two, 2)], NOON - 1)
    tally.reserve([Entry(two, 0)], NOON + 1)

    assert isinstance(tally.reserve([Entry(two, 1)], NOON - 1), Refusal)
    assert isinstance(tally.reserve([Entry(two, 1)], NOON + 1), Refusal)
