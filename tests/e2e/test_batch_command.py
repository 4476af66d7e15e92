"""`coe batch` as a command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coe.testing.upstream import FakeUpstream

pytestmark = pytest.mark.anyio

COE = Path(sys.executable).with_name("coe")
FILE = """
version: 1
backends: {{up: "{url}"}}
experts:
  odd: {{backend: up, model: odd}}
  even: {{backend: up, model: even}}
routers: {{default: {{type: keyword}}}}
categories:
  odd: {{keywords: [odd], experts: [odd]}}
default: even
"""


@dataclass
class Done:
    code: int
    out: str
    err: str


Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


async def ended(process: asyncio.subprocess.Process) -> Done:
    out, err = await process.communicate()
    assert process.returncode is not None
    assert "Traceback" not in err.decode()
    return Done(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        (tmp_path / "experts.yaml").write_text(FILE.format(url=fake.url))
        yield fake


@pytest.fixture
def start(tmp_path: Path) -> Start:
    async def starting(*words: str, **env: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(str(COE), "batch", *words),
            cwd=tmp_path,
            env={**os.environ, **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    return starting


def request(number: int, **fields: Any) -> bytes:
    text = f"line {number} {'odd' if number % 2 else 'even'}"
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": text}], **fields}
    row = {"custom_id": f"line-{number}", "url": "/v1/chat/completions", "body": body}
    return json.dumps(row).encode() + b"\n"


def ids(path: Path) -> list[str]:
    return [json.loads(row)["custom_id"] for row in path.read_text().splitlines()]


async def test_a_file_is_answered_and_nothing_else_is_left(
    start: Start, upstream: FakeUpstream, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"".join(request(n) for n in range(9)) + request(9, n=77))

    done = await ended(await start("in.jsonl", "--out", "results"))

    assert done.code == 1
    assert "9 of 10 lines answered, 1 failed" in done.out
    assert ids(tmp_path / "results" / "in.output.jsonl") == [f"line-{n}" for n in range(9)]
    assert ids(tmp_path / "results" / "in.errors.jsonl") == ["line-9"]
    assert list((tmp_path / ".coe" / "batches").iterdir()) == []
    assert upstream.received == 9


async def test_a_panel_answers_lines_of_a_file(
    start: Start, upstream: FakeUpstream, tmp_path: Path
) -> None:
    panel = (
        "aggregation: {pair: {method: vote, answer: text, experts: [odd, even]}}\n"
        "models: {coe/pair: {aggregate: pair}}\n"
    )
    (tmp_path / "experts.yaml").write_text(FILE.format(url=upstream.url) + panel)
    (tmp_path / "in.jsonl").write_bytes(
        b"".join(request(n, model="coe/pair") for n in range(3)) + request(3)
    )

    done = await ended(await start("in.jsonl"))

    assert done.code == 0, done.err
    assert "4 of 4 lines answered, 0 failed" in done.out
    assert "(7 calls: odd 4, even 3)" in done.out
    rows = [json.loads(row) for row in (tmp_path / "in.output.jsonl").read_text().splitlines()]
    assert [row["coe"].get("calls") for row in rows] == [2, 2, 2, None]


async def test_results_of_a_run_before_are_kept_unless_told(
    start: Start, upstream: FakeUpstream, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(request(1))
    (tmp_path / "in.output.jsonl").write_text("mine")

    refused = await ended(await start("in.jsonl"))
    forced = await ended(await start("in.jsonl", "--force"))

    assert (refused.code, forced.code) == (1, 0)
    assert "--force" in refused.err
    assert upstream.received == 1
    assert ids(tmp_path / "in.output.jsonl") == ["line-1"]


async def test_mistakes_are_named_with_file_and_line(
    start: Start, upstream: FakeUpstream, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_bytes(request(1) + b"{oops\n" + request(1))

    done = await ended(await start("in.jsonl"))

    assert done.code == 2
    assert "in.jsonl:2: the line is not JSON" in done.err
    assert "in.jsonl:3: custom_id: the `custom_id` of line 1 stands here again" in done.err
    assert upstream.received == 0
    assert not (tmp_path / "in.output.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b'{"url": "/v1/completions"}', "batches of `/v1/completions` are not run here"),
        (b"", "the file has no lines"),
    ],
)
async def test_a_file_that_is_no_batch(
    start: Start, upstream: FakeUpstream, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "in.jsonl").write_bytes(content)

    done = await ended(await start("in.jsonl"))

    assert done.code in {1, 2}
    assert message in done.err
    assert upstream.received == 0


async def test_the_same_command_goes_on_after_an_interruption(
    start: Start, upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.latency = lambda: 0.05
    (tmp_path / "in.jsonl").write_bytes(b"".join(request(n) for n in range(60)))
    first = await start("in.jsonl", COE_BATCH_CONCURRENCY="2")
    await upstream.arrived(10)
    first.send_signal(signal.SIGINT)
    interrupted = await ended(first)
    asked = upstream.received
    upstream.latency = None

    done = await ended(await start("in.jsonl"))

    assert interrupted.code == 130
    assert f"{asked} of 60 lines are done and kept" in interrupted.err
    assert asked < 60
    assert upstream.aborted == 0
    assert done.code == 0
    assert upstream.received == 60
    assert ids(tmp_path / "in.output.jsonl") == [f"line-{n}" for n in range(60)]


async def test_a_second_interruption_ends_it_at_once(
    start: Start, upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.plan(["hang", "hang"])
    (tmp_path / "in.jsonl").write_bytes(b"".join(request(n) for n in range(20)))
    first = await start("in.jsonl", COE_BATCH_CONCURRENCY="2")
    await upstream.arrived(2)
    first.send_signal(signal.SIGINT)
    assert first.stderr is not None
    assert b"Ctrl-C again" in await first.stderr.readline()

    first.send_signal(signal.SIGINT)
    interrupted = await ended(first)
    done = await ended(await start("in.jsonl"))

    assert interrupted.code == 130
    assert "0 of 20 lines are done and kept" in interrupted.err
    assert upstream.aborted == 2
    assert done.code == 0
    assert upstream.received == 22
