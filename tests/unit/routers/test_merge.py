from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.errors import ConfigError, RouterUnavailable
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts
from coe.types import Category, Evidence, Scores
from routers.embedding import EmbeddingRouter
from routers.encoders.hashed import HashedEncoder
from routers.merge import MergeRouter, build

CATEGORIES = (Category(name="a"), Category(name="b"))


class Table:
    """A router that says what it was told to say."""

    def __init__(
        self,
        name: str,
        rows: Mapping[str, Sequence[float]],
        *,
        categories: tuple[str, ...] = ("a", "b"),
        calibrated: bool = True,
        evidence: tuple[Evidence, ...] = (),
    ) -> None:
        self.name = name
        self.categories = categories
        self.calibrated = calibrated
        self._rows = rows
        self._evidence = evidence

    def score(self, texts: Sequence[str]) -> Scores:
        values = np.array([self._rows[text] for text in texts], dtype=np.float32)
        evidence = tuple(self._evidence for _ in texts) if self._evidence else ()
        return Scores(values=values.reshape(len(texts), len(self.categories)), evidence=evidence)


class Broken(Table):
    """A stage whose server does not answer."""

    def score(self, texts: Sequence[str]) -> Scores:
        raise RouterUnavailable(f"{self.name} does not answer to {len(texts)}")


def merge(*stages: Table, weights: Sequence[float] = ()) -> MergeRouter:
    return MergeRouter(
        name="both", categories=("a", "b"), stages=stages, weights=weights or [1.0] * len(stages)
    )


def test_the_weights_say_whom_to_believe() -> None:
    one, other = Table("one", {"t": (0.8, 0.1)}), Table("other", {"t": (0.2, 0.5)})

    scores = merge(one, other, weights=(3.0, 1.0)).score(["t"])

    assert scores.values[0] == pytest.approx((0.65, 0.2))


def test_a_stage_that_is_not_available_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    here, gone = Table("here", {"t": (0.8, 0.1)}), Broken("gone", {})

    with caplog.at_level(logging.WARNING):
        scores = merge(gone, here, weights=(9.0, 1.0)).score(["t"])

    assert scores.values[0] == pytest.approx((0.8, 0.1))
    assert "gone is left out" in caplog.text


def test_without_any_stage_it_is_unavailable() -> None:
    with pytest.raises(RouterUnavailable, match=r"one does not answer.*two does not answer"):
        merge(Broken("one", {}), Broken("two", {})).score(["t"])


def test_a_stage_that_gives_nothing_to_any_category_takes_no_part() -> None:
    rules = Table("rules", {"hit": (0.0, 1.0), "other": (0.0, 0.0), "neither": (0.0, 0.0)})
    meaning = Table("meaning", {"hit": (0.5, 0.1), "other": (0.5, 0.1), "neither": (0.0, 0.0)})

    scores = merge(rules, meaning).score(["hit", "other", "neither"])

    assert scores.values == pytest.approx(np.array([(0.25, 0.55), (0.5, 0.1), (0.0, 0.0)]))


def test_a_stage_with_fewer_categories_gives_the_others_nothing() -> None:
    narrow, wide = Table("narrow", {"t": (0.6,)}, categories=("b",)), Table("w", {"t": (0.4, 0.2)})

    assert merge(narrow, wide).score(["t"]).values[0] == pytest.approx((0.2, 0.4))


def test_it_is_calibrated_if_all_its_stages_are() -> None:
    raw = Table("raw", {}, calibrated=False)

    assert merge(Table("one", {}), Table("two", {})).calibrated
    assert not merge(Table("one", {}), raw).calibrated


def test_evidence_is_of_all_stages_hits_first_and_then_by_similarity() -> None:
    def near(text: str, similarity: float) -> Evidence:
        return Evidence(kind="utterance", category="a", text=text, similarity=similarity)

    hit = Evidence(kind="keyword", category="b", text="sql")
    one = Table("one", {"t": (1.0, 0.0)}, evidence=(near("x", 0.9), near("y", 0.5)))
    two = Table("two", {"t": (1.0, 0.0)}, evidence=(near("z", 0.7), near("y", 0.5), hit))

    (found,) = merge(one, two).score(["t"]).evidence

    assert [item.text for item in found] == ["sql", "x", "z", "y"]


row = st.tuples(st.floats(0.0, 0.5, width=32), st.floats(0.0, 0.5, width=32))


@given(
    rows=st.lists(st.tuples(row, row, row), min_size=1, max_size=5),
    weights=st.tuples(*[st.floats(1e-3, 1e3)] * 3),
)
def test_a_mixture_is_probabilities_between_those_of_its_stages(
    rows: list[Any], weights: tuple[float, ...]
) -> None:
    texts = [str(place) for place in range(len(rows))]
    stages = [Table(str(n), {text: rows[int(text)][n] for text in texts}) for n in range(3)]
    mixed = merge(*stages, weights=weights)

    values = mixed.score(texts).values

    assert (values.sum(axis=1, dtype=np.float64) <= 1.0 + 1e-6).all()
    said = np.array(rows, dtype=np.float32)
    smallest = np.finfo(np.float32).tiny  # below it, a product is rounded in coarser steps
    assert (values <= said.max(axis=1) * (1 + 1e-5) + smallest).all()
    for place, text in enumerate(texts):
        assert mixed.score([text]).values[0] == pytest.approx(values[place])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"routers\.both\.stages: is missing"),
        ({"stages": ["one"], "weight": 1}, "did you mean 'weights'"),
        ({"stages": ["both"]}, "a merge cannot be a stage of itself"),
        ({"stages": ["wide"]}, "'wide' has categories that the merge has not: c"),
        ({"stages": ["one"], "weights": [1]}, r"both\.weights: expected a weight for each stage"),
        (
            {"stages": ["one"], "weights": {"on": 1}},
            r"weights\.on: not a stage \(did you mean 'one",
        ),
        ({"stages": ["one", "two"], "weights": {"one": 1}}, r"weights\.two: is missing"),
        ({"stages": ["one"], "weights": {"one": 0}}, r"weights\.one: expected a number"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    wide = Table("wide", {}, categories=("a", "b", "c"))
    parts = GivenParts(
        routers={"one": Table("one", {}), "two": Table("two", {}), "wide": wide},
    )
    spec = RouterSpec(name="both", type="merge", options=options, categories=CATEGORIES)

    with pytest.raises(ConfigError, match=message):
        build(spec, parts)


def test_without_weights_all_stages_weigh_the_same() -> None:
    parts = GivenParts(
        routers={"one": Table("one", {"t": (1.0, 0.0)}), "two": Table("two", {"t": (0.0, 0.5)})}
    )
    spec = RouterSpec(
        name="both", type="merge", options={"stages": ["one", "two"]}, categories=CATEGORIES
    )

    assert build(spec, parts).score(["t"]).values[0] == pytest.approx((0.5, 0.25))


class Partly(Table):
    """A stage that has no scores of the text `late`."""

    def score(self, texts: Sequence[str]) -> Scores:
        failures = tuple("too late" if text == "late" else "" for text in texts)
        return Scores(values=super().score(texts).values, failures=failures)


def test_a_stage_without_scores_of_a_text_takes_no_part_in_it() -> None:
    rows = {"t": (0.2, 0.6), "late": (0.0, 0.0)}
    near = Table("near", {"t": (0.6, 0.2), "late": (0.7, 0.1)})

    scores = merge(near, Partly("judge", rows)).score(["t", "late"])

    assert scores.values == pytest.approx(np.array([(0.4, 0.4), (0.7, 0.1)]))
    assert scores.failures == ("", "")


def test_a_text_of_which_no_stage_has_scores_says_why() -> None:
    rows = {"t": (0.2, 0.6), "late": (0.0, 0.0)}

    scores = merge(Broken("near", {}), Partly("judge", rows)).score(["t", "late"])

    assert scores.failures == (
        "",
        "no stage answers (near: near does not answer to 2; judge: too late)",
    )


def test_the_embedding_is_that_of_a_stage_that_has_one() -> None:
    categories = [Category(name="a", utterances=("x y",)), Category(name="b", utterances=("z",))]
    encoder = HashedEncoder(name="small", dim=64)
    reads = EmbeddingRouter(name="reads", categories=categories, encoder=encoder)
    says = Table("says", {"z": [0.1, 0.9]})
    router = MergeRouter(name="m", categories=("a", "b"), stages=(reads, says), weights=(1.0, 1.0))

    (embedding,) = router.score(["z"]).embeddings

    assert embedding is not None
    assert embedding.encoder == encoder.fingerprint
    assert np.allclose(embedding.vector, encoder.encode(["z"])[0])
