from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import ArtefactError, ConfigError
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts, check_router
from coe.types import Category, Scores
from routers import distillation, training
from routers.lexical import MOST_AT_START, LexicalRouter, build
from routers.lexicon import Lexicon, grams_of, pairs_of, pieces_of

CATEGORIES = (
    Category(name="arithmetic", utterances=tuple(f"what is {n} times {n * 7}" for n in range(10))),
    Category(name="units", utterances=tuple(f"how many feet are {n} metres" for n in range(10))),
    Category(
        name="phrases",
        utterances=tuple(
            f"how do you say {word} in French"
            for word in ("yes", "no", "thanks", "hello", "goodbye", "please", "water", "bread")
        ),
    ),
    Category(name="rules-only", keywords=("sql",)),
)
ROWS = training.rows_of(CATEGORIES)
TRAINED = distillation.train(ROWS, None)
TEXTS = ["what is 21 times 3", "how many feet are 99 metres", "how do you say milk in French"]
SHARED = LexicalRouter(
    name="first",
    categories=[category.name for category in CATEGORIES],
    model=TRAINED.model,
    trained=TRAINED.categories,
)


class Teacher:
    """Knows one word, and that it means something else than the labels say."""

    name = "near"
    calibrated = True
    categories: tuple[str, ...] = ("phrases", "units", "arithmetic", "rules-only")

    def score(self, texts: Sequence[str]) -> Scores:
        values = [[0.0, 0.9, 0.1, 0] if "times" in text else [0.8, 0.1, 0.1, 0] for text in texts]
        return Scores(values=np.array(values, dtype=np.float32))


def spec(folder: Path | str = ".", *, categories: Any = CATEGORIES, **options: Any) -> RouterSpec:
    return RouterSpec(
        name="first", type="lexical", options=options, categories=categories, folder=str(folder)
    )


def test_it_keeps_the_contract_of_routers() -> None:
    check_router(lambda: SHARED)


def test_it_tells_new_texts_apart() -> None:
    values = SHARED.score(TEXTS).values

    assert values.argmax(axis=1).tolist() == [0, 1, 2]
    assert values[:, 3].tolist() == [0, 0, 0]


def test_words_that_it_never_saw_are_read_by_their_letters() -> None:
    values = SHARED.score(["metrez feett", "timess"]).values

    assert values.argmax(axis=1).tolist() == [1, 0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_one_text_scores_as_it_does_among_others(texts: list[str]) -> None:
    together = SHARED.score(texts).values

    alone = np.concatenate([SHARED.score([text]).values for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_what_is_saved_decides_alike(tmp_path: Path) -> None:
    distillation.save(tmp_path / "first.npz", TRAINED, utterances=ROWS)

    loaded = build(spec(tmp_path, model="first.npz"), GivenParts())

    texts = [*TEXTS, "unheard words", ""]
    np.testing.assert_allclose(loaded.score(texts).values, SHARED.score(texts).values, atol=2e-3)


def test_a_changed_utterance_is_refused(tmp_path: Path) -> None:
    distillation.save(tmp_path / "first.npz", TRAINED, utterances=ROWS)
    changed = (Category(name="units", utterances=("how tall",)), CATEGORIES[0], CATEGORIES[2])

    with pytest.raises(ArtefactError, match="the utterances of units changed"):
        build(spec(tmp_path, model="first.npz", categories=changed), GivenParts())


def test_the_model_learns_what_it_computes_at_serving() -> None:
    """Training multiplies sparse rows, serving sums a table: the same logits."""
    model = TRAINED.model
    texts = [*TEXTS, "metres"]
    features = distillation._features(texts, model.lexicon)
    lexicon = Lexicon.of(texts)

    assert features.shape[1] == model.lexicon.base + len(model.grams)
    assert lexicon.base == len(lexicon.words) + len(lexicon.pairs)
    assert (features.getnnz(axis=1) >= [len(pieces_of(text)) for text in texts]).all()


def test_a_teacher_is_believed_where_no_label_is() -> None:
    taught = distillation.train(ROWS, Teacher())

    values = taught.model.probabilities(["times"])
    columns = {name: place for place, name in enumerate(taught.categories)}
    alone = TRAINED.model.probabilities(["times"])
    assert values[0, columns["units"]] > alone[0, TRAINED.categories.index("units")] + 0.05


def test_the_same_seed_gives_the_same_router() -> None:
    again = distillation.train(ROWS, None)

    np.testing.assert_array_equal(again.model.rows, TRAINED.model.rows)
    assert again.report == TRAINED.report


def test_a_teacher_of_other_categories_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not know weather"):
        distillation.train([*ROWS, ("rain", "weather"), ("sun", "weather")], Teacher())


def test_one_category_is_refused() -> None:
    with pytest.raises(ConfigError, match="two categories at least, found 1"):
        distillation.train([("a", "b")], None)


def test_many_utterances_are_not_learnt_at_the_start() -> None:
    many = tuple(str(n) for n in range(MOST_AT_START + 1))
    categories = (Category(name="numbers", utterances=many), *CATEGORIES)

    with pytest.raises(ConfigError, match="coe router train --router first"):
        build(spec(categories=categories), GivenParts())


def test_pieces_are_words_and_marks_in_lower_case() -> None:
    assert pieces_of("What's THE time?") == ["what's", "the", "time", "?"]
    assert list(pairs_of(["a", "b"])) == [" a", "a b", "b "]
    assert grams_of("a") == [grams_of("a")[0]]


def test_a_pair_that_stands_once_is_no_feature() -> None:
    lexicon = Lexicon.of(["new york", "new york", "new car"])

    assert "new york" in lexicon.pairs
    assert "new car" not in lexicon.pairs
    assert sorted([*lexicon.words.values(), *lexicon.pairs.values()]) == list(range(lexicon.base))
