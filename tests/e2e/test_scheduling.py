"""A gateway that is told to end while calls wait for their experts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from coe.testing.model_server import ModelServer

from .conftest import Start

pytestmark = pytest.mark.anyio

TEXT = """\
version: 1
backends: {{box: {{type: ollama, url: {url}, memory: 1GiB}}}}
experts:
  a: {{backend: box, model: a, memory: 1GiB}}
  b: {{backend: box, model: b, memory: 1GiB}}
default: a
"""


async def test_calls_that_wait_for_their_experts_are_answered_before_the_end(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "waiting.yaml"
    async with ModelServer("ollama", models=dict.fromkeys("ab", 2**30), lasts_s=0.3) as server:
        path.write_text(TEXT.format(url=server.url))
        running = start("--config", str(path))
        url = await asyncio.to_thread(lambda: running.url)
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as sdk:

            async def ask(expert: str) -> str:
                answer = await sdk.chat.completions.create(
                    model=expert, messages=[{"role": "user", "content": "hello"}]
                )
                return answer.model

            calls = [asyncio.ensure_future(ask(expert)) for expert in "abab"]
            await until(lambda: any(r.path == "/api/generate" for r in server.requests))

            running.process.send_signal(signal.SIGTERM)

            assert await asyncio.gather(*calls) == ["a", "b", "a", "b"]
            first, second = ("a", "b") if server.changes[0] == "load a" else ("b", "a")
            assert server.changes == [f"load {first}", f"unload {first}", f"load {second}"]
        assert await asyncio.to_thread(running.stop) in {0, -signal.SIGTERM}
    assert "Traceback" not in running.log


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)
