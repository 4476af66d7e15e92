from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.types import Category
from routers.encoders.hashed import HashedEncoder
from routers.holdout import held_out
from routers.index import ABSENT, Bank, Index

CATEGORIES = (
    Category(
        name="fruit",
        utterances=("a ripe apple", "green pears", "apple and pear", "sour cherries"),
        negatives=("apple laptop",),
    ),
    Category(name="empty"),
    Category(name="cars", utterances=("a fast car", "red cars", "a car with two doors")),
)


@pytest.mark.parametrize("score", ["max", "top_mean", "centroid", "knn"])
def test_a_held_out_utterance_scores_as_if_it_had_never_been_there(score: Any) -> None:
    encode = HashedEncoder(name="h", dim=64).encode
    found = held_out(Index(CATEGORIES, encode, score=score, top_k=2))

    expected = []
    for category in (CATEGORIES[0], CATEGORIES[2]):
        for utterance in category.utterances:
            without = [
                Category(name=c.name, utterances=tuple(u for u in c.utterances if u != utterance))
                for c in CATEGORIES
            ]
            index = Index(without, encode, score=score, top_k=2)
            expected.append(index.scores(index.utterances.similarities(encode([utterance])))[0])
    assert found.scores == pytest.approx(np.array(expected), abs=1e-5)
    assert found.labels.tolist() == [0, 0, 0, 0, 2, 2, 2]


def test_outside_evidence_ignores_a_text_s_own_category() -> None:
    encode = HashedEncoder(name="h", dim=64).encode
    found = held_out(Index(CATEGORIES, encode, score="max", top_k=1))

    inside, outside = found.tops(np.zeros(3))

    assert len(inside) == 7
    assert len(outside) == 7 + 1
    assert outside[0] == pytest.approx(found.scores[0, 2])
    assert outside[-1] == pytest.approx(found.misses[0])


def test_the_three_scores_are_what_they_say(plane: Callable[..., Any]) -> None:
    encoder = plane(a=0, b=60, c=90, text=0)
    category = [Category(name="x", utterances=("a", "b", "c"))]

    scores = {}
    for kind in ("max", "top_mean", "centroid"):
        index = Index(category, encoder.encode, score=kind, top_k=2)  # type: ignore[arg-type]
        near = index.utterances.similarities(encoder.encode(["text"]))
        scores[kind] = float(index.scores(near)[0, 0])

    assert scores["max"] == pytest.approx(1.0)
    assert scores["top_mean"] == pytest.approx((1 + 0.5) / 2)
    mean = np.array([1 + 0.5, np.sqrt(0.75) + 1])
    assert scores["centroid"] == pytest.approx(mean[0] / np.linalg.norm(mean))


def test_top_mean_takes_all_that_a_small_category_has(plane: Callable[..., Any]) -> None:
    encoder = plane(a=0, b=60, c=90, d=180, text=0)
    categories = [
        Category(name="x", utterances=("a", "b", "c")),
        Category(name="y", utterances=("d",)),
    ]
    index = Index(categories, encoder.encode, score="top_mean", top_k=3)

    scores = index.scores(index.utterances.similarities(encoder.encode(["text"])))[0]

    assert scores == pytest.approx([0.5, -1.0], abs=1e-6)


def test_a_category_without_utterances_is_below_every_cosine() -> None:
    encode = HashedEncoder(name="h", dim=64).encode
    index = Index(CATEGORIES, encode, score="centroid", top_k=1)

    scores = index.scores(index.utterances.similarities(encode(["anything"])))[0]

    assert scores[1] == ABSENT
    assert (scores[[0, 2]] >= -1).all()


@pytest.mark.parametrize(
    ("degrees", "expected"), [(0, 1.0), (40, 0.0), (50, 0.0), (90, 0.0), (-30, 1.0)]
)
def test_clearance_is_lost_to_a_nearer_near_miss(
    plane: Callable[..., Any], degrees: float, expected: float
) -> None:
    """The utterance lies at 0 degrees, the near miss at 80: halfway they are as near."""
    encoder = plane(good=0, miss=80, text=degrees)
    category = Category(name="x", utterances=("good",), negatives=("miss",))
    index = Index([category], encoder.encode, score="max", top_k=1)
    embedding = encoder.encode(["text"])

    near = index.utterances.similarities(embedding)
    far = index.negatives.similarities(embedding)

    assert index.clearance(near, far)[0, 0] == pytest.approx(expected, abs=1e-5)


def test_clearance_falls_smoothly_as_a_near_miss_comes_nearer(plane: Callable[..., Any]) -> None:
    degrees = np.linspace(0, 80, 400)
    encoder = plane(good=0, miss=80, **{str(d): d for d in degrees})
    category = Category(name="x", utterances=("good",), negatives=("miss",))
    index = Index([category], encoder.encode, score="max", top_k=1)
    embeddings = encoder.encode([str(d) for d in degrees])

    clear = index.clearance(
        index.utterances.similarities(embeddings), index.negatives.similarities(embeddings)
    )[:, 0]

    assert (np.diff(clear) <= 1e-6).all()
    assert np.abs(np.diff(clear)).max() < 0.2


def test_an_utterance_that_stands_twice_counts_once(plane: Callable[..., Any]) -> None:
    encoder = plane(a=0, b=90, text=0)
    category = Category(name="x", utterances=("a", "a", "a", "b"))

    index = Index([category], encoder.encode, score="top_mean", top_k=3)

    assert index.utterances.texts == ("a", "b")


def test_a_large_index_is_sampled_from_every_category() -> None:
    sizes = (20, 5000, 1000)
    categories = [
        Category(name=str(n), utterances=tuple(f"{n} {i}" for i in range(size)))
        for n, size in enumerate(sizes)
    ]
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((sum(sizes), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    found = held_out(Index(categories, lambda texts: vectors[: len(texts)], score="max", top_k=1))

    assert len(found.labels) == len(found.scores) <= 4000
    assert np.bincount(found.labels)[0] == 20
    assert np.bincount(found.labels).min() > 0
    assert np.isfinite(found.scores).all()


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    count=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_groups_of_any_sizes_are_read_as_one_by_one(
    sizes: list[int], count: int, seed: int
) -> None:
    """Also where some utterances are held out, down to a whole category."""
    groups = [[f"{column} {n}" for n in range(size)] for column, size in enumerate(sizes)]
    bank = Bank(groups, lambda texts: np.zeros((len(texts), 4), dtype=np.float32))
    generator = np.random.default_rng(seed)
    near = generator.uniform(-1, 1, (3, sum(sizes) + 1)).astype(np.float32)
    near[generator.random(near.shape) < 0.2] = ABSENT
    near[:, -1] = ABSENT

    best, total = bank.best(near, count), bank.total(near)

    for row in range(3):
        for column in range(len(sizes)):
            own = near[row, :-1][bank.owner == column]
            own = np.sort(own[own > ABSENT])[::-1]
            expected = [*own[:count], *[ABSENT] * (count - len(own))]
            assert sorted(best[row, column])[::-1] == pytest.approx(expected)
            assert total[row, column] == pytest.approx(own.sum() if len(own) else -np.inf, abs=1e-4)


def test_a_category_far_from_the_text_is_not_an_absent_one(plane: Callable[..., Any]) -> None:
    """Ten utterances behind the text: their cosines sum to less than ABSENT."""
    encoder = plane(text=0, **{f"u{n}": 180 + n / 10 for n in range(10)})
    category = Category(name="x", utterances=tuple(f"u{n}" for n in range(10)))
    index = Index([category], encoder.encode, score="centroid", top_k=1)

    scores = index.scores(index.utterances.similarities(encoder.encode(["text"])))

    assert scores[0, 0] == pytest.approx(-1.0, abs=1e-3)
