"""REL-04 for Redis: nothing that needs none waits for it; each feature has its way without it.

What each feature does is in docs/explanation/when-something-fails.md; the tests of single features
are beside them (tests/integration/test_replicas.py, test_redis.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coe.errors import ConfigError, InvalidRequest
from coe.replicas.errand import read
from coe.replicas.replica import identity_of_pool, read_secret
from tests.conftest import RedisServer
from tests.integration.test_replicas import SECRET, Gateway, Site, opened, until

pytestmark = pytest.mark.anyio


FILE = """\
version: 1
backends:
  box: {{type: ollama, url: {url}, memory: 2GiB}}
experts:
  coder: {{backend: box, model: a, memory: 1GiB}}
  writer: {{backend: box, model: b, memory: 1GiB}}
categories:
  code: {{keywords: [compile], experts: [coder]}}
  prose: {{keywords: [poem], experts: [writer]}}
routers: {{default: {{type: keyword}}}}
routing: {{sessions: {{stick: always, key: [derived]}}}}
default: writer
"""
SHARING = """\
cache: exact
limits: [{scope: all, requests: 1000/day}]
"""


@pytest.fixture
async def site(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Site]:
    async with opened(tmp_path, redis_server, room=2) as there:
        yield there


async def test_rel_04_while_redis_is_frozen_no_request_fails_that_needs_none(site: Site) -> None:
    """Named experts in memory and conversations, on both replicas, all the time."""
    text = FILE.format(url=site.box.url)
    await site.start(text)
    await site.start(text)
    owner, other = await site.both()
    for gateway in (owner, other):
        await asyncio.gather(gateway.ask("coder"), gateway.ask("writer"))
    await until(lambda: other.slots._resident == {"coder", "writer"})
    done: list[int] = []
    longest_s = 0.0
    is_over = asyncio.Event()

    async def keep_asking(gateway: Gateway) -> None:
        nonlocal longest_s
        number = 0
        while not is_over.is_set():
            began_s = time.perf_counter()
            done.append((await gateway.ask("coder"))[0])
            await gateway.chat(f"compile {number}")
            await gateway.chat(f"compile {number}", "done", "and a poem")
            longest_s = max(longest_s, time.perf_counter() - began_s)
            number += 1

    async with asyncio.TaskGroup() as tasks:
        for gateway in (owner, other):
            tasks.create_task(keep_asking(gateway))
        await until(lambda: len(done) >= 4)
        site.freeze()
        await until(lambda: not owner.slots._may_act())
        frozen = len(done)
        await until(lambda: len(done) >= frozen + 4)
        await site.thaw()
        thawed = len(done)
        await until(lambda: len(done) >= thawed + 4)
        is_over.set()

    assert set(done) == {200}
    # Three requests; each of Redis' uses may cost one wait of 100 ms. A hang would be far beyond.
    assert longest_s < 10.0
    assert not site.box.wrongs


async def test_rel_04_a_gateway_starts_and_answers_while_redis_is_gone(site: Site) -> None:
    site.redis.stop()
    text = FILE.format(url=site.box.url).replace("type: ollama, ", "").replace(", memory: 2GiB", "")
    gateway = await site.start(text)
    site.box.held.append("a")

    assert await gateway.chat("compile this") == ("code", "coder")
    assert (await gateway.get("/v1/replicas"))["redis"] == "down"
    site.redis.start()


@pytest.mark.parametrize("why", ["OOM", "READONLY", "NOPERM", "WRONGTYPE"])
async def test_rel_04_a_redis_that_refuses_costs_no_request_and_is_used_again(
    site: Site, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With conversations, breakers, keys, limits, the cache and a memory that is shared."""
    url = site.redis.refuse("NOPERM")
    site.redis.accept()
    gateway = await site.start(FILE.format(url=site.box.url) + SHARING, redis_url=url)
    await site.owner()
    assert [(await gateway.ask(name))[0] for name in ("coder", "writer")] == [200, 200]
    if why == "WRONGTYPE":
        site.redis.clear()
        for key in ("keys", "keys:version", "replicas", "breakers", "limits:all/requests/day"):
            site.redis.tell(f"SET coe:{key} x")
    else:
        site.redis.refuse(why)

    async def all_is_well() -> bool:
        answers = [await gateway.ask("writer") for _ in range(3)]
        assert {status for status, _ in answers} == {200}
        assert await gateway.chat("a poem") == ("prose", "writer")
        assert await gateway.chat("a poem", "done", "go on") == ("prose", "writer")
        premises = gateway.app.live.current.gateway.premises
        assert premises is not None
        assert premises.sessions is not None
        assert premises.ledger is not None
        return not premises.sessions.owed and not premises.ledger._owed  # type: ignore[attr-defined]

    assert not await all_is_well()
    await until(lambda: why == "WRONGTYPE" or not gateway.slots._may_act())
    assert not await all_is_well()
    site.redis.accept()
    site.redis.clear()
    async with asyncio.timeout(15):
        while not await all_is_well():
            await asyncio.sleep(0.1)
    await until(gateway.slots._may_act)
    assert (await gateway.ask("coder"))[0] == 200
    assert "Traceback" not in caplog.text
    refusals = [said for said in caplog.messages if "refuses" in said]
    assert refusals
    assert len(refusals) == len(set(refusals))


def test_a_secret_is_long_and_may_be_in_a_file(tmp_path: Path) -> None:
    kept = tmp_path / "secret"
    kept.write_text(f"{SECRET}\n")

    assert read_secret(SECRET) == SECRET
    assert read_secret(f"${{file:{kept}}}") == SECRET
    assert not read_secret("")
    with pytest.raises(ConfigError, match="32 bytes") as caught:
        read_secret(SECRET[:31])
    assert SECRET[:31] not in str(caught.value)
    with pytest.raises(ConfigError, match=r"COE_REPLICA_SECRET: .*gone"):
        read_secret(f"${{file:{tmp_path / 'gone'}}}")
    with pytest.raises(ConfigError, match="white space"):
        read_secret(f"{SECRET} {SECRET}")


def test_a_server_on_loopback_is_another_one_on_every_machine() -> None:
    for url in ("http://127.0.0.1:8000/v1", "http://localhost:8000", "http://[::1]:8000"):
        assert identity_of_pool("gpu", url, "x") != identity_of_pool("gpu", url, "y")
        assert identity_of_pool("gpu", url, "x") == identity_of_pool("gpu", f"{url}/", "x")
    far = "http://vllm:8000/v1"
    assert identity_of_pool("gpu", far, "x") == identity_of_pool("gpu", far, "y")
    assert identity_of_pool("gpu", far, "x") != identity_of_pool("cpu", far, "x")
    assert "8000" not in identity_of_pool("gpu", far, "x")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"pool": 1, "expert": "a"}',
        b'{"pool": "p", "expert": "a", "lane": "fast"}',
        b'{"pool": "p", "expert": "a", "deadline_s": "soon"}',
        b'{"pool": "p", "expert": "a", "more": 1}',
    ],
)
def test_what_is_no_errand_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read(raw)
