"""What is the same of two requests that may have the same answer. Pure.

A key is a digest of: whose partition it is, what of the composition an answer depends on, the
endpoint, the experts that may not be asked, the data class, and the whole body, however its keys
are ordered, but for how the answer is sent. A body with a key more is another request: who does not
know what it means cannot say that it means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import orjson

from coe.errors import InvalidRequest
from coe.identity import Identity
from coe.types import PART, Query

CACHE = b"x-coe-cache"

Wish = Literal["use", "refresh", "off"]
Partition = Literal["key", "team"]

_NUMBER = re.compile(r"\d+")
_HOW = frozenset({"stream", "stream_options"})
_WITH_PARTS = ("tools", "functions", "tool_choice", "audio", "modalities")
_WISHES: dict[bytes, Wish] = {b"use": "use", b"refresh": "refresh", b"off": "off"}


class Key(NamedTuple):
    """Where the answer to a request is kept.

    Attributes:
        partition: a digest of whose it is.
        id: a digest of the request.
        scope: a digest of it without its last turn; empty where only the same request will do.
        turn: the text of the last turn, where there is a scope.
    """

    partition: str
    id: str
    scope: str = ""
    turn: str = ""


def partition_of(identity: Identity, by: Partition) -> str:
    """Return the partition of who asks: the key's own, or its team's where it is in one."""
    own = ["team", identity.team] if by == "team" and identity.team else ["key", identity.tenant]
    return _digest(own)


def key_of(query: Query, mark: str, partition: str, encoder: str = "") -> Key:
    """Return where the answer to a request is kept.

    Args:
        query: with its permit.
        mark: of the composition; see `coe.cache.mark`.
        partition: whose it is.
        encoder: of last turns; empty where only the same request will do.
    """
    permit = query.permit
    around = [
        partition,
        mark,
        query.endpoint,
        sorted(permit.barred),
        permit.data,
        permit.is_thrifty,
        permit.max_cost,
    ]
    body = {key: value for key, value in query.body.items() if key not in _HOW}
    name = _digest([around, body])
    turn = turn_of(query) if encoder else None
    if turn is None:
        return Key(partition, name)
    *earlier, last = query.body["messages"]
    alike = {**body, "messages": [*earlier, {**last, "content": None}]}
    # Encoders take 7 for 8: two turns with other numbers never mean the same.
    numbers = _NUMBER.findall(turn)
    return Key(partition, name, _digest([around, encoder, alike, numbers]), turn)


def turn_of(query: Query) -> str | None:
    """Return the last turn of a request that another wording may be answered for; None for others.

    It is text of a user, and nothing around it is but text: no tools and no images.
    """
    body = query.body
    if query.endpoint != "chat/completions" or any(body.get(key) for key in _WITH_PARTS):
        return None
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    last = messages[-1]
    if last.get("role") != "user" or not all(_is_text(message) for message in messages):
        return None
    content = last.get("content")
    return content if isinstance(content, str) and content.strip() else None


def _is_text(message: Mapping[str, Any]) -> bool:
    return isinstance(message.get("content"), str) and not message.get("tool_calls")


def wish_of(headers: Sequence[tuple[bytes, bytes]]) -> Wish:
    """Return what a request wants of the cache. A part of a panel's answer is never kept.

    Raises:
        InvalidRequest: a word that means nothing.
    """
    wish: Wish = "use"
    for name, value in headers:
        if name == PART:
            return "off"
        if name == CACHE:
            found = _WISHES.get(value.strip().lower())
            if found is None:
                raise InvalidRequest("x-coe-cache is use, refresh or off", param="x-coe-cache")
            wish = found
    return wish


def _digest(value: object) -> str:
    raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return blake2b(raw, digest_size=16).hexdigest()
