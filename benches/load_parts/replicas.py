"""Two gateways that share Redis and a model server's memory: Redis freezes, one is killed.

Both are asked in an open loop. Half of the requests name an expert of the shared server, of which
the one that does not own the memory asks the other for a slot; half are turns of conversations,
whose category is found and kept. All experts are in memory: nothing that is asked needs Redis.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from benches.installation import BUILD, Installation
from benches.lanes import PROMPT, chat_body
from benches.load_parts.open_loop import Seen, Shot, fire, shot
from benches.processes import Process, free_port
from benches.stacks import StackFailed
from coe.backends.http import origin
from coe.backends.lean import LeanClient
from coe.errors import BackendError
from coe.protocols import BackendSpec
from coe.testing.shared_box import SharedBox, composition
from coe.types import Timeouts

RATE = 40.0
"""Requests a second to each gateway."""
STREAMS = 8.0
"""Streams a second to the one that is killed; each takes a third of a second."""
FROZEN_S = 30.0
LEASE_S = 5.0
SECRET = "bench-" * 6
ROUTED = """\
categories:
  prose: {keywords: [the], experts: [b]}
routers: {default: {type: keyword}}
routing: {sessions: {stick: always, key: [derived]}}
"""
START_S = 60.0
_DONE = b"data: [DONE]\n\n"
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What became of requests while Redis was frozen.

    Attributes:
        before_ms, frozen_ms: p99 of both gateways together.
        failed: requests without a right answer, before and meanwhile.
        asked: requests in all.
    """

    before_ms: float
    frozen_ms: float
    failed: int
    asked: int

    @property
    def ratio(self) -> float:
        """How much longer the slow ones took."""
        return self.frozen_ms / self.before_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What became of requests when the owner of the memory was killed.

    Attributes:
        cut: of the dead gateway's, in flight; a stream that ended as if it were whole is none.
        failed: of the other one's.
        asked: of the other one's.
        twice: prompts that the model server was asked more than once.
        took_s: until the other one owned the memory.
    """

    cut: int
    failed: int
    asked: int
    twice: int
    took_s: float


def frozen(installation: Installation, say: Callable[[str], None]) -> float:
    """Return p99 with Redis frozen over p99 before, and say what else there is to say."""
    del installation
    found = asyncio.run(_frozen(FROZEN_S))
    say(
        f"p99 {found.before_ms:.1f} ms before, {found.frozen_ms:.1f} ms while Redis is frozen for "
        f"{FROZEN_S:g} s; {found.failed} of {found.asked:,} requests failed"
    )
    killed = asyncio.run(_killed())
    say(
        f"kill -9 of the owner: {killed.cut} of its requests were cut; {killed.failed} of "
        f"{killed.asked:,} of the other one failed; {killed.twice} prompts were asked twice; "
        f"it owned the memory after {killed.took_s:.1f} s (lease {LEASE_S:g} s)"
    )
    return found.ratio


async def _frozen(seconds: float) -> Frozen:
    async with _site() as site:
        await site.fire(3.0)  # connections open, caches fill
        before = await site.fire(seconds)
        site.redis.send_signal(signal.SIGSTOP)
        try:
            during = await site.fire(seconds)
        finally:
            site.redis.send_signal(signal.SIGCONT)
    return Frozen(
        before_ms=_p99_ms(before),
        frozen_ms=_p99_ms(during),
        failed=sum(seen.errors for seen in (*before, *during)),
        asked=sum(seen.sent for seen in (*before, *during)),
    )


async def _killed() -> Killed:
    async with _site() as site:
        await site.fire(3.0)
        owner = await site.owner()
        victim, other = site.urls[owner], site.urls[1 - owner]
        streams = [_streamed(victim, number) for number in range(100)]
        load = asyncio.create_task(fire(other, _shots(other), rate=RATE, seconds=15.0))
        lost = asyncio.create_task(fire(victim, streams, rate=STREAMS, seconds=3.0))
        await asyncio.sleep(2.9)
        site.kill(owner)
        began = time.perf_counter()
        while not await _owns(other):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        took_s = time.perf_counter() - began
        cut, kept = await lost, await load
        numbered = [many for text, many in site.box.asked.items() if text.startswith("stream ")]
    return Killed(
        cut=cut.errors,
        failed=kept.errors,
        asked=kept.sent,
        twice=sum(many > 1 for many in numbered),
        took_s=took_s,
    )


class _Site:
    """Both gateways, and what they share."""

    def __init__(
        self,
        box: SharedBox,
        redis: subprocess.Popen[bytes],
        gateways: Sequence[Process],
        urls: Sequence[str],
    ) -> None:
        self.box, self.redis, self.gateways, self.urls = box, redis, gateways, urls

    async def fire(self, seconds: float) -> list[Seen]:
        """Ask both for so long."""
        asked = (fire(url, _shots(url), rate=RATE, seconds=seconds) for url in self.urls)
        return list(await asyncio.gather(*asked))

    async def owner(self) -> int:
        """Return which of them owns the memory."""
        until = time.perf_counter() + START_S
        while time.perf_counter() < until:
            for place, url in enumerate(self.urls):
                if await _owns(url):
                    return place
            await asyncio.sleep(0.1)
        raise StackFailed("no replica owns the memory")

    def kill(self, place: int) -> None:
        """End one at once."""
        child = self.gateways[place].child
        assert child is not None
        child.kill()


@asynccontextmanager
async def _site() -> AsyncIterator[_Site]:
    if shutil.which("redis-server") is None:
        raise StackFailed("there is no redis-server here (`make redis` installs Debian's)")
    async with SharedBox("ab", room=2) as box:
        with ExitStack() as stack:
            redis_url, redis = stack.enter_context(_redis())
            urls, gateways = [], []
            for number in range(2):
                folder = Path(stack.enter_context(TemporaryDirectory()))
                (folder / "experts.yaml").write_text(
                    composition(box.url, "ab", room=2, more=ROUTED)
                )
                port = free_port()
                urls.append(f"http://127.0.0.1:{port}")
                environ = {
                    "COE_REDIS_URL": redis_url,
                    "COE_REPLICA_URL": urls[-1],
                    "COE_REPLICA_SECRET": SECRET,
                    "COE_REPLICA_LEASE_S": str(LEASE_S),
                    "COE_ADMIN": "loopback",
                    "COE_LOG_LEVEL": "warning",
                }
                command = [
                    *(str(Path(sys.executable).with_name("coe")), "serve"),
                    *("--config", str(folder / "experts.yaml"), "--port", str(port)),
                ]
                log = BUILD / f"replica-{number}.log"
                process = Process(command, core=None, log=log, extra=environ)
                gateways.append(stack.enter_context(process))
            for process, url in zip(gateways, urls, strict=True):
                await _answers(process, url)
            site = _Site(box, redis, gateways, urls)
            await site.owner()
            for url in urls:  # brings both experts into memory
                await fire(url, _shots(url), rate=4.0, seconds=4.0)
            yield site


@contextmanager
def _redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    quiet = subprocess.DEVNULL
    with subprocess.Popen([*words, "--appendonly", "no"], stdout=quiet, stderr=quiet) as process:
        try:
            yield f"redis://127.0.0.1:{port}/0", process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def _shots(url: str) -> list[Shot]:
    """Return requests for experts by name, and turns of conversations, in turn."""
    named = [shot(url, PATH, chat_body(name, PROMPT), name=name) for name in "ab"]
    turns: list[Shot] = []
    for number in range(50):
        said = [f"{number}: the first thing", "so it is", "and the second"]
        messages = [
            {"role": "assistant" if at % 2 else "user", "content": text}
            for at, text in enumerate(said)
        ]
        for length in (1, 3):
            body = orjson.dumps({"model": "coe/auto", "messages": messages[:length]})
            turns.append(shot(url, PATH, body, name=f"turn {length}"))
    return [one for at, turn in enumerate(turns) for one in (named[at % 2], turn)]


def _streamed(url: str, number: int) -> Shot:
    body = {
        "model": "a",
        "stream": True,
        "messages": [{"role": "user", "content": f"stream {number} slowly now"}],
    }
    return shot(url, PATH, orjson.dumps(body), name="stream", ends=_DONE)


def _p99_ms(seen: Sequence[Seen]) -> float:
    both = Seen(
        latencies_s=[one for each in seen for one in each.latencies_s],
        due_s=[one for each in seen for one in each.due_s],
    )
    return both.quantile_ms(0.99)


async def _answers(process: Process, url: str) -> None:
    until = time.perf_counter() + START_S
    while process.is_alive and time.perf_counter() < until:
        if re.search(r"http://\S+/v1", process.output()) and await _get(url, "health/ready"):
            return
        await asyncio.sleep(0.1)
    raise StackFailed(f"a gateway does not start: {process.output()[-500:]}")


async def _owns(url: str) -> bool:
    return bool((await _get(url, "v1/replicas") or {"data": [{"owns": []}]})["data"][0]["owns"])


async def _get(url: str, path: str) -> dict[str, list[dict[str, object]]] | None:
    client = LeanClient(origin(BackendSpec(name="bench", type="bench", url=url)))
    try:
        with suppress(BackendError):
            response = await client.get(path, Timeouts(connect_s=1.0, total_s=5.0))
            if response.status == 200:
                found: dict[str, list[dict[str, object]]] = orjson.loads(await response.read())
                return found
        return None
    finally:
        await client.aclose()
