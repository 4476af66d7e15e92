"""Typing errors, repaired before a text is encoded: the encoder sees the words that were meant.

A sentence encoder takes a mistyped word apart into pieces that mean something else, and a slip in
every tenth word changes one category in twelve. Here a word gives way to another that is a single
slip away (a letter dropped, doubled or inserted, two letters swapped, one mistaken for another, the
space before or after it dropped or misplaced) where that is likelier between its neighbours:

    log p(other reading) - cost of the slip  >  log p(as typed) + what a slip must be worth

What was typed stays what it is for everybody else: for the expert, the log, the answer.

Nothing is touched that may be meant so: lines that look like code, anything with digits, marks or
capitals inside, names (a capital within a sentence), other scripts, and lines of which many words
are unknown, which are in another language.

Reference: Kernighan et al. 1990, A Spelling Correction Program Based on a Noisy Channel Model,
COLING; Damerau 1964, A Technique for Computer Detection and Correction of Spelling Errors, CACM
7(3) (single slips make up most errors). We differ in slips at spaces, and in weighing readings by
the words beside them (see `words`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from routers.words import LONGEST_WORD, SHORTEST_FOR_TWO, WORD, Vocabulary, shortened

LINES = re.compile(r"(\n+)")
SPACES = re.compile(r"(\s+)")
CODE = re.compile(r"[{}\[\]<>=`\\|~^$#_@]|\(\)|;\s*$|^\s{4}|^\t|://")
# A longer text is material rather than something that was typed, and each word takes its time.
LONGEST_TEXT = 2000
# A line is in another language where more of its words than this share, and these, are unknown, or
# where the utterances have less than this share of the others.
MOST_UNKNOWN, UNKNOWN_ALLOWED = 0.6, 2
LEAST_OWN = 0.5
# In natural logarithms, chosen on the split `val` of CLINC150. A letter that is too many, or
# another one, is one of 26; a letter dropped or two swapped is one of few.
INSERTED, MISTAKEN, TWO_SLIPS = 2.0, 3.5, 5.0
# How much likelier another reading must be than a word that exists, or than one that does not.
SLIP, STRANGE = 8.0, 5.0
TWO = 2


def repair(text: str, known: Vocabulary) -> str:
    """Return the text with its typing errors repaired; what has none is returned as it is."""
    if len(text) > LONGEST_TEXT:
        return text
    return "".join(
        part if CODE.search(part) else _repair_line(part, known) for part in LINES.split(text)
    )


class _Token(NamedTuple):
    """A word between what stands around it; `word` is empty where there is none to repair."""

    before: str
    word: str
    after: str


class _Reading(NamedTuple):
    """What may have been meant by the words from `start` on, and what the slip costs."""

    start: int
    meant: tuple[str, ...]
    cost: float


def _repair_line(line: str, known: Vocabulary) -> str:
    pieces = SPACES.split(line)
    # Nothing can be wrong with a line of nothing but words of the utterances.
    if all(piece.lower() in known.own for piece in pieces[::2]):
        return line
    tokens = [_token(piece) for piece in pieces[::2]]
    words = [token.word.lower() for token in tokens]
    if _is_foreign([word for word in words if word], known):
        return line
    for at, token in enumerate(tokens):
        # A word of the utterances is never doubted: what they say is what the router knows.
        if not words[at] or words[at] in known.own or not _may_be_slip(tokens, at):
            continue
        found = _likeliest(words, at, known)
        for place, word in enumerate(found.meant, found.start):
            if word != words[place]:
                # What was split into two words is looked at no more.
                words[place] = "" if " " in word else word
                tokens[place] = _Token(
                    tokens[place].before, _cased(word, token), tokens[place].after
                )
    pieces[::2] = map("".join, tokens)
    return "".join(pieces)


def _is_foreign(words: Sequence[str], known: Vocabulary) -> bool:
    own = sum(word in known.own for word in words)
    existing = [word for word in words if word in known.own or word in known]
    unknown = len(words) - len(existing)
    too_many = max(UNKNOWN_ALLOWED, MOST_UNKNOWN * len(words))
    return unknown > too_many or own < LEAST_OWN * len(existing)


def _token(piece: str) -> _Token:
    if piece.isascii() and piece.isalpha():
        return _Token("", piece, "")
    match = WORD.fullmatch(piece)
    return _Token(match[1], match[2], match[3]) if match else _Token(piece, "", "")


def _may_be_slip(tokens: Sequence[_Token], at: int) -> bool:
    """Return whether nobody would mean it: no name, no acronym, not too long."""
    word = tokens[at].word
    starts = at == 0 or "".join(tokens[at - 1])[-1:] in ".!?:"
    return len(word) <= LONGEST_WORD and (word.islower() or (starts and word[1:].islower()))


def _beside(words: Sequence[str], start: int, end: int) -> tuple[str, str]:
    return (words[start - 1] if start else "", words[end] if end < len(words) else "")


def _cased(word: str, token: _Token) -> str:
    return word[:1].upper() + word[1:] if token.word[:1].isupper() else word


def _likeliest(words: Sequence[str], at: int, known: Vocabulary) -> _Reading:
    """Return what was meant, most likely, by a word and perhaps one beside it.

    Args:
        words: of the line, in lower case; empty where there is no word.
        at: the place of the word that is doubted.
        known: what may be meant.
    """
    left, right = max(0, at - 1), min(len(words), at + 2)
    before, after = _beside(words, left, right)

    def worth(reading: _Reading) -> float:
        end = reading.start + len(reading.meant)
        line = (*words[left : reading.start], *reading.meant, *words[end:right])
        return known.likelihood([before, *" ".join(line).split(), after]) - reading.cost

    typed = _Reading(at, (words[at],), -SLIP if words[at] in known else -STRANGE)
    readings = [_Reading(at, (meant,), cost) for meant, cost in _meant(words[at], known)]
    for start in range(left, right - 1):
        readings += [
            _Reading(start, pair, 0.0)
            for pair in _moved(words[start], words[start + 1])
            if pair[0] in known and pair[1] in known
        ]
    return max([typed, *readings], key=worth)


def _moved(first: str, second: str) -> Iterator[tuple[str, str]]:
    """Yield two words with the space between them a letter further on, or further back."""
    if len(second) > 1:
        yield first + second[0], second[1:]
    if len(first) > 1 and second:
        yield first[:-1], first[-1] + second


def _meant(word: str, known: Vocabulary) -> Iterator[tuple[str, float]]:
    """Yield the words that are a slip away, and what the slip costs; else those that are two."""
    rests = shortened(word)
    costs = {other: _cost(word, other) for other in _lookup((word, *rests), known)}
    if word in known:
        # Most words have another word one letter away.
        costs = {other: cost for other, cost in costs.items() if cost != MISTAKEN}
    yield from ((other, cost) for other, cost in costs.items() if math.isfinite(cost))
    if word in known:
        return
    for place in range(1, len(word)):
        head, tail = word[:place], word[place:]
        if known.may_be_half(head) and known.may_be_half(tail):
            yield f"{head} {tail}", 0.0
    if len(word) >= SHORTEST_FOR_TWO and min(costs.values(), default=math.inf) >= MISTAKEN:
        yield from ((other, TWO_SLIPS) for other in known.near(word) if _slips(word, other) == TWO)


def _lookup(rests: Iterable[str], known: Vocabulary) -> set[str]:
    return {other for rest in rests for other in known.index.get(rest, ())}


def _cost(typed: str, meant: str) -> float:
    """Return the cost of the one slip that leads from what was meant to what was typed.

    It is infinite where none does, or where nothing differs.
    """
    same = 0
    while same < min(len(typed), len(meant)) and typed[same] == meant[same]:
        same += 1
    one, other = typed[same:], meant[same:]
    if one == other:
        return math.inf
    if one == other[1:] or (one[:2] == other[1::-1] and len(one) > 1 and one[2:] == other[2:]):
        return 0.0
    if one[1:] == other:
        return INSERTED
    return MISTAKEN if one[1:] == other[1:] else math.inf


def _slips(typed: str, meant: str) -> int:
    """Return how many slips lead from one word to the other, or any number above two.

    It is the distance of optimal string alignment.
    """
    if abs(len(typed) - len(meant)) > TWO:
        return TWO + 1
    above: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(typed, 1):
        further, above, row = above, row, [i]
        for j, wanted in enumerate(meant, 1):
            least = min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted))
            if further and j > 1 and letter == meant[j - 2] and typed[i - 2] == wanted:
                least = min(least, further[j - 2] + 1)
            row.append(least)
        if min(row) > TWO and min(above) > TWO:  # it can only grow
            return TWO + 1
    return row[-1]
