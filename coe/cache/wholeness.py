"""Whether an answer is whole and good, and the forms that it is sent in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from coe import sse
from coe.fold import Fold
from coe.types import Query
from coe.unfold import unfold

_GOOD = frozenset({"stop", "tool_calls", "function_call"})
_OWN = frozenset({"id", "created"})
"""What differs between two answers that say the same."""


def read(raw: bytes, query: Query) -> dict[str, Any] | None:
    """Return the object that an answer is, whole or as frames; None where it is none."""
    try:
        if not query.stream:
            body = orjson.loads(raw)
            return body if isinstance(body, dict) else None
        fold = Fold()
        for frame in sse.frames(raw):
            if (payload := sse.data(frame)) is not None:
                fold.add(orjson.loads(payload))
    except (ValueError, TypeError, AttributeError):
        return None
    return fold.completion


def is_good(body: Mapping[str, Any], query: Query) -> bool:
    """Whether an answer may be given again: it says something, and ended of itself.

    One that a limit or a filter cut is not, nor is a refusal.
    """
    if "error" in body:
        return False
    if query.endpoint == "embeddings":
        return bool(body.get("data"))
    choices = body.get("choices")
    return isinstance(choices, list) and bool(choices) and all(map(_is_good, choices))


def _is_good(choice: Any) -> bool:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping) or message.get("refusal"):
        return False
    says = message.get("content") or message.get("tool_calls") or message.get("function_call")
    return bool(says) and choice.get("finish_reason") in _GOOD


def wants_usage(query: Query) -> bool:
    """Whether an answer is to say what it used: every whole one, and streams that ask for it."""
    options = query.body.get("stream_options")
    return not query.stream or (
        isinstance(options, Mapping) and options.get("include_usage") is True
    )


def stored(body: Mapping[str, Any]) -> bytes:
    """Return an answer as it is kept: without what is another one's each time."""
    return orjson.dumps({key: value for key, value in body.items() if key not in _OWN})


def given(kept: bytes, query: Query, created_s: float) -> bytes:
    """Return an answer that is kept as the answer to a request: JSON, or all frames at once.

    Args:
        kept: as `stored` returned it.
        query: the request.
        created_s: now, in seconds since the epoch.
    """
    if query.endpoint == "embeddings":
        return kept
    head = b'{"id":"chatcmpl-%s","created":%d,' % (query.id.encode(), int(created_s))
    whole = head + kept[1:]
    if not query.stream:
        return whole
    chunks = unfold(orjson.loads(whole), usage=wants_usage(query))
    return b"".join(sse.frame(orjson.dumps(chunk)) for chunk in chunks)
