"""An error as it is kept with a batch, until its line is done. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from coe import errors
from coe.errors import CoEError

_FIELDS = ("message", "param", "status", "code", "type", "retryable", "origin")


def spelt(error: CoEError) -> bytes:
    """Return an error as JSON: its kind, and what its client is shown."""
    kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)
    return orjson.dumps({"kind": kind, **{name: getattr(error, name) for name in _FIELDS}})


def read(text: bytes) -> CoEError:
    """Return the error that was spelt: of the same kind, and it shows its client the same."""
    values: dict[str, Any] = orjson.loads(text)
    kind: type[CoEError] = getattr(errors, values.pop("kind"), CoEError)
    error = kind.__new__(kind)
    CoEError.__init__(error, values["message"], param=values["param"])
    for name, value in values.items():
        setattr(error, name, value)
    return error
