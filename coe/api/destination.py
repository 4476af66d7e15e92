"""Where a request goes and with whose key is the composition's to say, never the client's. Pure.

The gateway reads none of these fields. Backends would: many servers and gateways take an address,
a key or headers in a body, and the operator's key would go where the client says. So a body that
has one is refused, not cleaned: a client that sends one means something by it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from coe.errors import InvalidRequest

USUAL = frozenset(
    [
        "encoding_format",
        "frequency_penalty",
        "input",
        "logit_bias",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "user",
    ]
)
"""Fields that need no second look: what nearly every request is made of."""

LONGEST = 64
"""Nobody has a parameter with a longer name; to look at one of megabytes would take a while."""

_NAMES = frozenset(
    [
        "apitype",
        "apiversion",
        "cookie",
        "cookies",
        "customllmprovider",
        "extrabody",
        "extraquery",
        "fallbacks",
        "host",
        "httpclient",
        "litellmmetadata",
        "litellmparams",
        "modellist",
        "organization",
        "proxies",
        "proxy",
        "url",
        "userconfig",
    ]
)
_BEGINNINGS = ("aws", "azure", "vertex", "langfuse", "langsmith")
_ENDS = (
    "accesskey",
    "accesstoken",
    "apibase",
    "apihost",
    "apikey",
    "authorization",
    "authtoken",
    "baseurl",
    "callback",
    "callbacks",
    "credentials",
    "customhost",
    "endpoint",
    "endpointurl",
    "fallbacks",
    "headers",
    "secretkey",
)


def refuse(body: Mapping[str, Any]) -> None:
    """Refuse a body with a field that says where to send it or how to sign it.

    Only fields of the body itself: what is inside of one is data, which no server merges into its
    own parameters, but for the containers that are named here and so refused whole.

    Raises:
        InvalidRequest: names the field.
    """
    for name in body.keys() - USUAL:
        if len(name) <= LONGEST and _steers(plain(name)):
            raise InvalidRequest(
                f"`{name}` is not taken from clients: where an expert is and which key it is asked"
                " with stand in the composition; remove it",
                param=name,
            )


def plain(name: str) -> str:
    """Return a field's name without what looks or is spelled differently: case, width, marks.

    `API-Base`, `apiBase` and fullwidth letters are all `apibase`.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _steers(name: str) -> bool:
    return name in _NAMES or name.startswith(_BEGINNINGS) or name.endswith(_ENDS)
