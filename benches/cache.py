"""What it costs to look for an answer that is kept: `make bench-cache`.

In one process, held to one core where the system lets it. The request has a system prompt and four
turns, 1.5 KB in all; the answer has 300 words, and a stream of it as many chunks. Medians of
rounds; a composition without a cache has none of this.

    miss    key, look-up, nothing found
    hit     key, look-up, and the answer as JSON; streamed: as frames
    keep    a stream, collected, read and kept behind it, beyond what passing it on costs
    near    the nearest of 1000 answers of one scope; the text's vector is there already
    redis   a hit in a Redis on this machine, where there is one
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import orjson

from benches.report import Goal, Metric, console, goals_table, write_metrics
from coe import sse
from coe.cache import Cache, Counts, MemoryShelf, Shelf
from coe.cache.entry import Entry
from coe.cache.shelf import Near
from coe.composition.cache_values import CacheRules
from coe.identity import FREE, Identity
from coe.stores.redis import Redis
from coe.stores.redis_cache import RedisShelf
from coe.types import Answer, Call, Decision, Plan, Query
from coe.unfold import CHUNK

ROUNDS = 9
WORDS = 300
ENTRIES, DIM = 1000, 384
OUT = Path("build/bench/cache.json")

MISS = Goal(metric="cache_miss_us", unit="us", better="lower", goal=30)
HIT = Goal(metric="cache_hit_us", unit="us", better="lower", goal=40)
HIT_STREAMED = Goal(metric="cache_hit_streamed_us", unit="us", better="lower", goal=120)
KEEP = Goal(metric="cache_keep_streamed_us", unit="us", better="lower", goal=3000)
NEAR = Goal(metric="cache_near_1000_us", unit="us", better="lower", goal=500)
REDIS = Goal(metric="cache_hit_redis_us", unit="us", better="lower", goal=1000)

TURN = "explain to me how the rules for parking permits of residents changed last year " * 3
HEADERS = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer k"), (b"accept", b"*/*")] * 3
HOST = "127.0.0.1"


def query(number: int = 0, *, stream: bool = False) -> Query:
    """Return a request; those of other numbers are other requests."""
    roles = ["system", "user", "assistant", "user"]
    messages = [{"role": role, "content": f"{TURN}{number}"} for role in roles]
    return Query(
        id=f"{number:032x}",
        model="coe/auto",
        body={"model": "coe/auto", "messages": messages, "temperature": 0.2, "stream": stream},
        stream=stream,
        headers=HEADERS,
        identity=Identity(tenant="0123456789abcdef"),
    )


def opened(asked: Query) -> Answer:
    """Return an answer of so many words, with a chunk for each where it is streamed."""
    call = Call(expert="good", backend="up", model="m", body=asked.body, stream=asked.stream)
    message = {"role": "assistant", "content": "word " * WORDS}
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "good",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 400, "completion_tokens": WORDS, "total_tokens": 400 + WORDS},
    }
    pieces = list(frames(whole)) if asked.stream else [orjson.dumps(whole)]
    return Answer(
        query=asked,
        decision=Decision(),
        plan=Plan(calls=(call,)),
        call=call,
        first=pieces[0],
        frames=passed(pieces[1:]),
    )


def frames(whole: dict[str, Any]) -> Iterator[bytes]:
    """Yield an answer word by word, as servers send it."""
    head = {**{key: whole[key] for key in ("id", "created", "model")}, "object": CHUNK}
    for _ in range(WORDS):
        choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
        yield sse.frame(orjson.dumps({**head, "choices": [choice]}))
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield sse.frame(orjson.dumps({**head, "choices": [choice]}))


async def passed(pieces: list[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield pieces."""
    for piece in pieces:
        yield piece


def cache_of(shelf: Shelf) -> Cache:
    """Return a cache over a shelf."""
    return Cache(CacheRules(), "0123456789abcdef", shelf, Counts())


async def kept(cache: Cache, asked: Query) -> None:
    """Answer a request and have that kept."""
    answer = opened(asked)
    cache.keep(await cache.recall(asked, lambda _: FREE), answer)
    async for _ in answer.frames:
        pass
    await cache.settle()


async def timed(work: Callable[[], Awaitable[Any]], times: int) -> float:
    """Return the microseconds that something takes."""
    started = perf_counter()
    for _ in range(times):
        await work()
    return (perf_counter() - started) / times * 1e6


async def looked(shelf: Shelf, asked: Query, times: int, *, hits: bool) -> list[float]:
    """Return what looking for an answer takes, by round."""
    cache = cache_of(shelf)
    if hits:
        await kept(cache, query())
    found = await cache.recall(asked, lambda _: FREE)
    if (found.answer is not None) != hits:
        raise RuntimeError(f"the cache said {found.said!r}")
    work = lambda: cache.recall(asked, lambda _: FREE)  # noqa: E731 - a name for what is timed
    return [await timed(work, times) for _ in range(ROUNDS)]


async def keeping() -> list[float]:
    """Return what keeping a stream takes beyond passing it on, by round."""
    cache, numbers = cache_of(MemoryShelf()), iter(range(10**6))

    async def read() -> None:
        async for _ in opened(query(next(numbers), stream=True)).frames:
            pass

    async def keep() -> None:
        await kept(cache, query(next(numbers), stream=True))

    return [await timed(keep, 20) - await timed(read, 20) for _ in range(ROUNDS)]


async def nearest() -> list[float]:
    """Return what finding the nearest of many answers takes, by round."""
    shelf, rng = MemoryShelf(), np.random.default_rng(0)
    vectors = rng.normal(size=(ENTRIES, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for number, vector in enumerate(vectors):
        entry = Entry(
            partition="p",
            id=str(number),
            expert="good",
            backend="up",
            experts=("good",),
            category=None,
            at=0.0,
            until=2**40,
            body=b"{}",
        )
        await shelf.put(entry, 1 << 30, Near("scope", vector))
    near = Near("scope", vectors[ENTRIES // 2])
    work = lambda: shelf.nearest("p", near, 0.95, lambda _: True)  # noqa: E731
    return [await timed(work, 200) for _ in range(ROUNDS)]


@asynccontextmanager
async def redis_server() -> AsyncIterator[Redis | None]:
    """Have a Redis of our own meanwhile; None where it is not installed."""
    if shutil.which("redis-server") is None:
        yield None
        return
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    words = ["redis-server", "--port", str(port), "--bind", HOST, "--save", ""]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - nobody waits
    try:
        redis = Redis(f"redis://{HOST}:{port}/0", wait_s=1.0)
        async with redis.running():
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
                    break
                await asyncio.sleep(0.05)
            yield redis
    finally:
        server.kill()
        server.wait()


async def measured() -> list[Metric]:
    """Return all that is measured."""
    metrics = [
        MISS.measured(await looked(MemoryShelf(), query(1), 2000, hits=False)),
        HIT.measured(await looked(MemoryShelf(), query(), 2000, hits=True)),
        HIT_STREAMED.measured(await looked(MemoryShelf(), query(stream=True), 500, hits=True)),
        KEEP.measured(await keeping()),
        NEAR.measured(await nearest()),
    ]
    async with redis_server() as redis:
        if redis is not None:
            rounds = await looked(RedisShelf(redis), query(), 300, hits=True)
            metrics.append(REDIS.measured(rounds))
    return metrics


def main() -> int:
    """Measure, print and write."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    metrics = asyncio.run(measured())
    console().print(goals_table(metrics))
    write_metrics(OUT, metrics)
    return 0


if __name__ == "__main__":
    sys.exit(main())
