"""The process's log, as text or as a JSON object a line.

An exception is told by its class and its frames, and never by its message: that of a bug may repeat
what a request says. Nor do frames show values.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import PurePath
from traceback import extract_tb
from typing import Literal, TextIO

import orjson

Form = Literal["text", "json"]

_OURS = ("coe", "routers")
_MOST_CAUSES = 5


def configure(level: str, form: Form, stream: TextIO) -> None:
    """Have everything that is logged in this process written to a stream, from a level on.

    What other libraries say for debugging is left out: some of them write down what they send.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    least = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(least, logging.INFO), handlers=[handler])
    for name in _OURS:
        logging.getLogger(name).setLevel(least)


class TextFormatter(logging.Formatter):
    """A line for people: time, level, logger, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """Return an exception without its message."""
        return "\n".join(f"  {line}" for line in told(_error_of(ei)))


class JsonFormatter(logging.Formatter):
    """An object for programs: time, level, logger, message, and an exception as `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        row: dict[str, object] = {
            "time": stamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (error := _error_of(record.exc_info)) is not None:
            row["error"] = list(told(error))
        return orjson.dumps(row, default=str).decode()


def stamp(at_s: float) -> str:
    """Return a time, in seconds since the epoch, in words that every program reads."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at_s))


def told(error: BaseException | None) -> Iterator[str]:
    """Yield an exception's class and frames, innermost first, and those of its causes."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            return
        yield f"{type(error).__module__}.{type(error).__qualname__}"
        for frame in reversed(extract_tb(error.__traceback__)):
            yield f"  {PurePath(frame.filename).name}:{frame.lineno} {frame.name}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _error_of(info: object) -> BaseException | None:
    found = info[1] if isinstance(info, tuple) else None
    return found if isinstance(found, BaseException) else None
