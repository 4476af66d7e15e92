"""What keys, limits, budgets, the decision log and request logs add, at the client.

Three servers are asked the same at the same rate, in turn: the upstream itself, a gateway with
nothing of it, and one with everything. Half of what the last one can take is offered. A gateway's
overhead is its latency less the upstream's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from benches.lanes import PROMPT, chat_body
from benches.load import Wrk
from benches.load_parts.open_loop import Seen, fire, shot
from benches.stacks import Running

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round saw.

    Attributes:
        ms: latencies by server and quantile.
        cpu_us: processor time of a request, by gateway.
        errors: answers that were not right, of all servers.
    """

    ms: Mapping[str, Mapping[str, float]]
    cpu_us: Mapping[str, float]
    errors: int

    def overhead(self, name: str, direct: str, quantile: str) -> float:
        """Return what a gateway adds, in ms."""
        return self.ms[name][quantile] - self.ms[direct][quantile]


def capacity(wrk: Wrk, one: Running) -> float:
    """Return the most requests a second that a gateway answers at 64 connections."""
    target = one.target(chat_body(one.stack.model, PROMPT))
    wrk(target, connections=64, seconds=1)
    return wrk(target, connections=64, seconds=4).rate


def measured(servers: list[Running], *, rate: float, seconds: float) -> Round:
    """Ask all servers in turn at a rate, and return what was seen."""
    ms: dict[str, dict[str, float]] = {}
    cpu_us: dict[str, float] = {}
    errors = 0
    for one in servers:
        before = one.process.cpu_s() if one.process else 0.0
        seen = asyncio.run(_asked(one, rate, seconds))
        errors += seen.errors
        ms[one.stack.name] = {name: seen.quantile_ms(share) for name, share in QUANTILES.items()}
        if one.process:
            spent = one.process.cpu_s() - before
            cpu_us[one.stack.name] = 1e6 * spent / max(seen.sent, 1)
    return Round(ms=ms, cpu_us=cpu_us, errors=errors)


async def _asked(one: Running, rate: float, seconds: float) -> Seen:
    body = chat_body(one.stack.model, PROMPT)
    request = shot(one.url, "/v1/chat/completions", body, headers=list(one.stack.headers.items()))
    await fire(one.url, [request], rate=rate, seconds=1.0)
    return await fire(one.url, [request], rate=rate, seconds=seconds)
