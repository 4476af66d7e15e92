"""Options of a composition's entry, read strictly: a mistake names its place and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from coe.errors import ConfigError

EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True, slots=True)
class Options:
    """The keys of one entry; each verb reads one key and checks it.

    Attributes:
        place: where the entry stands, e.g. `routers.fast`.
    """

    place: str
    values: Mapping[str, Any]

    def allow(self, *keys: str) -> Options:
        """Return self if there is no key but these. Raises ConfigError."""
        for key in self.values:
            if key not in keys:
                allowed = f"allowed here: {', '.join(keys)}" if keys else "it takes no options"
                raise ConfigError(
                    f"{self.place}.{key}: unknown option ({nearest(key, keys)}{allowed})"
                )
        return self

    def like(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for each key: what is given, of the type of its default, or that.

        A whole number is a number.

        Raises:
            ConfigError: a key that has no default, or a value of another type.
        """
        self.allow(*defaults)
        return {key: self._like(key, default) for key, default in defaults.items()}

    def _like(self, key: str, default: Any) -> Any:
        value, kind = self.values.get(key, default), type(default)
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            raise self.wrong(key, EXPECTED.get(kind, f"a {kind.__name__}"))
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string that is not empty. Raises ConfigError."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a text")
        return value

    def choice(self, key: str, default: str, among: Iterable[str]) -> str:
        """Return one of the words. Raises ConfigError."""
        value, words = self.values.get(key, default), tuple(among)
        if value not in words:
            raise self.wrong(key, f"one of {', '.join(words)}", hint=nearest(str(value), words))
        return str(value)

    def integer(self, key: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number in [least, most]. Raises ConfigError."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(key, f"a whole number from {least} to {most}")
        return value

    def number(self, key: str, default: float, *, least: float, most: float) -> float:
        """Return a number in [least, most]. Raises ConfigError."""
        value = self.values.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise self.wrong(key, f"a number from {least:g} to {most:g}")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false. Raises ConfigError."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of at least one text, none twice. Raises ConfigError."""
        value = self.values.get(key)
        is_list = isinstance(value, list | tuple) and bool(value)
        if not is_list or not all(isinstance(name, str) and name for name in value or ()):
            raise self.wrong(key, "a list of names")
        names = tuple(value or ())
        if len(set(names)) < len(names):
            raise self.wrong(key, "a list in which no name stands twice")
        return names

    def wrong(self, key: str, expected: str, *, hint: str = "") -> ConfigError:
        """Return the error for a value that is not what was expected."""
        if key not in self.values:
            return ConfigError(f"{self.place}.{key}: is missing; expected {expected}")
        found = repr(self.values[key])[:80]
        hint = f" ({hint.rstrip('; ')})" if hint else ""
        return ConfigError(f"{self.place}.{key}: expected {expected}, found {found}{hint}")


def nearest(word: str, words: Iterable[str]) -> str:
    """Return `did you mean ...?; ` where one of the words is near, else nothing."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"did you mean {near[0]!r}?; " if near else ""
