"""A gateway that follows its file: by signal, and by its own endpoints."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import httpx2
import pytest

from .conftest import COE, Start

FILE = """\
version: 1
backends: {gone: http://127.0.0.1:9}
experts:
  one: gone/m   # the first
default: one
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE)
    return path


def names(client: httpx2.Client, url: str) -> set[str]:
    return {card["id"] for card in client.get(f"{url}/v1/models").json()["data"]}


def follows(client: httpx2.Client, url: str, expected: str) -> bool:
    pause = threading.Event()
    for _ in range(100):
        if expected in names(client, url):
            return True
        pause.wait(0.1)
    return False


def test_a_signal_has_the_file_read_again(start: Start, client: httpx2.Client, file: Path) -> None:
    server = start("--config", str(file))
    assert names(client, server.url) >= {"one"}
    words = [str(COE), "experts", "add", "two", "gone/n", "--config", str(file)]
    subprocess.run(words, check=True, cwd=file.parent, env=dict(os.environ))

    server.process.send_signal(signal.SIGHUP)

    assert follows(client, server.url, "two")
    assert "  one: gone/m   # the first\n" in file.read_text()


def test_a_file_that_cannot_be_served_is_told_and_changes_nothing(
    start: Start, client: httpx2.Client, file: Path
) -> None:
    server = start("--config", str(file))
    assert names(client, server.url) >= {"one"}
    file.write_text(FILE.replace("gone/m", "nowhere/m"))

    server.process.send_signal(signal.SIGHUP)

    pause = threading.Event()
    for _ in range(100):
        if "the composition was not replaced" in server.log:
            break
        pause.wait(0.1)
    assert "experts.yaml:4:" in server.log
    assert names(client, server.url) >= {"one"}


def test_an_expert_is_registered_over_http_and_is_there_after_a_restart(
    start: Start, client: httpx2.Client, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COE_ADMIN", "loopback")
    server = start("--config", str(file))
    answer = client.post(
        f"{server.url}/v1/experts", json={"name": "two", "backend": "gone", "model": "n"}
    )
    assert answer.status_code == 201
    server.stop()

    again = start("--config", str(file))

    assert names(client, again.url) >= {"one", "two"}


def test_an_edit_is_served_without_a_signal_and_the_file_goes_back(
    start: Start, client: httpx2.Client, file: Path
) -> None:
    server = start("--config", str(file))
    assert names(client, server.url) >= {"one"}
    file.write_text(FILE.replace("default: one", "  two: gone/n\ndefault: two"))
    assert follows(client, server.url, "two")

    words = [str(COE), "config", "rollback", "--config", str(file)]
    subprocess.run(words, check=True, cwd=file.parent, env=dict(os.environ))

    pause = threading.Event()
    for _ in range(100):
        if "two" not in names(client, server.url):
            break
        pause.wait(0.1)
    assert "two" not in names(client, server.url)
    assert file.read_text() == FILE
    assert "expert `two` is new; " in server.log
    assert "expert `two` is gone; " in server.log
