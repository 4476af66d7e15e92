from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.errors import ConfigError, RouterUnavailable
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts
from coe.types import Category, Evidence, Scores
from routers.chain import ChainRouter, build
from routers.embedding import EmbeddingRouter
from routers.encoders.hashed import HashedEncoder
from routers.keyword import KeywordRouter
from routers.ridge import RidgeRouter


class Table:
    """A router that says what it was told to say; notes which texts it was asked about."""

    calibrated = True

    def __init__(
        self,
        name: str,
        rows: Mapping[str, Sequence[float]],
        *,
        categories: tuple[str, ...] = ("a", "b"),
        calibrated: bool = True,
    ) -> None:
        self.name = name
        self.categories = categories
        self.calibrated = calibrated
        self.asked: list[list[str]] = []
        self._rows = rows

    def score(self, texts: Sequence[str]) -> Scores:
        self.asked.append(list(texts))
        values = np.array([self._rows[text] for text in texts], dtype=np.float32)
        evidence = tuple(
            (Evidence(kind="keyword", category=self.categories[0], text=self.name),) for _ in texts
        )
        return Scores(values=values, evidence=evidence)


class Broken(Table):
    """A stage whose server does not answer."""

    def score(self, texts: Sequence[str]) -> Scores:
        self.asked.append(list(texts))
        raise RouterUnavailable(f"{self.name} does not answer")


class Partly(Table):
    """A stage that has no scores of the texts it was told nothing about."""

    def score(self, texts: Sequence[str]) -> Scores:
        known = {text: self._rows.get(text, (0.0, 0.0)) for text in texts}
        scores = Table(self.name, known).score(texts)
        failures = tuple("" if text in self._rows else "too late" for text in texts)
        return Scores(values=scores.values, evidence=scores.evidence, failures=failures)


def chain(*stages: Table, **limits: float) -> ChainRouter:
    return ChainRouter(name="default", categories=("a", "b"), stages=stages, **limits)


def test_only_the_texts_of_which_a_stage_is_not_sure_go_on() -> None:
    first = Table("first", {"sure": (0.9, 0.0), "low": (0.6, 0.0), "close": (0.75, 0.7)})
    second = Table("second", {"low": (0.1, 0.2), "close": (0.0, 0.8)})

    scores = chain(first, second).score(["low", "sure", "close"])

    assert second.asked == [["low", "close"]]
    assert scores.stages == ("second", "first", "second")
    assert scores.values == pytest.approx(np.array([(0.1, 0.2), (0.9, 0.0), (0.0, 0.8)]))
    assert [row[0].text for row in scores.evidence] == ["second", "first", "second"]


def test_a_stage_is_not_asked_when_all_are_sure() -> None:
    first, second = Table("first", {"t": (1.0, 0.0)}), Table("second", {})

    chain(first, second).score(["t", "t"])

    assert second.asked == []


def test_the_last_stage_has_the_word_even_when_it_is_not_sure() -> None:
    first, last = Table("first", {"t": (0.6, 0.1)}), Table("last", {"t": (0.2, 0.1)})

    scores = chain(first, last).score(["t"])

    assert scores.stages == ("last",)
    assert scores.values[0] == pytest.approx((0.2, 0.1))


def test_confidence_and_margin_are_inclusive() -> None:
    first = Table("first", {"edge": (0.75, 0.5), "under": (0.75, 0.5625)})
    last = Table("last", {"under": (0.0, 0.0)})

    chain(first, last, confident_at=0.75, margin=0.25).score(["edge", "under"])

    assert last.asked == [["under"]]


def test_a_failing_stage_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    broken, last = Broken("broken", {}), Table("last", {"t": (0.2, 0.1)})

    with caplog.at_level(logging.WARNING):
        scores = chain(broken, last).score(["t"])

    assert scores.stages == ("last",)
    assert "broken is skipped" in caplog.text


def test_when_the_last_stage_fails_the_one_before_has_the_word() -> None:
    first, broken = Table("first", {"t": (0.6, 0.1)}), Broken("broken", {})

    scores = chain(first, broken).score(["t"])

    assert scores.stages == ("first",)
    assert scores.values[0] == pytest.approx((0.6, 0.1))


def test_when_every_stage_fails_the_chain_is_unavailable() -> None:
    with pytest.raises(RouterUnavailable, match=r"one does not answer.*two does not answer"):
        chain(Broken("one", {}), Broken("two", {})).score(["t"])


def test_no_texts_ask_no_stage() -> None:
    broken = Broken("broken", {})

    scores = chain(broken).score([])

    assert scores.values.shape == (0, 2)
    assert broken.asked == []


def test_a_stage_with_fewer_categories_gives_the_others_nothing() -> None:
    narrow = Table("narrow", {"t": (0.9,)}, categories=("b",))

    scores = chain(narrow).score(["t"])

    assert scores.values[0] == pytest.approx((0.0, 0.9))


def test_a_single_category_is_sure_by_its_probability_alone() -> None:
    first = Table("first", {"yes": (0.9,), "no": (0.3,)}, categories=("a",))
    last = Table("last", {"no": (0.1,)}, categories=("a",))
    alone = ChainRouter(name="default", categories=("a",), stages=(first, last))

    assert alone.score(["yes", "no"]).stages == ("first", "last")


def test_a_chain_in_a_chain_names_the_stage_that_decided() -> None:
    inner = chain(Table("first", {"t": (0.2, 0.1)}), Table("second", {"t": (0.9, 0.0)}))
    outer = ChainRouter(name="outer", categories=("a", "b"), stages=(inner,))

    assert outer.score(["t"]).stages == ("second",)


def test_a_chain_is_calibrated_if_all_its_stages_are() -> None:
    raw = Table("raw", {}, calibrated=False)

    assert chain(Table("one", {})).calibrated
    assert not chain(Table("one", {}), raw).calibrated


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"routers\.default\.stages: is missing"),
        ({"stages": []}, r"routers\.default\.stages: expected a list of names"),
        ({"stages": ["rules"]}, "no router `rules`"),
        ({"stages": ["default"]}, "cannot be a stage of itself"),
        ({"stages": ["wide"]}, "'wide' has categories that the chain has not: c"),
        ({"stages": ["one"], "confident": 1}, "did you mean 'confident_at'"),
        ({"stages": ["one"], "margin": 2}, r"routers\.default\.margin: expected a number"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    parts = GivenParts(
        routers={
            "one": Table("one", {}),
            "wide": Table("wide", {}, categories=("a", "b", "c")),
        }
    )
    categories = (Category(name="a"), Category(name="b"))
    spec = RouterSpec(name="default", type="chain", options=options, categories=categories)

    with pytest.raises(ConfigError, match=message):
        build(spec, parts)


LEARNED = (
    Category(name="a", utterances=tuple(f"what is {n} times {n + 7}" for n in range(700))),
    Category(name="b", utterances=tuple(f"how many feet are {n} metres" for n in range(700))),
)


def fitted(
    folder: Path = Path(), categories: Sequence[Category] = LEARNED, **options: Any
) -> ChainRouter:
    encoder = HashedEncoder(name="small", dim=64)
    parts = GivenParts(
        routers={
            "rules": KeywordRouter(name="rules", categories=categories),
            "spelling": RidgeRouter(name="spelling", categories=categories, encoder=encoder),
            "meaning": EmbeddingRouter(name="meaning", categories=categories, encoder=encoder),
            "told": Table("told", {f"row {n}": (0.9, 0.1) for n in range(3000)}),
            "narrow": RidgeRouter(name="narrow", categories=categories[:1], encoder=encoder),
        }
    )
    spec = RouterSpec(
        name="default",
        type="chain",
        options={"confident_at": "fitted", **options},
        categories=tuple(categories),
        folder=str(folder),
    )
    return build(spec, parts)


def test_an_exit_is_fitted_to_the_utterances_that_stages_hold_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        built = fitted(stages=["rules", "spelling", "meaning"])

    rules, spelling, meaning = built.exits
    assert rules is None
    assert meaning is None
    assert spelling is not None
    assert spelling.share > 0.9
    assert spelling.rows == 1400
    assert "stage spelling decides" in caplog.text
    texts = ["what is 21 times 3", "how many feet are 99 metres", "of something else"]
    assert built.score(texts).stages == ("spelling", "spelling", "meaning")


def test_an_exit_stays_closed_on_too_few_utterances_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    few = [Category(name=c.name, utterances=c.utterances[:30]) for c in LEARNED]

    built = fitted(categories=few, stages=["spelling", "meaning"])

    assert "stage spelling decides nothing: 60 held-out texts do not show" in caplog.text
    assert built.score(["what is 21 times 3"]).stages == ("meaning",)


def test_more_may_be_given_away_on_demand() -> None:
    few = [Category(name=c.name, utterances=c.utterances[:30]) for c in LEARNED]

    built = fitted(categories=few, stages=["spelling", "meaning"], most_lost=0.1)

    assert built.score(["what is 21 times 3"]).stages == ("spelling",)


@pytest.mark.parametrize(("category", "is_open"), [("a", True), (None, False)])
def test_an_exit_is_fitted_to_the_rows_of_a_file(
    category: str | None, tmp_path: Path, *, is_open: bool
) -> None:
    """The first stage says `a` of every row; the last thinks that none belongs to a category."""
    lines = [{"text": f"row {n}", "category": category} for n in range(3000)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))

    built = fitted(tmp_path, stages=["told", "meaning"], held_out="rows.jsonl")

    assert built.exits[0] is not None
    assert built.exits[0].rows == 3000
    assert built.exits[0].is_open == is_open


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": ["rules", "meaning"]}, "nothing to fit: no stage but the last learns"),
        ({"stages": ["told", "meaning"]}, r"stage 'told' cannot be judged .*add `held_out: FILE`"),
        ({"stages": ["narrow", "meaning"]}, "stage 'narrow' cannot be judged"),
        ({"stages": ["spelling", "meaning"], "most_lost": 2}, r"most_lost: expected a number"),
        ({"stages": ["spelling", "meaning"], "held_out": "x"}, "x: cannot be read"),
        (
            {"stages": ["spelling", "meaning"], "confident_at": 0.9, "held_out": "x"},
            "held_out: goes with `confident_at: fitted`",
        ),
    ],
)
def test_an_exit_that_cannot_be_fitted_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    few = [Category(name=c.name, utterances=c.utterances[:30]) for c in LEARNED]

    with pytest.raises(ConfigError, match=message):
        fitted(tmp_path, few, **options)


def test_a_stage_without_scores_of_a_text_leaves_it_to_the_others() -> None:
    first = Table("first", {"x": (0.6, 0.1), "y": (0.5, 0.2)})
    judge = Partly("judge", {"y": (0.0, 0.9)})

    scores = chain(first, judge).score(["x", "y"])

    assert scores.stages == ("first", "judge")
    assert scores.values == pytest.approx(np.array([(0.6, 0.1), (0.0, 0.9)]))
    assert scores.failures == ("", "")
    assert [item.text for item in scores.evidence[0]] == ["first", "judge"]


def test_a_text_of_which_no_stage_has_scores_says_why() -> None:
    judge = Partly("judge", {"y": (0.0, 0.9)})

    scores = chain(Broken("first", {}), judge).score(["x", "y"])

    assert scores.failures == (
        "no stage answers (first: first does not answer; judge: too late)",
        "",
    )
    assert scores.values[0].tolist() == [0.0, 0.0]
    assert scores.stages == ("default", "judge")


def test_an_exit_is_not_fitted_to_a_text_that_has_no_scores(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": t, "category": "a"}) + "\n" for t in ("x", "y")))
    parts = GivenParts(
        routers={
            "near": Table("near", {"x": (0.6, 0.1), "y": (0.5, 0.2)}),
            "judge": Partly("judge", {"y": (0.0, 0.9)}),
        }
    )
    spec = RouterSpec(
        name="default",
        type="chain",
        options={"stages": ["near", "judge"], "confident_at": "fitted", "held_out": str(rows)},
        categories=(Category(name="a"), Category(name="b")),
    )

    with pytest.raises(RouterUnavailable, match=r"routers\.judge: too late"):
        build(spec, parts)


def test_the_embedding_is_that_of_the_last_stage_that_has_one() -> None:
    categories = [Category(name="a", utterances=("x y",)), Category(name="b", utterances=("z",))]
    coarse = RidgeRouter(
        name="coarse", categories=categories, encoder=HashedEncoder(name="small", dim=64)
    )
    fine = EmbeddingRouter(
        name="fine", categories=categories, encoder=HashedEncoder(name="large", dim=128)
    )
    judge = Table("judge", {"x y": [0.9, 0.1], "z": [0.1, 0.9]})

    def dims(*stages: Any) -> list[int]:
        chain = ChainRouter(name="c", categories=("a", "b"), stages=stages, confident_at=1.0)
        found = chain.score(["x y", "z"]).embeddings
        return [len(each.vector) for each in found if each is not None]

    assert dims(coarse, fine) == [128, 128]
    assert dims(coarse, fine, judge) == [128, 128]
    assert dims(coarse, judge) == [64, 64]
    assert dims(judge) == []
