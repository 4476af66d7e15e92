"""`coe replay`: what a changed composition would have done, as a command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.composition import load
from coe.composition.measured import measured
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import NONE, Outcome
from coe.mapping.store import write_map
from coe.scoring import exchange
from coe.testing.upstream import FakeUpstream

from .conftest import Coe

FILE = """
version: 1
backends: {up: {url: "http://127.0.0.1:9"}}
experts:
  one: {backend: up, model: one}
  two: {backend: up, model: two}
  three: {backend: up, model: three}
routers: {default: keyword}
categories:
  sums: {keywords: [plus], experts: [one]}
  trips: {keywords: [train], experts: [two]}
default: one
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experts.yaml").write_text(FILE)
    return tmp_path


def decision(category: str, expert: str | None, **more: Any) -> dict[str, Any]:
    """Return a row of recorded traffic."""
    other = {"sums": "trips", "trips": "sums"}[category]
    shares = [{"name": category, "probability": 0.9}, {"name": other, "probability": 0.05}]
    return {"expert": expert, "category": category, "categories": shares, **more}


def record(folder: Path, rows: Sequence[object], name: str = "decisions.jsonl") -> None:
    (folder / name).write_text("\n".join(map(json.dumps, rows)))


def change(folder: Path, *pairs: tuple[str, str], name: str = "new.yaml") -> None:
    text = FILE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)


def replayed(coe: Coe, *words: str) -> dict[str, Any]:
    done = coe("replay", "--config", "new.yaml", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_request_moves_with_its_category(coe: Coe, folder: Path) -> None:
    rows = [decision("trips", "two", cost=0.5), decision("sums", "one"), decision("trips", "two")]
    record(folder, rows)
    change(folder, ("experts: [two]", "experts: [three]"))

    found = replayed(coe, "--on", "decisions.jsonl")["found"]
    done = coe("replay", "--config", "new.yaml", "--on", "decisions.jsonl")

    assert found["moved"] == [{"category": "trips", "old": "two", "new": "three", "count": 2}]
    assert found["before"]["swaps"] == found["after"]["swaps"] == 2
    assert "2 of 3 requests move" in done.stdout
    assert "gain: not measured on any request that moves" in done.stdout
    assert "no guard" in done.stdout


def test_what_a_removed_expert_answered_goes_to_others(coe: Coe, folder: Path) -> None:
    record(folder, [decision("trips", "two"), decision("trips", "two", model="two")])
    change(folder, ("  two: {backend: up, model: two}\n", ""), ("[two]", "[three, one]"))

    found = replayed(coe, "--on", "decisions.jsonl")["found"]

    assert found["moved"] == [
        {"category": "trips", "old": "two", "new": "three", "count": 1},
        {"category": "(named)", "old": "two", "new": "", "count": 1},
    ]
    assert found["after"]["refused"] == 1


def outcomes(count: int = 80) -> list[Outcome]:
    """Return scores: each prompt's second expert is right, and `one` is half of the time."""
    found = []
    for i in range(count):
        category = ("sums", "trips")[i % 2]
        shares = {category: 0.9}
        right = {"one": float(i % 4 < 2), "two": 0.0, "three": 1.0}
        found += [
            Outcome(prompt=f"p{i}", expert=name, score=score, probabilities=shares, cost=0.01)
            for name, score in right.items()
        ]
    return found


@pytest.mark.parametrize("name", ["outcomes.jsonl", "outcomes.parquet"])
def test_a_matrix_tells_what_is_gained(coe: Coe, folder: Path, name: str) -> None:
    exchange.write(folder / name, outcomes())
    change(folder, ("experts: [two]", "experts: [three]"))

    done = coe("replay", "--config", "new.yaml", "--on", name)
    found = replayed(coe, "--on", name)["found"]

    assert found["moved"] == [{"category": "trips", "old": "two", "new": "three", "count": 40}]
    assert found["before"]["quality"] == 0.25
    assert found["after"]["quality"] == 0.75
    assert found["total"]["gain"][0] == 0.5
    assert found["total"]["gain"][1] > 0.35
    assert {row["policy"] for row in found["guard"]} >= {"after", "before", "oracle", "random"}
    assert "verdict: not better" in done.stdout  # `three` alone would be right each time


def test_scores_of_what_an_expert_was_are_not_those_of_what_it_is(coe: Coe, folder: Path) -> None:
    exchange.write(folder / "outcomes.parquet", outcomes())
    change(folder, ("model: three", "model: thirty"), ("experts: [two]", "experts: [three]"))

    found = replayed(coe, "--on", "outcomes.parquet")["found"]

    assert found["after"]["measured"] == 40  # of `one`, which answers the sums
    assert found["total"]["gain"] is None


def test_the_store_of_outcomes_is_what_is_replayed_by_default(coe: Coe, folder: Path) -> None:
    change(folder, ("experts: [two]", "experts: [three]"))
    exchange.write(folder / "outcomes.jsonl", outcomes())

    nothing = coe("replay", "--config", "new.yaml")
    assert coe("score", "--import", "outcomes.jsonl").returncode == 0
    found = replayed(coe)

    assert nothing.returncode == 2
    assert "nothing was scored yet; run `coe score FILE`" in nothing.stderr
    assert found["used"] == 80


def test_a_stale_map_ranks_no_expert_that_answers_differently_now(coe: Coe, folder: Path) -> None:
    record(folder, [decision("trips", "two"), decision("sums", "one")])
    quality = np.array([[0.1, 0.1, 0.9], [0.1, 0.1, 0.9], [0.1, 0.1, 0.9]])
    unknown = np.full((3, 3), np.nan)
    fitted = FittedMap(
        categories=("sums", "trips", NONE),
        experts=("one", "two", "three"),
        quality=quality,
        lower=quality,
        upper=quality,
        counts=np.full((3, 3), 50.0),
        cost=unknown,
        latency_s=unknown,
        traffic=np.array([0.5, 0.4, 0.1]),
        used=("one", "two", "three"),
        assignment=("three",) * 3,
        best_single="three",
        router="default",
        parts=measured(load(folder / "experts.yaml")),
    )
    write_map(folder / "new.map", fitted)
    use = ("default: one", "default: one\nrouting: {choose: fitted}")

    change(folder, use)
    fresh = replayed(coe, "--on", "decisions.jsonl")
    change(folder, use, ("model: three", "model: thirty"))
    stale = coe("replay", "--config", "new.yaml", "--on", "decisions.jsonl", "--json")

    assert {row["new"] for row in fresh["found"]["moved"]} == {"three"}
    assert fresh["found"]["after"]["expected"] == 2
    assert fresh["found"]["total"]["expected_gain"] == pytest.approx(0.8)
    assert "new.map is stale: `experts.three` has changed" in stale.stderr
    assert all(row["new"] != "three" for row in json.loads(stale.stdout)["found"]["moved"])


def test_a_composition_that_wants_a_map_and_has_none_is_refused(coe: Coe, folder: Path) -> None:
    record(folder, [decision("trips", "two")])
    change(folder, ("default: one", "default: one\nrouting: {choose: fitted}"))

    done = coe("replay", "--config", "new.yaml", "--on", "decisions.jsonl")

    assert done.returncode == 2
    assert "there is no new.map; run `coe map fit`" in done.stderr


def test_another_router_needs_the_text(coe: Coe, folder: Path) -> None:
    old = load(folder / "experts.yaml").fingerprint
    rows = [
        decision("trips", "two", composition=old),
        decision("trips", "two", composition=old, prompt="the train, plus a bus"),
        decision("sums", "one", composition=old, messages=[{"role": "user", "content": "a ship"}]),
    ]
    record(folder, rows)
    change(folder, ("keywords: [train]", "keywords: [ship]"))

    found = replayed(coe, "--on", "decisions.jsonl")

    assert found["unusable"] == [
        {
            "place": "decisions.jsonl:1",
            "why": "the router is another one (`categories.trips` has changed), and its text was "
            "not recorded",
        }
    ]
    assert found["asked"] == found["used"] == 2
    assert found["found"]["moved"] == [
        {"category": "sums", "old": "two", "new": "one", "count": 1},
        {"category": "trips", "old": "one", "new": "two", "count": 1},
    ]


POLICIES = """\
policies:
  data_classes: [public, confidential]
  detect: {secrets: confidential}
  rules: [{name: confidential stays here, if: {data: confidential}, deny: {experts: [two, three]},
    else: refuse}]
"""
POLICIES_TOO = f"default: one\n{POLICIES}"
KEY = "AKIA" + "IOSFODNN7EXAMPLE"


def test_the_new_policies_count_on_the_new_side_alone(coe: Coe, folder: Path) -> None:
    rows = [
        decision("trips", "two"),
        decision("trips", "two", prompt="a train"),
        decision("sums", "three", prompt="plus", model="three"),
        decision("trips", "three", prompt="a train", model="three"),
        decision("sums", "three", prompt=f"plus {KEY}", model="three"),
    ]
    record(folder, rows)
    change(folder, ("[two]}", "[two, one], data: confidential}"), ("default: one", POLICIES_TOO))

    done = replayed(coe, "--against", "experts.yaml", "--on", "decisions.jsonl")

    assert done["found"]["moved"] == [
        {"category": "trips", "old": "two", "new": "one", "count": 2},
        {"category": "(named)", "old": "three", "new": "", "count": 2},
    ]
    assert done["asked"] == 4  # what names an expert, too, since its category counts


@pytest.mark.anyio
async def test_what_may_not_leave_is_not_sent_to_the_router(
    coe: Coe, folder: Path, upstream: FakeUpstream
) -> None:
    record(folder, [decision("sums", "one", prompt="plus"), decision("sums", "one", prompt=KEY)])
    judge = "routers: {default: {type: llm, expert: two}}"
    url = ("http://127.0.0.1:9", upstream.url)
    change(folder, ("routers: {default: keyword}", judge), url, ("default: one", POLICIES_TOO))

    await asyncio.to_thread(replayed, coe, "--on", "decisions.jsonl")

    assert upstream.received == 1
    assert KEY.encode() not in upstream.requests[0].body


def test_where_no_row_can_be_used_that_is_an_error(coe: Coe, folder: Path) -> None:
    record(folder, [{"expert": "one", "category": "sums"}])
    change(folder)

    done = coe("replay", "--config", "new.yaml", "--on", "decisions.jsonl")

    assert done.returncode == 1
    assert "neither its text nor what the router said was recorded" in done.stderr


def test_thresholds_apply_to_recorded_probabilities(coe: Coe, folder: Path) -> None:
    record(folder, [decision("trips", "two")])
    change(folder, ("default: one", "default: one\nrouting: {threshold: 0.95}"))

    found = replayed(coe, "--on", "decisions.jsonl")["found"]

    assert found["moved"] == [{"category": NONE, "old": "two", "new": "one", "count": 1}]


def test_what_a_session_kept_stays(coe: Coe, folder: Path) -> None:
    record(folder, [{**decision("sums", "two"), "category": "trips", "reason": "session"}])
    change(folder, ("experts: [two]", "experts: [three]"))

    found = replayed(coe, "--on", "decisions.jsonl")["found"]

    assert found["moved"] == [{"category": "trips", "old": "two", "new": "three", "count": 1}]


def test_what_coe_route_prints_is_a_row(coe: Coe, folder: Path) -> None:
    first, second = (coe("route", text, "--json").stdout for text in ("a train", "1 plus 1"))
    (folder / "decisions.jsonl").write_text(first + second)
    change(folder, ("experts: [two]", "experts: [three]"))

    found = replayed(coe, "--on", "decisions.jsonl")

    assert found["used"] == 2
    assert [row["new"] for row in found["found"]["moved"]] == ["three"]


def test_wrong_rows_are_told_with_their_lines(coe: Coe, folder: Path) -> None:
    rows = [
        decision("trips", "two"),
        {"category": "trips", "categories": []},
        decision("trips", "two", score=1.5),
        {"expert": "one", "categories": [{"name": "sums", "probability": 2}]},
        decision("trips", "two", reason="luck"),
        decision("trips", "two", cost=-1),
        [1],
    ]
    record(folder, rows)
    with (folder / "decisions.jsonl").open("a") as file:
        file.write("\n{broken\n")
    change(folder)

    done = coe("replay", "--config", "new.yaml", "--on", "decisions.jsonl")

    assert done.returncode == 2
    for said in (
        "decisions.jsonl:2: `expert`: is missing: expected who answered, or null",
        "decisions.jsonl:3: `score`: expected a number from 0 to 1, not 1.5",
        "decisions.jsonl:4: `categories[0].probability`: expected a number from 0 to 1, not 2",
        "decisions.jsonl:5: `reason`: expected one of matched",
        "decisions.jsonl:6: `cost`: expected a number that is at least 0, not -1",
        "decisions.jsonl:7: expected an object",
        "decisions.jsonl:8: not JSON",
    ):
        assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--on", "none.jsonl"), "none.jsonl: cannot be read"),
        (("--on", "empty.jsonl"), "empty.jsonl: holds no rows"),
        (("--on", "decisions.jsonl", "--against", "none.yaml"), "none.yaml"),
    ],
)
def test_what_is_wrong_is_said(coe: Coe, folder: Path, words: tuple[str, ...], said: str) -> None:
    record(folder, [decision("trips", "two")])
    record(folder, [], "empty.jsonl")
    change(folder)

    done = coe("replay", "--config", "new.yaml", *words)

    assert done.returncode == 2
    assert said in done.stderr
