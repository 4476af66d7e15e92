"""How many tokens several calls took, as one `usage` object. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NONE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""The usage of an answer that no model was asked for."""


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
