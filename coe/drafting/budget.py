"""What the calls of one request may cost: set aside before a call is made, paid when it ends. Pure.

No call is made that could take the sum over the limit, so that the limit holds whatever comes of
the calls, as long as a backend keeps to the number of tokens that it is told.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LEAST_TOKENS = 32
"""An answer that may not be longer is not asked for."""

_MOST_TOKENS = 2**31 - 1
_LITTLE = 1e-12  # of the limit: sums of fractions are not exact


class Offer(NamedTuple):
    """What a call may cost.

    Attributes:
        prompt: what its prompt costs at most.
        token: the price of one new token, times the answers that are asked for.
        limit: most new tokens; None where nobody says.
        ceiling: a limit that is set for want of another is no higher; None: it may be any.
    """

    prompt: float = 0.0
    token: float = 0.0
    limit: int | None = None
    ceiling: int | None = None


class Grant(NamedTuple):
    """A call that is paid for.

    Attributes:
        most: what was set aside.
        limit: the most new tokens that this pays for; None where they may be any number.
    """

    most: float = 0.0
    limit: int | None = None


FREE = Grant()


class Budget:
    """Money for the calls of one request.

    Attributes:
        cap: None: as much as it takes.
        spent: what the calls that ended have cost, as far as that is known.
    """

    def __init__(self, cap: float | None = None) -> None:
        """Begin with nothing spent."""
        self.cap = cap
        self.spent = 0.0
        self._held: dict[str, float] = {}

    @property
    def held(self) -> float:
        """What the calls in flight may cost at most."""
        return math.fsum(self._held.values())

    def reserve(self, call: str, offer: Offer, shares: int = 1) -> Grant | None:
        """Set money aside for a call; None where it could take the sum over the limit.

        Args:
            call: names it.
            offer: what it may cost.
            shares: a call that has no limit of its own gets what one of so many equal shares of
                the money that is left pays for.
        """
        if self.cap is None:
            return FREE
        if not math.isfinite(offer.prompt):
            return None
        left = self.cap - self.spent - self.held
        limit = offer.limit
        if limit is None and offer.token > 0:
            share = left / shares - offer.prompt
            if share < LEAST_TOKENS * offer.token:
                return None
            limit = math.floor(min(share / offer.token, _MOST_TOKENS))
            limit = limit if offer.ceiling is None else min(limit, offer.ceiling)
        most = offer.prompt + offer.token * (limit or 0)
        if most > left + _LITTLE * self.cap:
            return None
        self._held[call] = most
        return Grant(most, limit)

    def settle(self, call: str, cost: float | None) -> None:
        """Pay for a call that ended.

        Args:
            call: as given to `reserve`.
            cost: None where it is not known: then all that was set aside is taken to be gone.
        """
        most = self._held.pop(call, 0.0)
        self.spent += most if cost is None else cost
