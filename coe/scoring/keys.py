"""The keys of one JSON object, read strictly: what is missing, wrong or unknown has its place."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from coe.errors import ConfigError

Value = TypeVar("Value")

_SHOWN = 10  # problems of one file


class WrongKey(ValueError):
    """A key whose value cannot be used.

    Attributes:
        key: its path in the row, `check.pattern`.
        expected: what should be there.
    """

    def __init__(self, key: str, expected: str) -> None:
        super().__init__(f"`{key}`: {expected}")
        self.key = key
        self.expected = expected


def placed(place: str, error: WrongKey) -> str:
    """Return what is wrong with a row, as a line with its place."""
    return f"{place}: {error}" if error.key else f"{place}: {error.expected}"


def refuse(problems: Sequence[str]) -> None:
    """Refuse a file of which there are such lines; the first ones are named. Raises ConfigError."""
    if problems:
        more = len(problems) - _SHOWN
        tail = [f"and {more} more rows"] if more > 0 else []
        raise ConfigError("\n".join([*problems[:_SHOWN], *tail]))


class Keys:
    """Reads an object key by key; `done` refuses those that nobody asked for."""

    def __init__(self, raw: Any, path: str = "") -> None:
        """Store the object.

        Raises:
            WrongKey: it is no object.
        """
        self._path = path
        if not isinstance(raw, Mapping):
            raise WrongKey(path, f"expected an object, not {shown(raw)}")
        self._raw: Mapping[str, Any] = raw
        self._asked: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self._raw.get(key) is not None

    def all(self) -> Mapping[str, Any]:
        """Return the object as it is."""
        return self._raw

    def wrong(self, key: str, expected: str) -> WrongKey:
        """Return the error for a key."""
        return WrongKey(f"{self._path}.{key}" if self._path else key, expected)

    def raw(self, key: str) -> Any:
        """Return a value as it is; None where it is absent."""
        self._asked[key] = None
        return self._raw.get(key)

    def any(self, key: str, expected: str) -> Any:
        """Return a value, null too. Raises WrongKey where the key is absent."""
        if key not in self._raw:
            raise self.wrong(key, f"is missing: expected {expected}")
        return self.raw(key)

    def text(self, key: str, expected: str = "a text") -> str:
        """Return a text that is not blank. Raises WrongKey."""
        value = self.any(key, expected)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, f"expected {expected}, not {shown(value)}")
        return value

    def texts(self, key: str, expected: str) -> tuple[str, ...]:
        """Return one text or a list of them. Raises WrongKey."""
        value = self.any(key, expected)
        found = value if isinstance(value, list) else [value]
        if not found or not all(isinstance(text, str) and text.strip() for text in found):
            raise self.wrong(key, f"expected {expected}, not {shown(value)}")
        return tuple(found)

    def text_or_none(self, key: str, expected: str = "a text") -> str | None:
        """Return a text; None where it is absent or null. Raises WrongKey."""
        if key in self:
            return self.text(key, expected)
        self._asked[key] = None
        return None

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false. Raises WrongKey."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, f"expected true or false, not {shown(value)}")
        return value

    def number(self, key: str, expected: str) -> float:
        """Return a finite number. Raises WrongKey."""
        value = self.any(key, expected)
        if not is_number(value):
            raise self.wrong(key, f"expected {expected}, not {shown(value)}")
        return float(value)

    def number_or(self, key: str, default: float, expected: str) -> float:
        """Return a finite number that is at least 0. Raises WrongKey."""
        if key not in self:
            return self._default(key, default)
        value = self.number(key, expected)
        if value < 0:
            raise self.wrong(key, f"expected {expected}, not {shown(value)}")
        return value

    def unit_or(self, key: str, default: Value, parse: Callable[[object], Value]) -> Value:
        """Return what `parse` makes of a value such as `10s`. Raises WrongKey."""
        if key not in self:
            return self._default(key, default)
        try:
            return parse(self.raw(key))
        except ValueError as error:
            raise self.wrong(key, str(error)) from None

    def _default(self, key: str, default: Value) -> Value:
        self._asked[key] = None
        return default

    def done(self) -> None:
        """Refuse keys that nobody asked for. Raises WrongKey."""
        for key in self._raw:
            if key not in self._asked:
                near = difflib.get_close_matches(str(key), self._asked, n=1)
                known = f"did you mean `{near[0]}`?" if near else f"known: {listed(self._asked)}"
                raise self.wrong(str(key), f"unknown key ({known})")


def is_number(value: object) -> bool:
    """Whether it is a finite number; true and false are none."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and value == value  # noqa: PLR0124 - NaN is not
        and abs(value) != float("inf")
    )


def listed(names: Iterable[str]) -> str:
    """Return names for a message."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut short."""
    if value is None:
        return "null"
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line's worth
