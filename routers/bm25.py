"""Words in common: a category is the document of its utterances and keywords, ranked by BM25.

    score(c | text) = sum_t q_t idf_t f_tc (k1 + 1) / (f_tc + k1 (1 - b + b len_c / mean len))
                      divided by sum_t q_t idf_t (k1 + 1)

with q_t and f_tc the counts of term t in the text and in the category, and
idf_t = log(1 + (N - n_t + 0.5) / (n_t + 0.5)) for a term of n_t of the N categories. The divisor is
the most that any category could get, unknown terms included: so a score is in [0, 1], says how
much of the text is familiar, and is calibrated as a cosine is.

Reference: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond,
equations 3.15 and 3.16; the one inside the logarithm keeps a term of most categories from counting
against them (Lucene's variant).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from coe.types import Category, Evidence, Scores
from routers.calibration import Calibration
from routers.holdout import HeldOut, is_enough, learn, sample

K1 = 1.2
B = 0.75
EVIDENCE = 3
# A run of digits, a letter of a script that puts no space between words, or a word.
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
TERM = re.compile(rf"(?P<number>\d+)|[{UNSPACED}]|(?:(?![{UNSPACED}\d])\w)+")
NUMBER = "#"

Floats = NDArray[np.float64]


class BM25Router:
    """Scores by the words that a text shares with a category, as probabilities. Thread-safe.

    All numbers are one term, `#`; of the text only the first `max_chars` characters are read.

    Attributes:
        calibrated: whether handicaps and calibration were fitted to the categories' utterances.
    """

    def __init__(self, *, name: str, categories: Sequence[Category], max_chars: int) -> None:
        """Count the terms and fit the calibration by leaving each utterance out.

        Args:
            name: as in the composition.
            categories: at least one of them with utterances or keywords.
            max_chars: of a text, that are read.
        """
        self.name = name
        self.categories = tuple(category.name for category in categories)
        self.max_chars = max_chars
        self._index = TermIndex(categories)
        self.calibrated = is_enough(categories)
        if self.calibrated:
            self.handicaps, self.calibration = learn(self._index.held_out(categories))
        else:
            self.handicaps = np.where(self._index.lengths > 0, 0.0, -np.inf)
            self.calibration = Calibration()

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities, and the terms that count most for the best category."""
        if not texts:
            return Scores(values=np.empty((0, len(self.categories)), dtype=np.float32))
        parts = [self._index.parts(terms_of(text[: self.max_chars])) for text in texts]
        scores = np.stack([part.sum(axis=0) for _, part in parts]) + self.handicaps
        values = self.calibration.apply(scores)
        best = values.argmax(axis=1)
        evidence = tuple(
            self._evidence(terms, part[:, column], int(column))
            for (terms, part), column in zip(parts, best, strict=True)
        )
        return Scores(values=values, evidence=evidence)

    def _evidence(self, terms: Sequence[str], weights: Floats, column: int) -> tuple[Evidence, ...]:
        strongest = np.argsort(-weights, kind="stable")[:EVIDENCE]
        return tuple(
            Evidence(kind="keyword", category=self.categories[column], text=terms[place])
            for place in strongest
            if weights[place] > 0
        )


class TermIndex:
    """The terms of the categories.

    Attributes:
        lengths: shape (n_categories,), terms in each.
        counts: shape (n_terms, n_categories).
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        documents: list[Counter[str]] = []
        for category in categories:
            texts = (*dict.fromkeys(category.utterances), *dict.fromkeys(category.keywords))
            documents.append(Counter(term for text in texts for term in _terms(text)))
        self._places = {term: place for place, term in enumerate(sorted(set().union(*documents)))}
        self.counts = np.zeros((len(self._places), len(documents)))
        for column, document in enumerate(documents):
            for term, count in document.items():
                self.counts[self._places[term], column] = count
        self.lengths = self.counts.sum(axis=0)
        self._mean = max(float(self.lengths.mean()), 1.0)
        having = (self.counts > 0).sum(axis=1)
        total = len(documents)
        self._idf = np.log(1 + (total - having + 0.5) / (having + 0.5))
        self._idf_of_unknown = float(np.log(1 + (total + 0.5) / 0.5))
        self._weights = self._idf[:, None] * _saturated(self.counts, self.lengths / self._mean)

    def parts(self, terms: Mapping[str, int]) -> tuple[tuple[str, ...], Floats]:
        """Return a text's known terms, and what each adds to the score of each category.

        Args:
            terms: of the text, with their counts.
        """
        known = tuple(term for term in terms if term in self._places)
        rows, factors = self._query(terms, known)
        return known, self._weights[rows] * factors[:, None]

    def held_out(self, categories: Sequence[Category]) -> HeldOut:
        """Score each utterance as if its category did not have it, and each near miss.

        The weights of terms are kept, those of a term that only this utterance has included.
        """
        texts, owner = _flat([tuple(dict.fromkeys(c.utterances)) for c in categories])
        negatives, miss_owner = _flat([tuple(dict.fromkeys(c.negatives)) for c in categories])
        rows = sample(owner)
        scores = [self._without(terms_of(texts[row]), owner[row]) for row in rows]
        misses = [
            self.parts(terms_of(text))[1][:, column].sum()
            for text, column in zip(negatives, miss_owner, strict=True)
        ]
        return HeldOut(
            scores=np.stack(scores),
            labels=owner[rows],
            misses=np.array(misses, dtype=np.float64),
            miss_labels=miss_owner,
        )

    def _without(self, terms: Mapping[str, int], column: int) -> Floats:
        rows, factors = self._query(terms, tuple(terms))
        scores: Floats = (self._weights[rows] * factors[:, None]).sum(axis=0)
        counts = np.array(list(terms.values()), dtype=np.float64)
        left = self.counts[rows, column] - counts
        length = (self.lengths[column] - counts.sum()) / self._mean
        scores[column] = (self._idf[rows] * _saturated(left, length) * factors).sum()
        return scores

    def _query(
        self, terms: Mapping[str, int], known: Sequence[str]
    ) -> tuple[NDArray[np.intp], Floats]:
        """Return the places of the known terms, and their counts over the best possible score."""
        rows = np.array([self._places[term] for term in known], dtype=np.intp)
        counts = np.array([terms[term] for term in known], dtype=np.float64)
        unknown = sum(terms.values()) - counts.sum()
        most = float(counts @ self._idf[rows]) + unknown * self._idf_of_unknown
        return rows, counts / max(most * (K1 + 1), 1e-9)


def terms_of(text: str) -> Counter[str]:
    """Return the terms of a text with their counts.

    Example:
        >>> terms_of("What is 17 * 24 in French?")
        Counter({'#': 2, 'what': 1, 'is': 1, 'in': 1, 'french': 1})
    """
    return Counter(_terms(text))


def _terms(text: str) -> Iterator[str]:
    for found in TERM.finditer(text.casefold()):
        yield NUMBER if found["number"] else found[0]


def _saturated(counts: Floats, length: Floats | float) -> Floats:
    """Return f (k1 + 1) / (f + k1 (1 - b + b length)), with length in mean lengths."""
    saturated: Floats = counts * (K1 + 1) / (counts + K1 * (1 - B + B * np.asarray(length)))
    return saturated


def _flat(groups: Sequence[Sequence[str]]) -> tuple[list[str], NDArray[np.intp]]:
    """Return all texts, and the column of each."""
    sizes = [len(group) for group in groups]
    return [text for group in groups for text in group], np.repeat(np.arange(len(groups)), sizes)
