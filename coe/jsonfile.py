"""A JSON object of ours in a file that people commit: its version, its digest, what is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from coe.errors import ConfigError

Content = TypeVar("Content")


def read_object(
    path: Path,
    what: str,
    version: int,
    build: Callable[[dict[str, Any]], Content],
    fix: Callable[[Path, str], str],
) -> Content | None:
    """Return what a file holds; None where there is none.

    Args:
        path: the file.
        what: it is, in a word.
        version: the one that can be read.
        build: makes it of the object; KeyError, ValueError and TypeError mean that it is damaged.
        fix: makes a message of the path and of what is wrong there.

    Raises:
        ConfigError: the file cannot be read, is damaged, or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ConfigError(fix(path, f"is no {what}: it does not hold an object"))
        if content["version"] != version:
            raise ConfigError(fix(path, f"its version is {content['version']!r}, not {version}"))
        return build(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except KeyError as error:
        raise ConfigError(fix(path, f"is damaged: {error} is missing")) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(fix(path, f"is damaged: {error}")) from None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step. Raises OSError: it is as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def digest(value: Any) -> str:
    """Return a digest of a value that JSON can hold; what it cannot counts as its text."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
