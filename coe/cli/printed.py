"""How commands print and write: JSON for programs, columns and intervals for people, files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from coe.errors import ConfigError


def print_json(content: Any) -> None:
    """Print a value as JSON for programs to read, and people too."""
    print(orjson.dumps(content, option=orjson.OPT_INDENT_2).decode())


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines whose columns stand under each other."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def gained(gain: tuple[float, float, float] | None) -> str:
    """Return a gain in points with its interval; `-` where there is none."""
    if gain is None:
        return "-"
    mean, low, high = (100 * value for value in gain)
    return f"{mean:+.2f}  {low:+.2f} to {high:+.2f}"


def write_file(file: Path, content: bytes) -> None:
    """Write a file that was asked for, and say so.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    print(f"wrote {file}", file=sys.stderr)
