"""A stream of OpenAI chunk objects, folded into the one `chat.completion` that they spell.

Pure. Fields that this module has never heard of are kept: strings in a delta are concatenated,
lists are joined (by `index` where their items have one), objects are merged, and anything else is
replaced by what came last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Text that names something is sent whole, and by some servers with every chunk.
_NAMES = frozenset({"id", "type", "role", "name", "object", "index", "format"})


class Fold:
    """Collects chunks; `completion` may be read at any time and is what they spell so far."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take the next chunk. It is not changed."""
        for key, value in chunk.items():
            if key == "choices":
                for choice in value or ():
                    self._add_choice(choice)
            elif value is not None or key not in self._top:
                self._top[key] = value

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        index = choice.get("index") or 0
        known = self._choices.setdefault(index, {"message": {"role": "assistant", "content": None}})
        for key, value in choice.items():
            if key == "delta":
                _merge(known["message"], value or {})
            elif key == "logprobs" and isinstance(value, Mapping):
                known["logprobs"] = _merge(known.get("logprobs") or {}, value)
            elif key != "index" and (value is not None or key not in known):
                known[key] = value

    @property
    def completion(self) -> dict[str, Any]:
        """The `chat.completion` object, its choices in the order of their index."""
        choices = []
        for index in sorted(self._choices):
            choice = {"index": index, **self._choices[index]}
            message = dict(choice["message"])
            if message.get("tool_calls"):
                message["tool_calls"] = [_without_index(call) for call in message["tool_calls"]]
            choice["message"] = message
            choice.setdefault("logprobs", None)
            choice.setdefault("finish_reason", None)
            choices.append(choice)
        return {**self._top, "object": "chat.completion", "choices": choices}


def fold(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the `chat.completion` that the chunks spell.

    Example:
        >>> pieces = [{"choices": [{"index": 0, "delta": {"content": c}}]} for c in ("a", "b")]
        >>> fold(pieces)["choices"][0]["message"]
        {'role': 'assistant', 'content': 'ab'}
    """
    whole = Fold()
    for chunk in chunks:
        whole.add(chunk)
    return whole.completion


def _merge(known: dict[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `delta` into `known` and return it."""
    for key, value in delta.items():
        if value is not None or key not in known:
            known[key] = _joined(key, known.get(key), value)
    return known


def _joined(key: str, old: Any, new: Any) -> Any:
    if isinstance(new, Mapping):
        return _merge(old if isinstance(old, dict) else {}, new)
    if isinstance(new, list):
        return _extended(old if isinstance(old, list) else [], new)
    if isinstance(old, str) and isinstance(new, str):
        if key in _NAMES:
            return new or old
        return old + new
    return new


def _extended(old: list[Any], new: list[Any]) -> list[Any]:
    """Append the items of `new`, merging those whose `index` is already there."""
    places = {
        item["index"]: item
        for item in old
        if isinstance(item, dict) and item.get("index") is not None
    }
    for item in new:
        index = item.get("index") if isinstance(item, Mapping) else None
        if index is not None and index in places:
            _merge(places[index], item)
            continue
        own = _merge({}, item) if isinstance(item, Mapping) else item
        old.append(own)
        if index is not None:
            places[index] = own
    return old


def _without_index(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {key: value for key, value in item.items() if key != "index"}
    return item
