"""Secrets and other values that the file only refers to: `${env:NAME}` and `${file:PATH}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from coe.composition.document import KeyPath
from coe.composition.report import Report

HOW = "write `${env:NAME}` or `${file:PATH}`"
MAX_BYTES = 64_000

_ANY = re.compile(r"\$\{([^{}]*)\}?")
_ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_FILE = re.compile(r"file:(.+)", re.DOTALL)
_SECRET_OPTION = re.compile(
    r"(^|[-_])((api|auth|access|secret)[-_]?(key|token)|secret|password)$", re.IGNORECASE
)
_SECRET_HEADER = re.compile(r"(^|-)(authorization|cookie|key|secret|token)$", re.IGNORECASE)


class Resolved(str):
    """A text that came from a reference: used as it is, shown as the reference.

    Example:
        >>> key = Resolved("sk-1", "${env:KEY}")
        >>> key == "sk-1", key
        (True, '${env:KEY}')
    """

    __slots__ = ("reference",)
    reference: str

    def __new__(cls, text: str, reference: str) -> Self:
        """Keep `text` and remember the reference that it came from."""
        made = super().__new__(cls, text)
        made.reference = reference
        return made

    def __repr__(self) -> str:
        """Show the reference, never the text."""
        return repr(self.reference)


class References:
    """Replaces references in the values of a composition.

    A reference that cannot be followed is reported: as an error, or as a warning where the
    composition is only checked, because the machine that checks need not hold the secrets.
    """

    def __init__(
        self, report: Report, env: Mapping[str, str], folder: Path, *, required: bool
    ) -> None:
        self._report = report
        self._env = env
        self._folder = folder
        self._required = required
        self._known: dict[KeyPath, str] = {}
        self._missing: set[KeyPath] = set()

    def resolve(self, value: Any, path: KeyPath) -> Any:
        """Return `value` with every reference in it replaced, at any depth.

        A text with a reference that cannot be followed stays as it is; `is_missing` says so.
        """
        if isinstance(value, dict):
            return {key: self.resolve(entry, (*path, key)) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.resolve(entry, (*path, i)) for i, entry in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._text(value, path)
        return value

    def is_missing(self, path: KeyPath) -> bool:
        """Whether the text at `path` has a reference that could not be followed."""
        return path in self._missing

    def _text(self, text: str, path: KeyPath) -> str:
        if path in self._known or path in self._missing:
            return self._known.get(path, text)
        parts: list[str] = []
        end = 0
        for match in _ANY.finditer(text):
            found = self._follow(match, path)
            if found is None:
                self._missing.add(path)
                return text
            parts += [text[end : match.start()], found]
            end = match.end()
        self._known[path] = Resolved("".join([*parts, text[end:]]), text)
        return self._known[path]

    def _follow(self, match: re.Match[str], path: KeyPath) -> str | None:
        whole, inner = match[0], match[1]
        if not whole.endswith("}"):
            self._report.error(path, "a reference without its closing brace", HOW)
        elif env := _ENV.fullmatch(inner):
            return self._variable(env[1], env[2], path)
        elif file := _FILE.fullmatch(inner):
            return self._file(file[1], path)
        else:
            # What stands in the braces may be a key pasted in the wrong place: not repeated.
            self._report.error(path, "not a reference that is known", HOW)
        return None

    def _variable(self, name: str, default: str | None, path: KeyPath) -> str | None:
        if value := self._env.get(name):
            return value
        if default is not None:
            return default
        state = "is empty" if name in self._env else "is not set"
        self._cannot_follow(
            path, f"the environment variable {name} {state}", f"export {name}=... before starting"
        )
        return None

    def _file(self, name: str, path: KeyPath) -> str | None:
        file = self._folder / name
        self._report.secrets.append(file)
        try:
            with file.open(encoding="utf-8") as stream:
                text = stream.read(MAX_BYTES).strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            self._cannot_follow(path, f"cannot read the file {file}: {reason}", "create it")
            return None
        if not text:
            self._cannot_follow(path, f"the file {file} is empty", "put the value into it")
        return text or None

    def _cannot_follow(self, path: KeyPath, message: str, hint: str) -> None:
        if self._required:
            self._report.error(path, message, hint)
        else:
            self._report.warning(path, message, hint, place=self._report.document.place(path))


def check_secret(report: Report, text: str, path: KeyPath) -> None:
    """Report a secret that is written into the file instead of being referred to."""
    if not (matches := list(_ANY.finditer(text))):
        report.error(path, "a literal secret in the file", f"{HOW} and keep the value elsewhere")
        return
    for match in matches:
        env = _ENV.fullmatch(match[1])
        if env is not None and env[2]:
            report.error(path, "the default of a secret is a literal secret", f"{HOW}, no default")


def names_a_secret(option: str) -> bool:
    """Whether an option of that name holds a secret (`pad_token` and `cache_key` do not)."""
    return _SECRET_OPTION.search(option) is not None


def heads_a_secret(header: str) -> bool:
    """Whether a request header of that name carries a secret."""
    return _SECRET_HEADER.search(header) is not None
