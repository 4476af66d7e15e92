from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import ArtefactError, ConfigError
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts, check_router
from coe.types import Category
from routers import artefact, training
from routers.cache import CachedEncoder
from routers.encoders.hashed import HashedEncoder
from routers.linear import LinearRouter, build
from routers.views import views_of

ENCODER = HashedEncoder(name="small", dim=128)
PARTS = GivenParts(encoders={"small": ENCODER})
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
TRAINED = training.train(ROWS, ENCODER)
TEXTS = ["what is 21 times 3", "how many feet are 99 metres", "how do you say milk in French"]


def spec(folder: Path | str = ".", *, categories: Any = CATEGORIES, **options: Any) -> RouterSpec:
    return RouterSpec(
        name="fast",
        type="linear",
        options={"encoder": "small", **options},
        categories=categories,
        folder=str(folder),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    training.save(tmp_path / "router.npz", TRAINED, utterances=ROWS)
    return tmp_path


SHARED = LinearRouter(
    name="fast",
    categories=[category.name for category in CATEGORIES],
    encoder=ENCODER,
    model=TRAINED.model,
    trained=TRAINED.categories,
)


def test_it_keeps_the_contract(folder: Path) -> None:
    check_router(lambda: build(spec(folder, model="router.npz"), PARTS))


def test_a_new_wording_goes_to_its_category() -> None:
    values = SHARED.score(TEXTS).values

    assert values.argmax(axis=1).tolist() == [0, 1, 2]
    assert (values.max(axis=1) > 0.5).all()


def test_a_text_about_nothing_here_is_less_likely_inside() -> None:
    inside, outside = SHARED.score(["what is 8 times 35", "xyzzy"]).values.sum(axis=1)

    assert outside < 0.5 < inside


def test_a_category_that_was_not_trained_gets_nothing() -> None:
    assert (SHARED.score([*TEXTS, "sql"]).values[:, 3] == 0).all()


def test_a_saved_router_says_the_same(folder: Path) -> None:
    loaded = build(spec(folder, model="router.npz"), PARTS)

    before, after = SHARED.score(TEXTS), loaded.score(TEXTS)

    np.testing.assert_array_equal(before.values, after.values)
    assert before.evidence == after.evidence


def test_what_is_fitted_at_the_start_is_what_training_gives() -> None:
    np.testing.assert_array_equal(
        build(spec(), PARTS).score(TEXTS).values, SHARED.score(TEXTS).values
    )


def test_the_columns_are_in_the_composition_s_order(folder: Path) -> None:
    turned = build(spec(folder, categories=CATEGORIES[::-1], model="router.npz"), PARTS)

    assert turned.categories == tuple(category.name for category in CATEGORIES[::-1])
    np.testing.assert_array_equal(turned.score(TEXTS).values[:, ::-1], SHARED.score(TEXTS).values)


def test_evidence_is_the_nearest_utterances() -> None:
    (found,) = SHARED.score(["how many feet are 7 metres"]).evidence

    assert found[0].text == "how many feet are 7 metres"
    assert found[0].category == "units"
    assert found[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert len(found) == 3


@given(st.lists(st.text(max_size=40), max_size=5))
@settings(deadline=None)
def test_rows_are_probabilities_and_single_equals_batch(texts: list[str]) -> None:
    values = SHARED.score(texts).values

    assert values.shape == (len(texts), 4)
    assert ((values >= 0) & (values <= 1)).all()
    assert (values.sum(axis=1, dtype=np.float64) <= 1.0).all()
    for text, row in zip(texts, values, strict=True):
        np.testing.assert_allclose(SHARED.score([text]).values[0], row, atol=1e-5)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
@settings(deadline=None)
def test_calibration_and_gate_keep_the_classifier_s_ranking(texts: list[str]) -> None:
    logits = TRAINED.model.logits(views_of(ENCODER, texts))

    values, _ = TRAINED.model.read(views_of(ENCODER, texts))

    assert (values[np.arange(len(texts)), logits.argmax(axis=1)] == values.max(axis=1)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": ""}, r"routers\.fast\.encoder: expected a text"),
        ({"model": 3}, r"routers\.fast\.model: expected a text"),
        ({"modle": "x"}, r"routers\.fast\.modle: .*did you mean 'model'"),
        ({"spelling": "no"}, r"routers\.fast\.spelling: expected true or false, found 'no'"),
        ({"cache": -1}, r"routers\.fast\.cache: expected a whole number"),
        ({"model": "none.npz"}, r"none\.npz: cannot be read"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec(**options), PARTS)


def test_the_encoder_is_cached_unless_told_otherwise(folder: Path) -> None:
    built = build(spec(folder, model="router.npz", cache=10), PARTS)
    bare = build(spec(folder, model="router.npz", cache=0), PARTS)

    assert isinstance(built._encoder, CachedEncoder)
    assert bare._encoder is ENCODER


def test_another_encoder_is_refused(folder: Path) -> None:
    other = GivenParts(encoders={"small": HashedEncoder(name="small", dim=64)})

    with pytest.raises(ArtefactError, match=r"routers\.fast: .*another encoder"):
        build(spec(folder, model="router.npz"), other)


def test_changed_utterances_are_refused(folder: Path) -> None:
    changed = (Category(name="arithmetic", utterances=("what is 1 and 1",)), *CATEGORIES[1:])

    with pytest.raises(ArtefactError, match=r"utterances of arithmetic changed .*train the router"):
        build(spec(folder, categories=changed, model="router.npz"), PARTS)


def test_an_artefact_of_another_shape_is_refused(tmp_path: Path) -> None:
    card = {"categories": list(TRAINED.categories), "encoder": ENCODER.fingerprint}
    artefact.write(tmp_path / "odd.npz", kind="linear", card=card, arrays={"weights": np.eye(2)})

    with pytest.raises(ArtefactError, match=r"odd\.npz: misses a part"):
        build(spec(tmp_path, model="odd.npz"), PARTS)


def test_too_few_utterances_to_fit_say_what_to_do() -> None:
    few = (Category(name="a", utterances=("one", "two")), *CATEGORIES[1:])

    with pytest.raises(ConfigError, match=r"routers\.fast: .*too few: a \(2\); add some"):
        build(spec(categories=few), PARTS)


def test_too_many_utterances_to_fit_at_the_start_say_what_to_do() -> None:
    many = (Category(name="a", utterances=tuple(map(str, range(3001)))), *CATEGORIES)

    with pytest.raises(ConfigError, match=r"routers\.fast: 3029 utterances .*name the file"):
        build(spec(categories=many), PARTS)


class WordyEncoder(HashedEncoder):
    """Knows the words of the utterances here."""

    def words(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(" ".join(text for text, _ in ROWS).casefold().split()))


WORDY = GivenParts(encoders={"small": WordyEncoder(name="small", dim=128)})


def test_typing_errors_are_repaired_where_words_are_known(folder: Path) -> None:
    right, typed = ["how many feet are 99 metres"], ["how mnay feeet are 99 mtres"]
    wordy = build(spec(folder, model="router.npz"), WORDY)

    np.testing.assert_array_equal(wordy.score(typed).values, SHARED.score(right).values)
    for other in (
        build(spec(folder, model="router.npz", spelling=False), WORDY),
        build(spec(folder, model="router.npz"), PARTS),
    ):
        np.testing.assert_array_equal(other.score(typed).values, SHARED.score(typed).values)


def test_it_keeps_the_contract_when_it_repairs(folder: Path) -> None:
    check_router(lambda: build(spec(folder, model="router.npz"), WORDY))
