"""Rules: words and patterns that mark a category. A rule is the operator's own word.

With `score: bm25` the words of the utterances count too, each by how telling it is: see `bm25`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np

from coe.errors import ConfigError
from coe.options import Options
from coe.protocols import Parts, RouterSpec
from coe.types import Category, Evidence, Scores
from routers.bm25 import BM25Router

KEYS = ("score", "max_chars")
MAX_CHARS = 4000
EVIDENCE = 3
# Scripts that put no space between words: a word boundary would never be there.
UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT)


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern of a category, and the text that is shown when it hits."""

    category: int
    shown: str
    pattern: re.Pattern[str]


class KeywordRouter:
    """Probability 1, shared among the categories whose rules hit; zeros where none does.

    Keywords match whole words, whatever their case; patterns are Python regular expressions,
    searched with MULTILINE. Only the first `max_chars` characters are read. Thread-safe.
    """

    calibrated = True  # by definition: what a rule hits is certain, and it says nothing of the rest

    def __init__(
        self, *, name: str, categories: Sequence[Category], max_chars: int = MAX_CHARS
    ) -> None:
        self.name = name
        self.categories = tuple(category.name for category in categories)
        self.max_chars = max_chars
        self._rules = tuple(_rules(name, categories))

    def score(self, texts: Sequence[str]) -> Scores:
        """Return probabilities, and the keywords or patterns that were hit."""
        values = np.zeros((len(texts), len(self.categories)), dtype=np.float32)
        evidence = []
        for row, text in enumerate(texts):
            hits = [rule for rule in self._rules if rule.pattern.search(text, 0, self.max_chars)]
            columns = sorted({rule.category for rule in hits})
            if columns:
                values[row, columns] = 1.0 / len(columns)
            evidence.append(tuple(self._evidence(rule) for rule in hits[:EVIDENCE]))
        return Scores(values=values, evidence=tuple(evidence))

    def _evidence(self, rule: Rule) -> Evidence:
        return Evidence(kind="keyword", category=self.categories[rule.category], text=rule.shown)


def build(spec: RouterSpec, parts: Parts) -> KeywordRouter | BM25Router:  # noqa: ARG001 - it stands on nothing
    """Build the router from `score` (`any` or `bm25`) and `max_chars`."""
    place = f"routers.{spec.name}"
    options = Options(place, spec.options).allow(*KEYS)
    max_chars = options.integer("max_chars", MAX_CHARS, least=1, most=1_000_000)
    if options.choice("score", "any", ("any", "bm25")) == "any":
        return KeywordRouter(name=spec.name, categories=spec.categories, max_chars=max_chars)
    if not any(category.utterances or category.keywords for category in spec.categories):
        raise ConfigError(
            f"{place}: `score: bm25` needs words; give a category utterances or keywords"
        )
    return BM25Router(name=spec.name, categories=spec.categories, max_chars=max_chars)


def _rules(name: str, categories: Sequence[Category]) -> Iterator[Rule]:
    for column, category in enumerate(categories):
        place = f"categories.{category.name}.keywords"
        for keyword in category.keywords:
            if not keyword.strip():
                raise ConfigError(f"{place}.any: a keyword must not be empty (router {name!r})")
            yield Rule(column, keyword, _word(keyword))
        for pattern in category.patterns:
            yield Rule(column, pattern, _checked(pattern, f"{place}.regex"))


def _word(keyword: str) -> re.Pattern[str]:
    words = keyword.split()
    body = r"\s+".join(re.escape(word) for word in words)
    before = "" if UNSPACED.match(words[0]) else r"(?<!\w)"
    after = "" if UNSPACED.match(words[-1][-1]) else r"(?!\w)"
    return re.compile(f"{before}{body}{after}", re.IGNORECASE)


def _checked(pattern: str, place: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
        tree = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{place}: {pattern!r} is not a regular expression: {error}") from error
    if _may_explode(tree, inside_repeat=False):
        raise ConfigError(
            f"{place}: {pattern!r} repeats a repetition, which can take exponential time; "
            "make the inner one possessive (`a++`) or bounded by what follows it"
        )
    return compiled


def _may_explode(tree: Any, *, inside_repeat: bool) -> bool:
    """Return whether an open-ended repetition stands inside another one."""
    for code, argument in tree:
        is_open = code in REPEATS and argument[1] == codes.MAXREPEAT
        if is_open and inside_repeat:
            return True
        inner = inside_repeat or is_open
        if any(_may_explode(sub, inside_repeat=inner) for sub in _subtrees(argument)):
            return True
    return False


def _subtrees(argument: Any) -> Iterator[Any]:
    if isinstance(argument, parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _subtrees(part)
