"""What somebody asks a key to be -> a `Wish`, read strictly. Pure.

What is not named here cannot be asked for: neither an id nor a secret, and nothing that a later
version may know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from coe.access.key import Wish
from coe.errors import ConfigError, InvalidRequest
from coe.identity import LABEL, SCOPES, Scope
from coe.limits import rules

FIELDS = tuple(one.name for one in fields(Wish))

_LABEL = re.compile(LABEL)
_NAME = re.compile(r"(tag:)?[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,127}")
_MOST = 200  # entries of a list
_LONGEST_S = 100 * 366 * 86_400.0


def read(body: Mapping[str, Any], *, at: float) -> Wish:
    """Return what a body asks for.

    Args:
        body: fields of `Wish`; only `name` is needed.
        at: now, in seconds since 1970.

    Raises:
        InvalidRequest: a field is unknown or wrong; `param` names it.
    """
    unknown = sorted(str(name) for name in body.keys() - set(FIELDS))
    if unknown:
        known = ", ".join(FIELDS)
        raise InvalidRequest(f"no field `{unknown[0]:.60}` here, only {known}", param=unknown[0])
    if "name" not in body:
        raise InvalidRequest("`name` is missing: what people call the key", param="name")
    readers: dict[str, Callable[[Any, str], Any]] = {
        "name": _label,
        "team": _team,
        "scopes": _scopes,
        "experts": _experts,
        "not_experts": _names,
        "limits": _limits,
        "keeps_text": _flag,
        "expires": lambda value, name: _expires(value, name, at),
    }
    return Wish(**{name: readers[name](value, name) for name, value in body.items()})


def refuse_unknown(wish: Wish, experts: Mapping[str, tuple[str, ...]]) -> None:
    """Raise where a wish names an expert or a tag that there is not: a slip would let one through.

    Args:
        wish: as read.
        experts: tags of the composition's experts, by name.

    Raises:
        InvalidRequest: names it.
    """
    tags = {f"tag:{tag}" for row in experts.values() for tag in row}
    for field in ("experts", "not_experts"):
        for name in getattr(wish, field) or ():
            if name not in experts and name not in tags:
                known = ", ".join([*experts, *sorted(tags)])
                raise InvalidRequest(
                    f"`{field}`: no expert or tag `{name}`; there are: {known}", param=field
                )


def _label(value: Any, name: str) -> str:
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise InvalidRequest(
            f"`{name}` must be a text of 1 to 100 characters, in one line, without space around it",
            param=name,
        )
    return value


def _team(value: Any, name: str) -> str:
    return "" if value in ("", None) else _label(value, name)


def _scopes(value: Any, name: str) -> tuple[Scope, ...]:
    if not isinstance(value, list) or not value or not all(one in SCOPES for one in value):
        raise InvalidRequest(
            f"`{name}` must be a list with at least one of {', '.join(SCOPES)}", param=name
        )
    return tuple(scope for scope in SCOPES if scope in value)


def _experts(value: Any, name: str) -> tuple[str, ...] | None:
    return None if value is None else _names(value, name)


def _names(value: Any, name: str) -> tuple[str, ...]:
    is_list = isinstance(value, list) and len(value) <= _MOST
    if not is_list or not all(isinstance(one, str) and _NAME.fullmatch(one) for one in value):
        raise InvalidRequest(
            f"`{name}` must be a list of at most {_MOST} names: of experts, or `tag:NAME`",
            param=name,
        )
    return tuple(dict.fromkeys(value))


def _limits(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST:
        raise InvalidRequest(
            f"`{name}` must be a list, of limits such as {rules.EXAMPLES}", param=name
        )
    try:
        return tuple(dict.fromkeys(str(rules.read(one)) for one in value))
    except ConfigError as error:
        raise InvalidRequest(f"`{name}`: {error.message}", param=name) from None


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"`{name}` must be true or false", param=name)
    return value


def _expires(value: Any, name: str, at: float) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not at < value <= at + _LONGEST_S:
        raise InvalidRequest(
            f"`{name}` must be a time to come, in seconds since 1970, or null", param=name
        )
    return float(value)
