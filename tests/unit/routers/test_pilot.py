from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import ConfigError
from coe.protocols import ExpertCard, RouterSpec
from coe.testing.routers import GivenParts, check_router
from coe.types import Category
from routers.calibration import Calibration
from routers.encoders.hashed import HashedEncoder
from routers.leads import Leads
from routers.pilot import PilotRouter, build

ENCODER = HashedEncoder(name="small", dim=128)
PARTS = GivenParts(encoders={"small": ENCODER})
CATEGORIES = (
    Category(name="sums", experts=("calculator", "general")),
    Category(name="lengths", experts=("retired", "units")),
    Category(name="weights", experts=("units",)),
    Category(name="talk"),
)
QUERIES = {
    "calculator": [f"what is {n} times {n + 3}" for n in range(12)],
    "units": [f"how many feet are {n} metres" for n in range(12)],
}
EXPERTS = ("general", "calculator", "units", "sql")
CARDS = tuple(ExpertCard(name=name) for name in EXPERTS)


def pilots(queries: Mapping[str, Sequence[str]] = QUERIES, encoder: Any = ENCODER) -> PilotRouter:
    return PilotRouter(
        name="pilots", categories=CATEGORIES, experts=EXPERTS, queries=queries, encoder=encoder
    )


def test_a_category_leads_to_the_first_expert_that_may_answer() -> None:
    leads = Leads(CATEGORIES, eligible=EXPERTS, judged={"calculator", "units", "general"})

    assert leads.experts == ("calculator", "units")
    assert leads.category_of == ("sums", "lengths")
    spread = leads.spread(np.array([[0.5, 0.4]]))
    assert spread[0] == pytest.approx((0.5, 0.2, 0.2, 0.0))


def test_a_category_whose_expert_is_not_judged_is_left_out() -> None:
    leads = Leads(CATEGORIES, eligible=EXPERTS, judged={"general", "units"})

    assert leads.experts == ("units",)
    assert leads.spread(np.array([[1.0]]))[0].tolist() == [0.0, 0.5, 0.5, 0.0]


def test_the_nearest_pilot_decides(plane: Callable[..., Any]) -> None:
    encoder = plane(a=0, b=40, c=90, text=50, other=60)
    near = pilots({"calculator": ["a", "b"], "units": ["c"]}, encoder)

    scores = near.score(["text", "other"])

    # The pilots are at 20 and at 90 degrees: 50 is nearer to the first, 60 to the second.
    assert scores.values[0, 0] > 2 * scores.values[0, 1]
    assert scores.values[1, 0] < 2 * scores.values[1, 1]
    pilot, query = scores.evidence[1][0], scores.evidence[0][0]
    assert (pilot.kind, pilot.text, pilot.category) == ("expert", "units", "lengths")
    assert pilot.similarity == pytest.approx(np.cos(np.radians(30)))
    assert (query.kind, query.text) == ("utterance", "b")


def test_categories_of_one_expert_share_its_probability() -> None:
    values = pilots().score(["how many feet are 99 metres"]).values[0]

    assert values[1] == values[2] > 0.3
    assert values[3] == 0.0


def test_a_new_expert_leaves_the_others_pilots_as_they_are() -> None:
    before, after = (
        PilotRouter(
            name="pilots",
            categories=(*CATEGORIES, Category(name="sql", experts=("sql",))),
            experts=EXPERTS,
            queries=queries,
            encoder=ENCODER,
        )
        for queries in (QUERIES, {**QUERIES, "sql": [f"select all of table {n}" for n in range(9)]})
    )
    texts = ["what is 21 times 3", "how many feet are 99 metres", "select all of table 11"]

    assert after.score(texts).values.argmax(axis=1).tolist() == [0, 1, 4]
    said = [
        {item.text: item.similarity for item in router.score(texts).evidence[0]}
        for router in (before, after)
    ]
    assert said[0].items() <= said[1].items()


def test_calibration_never_changes_which_pilot_is_nearest() -> None:
    router = pilots()
    texts = [f"{a} {b}" for a in ("what", "how many", "feet") for b in ("times", "metres", "xyz")]
    cosines = router._index.scores(router._index.utterances.similarities(ENCODER.encode(texts)))

    assert router.calibrated
    assert router.calibration != Calibration()
    probabilities = router.calibration.apply(cosines)
    assert probabilities.argmax(axis=1).tolist() == cosines.argmax(axis=1).tolist()


def test_few_queries_take_the_defaults_and_say_so() -> None:
    few = pilots({"calculator": ["what is 1 times 2"], "units": ["feet in metres"]})

    assert not few.calibrated
    assert few.calibration == Calibration()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text(max_size=30) | st.sampled_from(QUERIES["units"]), min_size=1, max_size=5),
    st.randoms(),
)
def test_a_row_does_not_depend_on_its_batch(texts: list[str], random: Any) -> None:
    scores = SHARED.score(texts)
    order = list(range(len(texts)))
    random.shuffle(order)

    assert (scores.values.sum(axis=1, dtype=np.float64) <= 1 + 1e-6).all()
    shuffled = SHARED.score([texts[place] for place in order])
    assert shuffled.values == pytest.approx(scores.values[order], abs=1e-5)
    assert SHARED.score(texts[:1]).values == pytest.approx(scores.values[:1], abs=1e-5)


SHARED = pilots()


def written(tmp_path: Path, *lines: str) -> str:
    tmp_path.joinpath("best.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return "best.jsonl"


def spec(folder: Path, **options: Any) -> RouterSpec:
    return RouterSpec(
        name="pilots",
        type="pilot",
        options={"encoder": "small", **options},
        categories=CATEGORIES,
        experts=CARDS,
        folder=str(folder),
    )


def rows(queries: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        json.dumps({"text": text, "expert": expert, "score": 1})
        for expert, texts in queries.items()
        for text in texts
    ]


def test_the_factory_reads_rows_and_keeps_the_contract(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path, *rows(QUERIES), "", *rows({"gone": ["bye"]}))

    with caplog.at_level(logging.WARNING):
        built = build(spec(tmp_path, queries=file), PARTS)

    texts = ["what is 21 times 3", "how many feet are 99 metres"]
    assert built.score(texts).values == pytest.approx(SHARED.score(texts).values)
    assert "rows of ['gone'] are left out" in caplog.text
    check_router(lambda: build(spec(tmp_path, queries=file), PARTS))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["[1]"], r"queries: .*best\.jsonl:1: expected \{\"text\""),
        (['{"text": "a", "expert": "units"}', "{"], r"best\.jsonl:2: expected"),
        (['{"text": " ", "expert": "units"}'], r"best\.jsonl:1: expected"),
        (['{"text": "a", "expert": "general"}'], r"no category leads to .*add rows of calculator"),
        ([], "no category leads to an expert that has rows"),
    ],
)
def test_a_wrong_row_names_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec(tmp_path, queries=written(tmp_path, *lines)), PARTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"routers\.pilots\.queries: is missing"),
        ({"queries": "none.jsonl"}, r"routers\.pilots\.queries: cannot read .*none\.jsonl"),
        ({"querys": "x"}, r"routers\.pilots\.querys: .*did you mean 'queries'"),
    ],
)
def test_a_wrong_option_names_its_place(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec(tmp_path, **options), PARTS)
