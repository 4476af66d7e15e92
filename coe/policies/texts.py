"""All text of a request's body: whatever is sent on is looked at. Pure.

Messages, their parts, what tools were given and what they said, the tools' own descriptions, and
fields that we do not know. What is no text is left out: pictures, sound and files inside the body.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

_BINARY = frozenset({"b64_json", "file_data"})
_IN_JSON = "arguments"
_DATA = "data:"


def texts_of(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield every text of a body, in no special order; of a tool's arguments what they hold."""
    pending: list[Any] = [value for key, value in body.items() if key != "model"]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if value and not value.startswith(_DATA):
                yield value
        elif isinstance(value, dict):
            for key, inner in value.items():
                if key in _BINARY or (key == "data" and "format" in value):
                    continue  # base64
                pending.append(_unpacked(inner) if key == _IN_JSON else inner)
        elif isinstance(value, list):
            pending += value


def holds_tokens(body: Mapping[str, Any]) -> bool:
    """Whether what a body wants embedded is not all text: token numbers, alone or in lists."""
    given = body.get("input")
    rows = given if isinstance(given, list) else [given]
    return not all(isinstance(row, str | dict) for row in rows)


def _unpacked(arguments: Any) -> Any:
    """Return what the arguments of a tool's call hold; as they are where they are no JSON.

    Written as JSON, a key after a line break would seem to begin with the n that stands for it.
    """
    if not isinstance(arguments, str):
        return arguments
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
