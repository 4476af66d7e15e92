"""Labelled texts from a JSON-lines file: what a router is measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coe.errors import ConfigError
from coe.options import nearest

SHAPE = '{"text": "...", "category": "name" or null}'


@dataclass(frozen=True, slots=True)
class Row:
    """One text and where it belongs.

    Attributes:
        category: None for a text that belongs to none of the router's categories.
    """

    text: str
    category: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSet:
    """The rows of a file.

    Attributes:
        path: as it was given.
        digest: 16 hex digits of the file's bytes.
    """

    path: Path
    rows: tuple[Row, ...]
    digest: str


def read_rows(path: Path, categories: Collection[str]) -> RowSet:
    """Read a file of one JSON object per line; empty lines are passed over, other keys ignored.

    Args:
        path: UTF-8 text, lines of the form `SHAPE`.
        categories: the names that a row may have.

    Raises:
        ConfigError: the file cannot be read or holds no row, or a row is broken: with file:line
            and what to write instead.
    """
    try:
        content = path.read_bytes()
        lines = content.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8; save the file as UTF-8") from None
    rows = [
        _row(line, f"{path}:{number}", categories)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not rows:
        raise ConfigError(f"{path}: holds no row; write one per line: {SHAPE}")
    digest = hashlib.sha256(content).hexdigest()[:16]
    return RowSet(path=path, rows=tuple(rows), digest=digest)


def _row(line: str, place: str, categories: Collection[str]) -> Row:
    try:
        found: Any = json.loads(line)
    except json.JSONDecodeError as error:
        column = f"{place}:{error.colno}"
        raise ConfigError(f"{column}: is not JSON ({error.msg}); a row is {SHAPE}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{place}: expected an object, found {_shown(found)}; a row is {SHAPE}")
    for key in ("text", "category"):
        if key not in found:
            near = nearest(key, [str(name) for name in found])
            raise ConfigError(f"{place}: `{key}` is missing ({near}a row is {SHAPE})")
    text, category = found["text"], found["category"]
    if not isinstance(text, str):
        raise ConfigError(f"{place}: `text` must be a text, found {_shown(text)}")
    if category is not None and not isinstance(category, str):
        raise ConfigError(
            f"{place}: `category` must be a name, or null for a text that belongs to none; "
            f"found {_shown(category)}"
        )
    if category is not None and category not in categories:
        known = ", ".join(sorted(categories))
        raise ConfigError(
            f"{place}: the router has no category {category!r} ({nearest(category, categories)}"
            f"it has: {known}; null means none of them)"
        )
    return Row(text=text, category=category)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]
