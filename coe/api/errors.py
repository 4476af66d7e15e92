"""The one place where an error becomes an HTTP response, in OpenAI's shape."""

from __future__ import annotations

import math
from collections.abc import Iterable

import orjson

from coe.errors import CoEError
from coe.types import Attempt

Headers = list[tuple[bytes, bytes]]
_JSON = (b"content-type", b"application/json")


def body(error: CoEError) -> dict[str, object]:
    """Return OpenAI's error object."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def tried(attempts: Iterable[Attempt]) -> bytes:
    """Return who was asked without success, and what kind of failure it was."""
    return ", ".join(f"{row.expert}={row.kind or 'failed'}" for row in attempts).encode()


def frame(error: CoEError) -> bytes:
    """Return the server-sent event that tells a client of a failure after the headers."""
    return b"data: " + orjson.dumps(body(error)) + b"\n\n"


def headers(error: CoEError, request_id: str) -> Headers:
    """Return the headers of an error response.

    The SDKs retry 408, 409, 429 and 5xx by themselves. Where our own fallbacks are spent that
    would multiply the load, so they are told not to; where waiting helps, they are told how long.
    """
    rows: Headers = [
        _JSON,
        (b"x-request-id", request_id.encode()),
        (b"x-coe-error-origin", error.origin.encode()),
    ]
    if error.status == 401:  # noqa: PLR2004 - RFC 9110, 11.6.1: says how to prove who one is
        rows.append((b"www-authenticate", b"Bearer"))
    wait_s = error.retry_after_s
    is_ours = error.origin == "gateway" and error.retryable
    if wait_s is None and is_ours and error.status in {429, 503}:
        wait_s = 1.0
    if wait_s is not None:
        rows.append((b"retry-after", str(math.ceil(wait_s)).encode()))
        rows.append((b"retry-after-ms", str(math.ceil(wait_s * 1000)).encode()))
    elif error.status >= 429:  # noqa: PLR2004 - every status that an SDK would retry by itself
        rows.append((b"x-should-retry", b"false"))
    if error.attempts:
        rows.append((b"x-coe-attempts", str(len(error.attempts)).encode()))
        rows.append((b"x-coe-tried", tried(error.attempts)))
    return rows
