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
7(3) (single slips make up most errors); Garbe 2012, SymSpell (words indexed by their deletions). We
differ in slips at spaces, and in weighing readings by the words beside them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from coe.protocols import Encoder

WORD = re.compile(r"([\"'(]*)([A-Za-z]+(?:'[A-Za-z]+)*)([.,;:!?\"')]*)")
LINES = re.compile(r"(\n+)")
CODE = re.compile(r"[{}\[\]<>=`\\|~^$#_@]|\(\)|;\s*$|^\s{4}|^\t|://")
# A longer text is material rather than something that was typed, and each word takes its time.
LONGEST_TEXT = 2000
LONGEST_WORD = 20
# A line is in another language where more of its words than this share, and these, are unknown, or
# where the utterances have less than this share of the others.
MOST_UNKNOWN, UNKNOWN_ALLOWED = 0.6, 2
LEAST_OWN = 0.5
# If fewer of the utterances' words than this are known to exist, their language is not known.
LEAST_COMMON = 0.8

# The probability of a word: half of what the utterances say, half of what its rank among all words
# says (Zipf's law); where the word before is known to the utterances, mostly what follows it there.
OWN_SHARE, PAIR_SHARE = 0.5, 0.7
ZIPF = 0.1
UNSEEN = 1e-9
# In natural logarithms, chosen on the split `val` of CLINC150. A letter that is too many, or
# another one, is one of 26; a letter dropped or two swapped is one of few.
INSERTED, MISTAKEN, TWO_SLIPS = 2.0, 3.5, 5.0
SLIP = 8.0  # how much likelier another reading must be than a word that exists
TWO = 2
MOST_DIFFERENT = 4  # letters that two slips add or take away: one for another counts twice
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALONE = ("a", "i")  # letters that are words
SHORTEST_FOR_TWO = 6  # letters; of shorter words too many are two slips away


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


def vocabulary(
    counts: Mapping[str, int], texts: Iterable[str], common: Sequence[str]
) -> Vocabulary:
    """Return the vocabulary of a router; it is empty where the common words are not its language's.

    Args:
        counts: of the words of the utterances, as `count_words` returns them.
        texts: for pairs of words; the utterances, or some of them.
        common: words that exist, the most common first, e.g. the whole words of a tokeniser.
    """
    ranks = {word: rank for rank, word in enumerate(common)}
    total = sum(counts.values())
    if sum(count for word, count in counts.items() if word in ranks) < LEAST_COMMON * total:
        counts, texts, common, ranks = {}, (), (), {}
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        pairs.update(itertools.pairwise(["", *_words(text), ""]))
    firsts: Counter[str] = Counter()
    for (before, _), count in pairs.items():
        firsts[before] += count
    index: defaultdict[str, list[str]] = defaultdict(list)
    for word in dict.fromkeys((*counts, *common)):
        # Utterances have typing errors too: one that stands once is nothing that is meant.
        if len(word) <= LONGEST_WORD and (word in ranks or counts[word] > 1):
            for rest in {word, *_shortened(word)}:
                index[rest].append(word)
    long = [
        word
        for word, count in counts.items()
        if SHORTEST_FOR_TWO <= len(word) <= LONGEST_WORD and (word in ranks or count > 1)
    ]
    return Vocabulary(
        own=counts,
        total=max(1, total),
        pairs=pairs,
        firsts=firsts,
        ranks=ranks,
        index=dict(index),
        long=long,
        letters=_letters(long),
    )


class RepairingEncoder:
    """The vectors of the texts as they were meant. Thread-safe if the encoder is."""

    def __init__(self, encoder: Encoder, known: Vocabulary) -> None:
        self.name = encoder.name
        self.dim = encoder.dim
        self.fingerprint = encoder.fingerprint
        self._encoder = encoder
        self._known = known

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (n_texts, dim). Raises what the encoder raises."""
        return self._encoder.encode([repair(text, self._known) for text in texts])


def count_words(texts: Iterable[str]) -> dict[str, int]:
    """Return how often each word stands in the texts, in lower case."""
    return dict(Counter(word for text in texts for word in _words(text)))


def repair(text: str, known: Vocabulary) -> str:
    """Return the text with its typing errors repaired; what has none is returned as it is."""
    if len(text) > LONGEST_TEXT:
        return text
    return "".join(
        part if CODE.search(part) else _repair_line(part, known) for part in LINES.split(text)
    )


@dataclass(frozen=True, slots=True)
class _Token:
    """A word between what stands around it; `word` is empty where there is none to repair."""

    before: str
    word: str
    after: str

    def __str__(self) -> str:
        return f"{self.before}{self.word}{self.after}"


@dataclass(frozen=True, slots=True)
class _Reading:
    """What may have been meant by the words from `start` on, and what the slip costs."""

    start: int
    meant: tuple[str, ...]
    cost: float


def _words(text: str) -> list[str]:
    found = (WORD.fullmatch(piece) for piece in text.split())
    return [match[2].lower() for match in found if match]


def _letters(words: Sequence[str]) -> NDArray[np.int8]:
    return np.array(
        [[word.count(letter) for letter in LETTERS] for word in words], dtype=np.int8
    ).reshape(-1, len(LETTERS))


def _repair_line(line: str, known: Vocabulary) -> str:
    pieces = re.split(r"(\s+)", line)
    tokens = [_token(piece) for piece in pieces[::2]]
    words = [token.word.lower() for token in tokens]
    if _is_foreign([word for word in words if word], known):
        return line
    for at, token in enumerate(tokens):
        if not words[at] or not _may_be_slip(tokens, at) or _is_usual(words, at, known):
            continue
        found = _likeliest(words, at, known)
        for place, word in enumerate(found.meant, found.start):
            if word != words[place]:
                # What was split into two words is looked at no more.
                words[place] = "" if " " in word else word
                tokens[place] = _Token(
                    tokens[place].before, _cased(word, token), tokens[place].after
                )
    pieces[::2] = map(str, tokens)
    return "".join(pieces)


def _is_foreign(words: Sequence[str], known: Vocabulary) -> bool:
    existing = [word for word in words if word in known]
    own = sum(word in known.own for word in existing)
    unknown = len(words) - len(existing)
    too_many = max(UNKNOWN_ALLOWED, MOST_UNKNOWN * len(words))
    return unknown > too_many or own < LEAST_OWN * len(existing)


def _token(piece: str) -> _Token:
    match = WORD.fullmatch(piece)
    return _Token(match[1], match[2], match[3]) if match else _Token(piece, "", "")


def _may_be_slip(tokens: Sequence[_Token], at: int) -> bool:
    """Return whether nobody would mean it: no name, no acronym, not too long."""
    word = tokens[at].word
    starts = at == 0 or str(tokens[at - 1])[-1:] in ".!?:"
    return len(word) <= LONGEST_WORD and (word.islower() or (starts and word[1:].islower()))


def _is_usual(words: Sequence[str], at: int, known: Vocabulary) -> bool:
    """Return whether the utterances have the word beside one of its neighbours."""
    before, after = _beside(words, at, at + 1)
    return (before, words[at]) in known.pairs or (words[at], after) in known.pairs


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

    typed = _Reading(at, (words[at],), -SLIP if words[at] in known else math.inf)
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
    rests = _shortened(word)
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


def _shortened(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place in range(len(word))]


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
    """Return how many slips lead from one word to the other (optimal string alignment)."""
    above: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(typed, 1):
        further, above, row = above, row, [i]
        for j, wanted in enumerate(meant, 1):
            least = min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted))
            if further and j > 1 and letter == meant[j - 2] and typed[i - 2] == wanted:
                least = min(least, further[j - 2] + 1)
            row.append(least)
    return row[-1]
