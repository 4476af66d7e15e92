"""Heads of answers are those that uvicorn itself writes, byte for byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import uvicorn

from coe.cli.protocol import limited

pytestmark = pytest.mark.anyio

Rows = list[tuple[bytes, bytes]]
ANSWERS: dict[str, tuple[int, Rows, list[bytes]]] = {
    "whole": (200, [(b"content-length", b"4"), (b"x-a", b"b c")], [b"fine"]),
    "streamed": (200, [(b"content-type", b"text/event-stream")], [b"one", b"two"]),
    "empty": (200, [(b"content-length", b"0")], [b""]),
    "nothing": (200, [], [b"fine"]),
    "no content": (204, [], [b""]),
    "unchanged": (304, [(b"etag", b"1")], [b""]),
    "strange status": (599, [(b"content-length", b"1")], [b"x"]),
    "twice": (200, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")], [b"fine"]),
    "tab and latin": (200, [(b"x-a", b"\tb\xe9"), (b"content-length", b"1")], [b"x"]),
    "closes": (200, [(b"connection", b"close"), (b"content-length", b"1")], [b"x"]),
    "chunks by itself": (200, [(b"transfer-encoding", b"chunked")], [b"fine"]),
    "line of its own": (200, [(b"x-a", b"b\r\nx-c: d"), (b"content-length", b"1")], [b"x"]),
    "line end": (200, [(b"x-a", b"b\n"), (b"content-length", b"1")], [b"x"]),
    "carriage": (200, [(b"x-a", b"b\r"), (b"content-length", b"1")], [b"x"]),
    "nul": (200, [(b"x-a", b"b\0"), (b"content-length", b"1")], [b"x"]),
    "no length": (200, [(b"content-length", b"many")], [b"x"]),
    "too long": (200, [(b"content-length", b"1")], [b"xy"]),
    "too short": (200, [(b"content-length", b"3")], [b"xy"]),
}
REQUESTS = {
    "kept": b"GET /%s HTTP/1.1\r\nhost: a\r\n\r\n",
    "closed": b"GET /%s HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "old": b"GET /%s HTTP/1.0\r\nhost: a\r\n\r\n",
    "head": b"HEAD /%s HTTP/1.1\r\nhost: a\r\n\r\n",
    "expects": b"POST /%s HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n",
}


async def answer(scope: Any, receive: Any, send: Any) -> None:
    del receive
    status, headers, pieces = ANSWERS[scope["path"][1:].replace("_", " ")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces[:-1]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": pieces[-1]})


@asynccontextmanager
async def served(http: Any) -> AsyncIterator[tuple[str, int]]:
    config = uvicorn.Config(
        answer, http=http, lifespan="off", log_config=None, access_log=False, date_header=False
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()
    finally:
        await server.shutdown(sockets=[listener])


async def said(address: tuple[str, int], request: bytes) -> bytes:
    """Return what comes of two requests on one connection, the second of which ends it."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request + b"GET /whole HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize("kind", REQUESTS)
async def test_heads_are_as_uvicorn_writes_them(kind: str) -> None:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(served(limited(32_768)))
        theirs = await stack.enter_async_context(served("httptools"))
        for name in ANSWERS:
            request = REQUESTS[kind] % name.replace(" ", "_").encode()
            assert await said(ours, request) == await said(theirs, request), name


async def test_no_header_begins_another_line() -> None:
    async with served(limited(32_768)) as address:
        for name in ("line_of_its_own", "line_end", "carriage", "nul"):
            found = await said(address, REQUESTS["kept"] % name.encode())
            assert found == b""  # it is an error, and the connection ends
