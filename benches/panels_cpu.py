"""What aggregation takes of the CPU: panels of experts in this process that answer at once.

What a request to one expert takes is not the panel's, and neither is what its further calls take
at the door; the rest is: who sits on it, the table, reading the drafts, the method, the answer.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import orjson
from rich.console import Console

from benches.report import table
from coe import door, pipeline, planner
from coe.api import wire
from coe.composition import load
from coe.pipeline import Gateway
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.types import Answer, Dispatch, Query
from coe.wiring import wire as wire_gateway

ROUNDS, REQUESTS = 15, 200
ANSWER = "Work it out step by step. " * 40 + "The answer is (B)."
METHODS: dict[str, dict[str, Any]] = {
    "vote": {"answer": "choice"},
    "best_of": {"judge": "d"},
    "synthesize": {"writer": "d"},
    "first_good": {"good_when": {"check": {"type": "json"}}},
    "concat": {},
}


class Instant:
    """A backend that answers the same at once, but for the expert who is wrong."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`."""
        call = dispatch.call
        text = ANSWER if call.expert != "c" else ANSWER.replace("(B)", "(C)")
        yield orjson.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": call.expert,
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 30, "completion_tokens": 300, "total_tokens": 330},
            }
        )

    async def models(self) -> tuple[str, ...]:
        """See `Backend.models`."""
        return ("a", "b", "c", "d")

    async def aclose(self) -> None:
        """See `Backend.aclose`."""


def measure(console: Console) -> list[float]:
    """Return the milliseconds of CPU of the dearest method, beyond its calls, by round."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder), console))


async def _measure(folder: Path, console: Console) -> list[float]:
    gateway = _gateway(folder)
    single: list[float] = []
    own: list[float] = []
    panels: dict[str, list[float]] = {method: [] for method in METHODS}
    calls = {method: await _calls(gateway, method) for method in METHODS}
    for _ in range(ROUNDS):
        single.append(await _taken(gateway, "a"))
        own.append(await _call_taken(gateway))
        for method, rounds in panels.items():
            rounds.append(await _taken(gateway, f"coe/{method}"))
    await gateway.aclose()
    beyond = {
        method: [
            taken - one - (calls[method] - 1) * call
            for taken, one, call in zip(rounds, single, own, strict=True)
        ]
        for method, rounds in panels.items()
    }
    console.print(
        table(
            f"CPU of a request, ms: medians of {ROUNDS} rounds of {REQUESTS}; one expert "
            f"{median(single):.3f}, a call alone {median(own):.3f}",
            ("method", "calls", "request", "beyond its calls and one expert's request"),
            [
                (
                    method,
                    f"{calls[method]:g}",
                    f"{median(panels[method]):.3f}",
                    f"{median(rounds):.3f}",
                )
                for method, rounds in beyond.items()
            ],
        )
    )
    return max(beyond.values(), key=median)


def _gateway(folder: Path) -> Gateway:
    composition = {
        "version": 1,
        "backends": {"here": "http://127.0.0.1:9"},
        "experts": {name: {"backend": "here", "model": name} for name in "abcd"},
        "aggregation": {
            method: {"method": method, "experts": ["a", "b", "c"], **options}
            for method, options in METHODS.items()
        },
        "models": {f"coe/{method}": {"aggregate": method} for method in METHODS},
        "default": "a",
    }
    file = folder / "experts.yaml"
    file.write_text(orjson.dumps(composition).decode())
    settings = Settings(config=file)
    gateway = wire_gateway(load(file), settings, Telemetry(log_requests=False))
    return replace(gateway, backends={"here": Instant("here")})


def _query(model: str) -> Query:
    messages = [{"role": "user", "content": "Which is it? (A) this (B) that (C) neither"}]
    body = {"model": model, "messages": messages}
    return wire.parse_chat(body, wire.new_id(), Settings())


async def _ask(gateway: Gateway, model: str) -> Answer:
    answer = await pipeline.answer(gateway, _query(model))
    async with aclosing(answer.frames):
        async for _ in answer.frames:
            pass
    return answer


async def _calls(gateway: Gateway, method: str) -> int:
    answer = await _ask(gateway, f"coe/{method}")
    assert answer.panel is not None
    return answer.panel.calls


async def _taken(gateway: Gateway, model: str) -> float:
    """Return the milliseconds of CPU of a request."""
    gc.collect()
    started = process_time()
    for _ in range(REQUESTS):
        await _ask(gateway, model)
    return (process_time() - started) / REQUESTS * 1000


async def _call_taken(gateway: Gateway) -> float:
    """Return the milliseconds of CPU of a call through the door, as a panel makes it."""
    query = _query("a")
    decision = await pipeline.route(gateway, query)
    (call,) = planner.plan(gateway.composition, query, decision).calls
    gc.collect()
    started = process_time()
    for _ in range(REQUESTS):
        _, frames = await door.enter(gateway, query.id, call, None)
        async with aclosing(frames):
            async for _ in frames:
                pass
    return (process_time() - started) / REQUESTS * 1000
