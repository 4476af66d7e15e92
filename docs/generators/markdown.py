"""Markdown, as far as the generated pages need it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

NOTICE = "<!-- Written by `make docs` from the code. Edit the code, not this file. -->"


def page(title: str, *parts: str) -> str:
    """Return a page: the notice, the title and the parts, with empty lines between them."""
    return "\n\n".join([NOTICE, f"# {title}", *(part for part in parts if part)]) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; empty where it has no rows."""
    lines = [_row(row) for row in rows]
    if not lines:
        return ""
    return "\n".join([_row(header), _row(["---"] * len(header)), *lines])


def code(text: object) -> str:
    """Return the text as code; nothing for nothing."""
    return f"`{text}`" if text not in (None, "") else ""


def first_line(documented: object) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(documented) or "").split("\n", 1)[0]


def first_paragraph(documented: object) -> str:
    """Return the first paragraph of a docstring that follows no heading, in one line."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n", 1)[0].split())


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
