"""The keys of an `experts.yaml` backend of type `local`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from coe.errors import ConfigError

_TEXTS = {"dtype", "device"}
_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the embedded engine runs.

    Attributes:
        threads: cores that one step may use. For tiny models on busy cores more than one is far
            slower (10 to 20 times, measured): the threads spin while they wait for each other.
        max_batch: rows that are decoded together; the rest waits.
        dtype: of the weights in memory.
        max_new_tokens: of an answer whose request names no limit; None leaves it to the model's
            own generation config, or to 256 where that says nothing.
        device: `auto`, or what torch calls it (`cpu`, `cuda:0`, `mps`).
    """

    threads: int = 1
    max_batch: int = 8
    dtype: str = "float32"
    max_new_tokens: int | None = None
    device: str = "auto"


def read(backend: str, given: Mapping[str, Any]) -> Options:
    """Check the keys.

    Raises:
        ConfigError: an unknown key, or a value that cannot be.
    """
    known = [field.name for field in fields(Options)]
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"expected one of {', '.join(known)}"
            raise ConfigError(f"backends.{backend}: unknown key `{key}` ({hint})")
        expected = str if key in _TEXTS else int
        if not isinstance(value, expected) or isinstance(value, bool):
            raise ConfigError(
                f"backends.{backend}.{key}: {value!r} is not a valid value "
                f"(expected {'a whole number' if expected is int else 'a text'})"
            )
        if isinstance(value, int) and value < 1:
            raise ConfigError(f"backends.{backend}.{key}: {value} is too small (the least is 1)")
    options = Options(**given)
    if options.dtype not in _DTYPES:
        raise ConfigError(
            f"backends.{backend}.dtype: {options.dtype!r} (expected one of {', '.join(_DTYPES)})"
        )
    return options
