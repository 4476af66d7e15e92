from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.testing.routers import check_router
from coe.types import Category
from routers.bm25 import K1, B, BM25Router, TermIndex, terms_of
from routers.calibration import Calibration

CATEGORIES = (
    Category(
        name="arithmetic",
        utterances=tuple(f"what is {word} times 3" for word in ("one", "two", "four", "six"))
        + tuple(f"add {n} and {n + 1} please" for n in range(4)),
        negatives=("what time is it",),
    ),
    Category(
        name="units",
        utterances=tuple(f"how many feet are {n} {word}" for n, word in enumerate("mk")),
        keywords=("convert", "metres"),
    ),
    Category(
        name="phrases",
        utterances=tuple(
            f"how do you say {word} in {language}"
            for word in ("yes", "no", "thanks", "hello")
            for language in ("French", "German")
        ),
    ),
)
ENOUGH = (
    CATEGORIES[0],
    Category(
        name="units",
        utterances=tuple(f"how many feet are {word} metres" for word in "abcdefgh"),
        keywords=("convert",),
    ),
    CATEGORIES[2],
    Category(name="empty"),
)


def router(*categories: Category) -> BM25Router:
    return BM25Router(name="words", categories=categories or ENOUGH, max_chars=4000)


def test_terms_are_words_numbers_and_letters_of_scripts_without_spaces() -> None:
    assert terms_of("Straße 17, 3.5 x2") == Counter({"#": 4, "strasse": 1, "x": 1})
    assert terms_of("翻译 ok") == Counter({"翻": 1, "译": 1, "ok": 1})
    assert terms_of(" ?!\x00") == Counter()


def test_scores_are_those_of_the_formula() -> None:
    index = TermIndex(
        [
            Category(name="x", utterances=("red red apple",), keywords=("fruit",)),
            Category(name="y", utterances=("red car",)),
            Category(name="z", utterances=("green",)),
        ]
    )

    known, parts = index.parts(terms_of("a red red apple"))

    mean = (4 + 2 + 1) / 3

    def idf(having: int) -> float:
        return math.log(1 + (3 - having + 0.5) / (having + 0.5))

    def saturated(count: int, length: int) -> float:
        return count * (K1 + 1) / (count + K1 * (1 - B + B * length / mean))

    most = (2 * idf(2) + idf(1) + idf(0)) * (K1 + 1)
    expected = {
        "red": [2 * idf(2) * saturated(2, 4), 2 * idf(2) * saturated(1, 2), 0],
        "apple": [idf(1) * saturated(1, 4), 0, 0],
    }
    assert set(known) == {"red", "apple"}
    for term, row in zip(known, parts, strict=True):
        assert row == pytest.approx(np.array(expected[term]) / most)


def test_a_new_wording_goes_to_its_category_and_the_terms_say_why() -> None:
    scores = router().score(["what is 9 times 8", "convert 3 feet", "say bread in Italian"])

    assert scores.values.argmax(axis=1).tolist() == [0, 1, 2]
    assert [item.text for item in scores.evidence[1]] == ["feet", "convert"]
    assert {item.category for item in scores.evidence[2]} == {"phrases"}
    assert all(item.similarity is None for row in scores.evidence for item in row)


def test_a_text_of_unknown_words_belongs_nowhere() -> None:
    scores = router().score(["xyzzy plugh frobnicate", ""])

    assert scores.values.max() < 0.3
    assert scores.evidence == ((), ())


def test_a_category_without_words_has_no_probability() -> None:
    assert router().calibrated
    assert router().score(["what is 9 times 8", "zzz"]).values[:, 3].max() == 0.0


def test_it_keeps_the_contract() -> None:
    check_router(router)


def test_too_few_utterances_take_the_defaults_and_say_so() -> None:
    few = router(Category(name="a", keywords=("sql",)), Category(name="b"))

    assert not few.calibrated
    assert few.calibration == Calibration()
    assert few.score(["sql"]).values[0, 1] == 0.0


def test_a_held_out_utterance_scores_as_if_its_category_did_not_have_it() -> None:
    """Every term of it is elsewhere in its category too, and so keeps its weight."""
    shared = ("red apple", "red pear", "green apple", "green pear")
    categories = [
        Category(name="x", utterances=shared),
        Category(name="y", utterances=("fast car", "red car")),
    ]
    found = TermIndex(categories).held_out(categories)

    for row, text in enumerate(shared):
        rest = tuple(other for other in shared if other != text)
        without = TermIndex([Category(name="x", utterances=rest), categories[1]])
        # The mean length stays that of the whole index.
        expected = (
            _with_mean(without, TermIndex(categories)._mean).parts(terms_of(text))[1].sum(axis=0)
        )
        assert found.scores[row] == pytest.approx(expected)
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 1]


def _with_mean(index: TermIndex, mean: float) -> TermIndex:
    saturated = index.counts * (K1 + 1)
    saturated /= index.counts + K1 * (1 - B + B * index.lengths / mean)
    index._weights = index._idf[:, None] * saturated
    return index


def test_a_near_miss_counts_as_outside() -> None:
    index = TermIndex(CATEGORIES)

    found = index.held_out(CATEGORIES)

    assert found.miss_labels.tolist() == [0]
    assert found.misses[0] == pytest.approx(index.parts(terms_of("what time is it"))[1][:, 0].sum())


SHARED = router()
WORDS = st.sampled_from(["what", "is", "feet", "French", "9", "zzz", "metres", "译", "?"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=8).map(" ".join), min_size=1, max_size=5), st.randoms())
def test_rows_are_probabilities_and_do_not_depend_on_their_batch(
    texts: list[str], random: np.random.Generator
) -> None:
    scores = SHARED.score(texts)

    assert ((scores.values >= 0) & (scores.values <= 1)).all()
    assert (scores.values.sum(axis=1, dtype=np.float64) <= 1.0).all()
    order = list(range(len(texts)))
    random.shuffle(order)
    shuffled = SHARED.score([texts[place] for place in order])
    assert shuffled.values == pytest.approx(scores.values[order], abs=1e-6)
    assert SHARED.score(texts[:1]).evidence == scores.evidence[:1]
