"""The installed command, as a subprocess."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

COE = Path(sys.executable).with_name("coe")


class Server:
    """A `coe serve` of ours: its address, its output, its end."""

    def __init__(self, *arguments: str, cwd: Path, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [str(COE), "serve", "--port", "0", *arguments],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """The root address; waits until the server has named it."""
        assert self._listens.wait(30), self.log
        found = re.search(r"http://\S+(?=/v1)", self.log)
        assert found, self.log
        return found[0]

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_ready(self, client: httpx2.Client, seconds: float = 60) -> None:
        """Return once everything is loaded."""
        pause = threading.Event()
        for _ in range(int(seconds * 5)):
            if client.get(f"{self.url}/health/ready").status_code == 200:
                return
            pause.wait(0.2)
        raise AssertionError(client.get(f"{self.url}/health/ready").text)

    def stop(self) -> int:
        """Ask it to end as an operator would; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join(5)
        if self.process.stderr:
            self.process.stderr.close()
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if "/v1" in line:
                self._listens.set()
        self._listens.set()


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[Server] = []

    def starting(*arguments: str, cwd: Path = tmp_path, **options: Any) -> Server:
        servers.append(Server(*arguments, cwd=cwd, **options))
        return servers[-1]

    yield starting
    for server in servers:
        server.stop()


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def coe() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a `coe` command and return what it printed."""

    def run(*arguments: str, cwd: Path | None = None, **env: str) -> Any:
        return subprocess.run(
            [str(COE), *arguments],
            cwd=cwd,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
