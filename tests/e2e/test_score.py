"""`coe score` as people run it, interrupted in every way."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coe.stores.outcomes import OutcomeStore
from coe.testing.upstream import FakeUpstream

from .conftest import COE

pytestmark = pytest.mark.anyio

FILE = """
version: 1
backends:
  up: {url: "URL", concurrency: 4}
experts:
  one: {backend: up, model: one, cost: {input: 1 USD/M, output: 1 USD/M}}
  two: {backend: up, model: two}
  gone: {backend: up, model: gone, status: retired}
categories:
  talk: {keywords: [number], experts: [one]}
routers: {default: keyword}
default: one
"""
ROWS = 60


class Pace:
    """How long an answer takes: as good as for ever from some answer on, until that is `over`."""

    def __init__(self) -> None:
        self.left = float("inf")

    def stop_after(self, answers: int) -> None:
        self.left = answers

    def over(self) -> None:
        self.left = float("inf")

    def __call__(self) -> float:
        self.left -= 1
        return 0.04 if self.left >= 0 else 30.0


@pytest.fixture
def pace() -> Pace:
    return Pace()


@pytest.fixture
async def upstream(pace: Pace) -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(latency=pace) as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path, upstream: FakeUpstream) -> Path:
    (tmp_path / "experts.yaml").write_text(FILE.replace("URL", upstream.url))
    rows = [{"prompt": f"number {i}", "answer": f"echo: number {i}"} for i in range(ROWS)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


async def start(folder: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(str(COE), "score", *words),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=heed,
    )


def heed() -> None:
    """Heed Ctrl-C, which what a shell runs in the background ignores, and all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def finish(folder: Path, *words: str) -> tuple[int | None, str, str]:
    process = await start(folder, *words)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def kept(folder: Path) -> int:
    with OutcomeStore.open(folder / ".coe" / "outcomes.sqlite") as store:
        return sum(count.outcomes for count in store.counts())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
async def test_what_was_scored_survives_the_end_of_the_command(
    folder: Path, upstream: FakeUpstream, pace: Pace, number: signal.Signals, code: int
) -> None:
    pace.stop_after(40)
    process = await start(folder, "prompts.jsonl")
    await upstream.arrived(41)
    process.send_signal(number)
    _, err = await process.communicate()
    pace.over()

    assert process.returncode == code
    if number == signal.SIGINT:
        assert b"interrupted; what was scored is kept" in err
    done, asked = kept(folder), upstream.received
    assert 0 < asked - done <= 8  # answered or in flight, and not kept: what one moment holds

    returncode, out, err_again = await finish(folder, "prompts.jsonl")

    assert returncode == 0, err_again
    assert f"{2 * ROWS - done} answers to ask for, {done} are kept already" in err_again
    assert upstream.received - asked == 2 * ROWS - done
    assert kept(folder) == 2 * ROWS
    assert "1.000  n=60" in out


async def test_failures_are_told_and_left_for_next_time(
    folder: Path, upstream: FakeUpstream
) -> None:
    upstream.plan(["error-500"] * 2)

    returncode, out, err = await finish(folder, "prompts.jsonl", "--limit", "6")

    assert returncode == 1
    assert "one: 2 failed: " in err
    assert "not everything is scored; what was scored is kept" in err
    assert "1.000  n=4" in out
