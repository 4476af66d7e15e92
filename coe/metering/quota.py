"""What one request is counted on, and what its sender is told of that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from coe.limits.ledger import Ledger
from coe.limits.rules import NANO
from coe.limits.scopes import Account
from coe.limits.tally import Held, Refusal
from coe.metering.accounts import Accounts
from coe.metering.refusals import refused

Headers = list[tuple[bytes, bytes]]


class Quota:
    """What one request is counted on, from its beginning to its end."""

    __slots__ = ("_accounts", "_clock", "_held", "_ledger")

    def __init__(self, ledger: Ledger, clock: Callable[[], float], accounts: Accounts) -> None:
        self._ledger = ledger
        self._clock = clock
        self._accounts = accounts
        self._held: tuple[Held, ...] = ()

    async def enter(self) -> None:
        """Count the request.

        Raises:
            RateLimited: it is one too many, for now.
        """
        if self._accounts.requests and self._ledger.is_running:
            held = await self._ledger.reserve(self._accounts.requests, self._clock())
            if isinstance(held, Refusal):
                raise refused(self._ledger, held)
            self._held = held

    def leave(self) -> None:
        """Take note that it is not under way any more."""
        if self._accounts.at_once:
            for held in self._held:
                if held[0].rule.period is None:
                    self._ledger.settle(held, 0)
        self._held = ()

    def headers(self) -> Headers:
        """Return how much is left of the limits that are nearest to their end."""
        rows: Headers = []
        now_s, nearest = self._clock(), self._ledger.tally.nearest
        for (limit, remaining, reset), accounts in self._accounts.shown:
            most, left, left_s = nearest(accounts, now_s)
            rows += (
                (limit, b"%d" % most),
                (remaining, b"%d" % max(left, 0)),
                (reset, b"%ds" % math.ceil(left_s)),
            )
        return rows

    def rows(self, shown: set[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield each limit, and what was used of it, for people to read.

        Args:
            shown: accounts that are left out; those that are yielded are added to them.
        """
        shown = set() if shown is None else shown
        accounts, tally = self._accounts, self._ledger.tally
        now_s = self._clock()
        for one in (*(e.account for e in accounts.requests), *accounts.tokens, *accounts.money):
            if one.key in shown:
                continue
            shown.add(one.key)
            yield row_of(one, *tally.standing(one, now_s))


def row_of(account: Account, used: int, left_s: float) -> dict[str, Any]:
    """Return a limit, and what was used of it, for people to read. Money is in its own units."""
    rule = account.rule
    unit = NANO if rule.what == "money" else 1
    most, taken, left = (
        one / unit if unit > 1 else one for one in (rule.most, used, max(rule.most - used, 0))
    )
    return {
        "scope": account.kind,
        "who": account.who,
        "what": rule.what,
        "limit": str(rule),
        "most": most,
        "used": taken,
        "remaining": left,
        "currency": rule.currency or None,
        "reset_s": round(left_s, 3) if rule.period else None,
    }
