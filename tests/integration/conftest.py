"""A real gateway on a real socket, in the test's own event loop, in front of a fake upstream."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn

from coe.api.access import Reach
from coe.api.app import App
from coe.cli import main
from coe.composition import load
from coe.live import Live
from coe.pipeline import Gateway
from coe.premises import premises_of
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.testing.upstream import FakeUpstream
from coe.wiring import wire


@dataclass
class Running:
    """A gateway that listens."""

    url: str
    gateway: Gateway
    session: aiohttp.ClientSession
    live: Live
    app: App
    responses: list[aiohttp.ClientResponse] = field(default_factory=list)

    async def request(self, method: str, url: str, **options: Any) -> aiohttp.ClientResponse:
        """Send a request; the response is closed when the gateway stops, if not before."""
        response = await self.session.request(method, url, **options)
        self.responses.append(response)
        return response

    async def chat(self, model: str = "coe/auto", text: str = "hello", **fields: Any) -> Any:
        """POST a chat completion."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return await self.request("POST", f"{self.url}/chat/completions", json=body)

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples whose line starts with `name`."""
        lines = self.gateway.telemetry.exposition().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@dataclass(frozen=True)
class Done:
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str


Coe = Callable[..., Done]


@pytest.fixture
def coe(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Coe:
    """Run a command in this process, in the test's `folder`."""
    monkeypatch.chdir(folder)

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["coe", *words])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return Done(int(str(code or 0)), out, err)

    return run


def write_rows(path: Path, rows: Sequence[tuple[str, str | None]]) -> None:
    """Write labelled texts as JSON lines."""
    lines = (json.dumps({"text": text, "category": name}) for text, name in rows)
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return a context manager that serves a composition given as text."""

    @asynccontextmanager
    async def serving(
        text: str, *, reach: Reach = "loopback", **settings: Any
    ) -> AsyncIterator[Running]:
        file = tmp_path / "experts.yaml"
        file.write_text(text)
        configured = Settings(config=file, **settings)
        premises = premises_of(configured) if configured.redis_url else None
        gateway = wire(load(file), configured, Telemetry(log_requests=False), premises=premises)
        listener = socket.create_server(("127.0.0.1", 0))
        # Without it every answer on a kept connection waits 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = App(gateway, configured, reach=reach)
        config = uvicorn.Config(app, ws="none", log_config=None, timeout_graceful_shutdown=0)
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await server.is_listening.wait()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        try:
            async with aiohttp.ClientSession() as session:
                client = Running(url=url, gateway=gateway, session=session, live=app.live, app=app)
                yield client
                for response in client.responses:
                    response.close()
        finally:
            server.should_exit = True
            await running

    return serving


class _Server(uvicorn.Server):
    """uvicorn, without its signal handlers, that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        yield fake


_TWO_EXPERTS = """
version: 1
backends: {{up: "{url}"}}
experts:
  good: {{backend: up, model: ok, capabilities: [tools, vision, json]}}
  behaves: {{backend: up, model: "{model}", capabilities: [tools, vision, json]}}
default: good
timeouts: {{connect: 2s, first_token: 5s, idle: 5s, total: 20s}}
"""


class Gateways:
    """Starts gateways whose expert `behaves` does what a test wants."""

    def __init__(self, serve: Serve, upstream: FakeUpstream) -> None:
        self._serve = serve
        self.upstream = upstream

    def start(self, behaviour: str = "ok", **settings: Any) -> AbstractAsyncContextManager[Running]:
        return self._serve(_TWO_EXPERTS.format(url=self.upstream.url, model=behaviour), **settings)

    @property
    def sent(self) -> Any:
        """The body of the last request to the upstream."""
        return self.upstream.requests[-1].json


@pytest.fixture
def gateways(serve: Serve, upstream: FakeUpstream) -> Gateways:
    return Gateways(serve, upstream)
