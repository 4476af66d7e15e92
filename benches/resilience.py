"""What surviving failures takes of the CPU: an expert that answers at once, four tokens.

The difference to a composition without any rule is what a rule costs while nothing fails.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import process_time

from rich.console import Console

from benches.report import Metric, differences, goals_table, write_metrics
from coe import pipeline
from coe.composition import load
from coe.pipeline import Gateway
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.types import Dispatch, Query
from coe.wiring import wire

ROUNDS, REQUESTS = 15, 1000
GOAL_US = 10.0
TO = Path("build/bench/resilience.json")
RULES = {
    "none": "",
    "retry_budget": "{retry_budget: 20%}",
    "total": "{total: 60s}",
    "breaker": "{breaker: {}}",
    "breaker, with rate": "{breaker: {error_rate: 50%}}",
    "shed_after": "{shed_after: 10s}",
    "hedge": "{hedge: 2s}",
}
PIECES = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'] * 4


class Instant:
    """A backend that answers at once."""

    name = "up"

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """Yield four pieces."""
        del dispatch
        for piece in PIECES:
            yield piece

    async def models(self) -> tuple[str, ...]:
        """Return none."""
        return ()

    async def aclose(self) -> None:
        """Do nothing."""


def gateway(folder: Path, rules: str) -> Gateway:
    """Return a gateway with a rule."""
    file = folder / "experts.yaml"
    file.write_text(
        "version: 1\nbackends: {up: {url: 'http://127.0.0.1:9', concurrency: 8}}\n"
        "experts: {a: {backend: up, model: m}, b: {backend: up, model: m}}\n"
        "routing: {none: [a, b]}\ndefault: b\n" + (f"fallbacks: {rules}\n" if rules else "")
    )
    settings = Settings(config=file, state_dir=str(folder / "state"), cache_dir="off")
    made = wire(load(file), settings, Telemetry(log_requests=False))
    return replace(made, backends={"up": Instant()})


async def ask(served: Gateway, query: Query) -> None:
    """Answer a query to its end."""
    answer = await pipeline.answer(served, query)
    async for _ in answer.frames:
        pass


async def measured(gateways: dict[str, Gateway]) -> dict[str, list[float]]:
    """Return microseconds of CPU a request, of rounds in turn, by rule."""
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": "hi"}]}
    query = Query(id="q", model="coe/auto", body=body, stream=True, tokens=4)
    took: dict[str, list[float]] = {name: [] for name in gateways}
    for _ in range(ROUNDS):
        for name, served in gateways.items():
            gc.collect()
            began = process_time()
            for _ in range(REQUESTS):
                await ask(served, query)
            took[name].append((process_time() - began) / REQUESTS * 1e6)
    return took


def main() -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as folder:
        gateways = {}
        for number, (name, rules) in enumerate(RULES.items()):
            own = Path(folder, str(number))
            own.mkdir()
            gateways[name] = gateway(own, rules)
        took = asyncio.run(measured(gateways))
    base = took.pop("none")
    metrics = []
    for name, rounds in took.items():
        found = differences(rounds, base)
        label = f"resilience_{name.replace(', ', '_').replace(' ', '_')}_us"
        metrics.append(
            Metric(
                metric=label,
                value=median(found),
                rounds=tuple(found),
                unit="us",
                better="lower",
                goal=GOAL_US,
            )
        )
    console = Console()
    console.print(f"a request without rules: {median(base):.1f} us of CPU")
    console.print(goals_table(metrics))
    write_metrics(TO, metrics)


if __name__ == "__main__":
    main()
