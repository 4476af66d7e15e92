"""Odd bodies, and what the OpenAPI document promises: never a 500, never a hang.

`make bench-load` sends ten thousand of the former and thousands of the latter.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benches.load_parts import documented, fuzz
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Serve

pytestmark = pytest.mark.anyio

_COMPOSITION = """
version: 1
backends: {{up: "{url}"}}
experts:
  good: {{backend: up, model: ok, capabilities: [tools, vision, json]}}
categories:
  code: {{keywords: [crash, python], experts: [good]}}
default: good
"""


def test_the_same_seed_sends_the_same() -> None:
    assert fuzz.bodies(50, 3) == fuzz.bodies(50, 3)
    assert fuzz.bodies(50, 3) != fuzz.bodies(50, 4)


async def test_what_breaks_is_found(upstream: FakeUpstream) -> None:
    found = await fuzz.send("http://127.0.0.1:1", fuzz.bodies(3, 1))

    assert len(found.findings) == 3  # nobody listens there
    del upstream


async def test_odd_bodies_are_never_answered_by_500(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with serve(_COMPOSITION.format(url=upstream.url), state_dir=str(tmp_path)) as running:
        url = running.url.removesuffix("/v1")
        found = await fuzz.send(url, fuzz.bodies(1200, 11))

    assert [(one.path, one.what, one.body[:200]) for one in found.findings] == []
    assert found.statuses[200] > 100
    assert found.statuses[400] > 100


@pytest.mark.timeout(300)
async def test_no_documented_request_is_answered_by_500(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    text = _COMPOSITION.format(url=upstream.url)
    async with serve(text, state_dir=str(tmp_path), admin="loopback") as running:
        tried, wrong = await asyncio.to_thread(
            documented.tried,
            running.url.removesuffix("/v1"),
            tmp_path / "documented",
            models=["coe/auto", "good", "code"],
            examples=4,
            seed=5,
            phases="fuzzing",
        )

    assert wrong == []
    assert tried > 50
