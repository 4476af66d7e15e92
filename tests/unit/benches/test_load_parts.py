"""The load generator that keeps to its schedule, and the line through memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import pytest

from benches.load_parts.open_loop import Seen, fire, shot
from benches.load_parts.soak import slope

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
_LESS = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfi"
_BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _fired(handler: Handler, *, rate: float, ends: bytes = b"") -> Seen:
    """Ask a server for a fifth of a second; its connections are closed when this returns."""
    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(cast("asyncio.Task[None]", asyncio.current_task()))
        with suppress(ConnectionError):
            await handler(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        seen = await fire(url, [shot(url, "/x", b"{}", ends=ends)], rate=rate, seconds=0.2)
        await asyncio.gather(*served)
    return seen


async def _asked(answers: list[bytes], *, ends: bytes = b"fine") -> Seen:
    """Ask a server that gives these answers in turn; after a short one it closes."""
    given = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            answer = next(given, _OK)
            writer.write(answer)
            if answer == _LESS:
                break

    return await _fired(serve, rate=100, ends=ends)


@pytest.mark.anyio
async def test_what_is_right_is_timed_and_the_rest_is_counted() -> None:
    seen = await _asked([_OK, _BUSY, _LESS])

    assert seen.sent in range(19, 22)
    assert seen.wrong == {"/x 503": 1}
    assert seen.cut == 1
    assert len(seen.latencies_s) == seen.sent - 2
    assert seen.errors == 2
    assert seen.quantile_ms(0.5) > 0


@pytest.mark.anyio
async def test_an_answer_that_ends_otherwise_is_cut() -> None:
    seen = await _asked([], ends=b"done")

    assert seen.cut == seen.sent
    with pytest.raises(ValueError, match="no request"):
        seen.quantile_ms(0.5)


@pytest.mark.anyio
async def test_a_server_that_stalls_is_asked_all_the_same() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        await asyncio.sleep(0.5)
        writer.write(_OK)

    seen = await _fired(stall, rate=50)

    assert seen.sent in range(9, 12)
    assert seen.errors == 0
    assert seen.quantile_ms(0.0) >= 500


def test_a_slope_is_that_of_the_line() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    with pytest.raises(ValueError, match="two points"):
        slope([(0, 1)])
