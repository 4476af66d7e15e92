from __future__ import annotations

import time
from typing import Any

import pytest

from coe.errors import ConfigError
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts
from coe.types import Category
from routers.bm25 import BM25Router
from routers.keyword import KeywordRouter, build


def router(*categories: Category, max_chars: int = 4000) -> KeywordRouter:
    return KeywordRouter(name="rules", categories=categories, max_chars=max_chars)


def hits(keyword: str, text: str) -> bool:
    rules = router(Category(name="x", keywords=(keyword,)))
    return bool(rules.score([text]).values[0, 0] == 1.0)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("sql", "Write SQL for me"),
        ("sql", "(sql)"),
        ("stack trace", "a stack\n  trace follows"),
        ("c++", "is C++ hard?"),
        (".net", "learn .NET now"),
        ("straße", "die Straße"),
        ("翻译", "请翻译这句话"),
        ("パイソン", "これはパイソンです"),
    ],
)
def test_a_keyword_hits_whole_words_in_any_case(keyword: str, text: str) -> None:
    assert hits(keyword, text)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("sql", "mysqldump"),
        ("cat", "concatenate"),
        ("c++", "libc++abi"),
        ("art", "art_work"),
        ("a.b", "aXb"),
    ],
)
def test_a_keyword_does_not_hit_parts_of_words(keyword: str, text: str) -> None:
    assert not hits(keyword, text)


def test_a_hit_is_shared_among_the_categories_that_are_hit() -> None:
    rules = router(
        Category(name="code", keywords=("traceback", "segfault")),
        Category(name="sql", keywords=("select",)),
        Category(name="none"),
    )

    scores = rules.score(["segfault traceback", "select * after a segfault", "hello"])

    assert scores.values.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 0]]
    assert [item.text for item in scores.evidence[0]] == ["traceback", "segfault"]
    assert {item.category for item in scores.evidence[1]} == {"code", "sql"}
    assert scores.evidence[2] == ()


def test_a_pattern_hits_at_the_start_of_any_line() -> None:
    rules = router(Category(name="trace", patterns=(r"^\s+at .+:[0-9]+",)))

    scores = rules.score(["Error\n   AT main.js:12", "look at main.js:12"])

    assert scores.values[:, 0].tolist() == [1.0, 0.0]
    assert scores.evidence[0][0].kind == "keyword"
    assert scores.evidence[0][0].similarity is None


def test_only_the_first_characters_are_read() -> None:
    rules = router(Category(name="x", keywords=("needle",)), max_chars=20)

    scores = rules.score(["a needle", "hay " * 10 + "needle"])

    assert scores.values[:, 0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a*)*b", "(?:x|(y+))*z", "((ab)+c?)+", r"(\w+\s?)*$"]
)
def test_a_pattern_that_repeats_a_repetition_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"categories\.x\.keywords\.regex: .* exponential"):
        router(Category(name="x", patterns=(pattern,)))


@pytest.mark.parametrize("pattern", ["(a++)+$", r"(?:\d{1,3},)*\d+", "(?>a+)b+", "[a-z]+=[0-9]+"])
def test_a_pattern_that_cannot_explode_is_accepted(pattern: str) -> None:
    rules = router(Category(name="x", patterns=(pattern,)))
    start = time.perf_counter()

    rules.score(["a" * 4000 + "!"])

    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize("pattern", ["(", "[a", "*a", "a{2,1}", "(?P<n>a)(?P<n>b)"])
def test_a_pattern_that_is_none_names_its_place(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"categories\.x\.keywords\.regex: .*not a regular"):
        router(Category(name="x", patterns=(pattern,)))


def test_an_empty_keyword_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"categories\.x\.keywords\.any: .*empty"):
        router(Category(name="x", keywords=(" ",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_char": 3}, r"routers\.rules\.max_char: .*did you mean 'max_chars'"),
        ({"score": "bm52"}, r"rules\.score: expected one of any, bm25.* \(did you mean 'bm25'"),
        ({"score": "bm25"}, r"routers\.rules: .*give a category utterances or keywords"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    spec = RouterSpec(
        name="rules", type="keyword", options=options, categories=(Category(name="x"),)
    )

    with pytest.raises(ConfigError, match=message):
        build(spec, GivenParts())


def test_bm25_is_an_option() -> None:
    categories = (Category(name="x", keywords=("sql",)), Category(name="y"))
    spec = RouterSpec(
        name="words", type="keyword", options={"score": "bm25"}, categories=categories
    )

    router = build(spec, GivenParts())

    assert isinstance(router, BM25Router)
    assert router.score(["sql"]).values.argmax() == 0
