"""Several processes count in one place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coe.limits.rules import read
from coe.limits.scopes import Account
from coe.limits.sums import summed
from coe.limits.tally import Entry, Held, State, Tally

NOON = 1_774_958_400.0

_PERIODS = ("min", "day")
_STEPS = st.tuples(
    st.integers(0, 2),  # which process
    st.sampled_from(["count", "settle", "write"]),
    st.integers(1, 50),
    st.sampled_from([0.0, 0.0, 5.0, 40.0]),  # the clock goes on
)


class Process:
    """One that counts, and writes what it counted where all see it."""

    def __init__(self, kept: dict[str, State]) -> None:
        self.tally = Tally()
        self.held: list[Held] = []
        self._kept = kept
        self._before: State | None = None

    def write(self, key: str) -> None:
        """Add what was counted here; see what others did."""
        there = self._kept.get(key)
        if there is not None and there != self._before:
            before, self._before = self._before, there
            own = self.tally.states([key])
            self.tally.join(there, before)
        else:
            before, own = self._before, self.tally.states([key])
        for one in own:
            self._before = self._kept[key] = summed(one, before, there)


@given(period=st.sampled_from(_PERIODS), steps=st.lists(_STEPS, max_size=40))
def test_what_all_have_counted_adds_up(
    period: str, steps: list[tuple[int, str, int, float]]
) -> None:
    rule = read(f"1000000 tokens/{period}")
    limit = Account("all", "all", "everybody", rule)
    alone, kept = Tally(), dict[str, State]()
    twins: list[list[Held]] = [[], [], []]
    processes = [Process(kept) for _ in range(3)]
    now_s = NOON
    for index, what, amount, wait_s in steps:
        now_s += wait_s
        process = processes[index]
        if what == "count":
            (held,) = process.tally.put([Entry(limit, amount)], now_s)
            (twin,) = alone.put([Entry(limit, amount)], now_s)
            process.held.append(held)
            twins[index].append(twin)
        elif what == "settle" and process.held:
            # In the same period: a counter that has nothing to take from stays at nothing.
            held, twin = process.held.pop(), twins[index].pop()
            process.tally.used(limit, now_s)
            alone.used(limit, now_s)
            process.tally.settle(held, held[1] + amount)
            alone.settle(twin, twin[1] + amount)
        else:
            process.write(limit.key)
    for process in (*processes, *processes):
        process.tally.used(limit, now_s)
        process.write(limit.key)

    expected = alone.used(limit, now_s)
    assert [one.tally.used(limit, now_s) for one in processes] == [expected] * 3


def test_what_is_given_back_here_is_given_back_for_all() -> None:
    ours, then = State("all", "day", 3, 10, 0), State("all", "day", 3, 90, 0)

    assert summed(ours, then, State("all", "day", 3, 190, 0)).used == 110


def test_a_period_that_another_has_begun_goes_on() -> None:
    late = State("all", "minute", 3, 10, 0)
    theirs = State("all", "minute", 4, 2, 30)

    assert summed(late, None, theirs) == State("all", "minute", 4, 2, 40)


def test_what_a_clock_kept_that_was_far_ahead_is_given_up() -> None:
    now = State("all", "day", 3, 10, 0)

    assert summed(now, None, State("all", "day", 9, 500, 0)) == now
