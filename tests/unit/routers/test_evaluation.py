from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coe.decide import decide
from coe.tools import Aim, RouterAtWork
from coe.types import Category, Scores
from routers.embedding import EmbeddingRouter
from routers.encoders.hashed import HashedEncoder
from routers.evaluation import evaluate
from routers.findings import Evaluation
from routers.rows import Row
from routers.score_file import ScoreFile
from routers.scoring import NONE, Scorer, choose, thresholds_of
from routers.thresholds import calibrate, described

CATEGORIES = (
    Category(
        name="sums",
        utterances=("add two and two", "what is one plus one", "sum these", "subtract two"),
    ),
    Category(
        name="trips",
        utterances=("a train to Rome", "book a flight", "find a hotel", "rent a car"),
    ),
)
ROWS = (
    Row("add one and two", "sums"),
    Row("what is two plus one", "sums"),
    Row("book a car", "sums"),  # a wrong label
    Row("a train to Paris", "trips"),
    Row("zzz qqq xxx", "trips"),
    Row("book a flight to the moon", None),
    Row("qqq", None),
)


class Written:
    """A router whose scores a test writes down, by text."""

    name = "written"
    categories = ("a", "b")
    calibrated = True

    def __init__(self, table: dict[str, Sequence[float]]) -> None:
        self.table = table

    def score(self, texts: Sequence[str]) -> Scores:
        rows = [self.table.get(text, (0.0, 0.0)) for text in texts]
        return Scores(values=np.array(rows, dtype=np.float32).reshape(-1, 2))


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., Evaluation]:
    """Evaluate a router on rows, at a threshold."""

    def run(work: RouterAtWork, rows: Sequence[Row] = ROWS) -> Evaluation:
        columns = len(work.router.categories)
        file = ScoreFile(tmp_path / "scores", key="", columns=columns)
        ticks = count()
        scorer = Scorer(work.router, file, lambda *_: None)
        return evaluate(work, rows, scorer, rows_digest="d", clock=lambda: next(ticks) / 1000)

    return run


def hashed(threshold: float = 0.1) -> RouterAtWork:
    encoder = HashedEncoder(name="small")
    router = EmbeddingRouter(name="near", categories=CATEGORIES, encoder=encoder)
    thresholds = {category.name: threshold for category in CATEGORIES}
    return RouterAtWork(
        router=router,
        categories=CATEGORIES,
        thresholds=thresholds,
        encoders={"small": encoder},
    )


def written(table: dict[str, Sequence[float]], **thresholds: float) -> RouterAtWork:
    return RouterAtWork(
        router=Written(table),
        categories=(Category(name="a"), Category(name="b")),
        thresholds={"a": 0.5, "b": 0.5} | thresholds,
    )


@given(
    arrays(np.float32, (6, 3), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    arrays(np.float64, 3, elements=st.sampled_from([0.0, 0.25, 0.5, float("inf")])),
    st.sampled_from([0.0, 0.25, 0.5]),
)
def test_choices_are_those_of_the_gateway(
    values: np.ndarray, thresholds: np.ndarray, margin: float
) -> None:
    names = ("a", "b", "c")
    _, _, chosen = choose(values.astype(np.float64), thresholds, margin)

    for row, column in zip(values, chosen, strict=True):
        decision = decide(
            names,
            row.tolist(),
            thresholds=dict(zip(names, thresholds.tolist(), strict=True)),
            default_threshold=0.5,
            margin=margin,
            calibrated=True,
            router="r",
        )
        assert decision.category == (None if column == NONE else names[column])


def test_every_row_has_one_outcome(measured: Callable[..., Evaluation]) -> None:
    found = measured(hashed())

    outcomes = found.outcomes
    assert (found.rows, found.inside, found.outside) == (7, 5, 2)
    assert outcomes.right + outcomes.mistaken + outcomes.refused == 5
    assert outcomes.let_in + outcomes.kept_out == 2
    assert len(found.wrong) == outcomes.mistaken + outcomes.refused + outcomes.let_in
    assert found.decided.accuracy == pytest.approx((outcomes.right + outcomes.kept_out) / 7)
    assert found.best.accuracy == found.best.inside_accuracy
    assert found.best.confusion.sum() == 5
    assert found.rows_digest == "d"


def test_the_surest_mistakes_come_first_with_what_spoke_for_them(
    measured: Callable[..., Evaluation],
) -> None:
    wrong = measured(hashed()).wrong

    assert [row.probability for row in wrong] == sorted(
        (r.probability for r in wrong), reverse=True
    )
    moon = next(row for row in wrong if "moon" in row.text)
    assert (moon.category, moon.chosen) == (None, "trips")
    assert moon.evidence[0].text == "book a flight"


def test_what_failed_inside_is_suggested_and_what_lies_outside_is_not(
    measured: Callable[..., Evaluation],
) -> None:
    suggestions = measured(hashed()).suggestions

    assert {row.text for row in suggestions} == {"book a car", "zzz qqq xxx"}


def test_measures_follow_their_definitions(measured: Callable[..., Evaluation]) -> None:
    """Two right, one mistaken, one refused; one stranger let in, one kept out."""
    table = {"1": (0.9, 0.1), "2": (0.2, 0.8), "3": (0.3, 0.7), "4": (0.4, 0.3), "5": (0.6, 0.2)}
    rows = [
        Row("1", "a"),
        Row("2", "b"),
        Row("3", "a"),
        Row("4", "a"),
        Row("5", None),
        Row("6", None),
    ]

    found = measured(written(table), rows)

    assert found.best.accuracy == 0.75
    assert found.decided.accuracy == 0.5
    outcomes = found.outcomes
    assert (outcomes.right, outcomes.mistaken, outcomes.refused) == (2, 1, 1)
    assert (outcomes.let_in, outcomes.kept_out) == (1, 1)
    assert found.out_of_scope is not None
    assert found.out_of_scope.auroc == pytest.approx(7 / 8)
    assert found.out_of_scope.threshold == pytest.approx(0.4)
    assert found.out_of_scope.fpr == 0.5
    assert found.calibration.ece_all == pytest.approx(np.mean([0.1, 0.2, 0.7, 0.6, 0.6, 0.0]))
    assert found.decided.confusion.tolist() == [[1, 1, 1], [0, 1, 0], [1, 0, 1]]


def test_a_category_that_is_closed_is_never_chosen(measured: Callable[..., Evaluation]) -> None:
    found = measured(written({"1": (1.0, 0.0)}, a=float("inf")), [Row("1", "a")])

    assert found.outcomes.refused == 1
    assert found.wrong[0].chosen is None
    assert found.wrong[0].best == "a"
    assert found.out_of_scope is None


def test_scores_that_are_no_probabilities_have_no_calibration(
    measured: Callable[..., Evaluation],
) -> None:
    found = measured(written({"1": (-0.2, 3.0)}), [Row("1", "a")])

    assert np.isnan(found.calibration.ece)
    assert np.isnan(found.calibration.brier)
    assert len(found.calibration.diagram.count) == 0


def test_stability_counts_choices_that_change(measured: Callable[..., Evaluation]) -> None:
    """Only the text as it stands has scores; whatever changes it flips the choice."""
    text = "What is it?"
    found = measured(written({text: (0.1, 0.9)}), [Row(text, "b")])

    by_name = {row.change: row for row in found.stability}
    bare = by_name["no capitals, no punctuation"]
    assert (bare.texts, bare.changed, bare.best_flips, bare.choice_flips) == (1, 1, 1, 1)
    assert bare.unchanged_share == 0.0
    assert by_name["politeness"].choice_flips == 1


def test_latency_is_the_time_of_one_text(measured: Callable[..., Evaluation]) -> None:
    latency = measured(hashed()).latency

    assert latency.texts == 7
    assert latency.p50_ms == pytest.approx(1.0)
    assert latency.p99_ms == pytest.approx(1.0)


def test_the_order_of_the_rows_does_not_matter(measured: Callable[..., Evaluation]) -> None:
    one, other = measured(hashed()), measured(hashed(), ROWS[::-1])

    assert one.outcomes == other.outcomes
    assert one.calibration.ece == pytest.approx(other.calibration.ece)
    assert one.aurc == pytest.approx(other.aurc)
    assert {row.text for row in one.wrong} == {row.text for row in other.wrong}
    assert {row.text for row in one.suggestions} == {row.text for row in other.suggestions}


def labelled(rows: int) -> tuple[RouterAtWork, np.ndarray, np.ndarray]:
    """Return a router that is as sure as it is right, labels and scores; one in ten is outside."""
    rng = np.random.default_rng(0)
    sure = 0.5 + 0.5 * rng.beta(5, 1, rows)
    best = rng.integers(0, 2, rows)
    labels = np.where(rng.random(rows) < sure, best, 1 - best)
    labels[rng.random(rows) < 0.02] = NONE
    values = np.where(np.arange(2) == best[:, None], sure[:, None], 1 - sure[:, None])
    return written({}), labels, values


@pytest.mark.parametrize("acceptance", [0.8, 0.95, 1.0])
def test_each_category_accepts_its_share(acceptance: float) -> None:
    work, labels, values = labelled(400)
    best = values.argmax(axis=1)

    found = calibrate(work, labels, values, Aim(acceptance=acceptance))

    for column, name in enumerate(work.router.categories):
        own = values.max(axis=1)[(best == column) & (labels != NONE)]
        threshold = found[name].threshold
        assert threshold is not None
        assert acceptance <= (own >= threshold).mean() <= acceptance + 0.02
        assert found[name].rows == len(own)


def test_a_category_with_few_rows_shares_the_threshold_of_all() -> None:
    work, labels, values = labelled(400)
    few = np.flatnonzero(values.argmax(axis=1) == 1)[:5]
    kept = np.concatenate([np.flatnonzero(values.argmax(axis=1) == 0), few])

    found = calibrate(work, labels[kept], values[kept], Aim())

    assert "only" in found["b"].why
    assert found["b"].threshold is not None
    assert abs(found["b"].threshold - (found["a"].threshold or 0)) < 0.01


def test_without_a_row_inside_every_category_is_closed() -> None:
    work, labels, values = labelled(50)

    found = calibrate(work, np.full_like(labels, NONE), values, Aim())

    assert all(row.threshold is None and "closed" in row.why for row in found.values())


def test_a_guarantee_is_one_for_all_or_one_for_each() -> None:
    work, labels, values = labelled(900)

    shared = calibrate(work, labels, values, Aim(risk=0.15))
    own = calibrate(work, labels, values, Aim(risk=0.15, per_category=True))

    assert shared["a"] == shared["b"]
    assert shared["a"].threshold is not None
    assert shared["a"].rows == 900
    assert [row.threshold for row in own.values()] == [None, None]
    assert "below 500" in own["a"].why


def test_a_guarantee_counts_what_the_margin_refuses_as_refused() -> None:
    work, labels, values = labelled(900)
    strict = RouterAtWork(
        router=work.router, categories=work.categories, thresholds=work.thresholds, margin=1.0
    )

    found = calibrate(strict, labels, values, Aim(risk=0.15))

    assert found["a"].threshold is None
    assert "no threshold accepts" in found["a"].why


def test_an_aim_is_said_in_a_sentence() -> None:
    assert described(Aim(acceptance=0.9)).startswith("90.0% of the texts")
    assert "guaranteed at 95% sureness" in described(Aim(risk=0.05, sureness=0.95))
    assert "in each category" in described(Aim(risk=0.05, per_category=True))


def test_thresholds_stand_in_the_order_of_the_router() -> None:
    assert thresholds_of(written({}, a=0.1, b=0.9)).tolist() == [0.1, 0.9]
