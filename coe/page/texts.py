"""Texts of others as a page or a terminal may show them."""

from __future__ import annotations

import unicodedata

LONGEST = 160  # characters of a text that are shown
WIDTHS = dict.fromkeys("ijl.,:;'|()[] -", 4.6) | dict.fromkeys("mwMWQO@%…", 12.0)


def shown(text: str, most: int = LONGEST) -> str:
    """Return a text on one line, without characters that a terminal or a page would act on."""
    flat = " ".join(text.split())
    plain = "".join("\ufffd" if _acts(character) else character for character in flat)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def fitted(name: str, pixels: float) -> str:
    """Return a name that is no wider than so many pixels at 12 px; its middle makes room.

    Names often begin alike (`card_lost`, `card_stolen`), or end alike, so both ends stay.
    """
    if _width(name) <= pixels:
        return name
    kept = next(
        kept for kept in range(len(name) - 1, -1, -1) if _width(_ends(name, kept)) <= pixels
    )
    return _ends(name, kept)


def _acts(character: str) -> bool:
    """Whether it is a control, a format (bidirectional marks) or half of a surrogate pair."""
    # A joiner is part of many an emoji and of several scripts.
    return unicodedata.category(character) in {"Cc", "Cf", "Cs"} and character != "\u200d"


def _ends(name: str, kept: int) -> str:
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def _width(text: str) -> float:
    """Return about how many pixels a text takes at 12 px, rather too many than too few."""
    return sum(WIDTHS.get(letter, 7.7 if letter.isascii() else 12.0) for letter in text)
