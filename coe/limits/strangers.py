"""Whom a gateway without keys counts by the token that they send: not without end. Pure.

Who sends a new token with each request would leave a counter for each. Beyond so many, tokens of
which nothing is counted yet have one account together, until others count no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from coe.identity import Identity
from coe.limits.scopes import Account, Limit, accounts_of
from coe.limits.tally import Tally

MOST_COUNTERS = 10_000
OTHERS = Identity(tenant="others", name="of tokens beyond those that are counted")


def accounts_here(
    limits: Sequence[Limit], identity: Identity, tally: Tally
) -> tuple[Account, ...] | None:
    """Return the accounts that a request is counted on, as `accounts_of`, with that bound.

    None for who is one of `OTHERS`, for now: there may be room for them the next time.

    Raises:
        ConfigError: see `accounts_of`.
    """
    found = accounts_of(limits, identity)
    if identity.key or not identity.tenant or len(tally) < MOST_COUNTERS:
        return found
    if any(one.kind == "key" and one.key in tally for one in found):
        return found
    return None
