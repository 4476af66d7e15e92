"""Labels of metrics that nobody but the composition may make: requests that try to make others.

Paths, models, users, keys, ids and headers are drawn anew for each request, several for each; what
is counted is how many series the gateway has afterwards that it did not have before.
"""

from __future__ import annotations

import asyncio
import json
import random
import string
from collections.abc import Iterator, Mapping
from math import ceil
from urllib.parse import urlsplit

LABELS = 10_000
_AT_ONCE = 8
_ODD = 0.5  # of the lanes
_LETTERS = string.ascii_lowercase + string.digits
_CHAT = "/v1/chat/completions"
_KINDS = 4
_WORDS = 5
"""That no other request has, in each."""
_ANSWERED = 0.5
_AHEAD = 300


async def new_series(
    url: str,
    labels: int = LABELS,
    *,
    model: str = "coe/auto",
    metrics: str = "",
    headers: Mapping[str, str] | None = None,
    seed: int = 0,
) -> int:
    """Return how many series requests with random labels make.

    Args:
        url: of the gateway, without a path.
        labels: how many are sent, five in a request.
        model: that half of them asks for: those are answered. The others ask for none there is.
        metrics: where the metrics are, if that is not `/metrics` of the gateway.
        headers: of every request, such as a key's.
        seed: of what is drawn.

    Raises:
        RuntimeError: an answer was not what a gateway says.
    """
    draw = random.Random(seed)
    scrape = metrics or f"{url}/metrics"
    # One of each kind goes ahead: its series are those that the gateway makes of its own accord.
    await _send(url, [*_requests(draw, _AHEAD, model, headers or {})])
    before = await _series(scrape, headers or {})
    await _send(url, [*_requests(draw, ceil(labels / _WORDS), model, headers or {})])
    return len(await _series(scrape, headers or {}) - before)


def _requests(
    draw: random.Random, count: int, model: str, headers: Mapping[str, str]
) -> Iterator[bytes]:
    for number in range(count):
        yield _request(draw, number, model, headers)


def _request(draw: random.Random, number: int, model: str, headers: Mapping[str, str]) -> bytes:
    """Return one request; its kind goes by its number."""
    one, two, three, four, five = ("".join(draw.choices(_LETTERS, k=16)) for _ in range(_WORDS))
    rows = dict(headers)
    method, path = "POST", f"{_CHAT}?{one}={two}"
    asked = model if draw.random() < _ANSWERED else f"model-{two}"
    body: dict[str, object] = {
        "model": asked,
        "messages": [{"role": "user", "content": "hello"}],
        "user": f"user-{three}",
    }
    match number % _KINDS:
        case 0:
            method, path = draw.choice(["GET", "POST", "DELETE"]), f"/v1/{three}?{one}={two}"
            rows |= {"user-agent": four, f"x-{five}": five}
        case 1:
            rows |= {"authorization": f"Bearer sk-{four}", "user-agent": five}
        case 2:
            rows |= {f"x-{four}": four, "x-session-id": five, "x-request-id": five}
        case _:
            body["metadata"] = {four: four}
            rows |= {"user-agent": five, "x-coe-lane": two if draw.random() < _ODD else "bulk"}
    content = json.dumps(body).encode() if method == "POST" else b""
    rows |= {"content-type": "application/json", "content-length": str(len(content))}
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: localhost",
        *(f"{k}: {v}" for k, v in rows.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


async def _send(url: str, requests: list[bytes]) -> None:
    """Send requests over a few connections, one after the other on each."""
    parts = urlsplit(url)
    lanes = [requests[lane::_AT_ONCE] for lane in range(_AT_ONCE)]
    await asyncio.gather(*(_lane(parts.hostname or "", parts.port or 80, lane) for lane in lanes))


async def _lane(host: str, port: int, requests: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for request in requests:
            writer.write(request)
            await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Return the body of an answer. Raises RuntimeError where its length is not told."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, found, rest = head.partition(b"content-length:")
    if not found or head.startswith(b"http/1.1 5"):
        raise RuntimeError(f"an answer that was not expected: {head!r}")
    return await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))


async def _series(url: str, headers: Mapping[str, str]) -> set[str]:
    """Return the names of all series, with their labels."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        rows = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {parts.path} HTTP/1.1\r\nhost: localhost\r\n{rows}\r\n".encode())
        text = (await _answer(reader)).decode()
    finally:
        writer.close()
    return {line.rsplit(" ", 1)[0] for line in text.splitlines() if line[:1] not in {"", "#"}}
