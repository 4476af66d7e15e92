"""Markup that cannot be broken by what it shows."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from coe.page.markup import Markup, element
from coe.page.texts import fitted, shown


@given(st.text(), st.text(alphabet="abc-:"))
def test_markup_escapes_what_is_not_markup(text: str, value: str) -> None:
    made = element("p", text, element("i", text), class_=f'{value}"<&')

    plain = "".join(c for c in text if c.isprintable())
    again = ET.fromstring(element("p", plain, class_=f'{value}"<&'))  # noqa: S314
    assert (again.text or "") == plain
    assert again.get("class") == f'{value}"<&'
    assert made.count("<i>") == 1
    assert isinstance(made, Markup)


def test_a_shown_text_is_one_line_and_does_nothing() -> None:
    assert shown("a\n\tb" + "x" * 300, 10) == "a bxxxxxx…"
    assert shown("\x1b[31m\u202e\ud800") == "\ufffd[31m\ufffd\ufffd"


@given(st.text(), st.floats(20, 200))
def test_a_fitted_name_keeps_both_its_ends(name: str, pixels: float) -> None:
    short = fitted(name, pixels)

    head, mark, tail = short.partition("…")
    assert name == short or (mark and name.startswith(head) and name.endswith(tail))
