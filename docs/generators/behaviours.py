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
    """Return the page."""
    about, _, listed = (inspect.getdoc(behaviours) or "").partition("\n\n")
    return markdown.page("A misbehaving server", INTRODUCTION, about, f"```\n{listed}\n```")
