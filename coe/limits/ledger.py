"""Who keeps account of what is used: the interface, and what it is counted by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from coe.limits.rules import What
from coe.limits.scopes import Kind
from coe.limits.tally import Asked, Held, Refusal, Tally


class Tolls:
    """What limits did, for metrics. Nobody's name is in it, so that there are few series.

    Attributes:
        refused: requests and calls that were not let in, by whose limit and of what.
        spent: money of calls that ended, in billionths, by the kind of the budget that it counts
            for, and its currency.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.refused: Counter[tuple[Kind, What]] = Counter()
        self.spent: Counter[tuple[Kind, str]] = Counter()


class Ledger(Protocol):
    """What was used of every account.

    Attributes:
        tally: as this process knows it.
        tolls: what limits did.
        is_running: whether anything is counted: a command that asks experts by itself has limits
            of its own.
    """

    tally: Tally
    tolls: Tolls
    is_running: bool

    async def reserve(self, entries: Sequence[Asked], now_s: float) -> tuple[Held, ...] | Refusal:
        """Set amounts aside, all of them or none; it never raises for want of a store.

        Args:
            entries: on different accounts.
            now_s: seconds since the epoch.
        """

    def settle(self, held: Held, amount: int, /) -> None:
        """Count an amount instead of the one that was set aside. Nobody waits for it."""

    async def open(self) -> None:
        """Read what was used before, unless that was done.

        Raises:
            ConfigError: it cannot be known what that was.
        """

    def running(self) -> AbstractAsyncContextManager[None]:
        """Open it, and keep what is used from now on, meanwhile. Raises as `open`."""
