"""What was carried over, as the text of an experts.yaml with a comment for every note."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from coe.composition.draft import WIDTH, block, flow
from coe.importing.carried import Carried, Note

_ABOUT = {
    "backends": "Where experts run.",
    "experts": "What can answer.",
    "categories": "What people ask, and the ranked experts that answer it.",
}
_LONGEST = 300


def write(carried: Carried, origin: str) -> str:
    """Return the text.

    Args:
        carried: what it says.
        origin: what the foreign file is and where it lies, for the first line.
    """
    lines = [
        f"# A composition of experts, imported from {_plain(origin)}.",
        "# Comments say what became of its lines: what is `left out` has no counterpart here, and",
        "# `to do` waits for you. Check it with `coe check`; try it with `coe route`.",
        "version: 1",
    ]
    for section, about in _ABOUT.items():
        entries: Mapping[str, Mapping[str, Any]] = getattr(carried, section)
        if entries:
            lines += ["", f"# {about}", f"{section}:"]
            for name, keys in entries.items():
                lines += _comments(carried, (section, name))
                lines += block({name: keys}, 2)
    lines += ["", f"default: {flow(carried.default)}"]
    lines += block(carried.top, 0)
    if rest := list(_comments(carried, None)):
        lines += ["", "# Of the rest of that file:", *rest]
    return "\n".join([*lines, ""])


def counts(carried: Carried) -> Counter[str]:
    """Return how many notes there are of each kind."""
    return Counter(note.kind for note in carried.notes)


def _comments(carried: Carried, where: tuple[str, str] | None) -> Iterator[str]:
    for note in carried.notes:
        if note.where == where:
            margin = "  # " if where else "# "
            yield from wrap(
                described(note),
                WIDTH,
                initial_indent=margin,
                subsequent_indent=f"{margin}  ",
                break_long_words=False,
                break_on_hyphens=False,
            )


def described(note: Note) -> str:
    """Write a note on one line."""
    place = f" (line {note.line}) {_plain(note.path)}" if note.line else ""
    return f"{note.kind}{place}: {_plain(note.message)}"


def _plain(text: str) -> str:
    """Return a text that cannot end the comment that it stands in."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
