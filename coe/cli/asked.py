"""A gateway that runs, asked once, as any client asks it."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

from coe.errors import BackendUnreachable, CoEError

KEY = "COE_KEY"
"""The environment variable with the key that is shown to a gateway which asks for one."""

_OK = 200


def key_header() -> dict[str, str]:
    """Return the header that shows the key of the environment; none where there is none."""
    key = os.environ.get(KEY, "").strip()
    return {"authorization": f"Bearer {key}"} if key else {}


@contextmanager
def asked(
    url: str, body: Mapping[str, Any], *, wait_s: float
) -> Iterator[http.client.HTTPResponse]:
    """Send a chat completion, and hold the answer, of which nothing is read.

    Args:
        url: of the gateway; with `/v1` where no path is given.
        body: of the request.
        wait_s: how long it may say nothing.

    Raises:
        BackendUnreachable: it does not answer, or not to the end.
        CoEError: it says no, and why.
    """
    parts = urlsplit(url if "//" in url else f"http://{url}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = parts.path.rstrip("/") or "/v1"
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=wait_s)
    try:
        headers = {"content-type": "application/json", **key_header()}
        connection.request("POST", f"{path}/chat/completions", orjson.dumps(body), headers)
        response = connection.getresponse()
        if response.status != _OK:
            raise CoEError(_message(response.read()))
        yield response
    except (OSError, http.client.HTTPException) as error:
        raise BackendUnreachable(
            f"no gateway answers at {url}: {error}; start one with `coe serve`"
        ) from None
    finally:
        connection.close()


def _message(raw: bytes) -> str:
    try:
        return str(orjson.loads(raw)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return raw[:300].decode("utf-8", "replace")
