"""Shared by every test: a hermetic environment and the asyncio backend."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def hermetic_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's keys, proxies or settings."""
    for name in list(os.environ):
        if name.startswith("COE_") or name.endswith(("_API_KEY", "_proxy", "_PROXY")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COE_CACHE_DIR", "off")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


def free_port() -> int:
    """Return a port that nobody listens on, for a server that is started, perhaps more than once.

    None of those that the system gives to connections that go out: it would be gone by then.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


@dataclass
class RedisServer:
    """A real Redis of the test's own, on a free port of loopback, without persistence.

    Attributes:
        url: to give to clients; port: that it listens on.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, on the same port as before."""
        words = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        words += ["--appendonly", "no", "--dir", str(self.folder), "--daemonize", "no"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
                line.sendall(b"PING\r\n")
                if line.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.01)
        raise RuntimeError("redis-server does not answer")

    def freeze(self) -> None:
        """Have it answer nothing, though connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it answer again."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it; connections break, and new ones are refused."""
        if self.process is not None:
            self.process.kill()  # works on a frozen one, too
            self.process.wait()
            self.process = None

    def clear(self) -> None:
        """Forget everything."""
        self.tell("FLUSHALL")

    def refuse(self, why: str) -> str:
        """Have it refuse what writes, and answer the rest; return the URL for whom that holds.

        Args:
            why: as its answers say: a full memory (`OOM`), a replica (`READONLY`), no permission
                (`NOPERM`).
        """
        if why == "NOPERM":
            self.tell("ACL SETUSER reader on >secret ~* &* +@all -@write -publish")
            return self.url.replace("//", "//reader:secret@")
        self.tell({"OOM": "CONFIG SET maxmemory 1", "READONLY": "REPLICAOF 127.0.0.1 1"}[why])
        return self.url

    def accept(self) -> None:
        """Have it take what it refused."""
        for words in ("CONFIG SET maxmemory 0", "REPLICAOF NO ONE", "ACL SETUSER reader +@all"):
            self.tell(words)

    def tell(self, words: str) -> None:
        """Carry out a command."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as line:
            line.sendall(words.encode() + b"\r\n")
            said = line.recv(200)
        if not said.startswith(b"+OK"):
            raise RuntimeError(f"{words}: {said.decode()}")

    def _signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server here (`make redis` installs Debian's)")
    server = RedisServer(tmp_path_factory.mktemp("redis"), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(_redis_server: RedisServer) -> Iterator[RedisServer]:
    """A real Redis, empty, and there: whatever a test does to it is put right afterwards."""
    if _redis_server.process is None or _redis_server.process.poll() is not None:
        _redis_server.start()
    _redis_server.clear()
    yield _redis_server
    _redis_server.thaw()
    if _redis_server.process is not None:
        _redis_server.accept()
