"""HTML and SVG that cannot be broken by what they show: everything is escaped but other markup."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

# An element without content; HTML knows no other way to close these, and XML does not mind.
VOID = frozenset({"meta", "wbr"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "str | int | Iterable[Child]"


def element(name: str, /, *children: Child, **attributes: str | float) -> Markup:
    """Return an element.

    Args:
        name: of the element, such as `td`.
        children: markup stays as it is, text is escaped, iterables are spread.
        attributes: `class_` is `class`; an underscore inside a name is a hyphen.
    """
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_plain(value))}"'
        for key, value in attributes.items()
    )
    head = f"{name}{''.join(pairs)}"
    if name in VOID:
        return Markup(f"<{head} />")
    return Markup(f"<{head}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """Return children as one piece of markup."""
    return Markup("".join(_piece(child) for child in children))


def _piece(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | int):
        return html.escape(str(child))
    return joined(child)


def _plain(value: str | float) -> str:
    """Return an attribute's text: two decimals of a pixel are enough."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
