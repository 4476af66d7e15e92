"""`coe ask`: one question, answered in this process or by a running gateway."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

import orjson

from coe import pipeline
from coe.api import wire
from coe.cli.asked import asked
from coe.cli.serve import read_settings
from coe.composition import load
from coe.errors import CoEError, ConfigError
from coe.live import Live
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.wiring import wire as wire_gateway

_WAIT_S = 300.0


def ask_prompt(prompt: str, config: Path | None, model: str, url: str | None) -> None:
    """Stream the answer to standard output, and who gave it to standard error."""
    if url is not None:
        _ask_gateway(prompt, model, url.rstrip("/"))
    else:
        asyncio.run(_ask_here(read_settings(config, None, None), prompt, model))


async def _ask_here(settings: Settings, prompt: str, model: str) -> None:
    gateway = wire_gateway(load(settings.config), settings, Telemetry(log_requests=False))
    failures: list[ConfigError] = []
    body = _body(prompt, model)
    query = wire.parse_chat(body, wire.new_id(), settings)
    async with Live(gateway, settings, failures.append).running():
        answer = await pipeline.answer(gateway, query)
        category = answer.decision.category or "none"
        print(f"[{category} -> {answer.call.expert}, {answer.reason}]", file=sys.stderr)
        async with aclosing(answer.frames) as frames:
            _print_frames(answer.first)
            async for piece in frames:
                _print_frames(piece)
    print()
    if failures:
        raise failures[0]


def _ask_gateway(prompt: str, model: str, url: str) -> None:
    with asked(url, _body(prompt, model), wait_s=_WAIT_S) as response:
        category = response.headers.get("x-coe-category", "none")
        expert, reason = (response.headers.get(f"x-coe-{name}") for name in ("expert", "reason"))
        print(f"[{category} -> {expert}, {reason}]", file=sys.stderr)
        for line in response:
            _print_frames(line)
        print()


def _body(prompt: str, model: str) -> dict[str, object]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}


def _print_frames(piece: bytes) -> None:
    """Print the text of the frames in a piece of a stream.

    Raises:
        CoEError: the stream says that it failed.
    """
    for line in piece.splitlines():
        if not line.startswith(b"data: {"):
            continue
        chunk = orjson.loads(line[6:])
        if "error" in chunk:
            raise CoEError(chunk["error"]["message"])
        for choice in chunk.get("choices", ()):
            print(choice.get("delta", {}).get("content") or "", end="", flush=True)
