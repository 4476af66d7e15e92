"""What pages are put together from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from coe.page.markup import Child, Markup, element
from coe.page.style import STYLE
from coe.page.texts import shown

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
Row: TypeAlias = Sequence[Child]


def page(title: str, *children: Child, style: str = "") -> str:
    """Return a whole page.

    Args:
        title: of the window.
        children: what it shows.
        style: rules beside those that every page has.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("title", shown(title)),
        element("style", Markup(STYLE + style)),
    )
    body = element("body", element("main", *children))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def section(title: str, note: str, *children: Child) -> Markup:
    """Return a part of a page under a heading."""
    return element("section", element("h2", title), element("p", note, class_="quiet"), *children)


def card(value: str, name: str, note: str) -> Markup:
    """Return one number, large."""
    return element(
        "div",
        element("div", value, class_="value"),
        element("div", name, class_="name"),
        element("div", note, class_="quiet"),
        class_="card",
    )


def figure(plot: Markup, title: str, note: str) -> Markup:
    """Return a plot with what it shows."""
    caption = element("figcaption", element("strong", title), element("p", note, class_="quiet"))
    return element("figure", caption, plot)


def table(heads: Sequence[str], rows: Sequence[Row], *, numbers: Sequence[int]) -> Markup:
    """Return a table that scrolls in its own box; the columns in `numbers` hold numbers."""

    def cells(name: str, row: Row) -> Iterator[Markup]:
        for place, cell in enumerate(row):
            yield element(name, cell, class_="number" if place in numbers else "words")

    head = element("thead", element("tr", *cells("th", heads)))
    body = element("tbody", *(element("tr", *cells("td", row)) for row in rows))
    return element("div", element("table", head, body), class_="wide")
