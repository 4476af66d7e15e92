"""The body of a request, read as far as a limit allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request

from coe.api import wire
from coe.errors import RequestTooLarge
from coe.settings import Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

DISCARD_BYTES = 64 * 1024 * 1024
"""So much over a limit is read and thrown away: a client that is still writing when the answer
comes would see a broken pipe instead of it."""


async def read_json(request: Request, settings: Settings) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        RequestTooLarge: it is over the limit.
        InvalidRequest: see `wire.parse_json`.
    """
    raw = await read_body(request.scope, request.receive, settings.max_body_bytes)
    return wire.parse_json(raw, settings)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the request's body.

    Raises:
        RequestTooLarge: it is over the limit, in bytes.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and len(body) <= limit:
        return body
    pieces, size = [body], len(body)
    while message.get("more_body") and size <= limit + DISCARD_BYTES:
        message = await receive()
        piece = message.get("body", b"")
        size += len(piece)
        if size <= limit:
            pieces.append(piece)
        else:
            pieces.clear()
    if size > limit:
        declared = header(scope, b"content-length") or f"over {size}"
        raise RequestTooLarge(
            f"the body has {declared} bytes; the limit is {limit} (COE_MAX_BODY_BYTES)"
        )
    return b"".join(pieces)


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of that name, in small letters; None where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None
