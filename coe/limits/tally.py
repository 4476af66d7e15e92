"""What was used of every account, in memory: set aside before a call, put right after it. Pure.

One event loop works on it, between two awaits, so that looking and counting are one step. Nothing
is counted where one of several limits says no.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, inf
from typing import NamedTuple

from coe.limits.rules import MOST, Period
from coe.limits.scopes import Account
from coe.limits.windows import SLIDING, window

_SURE = 1e-4
"""For such a part of a period, what counts of the one before is taken for what it was."""
BEYOND = 4 * MOST["money"]
"""No counter goes further, whatever a backend says it used: it fits 64 bits."""

_LITTLE_S = 0.001  # times are not exact
_AGAIN_S = 1.0  # nobody knows when a call that is under way will end


class Entry(NamedTuple):
    """An amount that is asked of an account, as its rule counts."""

    account: Account
    amount: int


Held = tuple[Account, int, int]
"""An amount that was set aside: of what, how much, and in which period."""


Asked = tuple[Account, int]
"""An `Entry`, or as much as one: few requests can wait for a name to be put on what they ask."""


class Refusal(NamedTuple):
    """Why nothing was set aside.

    Attributes:
        account: whose limit says no.
        amount: that was asked of it.
        used: of it, by now.
        wait_s: after so long it may be there; None where it never will be.
    """

    account: Account
    amount: int
    used: int
    wait_s: float | None


class State(NamedTuple):
    """A counter as stores keep it: what was used in a period, and in the one before."""

    key: str
    period: Period | None
    number: int
    used: int
    previous: int

    def at(self, number: int) -> int:
        """Return what was used in a period by its number; 0 where that is not known."""
        if number == self.number:
            return self.used
        return self.previous if number == self.number - 1 else 0


class Counter:
    """What was used of an account in one period, and in the one before where that still counts.

    Attributes:
        since_s, ends_s: between these times the period is known to be that; 0 before.
        carried: what counts of the one before, as it was worked out last.
        sure_s: until then that is good enough. Less counts by and by, so nobody gets too much.
        length_s: of a period that slides, whose number is the clock's, from `began_s` on; else 0.
    """

    __slots__ = (
        "began_s", "carried", "ends_s", "length_s", "number", "period", "previous", "since_s",
        "sure_s", "used",
    )  # fmt: skip

    def __init__(
        self, period: Period | None, number: int, used: int = 0, previous: int = 0
    ) -> None:
        self.period = period
        self.number = number
        self.used = used
        self.previous = previous
        self.carried = 0
        self.since_s = self.ends_s = self.sure_s = 0.0
        self.began_s = self.length_s = 0

    def roll(self, number: int) -> None:
        """Go on to a period; the one that has just ended is not gone back to.

        An earlier one is: the clock was ahead, and nothing would be free again until it was there.
        What was used meanwhile counts now.
        """
        if number > self.number:
            is_next = number == self.number + 1 and self.period in SLIDING
            self.previous = self.used if is_next else 0
            self.used, self.number = 0, number
        elif number < self.number - 1:
            self.previous, self.number = 0, number

    def left_s(self, now_s: float) -> float:
        """Return how long any of what was used will count, in seconds.

        What is used in a period that slides counts, ever less, to the end of the next one.
        """
        if self.used:
            return max(self.ends_s - now_s + self.length_s, 0.0)
        return max(self.ends_s - now_s, 0.0) if self.previous else 0.0

    def add(self, number: int, amount: int) -> None:
        """Count an amount, which may be less than nothing, in the period that it was taken in."""
        if number == self.number:
            self.used = min(max(self.used + amount, 0), BEYOND)
        elif number == self.number - 1 and self.period in SLIDING:
            self.previous = min(max(self.previous + amount, 0), BEYOND)
            self.sure_s = 0.0


class Tally:
    """Counters by account.

    Attributes:
        changed: accounts whose counters changed since somebody took note of it.
    """

    def __init__(self) -> None:
        """Begin with nothing used."""
        self.changed: set[str] = set()
        self._counters: dict[str, Counter] = {}

    def reserve(self, entries: Sequence[Asked], now_s: float) -> tuple[Held, ...] | Refusal:
        """Set amounts aside, all of them or none.

        Args:
            entries: what is asked of different accounts.
            now_s: seconds since the epoch.
        """
        counters, changed = self._counters, self.changed
        held: list[Held] = []
        for account, amount in entries:
            key = account.key
            counter = counters.get(key)
            if counter is None or not counter.since_s <= now_s < counter.sure_s:
                counter, _ = self._at(account, now_s)
            if (
                counter.used + counter.carried + amount > account.rule.most
                and (used := self._at(account, now_s)[1]) + amount > account.rule.most
            ):
                for taken, part, _ in held:
                    counters[taken.key].used -= part
                later_s = wait_s(account, amount, counter.used, counter.previous, now_s)
                return Refusal(account, amount, used, later_s)
            counter.used += amount
            changed.add(key)
            held.append((account, amount, counter.number))
        return tuple(held)

    def put(self, entries: Iterable[Entry], now_s: float) -> tuple[Held, ...]:
        """Count amounts, whatever the limits say."""
        held = []
        for account, amount in entries:
            counter, _ = self._at(account, now_s)
            counter.add(counter.number, amount)
            self.changed.add(account.key)
            held.append((account, amount, counter.number))
        return tuple(held)

    def settle(self, held: Held, amount: int, /) -> None:
        """Count an amount instead of the one that was set aside."""
        account, before, number = held
        if amount == before:
            return
        key = account.key
        counter = self._counters.get(key)
        if counter is None:
            return
        used = counter.used + amount - before
        if number == counter.number and 0 <= used <= BEYOND:
            counter.used = used
        else:
            counter.add(number, min(amount, BEYOND) - before)
        self.changed.add(key)

    def used(self, account: Account, now_s: float) -> int:
        """Return what counts against a limit now."""
        return self._at(account, now_s)[1]

    def standing(self, account: Account, now_s: float) -> tuple[int, float]:
        """Return what counts against a limit now, and how long any of it will, in seconds."""
        counter, used = self._at(account, now_s)
        return used, counter.left_s(now_s)

    def nearest(self, accounts: Iterable[Account], now_s: float) -> tuple[int, int, float]:
        """Return of the limit that is nearest to its end: what it is, what is left, and until when.

        Args:
            accounts: of the limits; one at least.
            now_s: seconds since the epoch.
        """
        counters = self._counters
        most = left = 0
        found: Counter | None = None
        for account in accounts:
            counter = counters.get(account.key)
            if counter is None or not counter.since_s <= now_s < counter.sure_s:
                counter, _ = self._at(account, now_s)
            limit = account.rule.most
            rest = limit - counter.used - counter.carried
            if found is None or rest < left:
                most, left, found = limit, rest, counter
        return most, left, 0.0 if found is None else found.left_s(now_s)

    def learn(self, state: State) -> None:
        """Take over a counter as somebody else has it."""
        self._counters[state.key] = Counter(state.period, state.number, state.used, state.previous)

    def join(self, state: State, before: State | None) -> None:
        """Count what others did: a counter is kept as `state` now, and was as `before`."""
        counter = self._counters.get(state.key)
        if counter is None:
            self.learn(state)
            return
        if state.number > counter.number:
            counter.roll(state.number)
            counter.since_s = counter.ends_s = counter.sure_s = 0.0
        for number in (state.number, state.number - 1):
            counter.add(number, state.at(number) - (0 if before is None else before.at(number)))

    def states(self, keys: Iterable[str]) -> list[State]:
        """Return the counters of accounts, as far as there are any."""
        counters = ((key, self._counters.get(key)) for key in keys)
        return [
            State(key, one.period, one.number, one.used, one.previous)
            for key, one in counters
            if one is not None
        ]

    def forget(self, now_s: float) -> None:
        """Drop counters of which nothing counts any more."""
        for key, one in list(self._counters.items()):
            number = window(one.period, now_s).number
            is_over = one.number < number - 1 if one.period is not None else not one.used
            if is_over:
                del self._counters[key]

    def __contains__(self, key: str) -> bool:
        """Whether something is known of an account."""
        return key in self._counters

    def __len__(self) -> int:
        """How many counters there are."""
        return len(self._counters)

    def _at(self, account: Account, now_s: float) -> tuple[Counter, int]:
        """Return an account's counter in the present period, and what counts against its limit."""
        counter = self._counters.get(account.key)
        if counter is None or not counter.since_s <= now_s < counter.ends_s:
            period = account.rule.period
            now = window(period, now_s)
            if counter is None:
                counter = self._counters[account.key] = Counter(period, now.number)
            counter.roll(now.number)
            counter.since_s = now_s if period is not None else -inf
            counter.ends_s = now_s + now.left_s if period is not None else inf
            slides = period in SLIDING and counter.number == now.number
            counter.length_s = SLIDING[period] if slides and period is not None else 0
            counter.began_s = now.number * counter.length_s
        if not counter.previous:
            counter.carried, counter.sure_s = 0, counter.ends_s
        elif counter.length_s:  # what `window` says, without looking the period up again
            weight = 1.0 - (now_s - counter.began_s) / counter.length_s
            counter.carried = ceil(counter.previous * weight)
            counter.sure_s = min(now_s + _SURE * counter.length_s, counter.ends_s)
        else:
            now = window(counter.period, now_s)
            weight = now.weight if counter.number == now.number else 1.0
            counter.carried, counter.sure_s = ceil(counter.previous * weight), now_s
        return counter, counter.used + counter.carried


def wait_s(account: Account, amount: int, used: int, previous: int, now_s: float) -> float | None:
    """Return when an amount may fit that does not now, in seconds; None where it never will.

    Args:
        account: that it is asked of.
        amount: how much.
        used: in the present period.
        previous: in the one before, as far as that slides.
        now_s: seconds since the epoch.
    """
    rule = account.rule
    if amount > rule.most:
        return None
    if rule.period is None:
        return _AGAIN_S
    now = window(rule.period, now_s)
    length = SLIDING.get(rule.period)
    if length is None:
        return now.left_s
    room = rule.most - amount - used
    if room >= 0:  # what was used before slides out of the way
        return max(now.weight - room / previous, 0.0) * length + _LITTLE_S if previous else 0.0
    later = 1.0 - (rule.most - amount) / used
    return now.left_s + max(later, 0.0) * length + _LITTLE_S
