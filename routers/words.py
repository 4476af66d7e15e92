"""The words that exist, and how likely each is after another: what typing errors are judged by.

Reference: Garbe 2012, SymSpell (words indexed by what is left without one letter); Jelinek and
Mercer 1980, Interpolated Estimation of Markov Source Parameters from Sparse Data (pairs of words
and single ones, interpolated); Zipf 1949, Human Behavior and the Principle of Least Effort (how
often a word of some rank is used).
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# What may stand around a word, and the word.
WORD = re.compile(r"([\"'(]*)([A-Za-z]+(?:'[A-Za-z]+)*)([.,;:!?\"')]*)")
LONGEST_WORD = 20
# If fewer of the utterances' words than this are known to exist, their language is not known.
LEAST_COMMON = 0.8
# The probability of a word: half of what the utterances say, half of what its rank among all words
# says (Zipf's law); where the word before is known to the utterances, mostly what follows it there.
OWN_SHARE, PAIR_SHARE = 0.5, 0.7
ZIPF = 0.1
UNSEEN = 1e-9
SHORTEST_FOR_TWO = 6  # letters; of shorter words too many are two slips away
MOST_DIFFERENT = 4  # letters that two slips add or take away: one for another counts twice
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALONE = ("a", "i")  # letters that are words


@runtime_checkable
class KnowsWords(Protocol):
    """An encoder that can say which words exist."""

    def words(self) -> tuple[str, ...]:
        """Return words in lower case, the most common first."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that exist, and how likely each is after another.

    Attributes:
        own: how often each word was seen in the utterances, lower case.
        total: of these counts.
        pairs: how often each pair of words was seen there, one after the other; "" is the edge.
        firsts: how often each word was the first of a pair.
        ranks: of the common words, the most common first.
        index: all words, by what is left of each without one of its letters, and by itself.
        long: those of the utterances that may be recognised after two slips.
        letters: shape (n_long, 26), how often each has each letter.
    """

    own: Mapping[str, int]
    total: int
    pairs: Mapping[tuple[str, str], int]
    firsts: Mapping[str, int]
    ranks: Mapping[str, int]
    index: Mapping[str, Sequence[str]]
    long: Sequence[str]
    letters: NDArray[np.int8]

    def __contains__(self, word: str) -> bool:
        """Return whether the word exists; of `bob's`, whether both parts do."""
        return self._is_word(word) or ("'" in word and all(map(self._is_word, word.split("'"))))

    def likelihood(self, words: Sequence[str]) -> float:
        """Return the logarithm of the probability of the words after the first, given the first."""
        return sum(math.log(self._after(*pair)) for pair in itertools.pairwise(words))

    def may_be_half(self, word: str) -> bool:
        """Return whether the word may have lost the space beside it."""
        return word in self.own and (len(word) > 1 or word in ALONE)

    def near(self, word: str) -> list[str]:
        """Return the words of the utterances whose letters differ from this word's by two slips."""
        differ = np.abs(self.letters - _letters([word])).sum(axis=1)
        return [self.long[place] for place in np.flatnonzero(differ <= MOST_DIFFERENT).tolist()]

    def _is_word(self, word: str) -> bool:
        return word in self.own or word in self.ranks

    def _after(self, before: str, word: str) -> float:
        rank = self.ranks.get(word)
        common = ZIPF / (1 + rank) if rank is not None else 0.0
        alone = OWN_SHARE * self.own.get(word, 0) / self.total + (1 - OWN_SHARE) * common + UNSEEN
        firsts = self.firsts.get(before)
        if not firsts:
            return alone
        return PAIR_SHARE * self.pairs.get((before, word), 0) / firsts + (1 - PAIR_SHARE) * alone


def vocabulary(pairs: Mapping[tuple[str, str], int], common: Sequence[str]) -> Vocabulary:
    """Return the vocabulary of a router; it is empty where the common words are not its language's.

    Args:
        pairs: of the utterances, as `count_pairs` returns them.
        common: words that exist, the most common first, e.g. the whole words of a tokeniser.
    """
    firsts: Counter[str] = Counter()
    for (before, _), count in pairs.items():
        firsts[before] += count
    # Each word is the first of one pair, the last one's second being the edge.
    own = {word: count for word, count in firsts.items() if word}
    ranks = {word: rank for rank, word in enumerate(common)}
    total = sum(own.values())
    if sum(count for word, count in own.items() if word in ranks) < LEAST_COMMON * total:
        return vocabulary({}, ())
    # Utterances have typing errors too: a strange word that stands once is nothing that is meant.
    meant = [word for word, count in own.items() if word in ranks or count > 1]
    index: defaultdict[str, list[str]] = defaultdict(list)
    for word in dict.fromkeys((*meant, *common)):
        if len(word) <= LONGEST_WORD:
            for rest in {word, *shortened(word)}:
                index[rest].append(word)
    long = [word for word in meant if SHORTEST_FOR_TWO <= len(word) <= LONGEST_WORD]
    return Vocabulary(
        own=own,
        total=max(1, total),
        pairs=pairs,
        firsts=firsts,
        ranks=ranks,
        index=dict(index),
        long=long,
        letters=_letters(long),
    )


def count_pairs(texts: Iterable[str]) -> dict[tuple[str, str], int]:
    """Return how often each pair of words stands in the texts; "" is the edge of a text."""
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        pairs.update(itertools.pairwise(["", *words_of(text), ""]))
    return dict(pairs)


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without what is no plain word."""
    found = (WORD.fullmatch(piece) for piece in text.split())
    return [match[2].lower() for match in found if match]


def _letters(words: Sequence[str]) -> NDArray[np.int8]:
    return np.array(
        [[word.count(letter) for letter in LETTERS] for word in words], dtype=np.int8
    ).reshape(-1, len(LETTERS))


def shortened(word: str) -> list[str]:
    """Return what is left of a word without each of its letters."""
    return [word[:place] + word[place + 1 :] for place in range(len(word))]
