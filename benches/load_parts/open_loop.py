"""An open-loop load generator: requests leave on a schedule, whatever becomes of those before.

A latency is counted from when its request was due, so that a server that stalls cannot hide it by
being asked less (coordinated omission). Connections are kept and pipelining is not used: a request
takes an idle connection, or opens one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

LATE_S = 30.0
"""A request that has no whole answer after so long counts as hung."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One request that is sent again and again.

    Attributes:
        raw: the whole request, as bytes on the wire.
        expected: the status that is right.
        ends: how the body of a right answer ends; empty where any does.
    """

    name: str
    raw: bytes
    expected: int = 200
    ends: bytes = b""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What came back.

    Attributes:
        latencies_s: of right answers, from when they were due, in the order in which they came.
        due_s: when each of those was due, in seconds from the start.
        wrong: other statuses, by shot and status; `cut`: broken or incomplete ones; `hung`: none.
    """

    latencies_s: list[float] = field(default_factory=list)
    due_s: list[float] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=dict)
    cut: int = 0
    hung: int = 0
    sent: int = 0

    @property
    def errors(self) -> int:
        """All that is not a right answer."""
        return sum(self.wrong.values()) + self.cut + self.hung

    def quantile_ms(self, share: float, *, begin_s: float = 0.0, end_s: float = 1e9) -> float:
        """Return a quantile of the latencies of requests that were due in a span, in ms."""
        chosen = sorted(
            latency
            for latency, due in zip(self.latencies_s, self.due_s, strict=True)
            if begin_s <= due < end_s
        )
        if not chosen:
            raise ValueError("no request was answered in that span")
        return 1000 * chosen[min(int(share * len(chosen)), len(chosen) - 1)]

    def forget(self) -> None:
        """Drop the latencies, so that an hour fits into memory; counts stay."""
        self.latencies_s.clear()
        self.due_s.clear()


def shot(  # noqa: PLR0913 - the parts of a request
    url: str,
    path: str,
    body: bytes,
    *,
    name: str = "",
    headers: Sequence[tuple[str, str]] = (),
    expected: int = 200,
    ends: bytes = b"",
) -> Shot:
    """Return a POST as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {urlsplit(url).netloc}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{key}: {value}" for key, value in headers),
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return Shot(name=name or path, raw=head + body, expected=expected, ends=ends)


class _Line(asyncio.Protocol):
    """One connection; it holds one request at a time."""

    def __init__(self, pool: _Pool) -> None:
        self.pool = pool
        self.transport: asyncio.Transport | None = None
        self.shot: Shot | None = None
        self.due = 0.0
        self.tail = b""
        self.done = False
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, one: Shot, due: float) -> None:
        """Send a request."""
        self.shot, self.due, self.tail, self.done = one, due, b"", False
        assert self.transport is not None
        self.transport.write(one.raw)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.cut()

    def on_body(self, body: bytes) -> None:
        self.tail = (self.tail + body)[-64:]

    def on_message_complete(self) -> None:
        one = self.shot
        status = self.parser.get_status_code()
        keep = self.parser.should_keep_alive()
        self.parser = httptools.HttpResponseParser(self)
        if one is None:
            return
        self.shot = None
        if status != one.expected:
            self.pool.wrong(f"{one.name} {status}")
        elif not self.tail.endswith(one.ends):
            self.pool.seen.cut += 1
        else:
            self.pool.good(self.due)
        self.pool.free(self, keep=keep)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.done = True
        self.cut()

    def cut(self) -> None:
        """Count a request whose connection broke."""
        if self.shot is not None:
            self.shot = None
            self.pool.seen.cut += 1
        self.pool.gone(self)
        if self.transport is not None:
            self.transport.abort()


class _Pool:
    """The connections to one server."""

    def __init__(self, url: str, seen: Seen, began: float) -> None:
        where = urlsplit(url)
        self.host, self.port = where.hostname or "127.0.0.1", where.port or 80
        self.seen, self.began = seen, began
        self.idle: deque[_Line] = deque()
        self.busy: set[_Line] = set()
        self.opening: set[asyncio.Task[None]] = set()

    def fire(self, one: Shot, due: float) -> None:
        """Send a request now."""
        self.seen.sent += 1
        while self.idle:
            line = self.idle.pop()
            if not line.done:
                self.busy.add(line)
                line.send(one, due)
                return
        task = asyncio.ensure_future(self._open(one, due))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def _open(self, one: Shot, due: float) -> None:
        try:
            _, line = await asyncio.get_running_loop().create_connection(
                lambda: _Line(self), self.host, self.port
            )
        except OSError:
            self.seen.cut += 1
            return
        self.busy.add(line)
        line.send(one, due)

    def good(self, due: float) -> None:
        self.seen.latencies_s.append(time.perf_counter() - due)
        self.seen.due_s.append(due - self.began)

    def wrong(self, what: str) -> None:
        self.seen.wrong[what] = self.seen.wrong.get(what, 0) + 1

    def free(self, line: _Line, *, keep: bool) -> None:
        self.busy.discard(line)
        if keep:
            self.idle.append(line)
        elif line.transport is not None:
            line.transport.close()

    def gone(self, line: _Line) -> None:
        self.busy.discard(line)

    def close(self) -> None:
        """Count what never came, and close everything."""
        for line in (*self.busy, *self.idle):
            if line.shot is not None:
                line.shot = None
                self.seen.hung += 1
            if line.transport is not None:
                line.transport.abort()


async def fire(
    url: str,
    shots: Sequence[Shot],
    *,
    rate: float,
    seconds: float,
    every: tuple[float, Callable[[Seen], None]] | None = None,
) -> Seen:
    """Send shots in turn at a constant rate.

    Args:
        url: of the server; only host and port count.
        shots: sent one after the other, from the first again.
        rate: requests per second.
        seconds: how long.
        every: called each so many seconds with what was seen so far.
    """
    began = time.perf_counter()
    seen = Seen()
    pool = _Pool(url, seen, began)
    number, tell = 0, began + (every[0] if every else float("inf"))
    while True:
        now = time.perf_counter()
        if now - began >= seconds:
            break
        while (due := began + number / rate) <= now:
            pool.fire(shots[number % len(shots)], due)
            number += 1
        if every is not None and now >= tell:
            tell += every[0]
            every[1](seen)
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
    until = time.perf_counter() + LATE_S
    while (pool.busy or pool.opening) and time.perf_counter() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    pool.close()
    return seen
