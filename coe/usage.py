"""How many tokens calls took. Pure, but for a memory of the one piece that was read last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from json import JSONDecodeError, JSONDecoder
from typing import Any

NONE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""The usage of an answer that no model was asked for."""

_COMMON = re.compile(
    rb'"usage"\s*:\s*\{\s*"prompt_tokens"\s*:\s*(\d{1,15})\s*,'
    rb'\s*(?:"total_tokens"\s*:\s*\d{1,15}\s*,\s*)?"completion_tokens"\s*:\s*(\d{1,15})\s*[,}]'
)
_KEY = re.compile(rb'"usage"\s*:\s*(?=\{)')
_LONGEST = 4096
_read = JSONDecoder().raw_decode


class _Seen:
    """The last piece that was looked at: who pays, who tells the price and who counts ask again."""

    last: tuple[bytes, tuple[int, int] | None] = (b"", None)


_seen = _Seen()


def summed(usages: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Return the sum, details included; None where no call tells.

    Example:
        >>> details = {"prompt_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
        >>> summed([details, None, details])
        {'prompt_tokens': 4, 'prompt_tokens_details': {'cached_tokens': 2}}
    """
    total: dict[str, Any] | None = None
    for usage in usages:
        if usage is not None:
            total = _plus(total or {}, usage)
    return total


def found_in(piece: bytes) -> tuple[int, int] | None:
    """Return the tokens of prompt and answer that a body, or the end of a stream, tells last.

    Only the object itself is parsed. Quotes inside of a JSON string are escaped, so the bare key is
    the answer's own. None where it tells none, or what are no numbers.

    Example:
        >>> found_in(b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}')
        (3, 5)
    """
    known, found = _seen.last
    if known is not piece:
        found = in_usual_form(piece) or _in_any_form(piece)
        _seen.last = (piece, found)
    return found


def in_usual_form(piece: bytes) -> tuple[int, int] | None:
    """Return what `found_in` does, of a usage that begins as nearly all do; None of others."""
    at = piece.rfind(b'"usage"')
    found = _COMMON.match(piece, at) if at >= 0 else None
    return None if found is None else (int(found[1]), int(found[2]))


def _in_any_form(piece: bytes) -> tuple[int, int] | None:
    at = piece.rfind(b'"usage"')
    key = _KEY.match(piece, at) if at >= 0 else None
    if key is None:
        return None
    try:
        usage, _ = _read(piece[key.end() : key.end() + _LONGEST].decode("utf-8", "replace"))
    except (JSONDecodeError, RecursionError):
        return None
    prompt, answer = tokens(usage.get("prompt_tokens")), usage.get("completion_tokens", 0)
    answer = tokens(answer)
    return None if prompt is None or answer is None else (prompt, answer)


def tokens(value: object) -> int | None:
    """Return a number of tokens that somebody tells; None where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _plus(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    total = dict(one)
    for key, value in other.items():
        known = total.get(key)
        if isinstance(value, Mapping):
            total[key] = _plus(known if isinstance(known, Mapping) else {}, value)
        elif _is_count(value):
            total[key] = value + (known if _is_count(known) else 0)
        else:
            total.setdefault(key, value)
    return total


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
