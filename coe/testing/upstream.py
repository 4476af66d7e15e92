"""A fast OpenAI server over real sockets that misbehaves on command.

In a test, in the same loop:

    async with FakeUpstream() as upstream:
        ...  # upstream.url; the model's name is the behaviour, see `coe.testing.behaviours`

As a command, for benches and for trying things out:

    python -m coe.testing.upstream --port 9100 --latency-ms 20 --latency-sigma 0.5
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from coe.testing import behaviours, wire
from coe.testing.listener import Listener
from coe.testing.serving import Connection, Received
from coe.testing.steps import Send, Step, Wait

_CACHED = 1024  # answers to bodies seen before, which is what makes a bench's upstream fast


class FakeUpstream(Listener):
    """The server. Start it with `async with`; it listens on a free port unless told which.

    Args:
        models: what GET /v1/models lists.
        latency: called for each request; seconds to wait before anything else.
        dim: length of the vectors of /v1/embeddings.
        tls: makes it an https server.

    Attributes:
        url: base address, with /v1.
        requests: the last thousand, oldest first.
        received: requests since the start.
        connections: open now.
        accepted: connections since the start.
        aborted: requests whose client went away before the answer had ended.
        says: set it to choose what an ordinary answer to a chat request's body says; None, from
            it or in its place, means the prompt, echoed.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        models: Iterable[str] = ("ok",),
        latency: Callable[[], float] | None = None,
        dim: int = 8,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: deque[Received] = deque(maxlen=1000)
        self.received = 0
        self.connections = 0
        self.accepted = 0
        self.aborted = 0
        self.models = tuple(models)
        self.latency = latency
        self.says: Callable[[Mapping[str, Any]], str | None] | None = None
        self.dim = dim
        self._host, self._port, self._tls = host, port, tls
        self._planned: deque[str] = deque()
        self._answers: dict[tuple[bytes, bytes], Send] = {}
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._open: set[Connection] = set()

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: Connection(self, loop), self._host, self._port, ssl=self._tls, backlog=1024
        )

    def _address(self, port: int) -> str:
        self._port = port  # so that a restart listens on the same one
        return f"{'https' if self._tls else 'http'}://{self._host}:{port}/v1"

    def cut_connections(self) -> None:
        """Close every open connection, idle ones too, as a restart of the server would."""
        for connection in tuple(self._open):
            connection.end("close")

    def plan(self, names: Iterable[str]) -> None:
        """Let the next requests have these behaviours, whatever their model is called."""
        self._planned.extend(names)

    async def arrived(self, count: int = 1) -> None:
        """Return once `count` requests have been received since the start."""
        await self._until(lambda: self.received >= count)

    async def client_gone(self, count: int = 1) -> None:
        """Return once the clients of `count` unfinished answers have gone away."""
        await self._until(lambda: self.aborted >= count)

    async def disconnected(self) -> None:
        """Return once no connection is open."""
        await self._until(lambda: self.connections == 0)

    async def _until(self, holds: Callable[[], bool]) -> None:
        if not holds():
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((holds, future))
            await future

    def note(self, connection: Connection, *, opened: bool = False, closed: bool = False) -> None:
        """Take note of what has happened to a connection; wake who waits for it."""
        if opened:
            self._open.add(connection)
            self.accepted += 1
        if closed:
            self._open.discard(connection)
            self.aborted += connection.busy
        self.connections = len(self._open)
        for holds, future in self._waiters:
            if holds() and not future.done():
                future.set_result(None)
        self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]

    def answer(self, request: Received) -> list[Step]:
        """Take a request; return what to do with it."""
        self.received += 1
        self.requests.append(request)
        known = self._answers.get((request.body, request.path.encode()))
        is_planned = bool(self._planned) or self.says is not None
        if known is not None and not is_planned:
            plan: list[Step] = [known]
        else:
            plan = self._made(request)
            only = plan[0] if len(plan) == 1 and not is_planned else None
            if isinstance(only, Send) and len(self._answers) < _CACHED:
                self._answers[request.body, request.path.encode()] = only
        return [Wait(self.latency()), *plan] if self.latency else plan

    def _made(self, request: Received) -> list[Step]:
        path = request.path.partition("?")[0]
        if path.endswith("/models"):
            listed = [{"id": name, "object": "model", "owned_by": "fake"} for name in self.models]
            body = orjson.dumps({"object": "list", "data": listed})
            return (
                behaviours.steps(wire.Ask(model=self._planned.popleft()))
                if self._planned
                else [Send(wire.http(200, body))]
            )
        endpoint = path.removeprefix("/v1/")
        if endpoint not in {"chat/completions", "embeddings"}:
            return [Send(wire.http(404, wire.error_body(f"no {path} here", "not_found_error")))]
        try:
            body = orjson.loads(request.body)
            ask = wire.Ask.read(body, endpoint)
        except (ValueError, AttributeError, TypeError):
            return [Send(wire.http(400, wire.error_body("not JSON", "invalid_request_error")))]
        if self.says is not None and endpoint == "chat/completions":
            ask = replace(ask, said=self.says(body))
        if self._planned:
            ask = replace(ask, model=self._planned.popleft())
        if endpoint == "embeddings" and not behaviours.is_special(ask.model):
            return [Send(wire.http(200, wire.embeddings(ask, self.dim)))]
        return behaviours.steps(ask)


def fixed(seconds: float) -> Callable[[], float]:
    """Return a latency that is always the same."""
    return lambda: seconds


def lognormal(median_s: float, sigma: float, seed: int = 0) -> Callable[[], float]:
    """Return a latency with a long tail: its p99 is `median_s * exp(2.33 * sigma)`."""
    source = random.Random(seed)  # noqa: S311 - no secret depends on it
    return lambda: source.lognormvariate(math.log(median_s), sigma)


async def _serve(arguments: argparse.Namespace) -> None:
    latency = None
    if arguments.latency_ms:
        median_s = arguments.latency_ms / 1000
        sigma = arguments.latency_sigma
        latency = lognormal(median_s, sigma, arguments.seed) if sigma else fixed(median_s)
    async with FakeUpstream(
        port=arguments.port, host=arguments.host, models=arguments.model or ["ok"], latency=latency
    ) as upstream:
        print(f"fake upstream on {upstream.url}", flush=True)  # noqa: T201 - it is a command
        await asyncio.Event().wait()


def main() -> None:
    """Run the server until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m coe.testing.upstream",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100, help="0 for a free one")
    parser.add_argument("--model", action="append", help="listed by GET /v1/models; repeatable")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="median")
    parser.add_argument("--latency-sigma", type=float, default=0.0, help="of its logarithm")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run = asyncio.run
    try:
        import uvloop
    except ImportError:
        pass
    else:
        run = uvloop.run
    try:
        run(_serve(arguments))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
