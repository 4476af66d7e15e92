"""The page of what the fake upstream can do: the docstring in which its behaviours stand."""

from __future__ import annotations

import inspect

from coe.testing import behaviours
from docs.generators import markdown

INTRODUCTION = """\
What `python -m coe.testing.upstream` (and `coe.testing.upstream.FakeUpstream`) does with a
request: the name of the model is the behaviour. How to use it:
[test your client](../how-to/test-your-client.md)."""


def page() -> str:
    """Return the page: the docstring's list as a table, the rest of it as it stands."""
    before: list[str] = []
    after: list[str] = []
    rows: list[tuple[str, str]] = []
    for line in (inspect.getdoc(behaviours) or "").splitlines():
        if line.startswith("    "):
            names, _, meaning = line.strip().partition("  ")
            rows.append((", ".join(map(markdown.code, names.split(", "))), meaning))
        else:
            (after if rows else before).append(line)
    table = markdown.table(("model", "what it does"), rows)
    start, end = ("\n".join(lines).strip() for lines in (before[1:], after))
    return markdown.page("A misbehaving server", INTRODUCTION, start, table, end)
