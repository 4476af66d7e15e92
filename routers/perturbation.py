"""The same text as somebody else would type it: a choice that changes with these is luck.

Everything is drawn from the text itself and a seed: the same text is changed in the same way
wherever it stands.

Reference: RouterArena 2025, arXiv 2510.00202 (robustness as the share of choices that stay); our
typing noise drops, swaps and inserts characters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from random import Random

NOISE_RATE = 0.02
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHORT_FORMS = {
    "what is": "what's",
    "how is": "how's",
    "where is": "where's",
    "who is": "who's",
    "it is": "it's",
    "that is": "that's",
    "i am": "i'm",
    "i would": "i'd",
    "i will": "i'll",
    "i have": "i've",
    "do not": "don't",
    "does not": "doesn't",
    "can not": "can't",
    "cannot": "can't",
    "is not": "isn't",
}
LONG_FORMS = {short: long for long, short in SHORT_FORMS.items()}


def typing_noise(text: str, *, rate: float = NOISE_RATE, seed: int = 0) -> str:
    """Return the text with a share of its characters mistyped.

    Each character is, with probability `rate`, dropped, swapped with the next, or followed by a
    letter that does not belong there; one of the three, all as likely.
    """
    random = _random(text, seed)
    typed: list[str] = []
    place = 0
    while place < len(text):
        kept = text[place : place + 1]
        if random.random() < rate:
            slip = random.randrange(3)
            if slip == 0:
                kept = ""
            elif slip == 1:
                kept = text[place : place + 2][::-1]
                place += 1
            else:
                kept += random.choice(LETTERS)
        typed.append(kept)
        place += 1
    return "".join(typed)


def polite(text: str) -> str:
    """Return the text as a request: "please" before it or thanks after it."""
    lowered = text[:1].lower() + text[1:]
    return (f"please {lowered}", f"{text} thanks", f"hi, {lowered}")[_random(text, 1).randrange(3)]


def bare(text: str) -> str:
    """Return the text without capitals and without punctuation at the end of words."""
    return re.sub(r"[.,;:!?]+(?=\s|$)", "", text.lower())


def contracted(text: str) -> str:
    """Return the text with its English short forms written out, or its long forms shortened."""
    table = LONG_FORMS if _has(text, LONG_FORMS) else SHORT_FORMS

    def other(found: re.Match[str]) -> str:
        form = table[found[0].lower()]
        return form[0].upper() + form[1:] if found[0][0].isupper() else form

    return re.sub(_pattern(table), other, text, flags=re.IGNORECASE)


# By the name that a report shows.
CHANGES: Mapping[str, Callable[[str], str]] = {
    "typing noise": typing_noise,
    "politeness": polite,
    "no capitals, no punctuation": bare,
    "short and long forms": contracted,
}


def _has(text: str, table: Mapping[str, str]) -> bool:
    return re.search(_pattern(table), text, flags=re.IGNORECASE) is not None


def _pattern(table: Mapping[str, str]) -> str:
    return rf"(?<!\w)(?:{'|'.join(map(re.escape, table))})(?!\w)"


def _random(text: str, seed: int) -> Random:
    content = text.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(content, digest_size=8, salt=seed.to_bytes(8, "big")).digest()
    return Random(digest)  # noqa: S311 - nothing secret is drawn
