from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.errors import ConfigError
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts
from coe.types import Category
from routers.cache import CachedEncoder
from routers.calibration import Calibration
from routers.embedding import EmbeddingRouter, build
from routers.encoders.hashed import HashedEncoder

ENCODER = HashedEncoder(name="small", dim=256)
PARTS = GivenParts(encoders={"small": ENCODER})
CATEGORIES = (
    Category(
        name="arithmetic",
        utterances=tuple(f"what is {n} times {n * 7}" for n in range(3, 15)),
        negatives=("what is the time in Bern", "times square"),
    ),
    Category(
        name="units",
        utterances=tuple(f"how many feet are {n} metres" for n in range(3, 15)),
        negatives=("how many feet has a spider",),
    ),
    Category(
        name="phrases",
        utterances=tuple(
            f"how do you say {word} in French"
            for word in ("yes", "no", "thanks", "hello", "goodbye", "please", "water", "bread")
        ),
    ),
)


def router(**options: Any) -> EmbeddingRouter:
    return EmbeddingRouter(name="fast", categories=CATEGORIES, encoder=ENCODER, **options)


@pytest.mark.parametrize("score", ["top_mean", "max", "centroid"])
def test_a_new_wording_goes_to_its_category(score: Any) -> None:
    texts = ["what is 21 times 3", "how many feet are 99 metres", "how do you say milk in French"]

    scores = router(score=score).score(texts)

    assert scores.values.argmax(axis=1).tolist() == [0, 1, 2]
    assert (scores.values.max(axis=1) > 0.6).all()


def test_a_text_about_nothing_here_is_none_of_these() -> None:
    scores = router().score(["the moon is bright above quiet hills", "xyzzy"])

    assert (scores.values.max(axis=1) < 0.3).all()
    assert (scores.values.sum(axis=1) < 0.5).all()


@pytest.mark.parametrize(
    ("text", "category"),
    [("what is the time in Bern", 0), ("times square", 0), ("how many feet has a spider", 1)],
)
def test_a_near_miss_is_not_routed_to_the_category_it_resembles(text: str, category: int) -> None:
    scores = router().score([text])

    assert scores.values[0, category] == 0.0
    assert any(
        item.kind == "negative" and item.text == text and item.category == CATEGORIES[category].name
        for item in scores.evidence[0]
    )


def test_what_a_near_miss_loses_goes_to_no_other_category() -> None:
    without = tuple(Category(name=c.name, utterances=c.utterances) for c in CATEGORIES)
    plain = EmbeddingRouter(name="fast", categories=without, encoder=ENCODER)
    text = "how many feet has a spider"

    before, after = plain.score([text]).values[0], router().score([text]).values[0]

    assert after[1] == 0.0
    assert after[[0, 2]].max() < before[1]


def test_evidence_is_the_nearest_utterances_with_their_similarity() -> None:
    text = "how many feet are 7 metres"

    (found,) = router().score([text]).evidence

    assert found[0].text == text
    assert found[0].kind == "utterance"
    assert found[0].category == "units"
    assert found[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert len([item for item in found if item.kind == "utterance"]) == 3
    similarities = [item.similarity or 0.0 for item in found]
    assert similarities == sorted(similarities, reverse=True)


def test_enough_utterances_make_it_calibrated() -> None:
    fitted = router()

    assert fitted.calibrated
    assert fitted.calibration != Calibration()


def test_too_few_utterances_take_the_defaults_and_say_so() -> None:
    few = [
        Category(name="a", utterances=("one", "two")),
        Category(name="b", utterances=("three",)),
        Category(name="c"),
    ]

    uncalibrated = EmbeddingRouter(name="fast", categories=few, encoder=ENCODER)

    assert not uncalibrated.calibrated
    assert uncalibrated.calibration == Calibration()
    values = uncalibrated.score(["one", "three"]).values
    assert values.argmax(axis=1).tolist() == [0, 1]
    assert (values[:, 2] == 0).all()


def test_one_category_alone_can_still_be_missed() -> None:
    alone = EmbeddingRouter(name="fast", categories=CATEGORIES[:1], encoder=ENCODER)

    inside, outside = alone.score(["what is 5 times 35", "the moon is bright"]).values[:, 0]

    assert inside > 0.5 > outside


def test_a_category_without_utterances_has_no_probability() -> None:
    categories = (*CATEGORIES, Category(name="rules-only", keywords=("sql",)))

    more = EmbeddingRouter(name="fast", categories=categories, encoder=ENCODER)

    assert more.calibrated
    assert more.handicaps[3] == -np.inf
    assert more.score(["sql", "what is 3 times 4"]).values[:, 3].max() == 0.0


def test_a_given_temperature_is_used() -> None:
    sharp, flat = router(temperature=0.01), router(temperature=5.0)

    values = [r.score(["how many feet are 20 metres"]).values[0] for r in (sharp, flat)]

    assert sharp.calibration.temperature == 0.01
    assert values[0].max() > values[1].max()


def test_a_diffuse_category_holds_its_own(plane: Callable[..., Any]) -> None:
    """Dense at 0 degrees; diffuse all around, each text with the dense ones for neighbours."""
    dense = {f"d{n}": n / 10 for n in range(20)}
    diffuse = {f"s{n}": 60.0 + 40 * n for n in range(7)}
    encoder = plane(**dense, **diffuse)
    categories = [
        Category(name="dense", utterances=tuple(dense)),
        Category(name="diffuse", utterances=tuple(diffuse)),
    ]

    balanced = EmbeddingRouter(name="fast", categories=categories, encoder=encoder)

    assert balanced.handicaps[1] > balanced.handicaps[0]


@given(st.lists(st.text(max_size=60), max_size=6))
def test_rows_are_probabilities_whatever_the_texts(texts: list[str]) -> None:
    scores = SHARED.score(texts)

    assert scores.values.shape == (len(texts), 3)
    assert ((scores.values >= 0) & (scores.values <= 1)).all()
    assert (scores.values.sum(axis=1, dtype=np.float64) <= 1.0).all()


SHARED = router()


def test_the_factory_wraps_the_encoder_in_a_cache() -> None:
    built = build(spec(encoder="small", cache=10), PARTS)
    bare = build(spec(encoder="small", cache=0), PARTS)

    assert isinstance(built._encoder, CachedEncoder)
    assert built._encoder.entries == 10
    assert bare._encoder is ENCODER


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"routers\.fast\.encoder: is missing"),
        ({"encoder": "smal"}, "no encoder `smal`"),
        ({"encoder": "small", "score": "mean"}, r"routers\.fast\.score: expected one of top_mean"),
        ({"encoder": "small", "topk": 3}, r"routers\.fast\.topk: .*did you mean 'top_k'"),
        ({"encoder": "small", "top_k": 0}, r"routers\.fast\.top_k: expected a whole number"),
        ({"encoder": "small", "temperature": 0}, r"routers\.fast\.temperature: expected a number"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec(**options), PARTS)


def test_a_router_without_any_utterance_is_refused() -> None:
    nothing = RouterSpec(
        name="fast",
        type="embedding",
        options={"encoder": "small"},
        categories=(Category(name="a"),),
    )

    with pytest.raises(ConfigError, match=r"routers\.fast: .*needs utterances"):
        build(nothing, PARTS)


def spec(**options: Any) -> RouterSpec:
    return RouterSpec(name="fast", type="embedding", options=options, categories=CATEGORIES)
