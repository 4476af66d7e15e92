"""A text as rows of a table: its words, its pairs of words, and the n-grams of unknown words.

Nothing is hashed but what no text of training had, so that reading a text is a look-up per word.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from routers.encoders.texts import clip

PIECE = re.compile(r"\w+(?:'\w+)*|[^\w\s]")
MAX_CHARS = 8192
LONGEST_WORD = 40  # letters that n-grams are taken of
GRAMS = (3, 4, 5)
GRAM_ROWS = 1 << 14
LEAST_PAIRS = 2  # a pair that stands once says nothing that its words do not


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Which row of a table stands for what; `base` rows for words and pairs, then GRAM_ROWS.

    Attributes:
        words: lower case.
        pairs: two words with a space between; the edge of a text is an empty word.
    """

    words: Mapping[str, int]
    pairs: Mapping[str, int]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the words of the texts, and the pairs that stand in them more than once."""
        words: Counter[str] = Counter()
        pairs: Counter[str] = Counter()
        for text in texts:
            pieces = pieces_of(text)
            words.update(pieces)
            pairs.update(pairs_of(pieces))
        return cls.listed(words, [pair for pair, count in pairs.items() if count >= LEAST_PAIRS])

    @classmethod
    def listed(cls, words: Iterable[str], pairs: Iterable[str]) -> Self:
        """Return the lexicon of words and pairs in the order of their rows."""
        known = {word: row for row, word in enumerate(words)}
        return cls(known, {pair: len(known) + row for row, pair in enumerate(pairs)})

    @property
    def base(self) -> int:
        """Return how many rows words and pairs have."""
        return len(self.words) + len(self.pairs)


def pieces_of(text: str) -> list[str]:
    """Return the words and marks of a text, case-folded; of a long text its start and its end."""
    return PIECE.findall(unicodedata.normalize("NFKC", clip(text, MAX_CHARS)).casefold())


def pairs_of(pieces: Sequence[str]) -> Iterator[str]:
    """Yield each word with the one after it; the edges of the text are empty words."""
    return (f"{before} {after}" for before, after in pairwise(["", *pieces, ""]))


def grams_of(word: str) -> list[int]:
    """Return the hashes of a word's n-grams in [0, GRAM_ROWS); its edges are letters, too."""
    marked = f"<{word[:LONGEST_WORD]}>"
    return [
        zlib.crc32(marked[start : start + size].encode("utf-8", "surrogatepass")) % GRAM_ROWS
        for size in GRAMS
        for start in range(len(marked) - size + 1)
    ]
