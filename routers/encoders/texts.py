"""What an encoder does to a text before it reads it."""

from __future__ import annotations


def clean(text: str) -> str:
    """Return the text with lone surrogates, which no tokeniser accepts, replaced by `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


def clip(text: str, max_chars: int) -> str:
    """Return the text cut to max_chars characters, by leaving out its middle.

    What a prompt asks for stands at its start or at its end ("... translate this into French");
    what is long between them is material. The cost no longer depends on the text's length.
    """
    if len(text) <= max_chars:
        return text
    head = max_chars // 2
    return f"{text[:head]} {text[head - max_chars + 1 :]}"
