"""Texts of others in a prompt: each between two lines that it cannot have written itself.

What a draft says may be an instruction, or the beginning of "the next draft". So the lines around
it carry a mark that is drawn from all the texts together: whoever writes one of them cannot know
it. (It keeps texts apart. That a model never does what it reads there, nothing can promise.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from coe.jsonfile import digest

Messages = tuple[Mapping[str, Any], ...]


def mark(*texts: str) -> str:
    """Return eight letters and digits that follow from the texts and stand in none of them."""
    drawn = (digest([turn, *texts])[:8] for turn in count())
    return next(word for word in drawn if not any(word in text for text in texts))


def fenced(name: str, text: str, word: str) -> str:
    """Return a text between two lines with its name and a mark."""
    return f"<{name} {word}>\n{text}\n</{name} {word}>"


def cut(text: str, limit: int) -> str:
    """Return a text of about `limit` characters: its beginning and its end, and what is missing."""
    if len(text) <= limit:
        return text
    head, tail = limit - limit // 2, limit // 2
    missing = len(text) - limit
    return f"{text[:head]}\n[... {missing} characters are left out here ...]\n{text[-tail:]}"


def instructed(messages: Sequence[Mapping[str, Any]], text: str) -> Messages:
    """Return a conversation with a text at the end of its system message.

    It stays one message, since some models know only one; without one it is the first.
    """
    if not messages or messages[0].get("role") not in {"system", "developer"}:
        return ({"role": "system", "content": text}, *messages)
    first = messages[0]
    content = first.get("content") or ""
    longer: Any = (
        [*content, {"type": "text", "text": text}]
        if isinstance(content, list)
        else f"{content}\n\n{text}"
    )
    return ({**first, "content": longer}, *messages[1:])
