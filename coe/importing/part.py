"""A mapping of another gateway's file, and what of it was read so far."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from coe.composition.document import KeyPath
from coe.importing.source import Source

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LEAST, _MOST = Decimal("1e-15"), Decimal("1e15")


class Part:
    """A mapping of a source that remembers which of its keys were read.

    What a method cannot make sense of counts as not read, so that `rest` tells of it.
    """

    def __init__(self, source: Source, path: KeyPath, content: dict[str, Any]) -> None:
        self.source = source
        self.path = path
        self._content = content
        self._read: set[str] = set()
        self._parts: dict[KeyPath, Part] = {}
        self._unread: list[KeyPath] = []

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and says something."""
        return not _is_nothing(self._content.get(key))

    @property
    def keys(self) -> list[str]:
        """The keys that say something and were not read yet."""
        return [key for key in self._content if key in self and key not in self._read]

    def at(self, key: str | int) -> KeyPath:
        """Return the key path of one of its keys."""
        return (*self.path, key)

    def raw(self, key: str) -> Any:
        """Return the value of a key without reading it."""
        return self._content.get(key)

    def skip(self, *keys: str) -> None:
        """Count keys as read."""
        self._read.update(keys)

    def text(self, key: str) -> str:
        """Read a text; a number is one too. Empty where there is none."""
        value = self._content.get(key)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return ""
        self._read.add(key)
        return str(value).strip()

    def number(self, key: str) -> Decimal | None:
        """Read a finite number from 0 up, exactly; None where there is none."""
        value = as_number(self._content.get(key))
        if value is not None:
            self._read.add(key)
        return value

    def truth(self, key: str) -> bool | None:
        """Read a boolean; None where there is none."""
        value = self._content.get(key)
        if isinstance(value, str):
            value = _WORDS.get(value.lower())
        if isinstance(value, bool):
            self._read.add(key)
            return value
        return None

    def texts(self, key: str) -> list[tuple[KeyPath, str]]:
        """Read a list of texts, each with its path; a text is a list of one."""
        value = self._content.get(key)
        if isinstance(value, str):
            self._read.add(key)
            return [(self.at(key), value.strip())] if value.strip() else []
        found = []
        for path, entry in self._entries(key):
            if isinstance(entry, str | int | float) and not isinstance(entry, bool):
                if str(entry).strip():
                    found.append((path, str(entry).strip()))
            elif not _is_nothing(entry):
                self._unread.append(path)
        return found

    def part(self, key: str) -> Part | None:
        """Read a mapping; None where there is none."""
        value = self._content.get(key)
        if not isinstance(value, dict):
            return None
        self._read.add(key)
        return self._child(self.at(key), value)

    def parts(self, key: str) -> list[Part]:
        """Read a list of mappings, or the mappings under the keys of one."""
        found = []
        for path, entry in self._entries(key):
            if isinstance(entry, dict):
                found.append(self._child(path, entry))
            elif not _is_nothing(entry):
                self._unread.append(path)
        return found

    def rest(self) -> Iterator[KeyPath]:
        """Yield the paths of what was not read, in it and in the parts that were taken of it."""
        yield from (self.at(key) for key in self.keys)
        yield from self._unread
        for part in self._parts.values():
            yield from part.rest()

    def close(self) -> None:
        """Count all of it as read: what there was to say of it has been said."""
        self._content, self._unread, self._parts = {}, [], {}

    def _entries(self, key: str) -> Iterator[tuple[KeyPath, Any]]:
        value = self._content.get(key)
        if isinstance(value, dict):
            self._read.add(key)
            yield from (((*self.path, key, name), entry) for name, entry in value.items())
        elif isinstance(value, list):
            self._read.add(key)
            yield from (((*self.path, key, i), entry) for i, entry in enumerate(value))

    def _child(self, path: KeyPath, content: dict[str, Any]) -> Part:
        return self._parts.setdefault(path, Part(self.source, path, content))


def as_number(value: Any) -> Decimal | None:
    """Return a finite number from 0 up; a text may spell it, as `1e-6` does in YAML 1.1."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(str(value).strip()) if len(str(value)) < 40 else None  # noqa: PLR2004
    except InvalidOperation:
        return None
    if number is None or not number.is_finite():
        return None
    return number if number == 0 or _LEAST < number < _MOST else None


def _is_nothing(value: Any) -> bool:
    return value is None or value in ("", [], {})
