"""Calls at a budget's edge: how many more are let in than the money is there for.

Each trial has a budget of its own. Many calls come together; each may cost as much as its limit on
new tokens allows. Some end while others still come, and give back what they did not cost. In the
end what all of them cost, those under way in full, is compared with the budget. Half of the trials
are of one process, half are of two processes that share a real Redis.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from coe.claim import Claim
from coe.composition import load
from coe.errors import BudgetExceeded
from coe.identity import Identity
from coe.metering.meter import Meter
from coe.metering.payment import most_of
from coe.stores.ledger import LocalLedger
from coe.stores.redis import Redis
from coe.stores.redis_ledger import RedisLedger
from coe.types import Call

CALLS = 24
"""That come together, in each process."""
TOKENS = 100
"""That each may generate: one dollar's worth."""

_COMPOSITION = """
version: 1
backends: {one: "http://127.0.0.1:9"}
experts: {dear: {backend: one, model: m, cost: {input: 0 USD/M, output: 10000 USD/M}}}
default: dear
budgets: [{scope: key, limit: 7.5 USD/month}]
"""
_CALL = Call(
    expert="dear",
    backend="one",
    model="m",
    body={"messages": [{"role": "user", "content": "hi"}], "max_tokens": TOKENS},
)


def excess(trials: int) -> int:
    """Return the most calls too many of any trial; 0 where no budget was passed.

    Raises:
        RuntimeError: a trial let nobody in: it would show nothing.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "experts.yaml"
        path.write_text(_COMPOSITION, encoding="utf-8")
        alone = asyncio.run(_alone(path, trials // 2))
        return _worst(path, alone + _together(path, trials - trials // 2))


def _worst(path: Path, tokens: list[int]) -> int:
    """Return by how many calls the worst of the trials passed its budget.

    Args:
        path: of the composition.
        tokens: of each trial, what all of its calls took.
    """
    composition = load(path)
    if not all(tokens):
        raise RuntimeError("a trial let nobody in")
    most = composition.limits[0].rule.most
    price = most_of(_CALL, composition.experts["dear"]).cost or 0
    return max(math.ceil((taken * price / TOKENS - most) / price) for taken in tokens)


async def _alone(path: Path, trials: int) -> list[int]:
    """Return what the calls of one process took, trial by trial."""
    ledger = LocalLedger(path.parent)
    async with ledger.running():
        meter = Meter(load(path), ledger)
        return [await _trial(meter, f"alone-{trial}") for trial in range(trials)]


def _together(path: Path, trials: int) -> list[int]:
    """Return what the calls of two processes with one Redis took, trial by trial."""
    context = get_context("spawn")
    with _redis(path.parent) as url:
        pipes = [context.Pipe() for _ in range(2)]
        workers = [context.Process(target=_work, args=(path, url, theirs)) for _, theirs in pipes]
        for worker in workers:
            worker.start()
        lines = [ours for ours, _ in pipes]
        for line in lines:
            line.recv()  # it is there
        taken = []
        for trial in range(trials):
            for line in lines:
                line.send(f"together-{trial}")
            taken.append(sum(line.recv() for line in lines))
        for line, worker in zip(lines, workers, strict=True):
            line.send("")
            worker.join()
    return taken


def _work(path: Path, url: str, line: Connection) -> None:
    """Be one of two processes: make the calls of every trial that is named."""
    asyncio.run(_worked(path, url, line))


async def _worked(path: Path, url: str, line: Connection) -> None:
    redis = Redis(url, wait_s=10.0)
    ledger = RedisLedger(redis)
    async with redis.running(), ledger.running():
        meter = Meter(load(path), ledger)
        line.send("here")
        while name := await asyncio.to_thread(line.recv):
            line.send(await _trial(meter, name))


async def _trial(meter: Meter, name: str) -> int:
    """Return the tokens that the calls of a trial took; those under way count in full."""
    claim = Claim(identity=Identity(tenant=name, key=name))
    chance = random.Random(name)

    async def call(used: int | None, pause_s: float) -> int:
        await asyncio.sleep(pause_s)
        try:
            visit = await meter.admit(_CALL, claim)
        except BudgetExceeded:
            return 0
        if visit is None:
            raise RuntimeError("nothing is counted")
        if used is None:
            return TOKENS  # it never ends
        await asyncio.sleep(chance.random() * 0.005)
        usage = b'{"usage": {"prompt_tokens": 2, "completion_tokens": %d}}' % used
        visit.opened(usage)
        visit.ended(usage, None)
        return used

    wishes = [
        (chance.choice([None, TOKENS, TOKENS // 2, 1]), chance.random() * 0.01)
        for _ in range(CALLS)
    ]
    return sum(await asyncio.gather(*(call(*wish) for wish in wishes)))


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """Run a Redis of our own meanwhile; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    words += ["--appendonly", "no", "--dir", str(folder)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()
        server.wait()
