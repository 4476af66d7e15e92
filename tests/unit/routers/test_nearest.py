from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coe.errors import ConfigError
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts
from coe.types import Category
from routers.embedding import EmbeddingRouter
from routers.encoders.hashed import HashedEncoder
from routers.index import ABSENT, Index
from routers.nearest import build
from routers.votes import Votes, choose

ENCODER = HashedEncoder(name="small", dim=256)
PARTS = GivenParts(encoders={"small": ENCODER})
CATEGORIES = (
    Category(
        name="arithmetic",
        utterances=tuple(f"what is {n} times {n * 7}" for n in range(3, 15)),
        negatives=("what is the time in Bern",),
    ),
    Category(name="units", utterances=tuple(f"how many feet are {n} metres" for n in range(3, 15))),
    Category(name="rules-only", keywords=("sql",)),
)


def built(**options: Any) -> EmbeddingRouter:
    spec = RouterSpec(
        name="near", type="nearest", options={"encoder": "small", **options}, categories=CATEGORIES
    )
    return build(spec, PARTS)


@pytest.mark.parametrize("score", [None, "knn", "centroid", "max", "top_mean"])
def test_a_new_wording_goes_to_its_category(score: str | None) -> None:
    router = built(**({"score": score} if score else {}))

    scores = router.score(["what is 21 times 3", "how many feet are 99 metres"])

    assert scores.values.argmax(axis=1).tolist() == [0, 1]
    assert (scores.values.max(axis=1) > 0.6).all()
    assert (scores.values[:, 2] == 0.0).all()
    assert [row[0].kind for row in scores.evidence] == ["utterance", "utterance"]


def test_neighbours_vote_by_default_and_are_chosen() -> None:
    router = built()

    assert router._index.votes == choose(
        router._index.utterances.vectors, router._index.utterances.owner, 3
    )
    assert router.calibrated


def test_a_given_number_of_neighbours_is_used() -> None:
    assert built(top_k=7)._index.votes == Votes(neighbours=7)


def test_a_near_miss_is_not_routed_to_the_category_it_resembles() -> None:
    scores = built().score(["what is the time in Bern"])

    assert scores.values[0, 0] == 0.0
    assert scores.evidence[0][0].kind == "negative"


def test_votes_weigh_by_nearness_and_one_vote_is_shared_by_all(
    plane: Callable[..., Any],
) -> None:
    encoder = plane(a=0, b=60, c=60, far=180, text=0)
    categories = [
        Category(name="x", utterances=("a",)),
        Category(name="y", utterances=("b", "c")),
        Category(name="z", utterances=("far",)),
        Category(name="none"),
    ]
    index = Index(categories, encoder.encode, score="knn", top_k=3)
    near = index.utterances.similarities(encoder.encode(["text"]))

    scores = index.scores(near)[0]

    b = Votes().bandwidth
    one, half = np.exp(1.0 / b), np.exp(0.5 / b)
    shared = half / 4
    expected = b * np.log([one + shared, 2 * half + shared, shared])
    assert scores[:3] == pytest.approx(expected, abs=1e-4)
    assert scores[3] == ABSENT


def test_a_flat_kernel_counts_heads(plane: Callable[..., Any]) -> None:
    encoder = plane(a=0, b=20, c=30, text=0)
    near = encoder.encode(["text"]) @ encoder.encode(["a", "b", "c"]).T
    owner = np.array([0, 1, 1])

    sharp, flat = (
        Votes(neighbours=3, bandwidth=width).scores(near, owner, 2) for width in (0.01, 10.0)
    )

    assert sharp[0].argmax() == 0
    assert flat[0].argmax() == 1


@pytest.mark.parametrize(("wrong", "least", "most"), [(0.3, 20, 160), (0.0, 5, 10)])
def test_many_neighbours_are_chosen_where_single_ones_mislead(
    wrong: float, least: int, most: int
) -> None:
    """Twenty groups of ten and two labels; a share of the labels is wrong."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(2 if wrong else 20, 16))
    groups = np.repeat(np.arange(len(centres)), 200 // len(centres))
    vectors = centres[groups] + 0.3 * random.normal(size=(200, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    owner = groups % 2
    flipped = random.random(200) < wrong

    votes = choose(vectors.astype(np.float32), np.where(flipped, 1 - owner, owner), 2)

    assert least <= votes.neighbours <= most


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "mean"}, r"routers\.near\.score: expected one of top_mean, max, centroid, knn"),
        ({"neighbours": 3}, r"routers\.near\.neighbours: unknown option"),
        ({"top_k": 0}, r"routers\.near\.top_k: expected a whole number"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(**options)
