"""What a process knows of its experts' health. It outlives every composition."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from coe.resilience.breakers import Breakers
from coe.resilience.budget import RetryBudget
from coe.resilience.latencies import Latencies


def _budget() -> RetryBudget:
    return RetryBudget(time.monotonic())


@dataclass(slots=True, kw_only=True)
class Standing:
    """See the module.

    Attributes:
        budget: of the calls beyond one a request.
        latencies: until a first token.
        hedges: experts that were asked beside others, by what came of it: `won`, `lost`, `failed`.
        leaving: calls that another one overtook, until they have ended.
        random: returns a number in [0, 1); no secret depends on it.
    """

    breakers: Breakers = field(default_factory=Breakers)
    budget: RetryBudget = field(default_factory=_budget)
    latencies: Latencies = field(default_factory=Latencies)
    hedges: Counter[str] = field(default_factory=Counter)
    leaving: set[asyncio.Future[Any]] = field(default_factory=set)
    random: Callable[[], float] = random.random
