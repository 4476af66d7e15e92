"""Counts requests and calls against the limits of those who make them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from coe.claim import Claim
from coe.composition import Composition
from coe.identity import GATEWAY, Identity
from coe.limits.ledger import Ledger
from coe.limits.scopes import accounts_of
from coe.limits.strangers import OTHERS, accounts_here
from coe.limits.tally import Asked, Refusal
from coe.metering.accounts import Accounts, sorted_out
from coe.metering.payment import Payment, most_of
from coe.metering.quota import Quota
from coe.metering.refusals import refused, unpriced
from coe.types import Call

_MOST_KNOWN = 4096  # people whose accounts are found without looking


class Meter:
    """The limits of one composition. See `coe.door.Keeper`."""

    def __init__(
        self, composition: Composition, ledger: Ledger, clock: Callable[[], float] = time.time
    ) -> None:
        """Store the parts; `clock` is seconds since the epoch."""
        self.ledger = ledger
        self.clock = clock
        self._composition = composition
        self._known: dict[object, Accounts] = {}
        self._last: tuple[Identity, Accounts] | None = None
        self._own = sorted_out(accounts_of(composition.limits, GATEWAY))
        self._others: Accounts | None = None
        self._has_limits = bool(composition.limits)

    def counts(self, identity: Identity) -> bool:
        """Whether anything may be counted of somebody; most gateways have no limits."""
        return self._has_limits or bool(identity.limits)

    def quota(self, identity: Identity) -> Quota:
        """Return what somebody's request is counted on."""
        return Quota(self.ledger, self.clock, self.accounts(identity))

    def accounts(self, identity: Identity) -> Accounts:
        """Return what is counted of somebody.

        Raises:
            ConfigError: the limits of the key cannot be read: nothing is let through then.
        """
        last = self._last
        if last is not None and last[0] is identity:  # a request asks several times
            return last[1]
        if identity is GATEWAY:
            return self._own
        who = (identity.key, identity.tenant, identity.name, identity.team, identity.limits)
        found = self._known.get(who)
        if found is None:
            here = accounts_here(self._composition.limits, identity, self.ledger.tally)
            if here is None:
                return self._of_others()
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[who] = sorted_out(here)
        self._last = (identity, found)
        return found

    def _of_others(self) -> Accounts:
        """Return the account of all together who have none; nobody is remembered as one of them."""
        if self._others is None:
            self._others = sorted_out(accounts_of(self._composition.limits, OTHERS))
        return self._others

    def rows(self, identities: Iterable[Identity]) -> Iterator[dict[str, Any]]:
        """Yield what was used of everybody who is known here, and of these, each account once."""
        shown: set[str] = set()
        for one in identities:
            self.accounts(one)
        others = () if self._others is None else (self._others,)
        for accounts in (self._own, *self._known.values(), *others):
            yield from Quota(self.ledger, self.clock, accounts).rows(shown)

    async def admit(self, call: Call, claim: Claim | None) -> Payment | None:
        """See `Keeper.admit`.

        Raises:
            RateLimited, BudgetExceeded: it could take an account over its limit.
        """
        identity = GATEWAY if claim is None else claim.identity
        if not self.counts(identity):
            return None
        accounts = self.accounts(identity)
        if not (accounts.tokens or accounts.money) or not self.ledger.is_running:
            return None
        expert = self._composition.experts[call.expert]
        if expert.program is not None:
            return None
        most = most_of(call, expert)
        entries: list[Asked] = [
            (one, most.tokens if most.is_known else min(most.tokens, one.rule.most))
            for one in accounts.tokens
        ]
        cost, price = most.cost, expert.cost
        for one in accounts.money:
            if cost is None or price is None or price.currency != one.rule.currency:
                if cost is None and one.unpriced == "free":
                    continue  # but what has a price in another currency is not free
                raise unpriced(self.ledger, one, expert.name)
            entries.append((one, cost))
        if not entries:
            return None
        held = await self.ledger.reserve(entries, self.clock())
        if isinstance(held, Refusal):
            raise refused(self.ledger, held)
        return Payment(self.ledger, held, expert, most, is_streamed=call.stream)
