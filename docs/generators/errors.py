"""The page of the errors: the exception tree as clients and operators meet it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from coe.errors import BackendRejected, CoEError, ConfigError
from coe.resilience.kinds import another_may_do_better
from docs.generators import markdown

ROOT = Path(__file__).parents[2]
INTRODUCTION = """\
Every error has OpenAI's shape, before the headers as a response and after them as the last
server-sent event of a stream (which then has no `[DONE]`):

```json
{"error": {"message": "...", "type": "invalid_request_error", "param": "model", "code": "..."}}
```"""

HEADERS = {
    "`x-request-id`": "the client's own, if of letters, digits and `._:-`; else the gateway's",
    "`x-coe-error-origin`": "`gateway`, or `upstream` where a backend failed",
    "`retry-after`, `retry-after-ms`": "on each 429 and 503 of the gateway, or as a backend said",
    "`x-should-retry`": "`false` from 429 up without `retry-after`: the fallbacks were tried",
    "`x-coe-attempts`": "how many experts failed; absent where none was asked",
    "`x-coe-tried`": "which, each with the kind of failure: `a=timeout, b=429`",
}

COLUMNS = """\
*Next expert* says whether the gateway asks the next expert of the plan when this happens before
the first content; only when nobody is left does the client see the error."""


def page() -> str:
    """Return the page."""
    raised = _raised()
    rows = [
        _row(error, depth)
        for error, depth in _tree(CoEError)
        if depth and (error.__subclasses__() or error.__name__ in raised)
    ]
    header = ("error", "status", "`code`", "`type`", "next expert", "when")
    table = markdown.table(header, rows)
    about = (inspect.getdoc(BackendRejected) or "").partition("\n\n")[2]
    rejected = f"`BackendRejected`: {' '.join(about.split())}"
    headers = markdown.table(("header", "meaning"), HEADERS.items())
    return markdown.page("Errors", INTRODUCTION, headers, COLUMNS, table, rejected)


def _tree(error: type[CoEError], depth: int = 0) -> Iterator[tuple[type[CoEError], int]]:
    yield error, depth
    for child in error.__subclasses__():
        if child.__module__ == CoEError.__module__:
            yield from _tree(child, depth + 1)


def _raised() -> set[str]:
    """Return the names of what the code makes somewhere: errors for later stay undocumented."""
    names: set[str] = set()
    for package in ("coe", "routers"):
        for file in ROOT.joinpath(package).rglob("*.py"):
            names.update(re.findall(r"(?<!class )\b([A-Z]\w+)\(", file.read_text(encoding="utf-8")))
    return names


def _row(error: type[CoEError], depth: int) -> tuple[str, ...]:
    name = "&nbsp;&nbsp;" * (depth - 1) + markdown.code(error.__name__)
    when = markdown.first_line(error)
    if issubclass(error, ConfigError):
        return (name, "`coe` exits with 2", "", "", "", when)
    if error is BackendRejected:
        return (name, "the backend's, or 502", "the backend's", "the backend's", "see below", when)
    moves_on = "yes" if another_may_do_better(error("")) else "no"
    fields = (str(error.status), markdown.code(error.code), markdown.code(error.type), moves_on)
    return (name, *fields, when)
