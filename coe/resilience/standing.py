"""What a process knows of its experts' health. It outlives every composition."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from coe.grace import Grace
from coe.resilience.breakers import Breakers
from coe.resilience.budget import RetryBudget
from coe.resilience.latencies import Latencies
from coe.resilience.sharing import Sharing, Store
from coe.resilience.shedding import Line

PATIENCE_S = 0.01
"""Calls that take longer, up to twice as long, are worth a timer of their own."""


class Waiting(Protocol):
    """Who waits for a call that others may overtake."""

    def slow(self) -> None:
        """Take note that it has not begun to answer after a moment."""


def _slow() -> Grace[Waiting]:
    return Grace(PATIENCE_S, lambda waiting: waiting.slow())


def _budget() -> RetryBudget:
    return RetryBudget(time.monotonic())


@dataclass(slots=True, kw_only=True)
class Standing:
    """See the module.

    Attributes:
        budget: of the calls beyond one a request.
        latencies: until a first token.
        crowds: who waits for backends with a limit, by their names.
        shed: calls that were refused for that, by backend and why.
        sharing: tells other replicas of breakers; None where there are none.
        hedges: experts that were asked beside others, by what came of it: `won`, `lost`, `failed`.
        slow: tells who waits for a call that takes longer than a moment.
        leaving: calls that another one overtook, until they have ended.
        random: returns a number in [0, 1); no secret depends on it.
    """

    breakers: Breakers = field(default_factory=Breakers)
    budget: RetryBudget = field(default_factory=_budget)
    latencies: Latencies = field(default_factory=Latencies)
    crowds: dict[str, Line] = field(default_factory=dict)
    shed: Counter[tuple[str, str]] = field(default_factory=Counter)
    hedges: Counter[str] = field(default_factory=Counter)
    slow: Grace[Waiting] = field(default_factory=_slow)
    leaving: set[asyncio.Future[Any]] = field(default_factory=set)
    random: Callable[[], float] = random.random
    sharing: Sharing | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell other replicas of breakers meanwhile, where there are some."""
        if self.sharing is None:
            yield
            return
        async with self.sharing.running():
            yield


def standing_of(store: Store | None) -> Standing:
    """Return what is known in the beginning: nothing; shared through a store where there is one."""
    standing = Standing()
    if store is not None:
        standing.sharing = Sharing(store, standing.breakers)
    return standing
