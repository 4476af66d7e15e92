"""Labels of metrics that nobody but the composition may make: requests that try to make others.

Paths, models, users, keys, ids and headers are drawn anew for each request; what is counted is how
many series the gateway has afterwards that it did not have before.
"""

from __future__ import annotations

import asyncio
import json
import random
import string
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

LABELS = 10_000
_AT_ONCE = 8
_LETTERS = string.ascii_lowercase + string.digits
_CHAT = "/v1/chat/completions"
_KINDS = 6
_ANSWERED = 0.1
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
        labels: how many requests are sent.
        model: that a tenth of them asks for: those are answered. The others ask for none there is.
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
    await _send(url, [*_requests(draw, labels, model, headers or {})])
    return len(await _series(scrape, headers or {}) - before)


def _requests(
    draw: random.Random, count: int, model: str, headers: Mapping[str, str]
) -> Iterator[bytes]:
    for number in range(count):
        yield _request(draw, number, model, headers)


def _request(draw: random.Random, number: int, model: str, headers: Mapping[str, str]) -> bytes:
    """Return one request; its kind goes by its number."""
    word = "".join(draw.choices(_LETTERS, k=16))
    rows = dict(headers)
    method, path = "POST", _CHAT
    asked = model if draw.random() < _ANSWERED else f"model-{word}"
    body = {"model": asked, "messages": [{"role": "user", "content": "hello"}]}
    match number % _KINDS:
        case 0:
            method, path, body = draw.choice(["GET", "POST", "DELETE"]), f"/v1/{word}", {}
        case 1:
            body["user"] = f"user-{word}"
        case 2:
            body["metadata"] = {word: word}
        case 3:
            rows["authorization"] = f"Bearer sk-{word}"
        case 4:
            rows |= {f"x-{word}": word, "x-session-id": word, "x-request-id": word}
        case _:
            rows |= {"user-agent": word, "x-coe-lane": word if number % 4 else "bulk"}
            path = f"{_CHAT}?{word}={word}"
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
