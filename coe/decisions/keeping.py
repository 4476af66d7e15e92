"""What is kept of a prompt: no keys, and not more than so many bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from coe.redact import without_keys

_CUT = "…"


def kept(messages: object, most: int) -> list[Any]:
    """Return a prompt's messages (or texts) as they may be kept.

    What looks like a key is replaced. Where they are longer than `most` bytes of JSON, the oldest
    go first; of a single one that is still longer, the beginning of each text is kept.

    Args:
        messages: of a chat, or the text or texts of an `input`.
        most: bytes of JSON.
    """
    rows = [_redacted(row) for row in _listed(messages)]
    sizes = [len(orjson.dumps(row)) for row in rows]
    first, size = 0, sum(sizes)
    while size > most and first < len(rows) - 1:
        size -= sizes[first]
        first += 1
    rows = rows[first:]
    if size > most and rows:
        rows = [_cut(rows[0], most)]
    return rows


def _listed(messages: object) -> Sequence[Any]:
    if isinstance(messages, list | tuple):
        return messages
    return [] if messages is None else [messages]


def _redacted(value: Any) -> Any:
    """Return a value with every text in it redacted."""
    if isinstance(value, str):
        return without_keys(value)
    if isinstance(value, Mapping):
        return {key: _redacted(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(entry) for entry in value]
    return value


def _cut(value: Any, most: int) -> Any:
    """Return as much of a message as fits: its role, and the beginning of its text."""
    if isinstance(value, str):
        return value.encode()[: most // 2].decode("utf-8", "ignore") + _CUT
    if not isinstance(value, Mapping):
        return _CUT
    content = value.get("content")
    return {
        "role": value.get("role"),
        "content": _cut(content, most) if isinstance(content, str) else _CUT,
    }
