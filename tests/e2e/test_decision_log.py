"""The decision log of real processes: one that is killed, and two that share a file."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import httpx2
import pytest

from coe.decisions.log import INTERVAL_S
from coe.stores.decisions import FILE, DecisionStore

from .conftest import Server, Start

TEXT = """\
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {hello: {constant: "Hello! I am {model}."}}
default: hello
"""
CALLS = 200
# Between the end of an answer and its row: the interval, the write, and a machine that is busy.
MARGIN_S = INTERVAL_S + 2.0

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def file(tmp_path: Path) -> None:
    (tmp_path / "experts.yaml").write_text(TEXT)


def ask(client: httpx2.Client, server: Server, text: str) -> str:
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": text}]}
    response = client.post(f"{server.url}/v1/chat/completions", json=body)
    assert response.status_code == 200
    return str(response.headers["x-coe-decision-id"])


def logged(folder: Path) -> set[str]:
    store = DecisionStore.open(folder / ".coe" / FILE)
    try:
        return {record.id for record in store.records()}
    finally:
        store.close()


def test_a_killed_gateway_loses_the_last_interval_at_most(
    start: Start,
    client: httpx2.Client,
    coe: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    server = start()
    server.wait_ready(client)
    answered: list[tuple[str, float]] = []
    enough = threading.Event()

    def work() -> None:
        with httpx2.Client(timeout=30, trust_env=False) as mine:
            while True:
                try:
                    name = ask(mine, server, "hi")
                except httpx2.HTTPError:
                    return  # it is dead
                answered.append((name, time.monotonic()))
                if len(answered) >= CALLS and time.monotonic() - answered[0][1] > MARGIN_S + 1.0:
                    enough.set()

    with ThreadPoolExecutor(2) as pool:
        workers = [pool.submit(work) for _ in range(2)]
        assert enough.wait(60)
        killed = time.monotonic()
        server.process.send_signal(signal.SIGKILL)
        for worker in workers:
            worker.result(30)

    found = logged(tmp_path)
    early = [name for name, at in answered if at < killed - MARGIN_S]
    assert len(early) > CALLS / 8
    assert [name for name in early if name not in found] == []
    shown = coe("why", early[-1], cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "expert    hello" in shown.stdout
    again = start()  # the file is whole, and goes on
    again.wait_ready(client)
    last = ask(client, again, "hi")
    url = f"{again.url}/v1/decisions/{last}"
    assert client.get(url).json()["expert"] == "hello"
    assert client.get(url.replace(last, early[0])).json()["id"] == early[0]


def test_two_gateways_write_one_file(start: Start, client: httpx2.Client, tmp_path: Path) -> None:
    servers = [start(), start()]
    for server in servers:
        server.wait_ready(client)

    def work(server: Server) -> list[str]:
        with httpx2.Client(timeout=30, trust_env=False) as mine:
            return [ask(mine, server, f"hi {number}") for number in range(CALLS // 2)]

    with ThreadPoolExecutor(4) as pool:
        names = [name for part in pool.map(work, servers * 2) for name in part]
    # Each finds what the other one wrote, and takes feedback on it.
    for server, name in zip(servers, (names[-1], names[0]), strict=True):
        said = {"decision_id": name, "value": True}
        deadline = time.monotonic() + 30
        while client.post(f"{server.url}/v1/feedback", json=said).status_code == 404:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    for server in servers:
        server.stop()

    assert logged(tmp_path) == set(names)
    assert len(names) == 2 * CALLS
    assert "not written" not in "".join(server.log for server in servers)
    store = DecisionStore.open(tmp_path / ".coe" / FILE)
    digests = {json.dumps(record.prompt) for record in store.records()}
    store.close()
    assert len(digests) == CALLS // 2  # equal prompts are equal, whoever wrote them
