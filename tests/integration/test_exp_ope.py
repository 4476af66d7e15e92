"""`coe exp ope`, on logs whose truth is known and on one of a real gateway."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.composition import load
from coe.composition.measured import measured
from coe.mapping import NONE, FittedMap
from coe.mapping.store import write_map
from coe.stores.decisions import FILE, DecisionStore, Feedback, Record
from coe.testing.upstream import FakeUpstream

from .conftest import Coe, Serve

COMPOSITION = """\
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {a: up/a, b: up/b, c: up/c, unseen: up/u}
categories:
  code: {keywords: [python], experts: [b, a, c]}
  prose: {keywords: [poem], experts: [a, b, c]}
default: c
experiments:
  explore:
    unit: request
    arms: {control: 50%, random: {share: 50%, choose: random}}
"""
# How often an answer is good, by category and expert: the truth.
QUALITY = {"code": {"a": 0.2, "b": 0.8, "c": 0.5}, "prose": {"a": 0.7, "b": 0.3, "c": 0.5}}
CHANCES = {"code": {"a": 0.5, "b": 0.2, "c": 0.3}, "prose": {"a": 0.3, "b": 0.3, "c": 0.4}}
CODE = 0.3
TRUTH = {
    "ranked": CODE * 0.8 + (1 - CODE) * 0.7,
    "best_single": 0.5,
    "expert:a": CODE * 0.2 + (1 - CODE) * 0.7,
    "expert:b": CODE * 0.8 + (1 - CODE) * 0.3,
}
METHODS = ("dr", "snips", "ips")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experts.yaml").write_text(COMPOSITION)
    return tmp_path


def write_log(folder: Path, count: int, *, seed: int = 0, **changed: Any) -> None:
    """Write decisions that were drawn by `CHANCES`, and what was said of them by `QUALITY`."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    start = time.time() - 86_400
    records, said = [], []
    for number in range(count):
        category = "code" if chance.random() < CODE else "prose"
        chances = CHANCES[category]
        asked = chance.choices(list(chances), list(chances.values()))[0]
        order = [asked, *(name for name in chances if name != asked)]
        facts: dict[str, Any] = {
            "id": f"d{number}",
            "at": start + number,
            "category": category,
            "reason": "matched",
            "expert": asked,
            "arms": {"explore": "random"},
            "detail": {
                "candidates": [{"expert": name, "propensity": chances[name]} for name in order],
                "ranked": [{"name": category, "probability": 0.9}],
                "calibrated": True,
            },
        }
        records.append(Record(**(facts | changed)))
        good = chance.random() < QUALITY[category][asked]
        said.append(Feedback(decision=f"d{number}", at=start + number, value=float(good), key="k"))
    store = DecisionStore.open(folder / ".coe" / FILE)
    store.add(records)
    for one in said:
        store.say(one)
    store.close()


@pytest.mark.parametrize("policy", TRUTH)
def test_intervals_hold_the_truth(folder: Path, coe: Coe, policy: str) -> None:
    write_log(folder, 3000, seed=1)  # 19 of 20 seeds hold; this is one of them

    done = coe("exp", "ope", "--choose", policy, "--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["decisions"] == 3000
    assert [one["method"] for one in found["estimates"]] == list(METHODS)
    for one in found["estimates"]:
        assert one["low"] < TRUTH[policy] < one["high"], one
        assert one["high"] - one["low"] < 0.2
        assert 200 < one["effective"] < 3000
    # What was done is another policy, and the two are told apart where they differ.
    done_instead = sum(
        share * sum(CHANCES[name][expert] * QUALITY[name][expert] for expert in CHANCES[name])
        for name, share in (("code", CODE), ("prose", 1 - CODE))
    )
    assert found["got"] == pytest.approx(done_instead, abs=0.03)
    gain = found["gain"]
    assert gain["low"] < TRUTH[policy] - done_instead < gain["high"]
    if policy == "ranked":
        assert gain["low"] > 0.1


def test_the_fitted_map_and_its_best_single_expert(folder: Path, coe: Coe) -> None:
    """The map believes that c is best at code, and a at prose and on the whole."""
    composition = load(folder / "experts.yaml")
    quality = np.array([[0.2, 0.8], [0.7, 0.5], [0.5, 0.5]])
    fitted = FittedMap(
        categories=("code", "prose", NONE),
        experts=("a", "c"),
        quality=quality,
        lower=quality - 0.05,
        upper=quality + 0.05,
        counts=np.full(quality.shape, 100.0),
        cost=np.full(quality.shape, np.nan),
        latency_s=np.full(quality.shape, np.nan),
        traffic=np.array([0.3, 0.6, 0.1]),
        used=("a", "c"),
        assignment=("c", "a", "a"),
        price_weight=0.0,
        best_single="a",
        verdict="better",
        parts={
            name: mark
            for name, mark in measured(composition).items()
            if not name.endswith((".b", ".unseen"))
        },
    )
    write_map(folder / "experts.map", fitted)
    write_log(folder, 3000, seed=1)

    for policy, truth in {
        "fitted": CODE * QUALITY["code"]["c"] + (1 - CODE) * QUALITY["prose"]["a"],
        "best_single": TRUTH["expert:a"],
    }.items():
        done = coe("exp", "ope", "--choose", policy, "--json")
        assert done.returncode == 0, done.stderr
        robust = json.loads(done.stdout)["estimates"][0]
        assert robust["low"] < truth < robust["high"]
        assert robust["value"] == pytest.approx(truth, abs=0.04)


def test_a_table_for_people(folder: Path, coe: Coe) -> None:
    write_log(folder, 3000)

    shown = coe("exp", "ope", "--choose", "ranked", "--experiment", "explore", "--arm", "random")

    assert "`ranked` on 3,000 decisions" in shown.stdout
    assert "doubly robust" in shown.stdout
    assert "beside what was done: +" in shown.stdout


def test_a_log_that_is_too_small_is_refused(folder: Path, coe: Coe) -> None:
    write_log(folder, 150)

    done = coe("exp", "ope", "--choose", "ranked")

    assert done.returncode == 2
    assert "it takes 200" in done.stderr
    assert "run a split" in done.stderr


def test_what_was_never_possible_is_refused(folder: Path, coe: Coe) -> None:
    write_log(folder, 1000)

    done = coe("exp", "ope", "--choose", "expert:unseen")

    assert done.returncode == 2
    assert "was never possible in the log" in done.stderr


def test_turns_of_one_draw_count_once(folder: Path, coe: Coe) -> None:
    write_log(folder, 1000, unit="the same conversation")

    done = coe("exp", "ope", "--choose", "ranked")

    assert "the 1 decisions of the log" in done.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--choose", "luck"], "--choose is ranked, fitted, best_single or expert:NAME"),
        (["--choose", "expert:nobody"], "there is no expert `nobody`"),
        (["--choose", "fitted"], "run `coe map fit`"),
        (["--choose", "ranked", "--arm", "random"], "an arm is one of an experiment"),
        (["--choose", "ranked", "--experiment", "none"], "no experiment `none`"),
        (["--choose", "ranked", "--experiment", "explore", "--arm", "x"], "has no arm `x`"),
        (["--choose", "ranked", "--experiment", "explore", "--arm", "control"], "of 0 decisions"),
    ],
)
def test_what_cannot_be_asked(folder: Path, coe: Coe, words: list[str], fault: str) -> None:
    write_log(folder, 10)

    done = coe("exp", "ope", *words)

    assert done.returncode in {1, 2}
    assert fault in done.stderr


def test_a_log_without_feedback(folder: Path, coe: Coe) -> None:
    assert "no decisions were written here" in coe("exp", "ope", "--choose", "ranked").stderr
    write_log(folder, 10)
    store = DecisionStore.open(folder / ".coe" / FILE)
    detail = {
        "candidates": [{"expert": "a", "propensity": 0.5}, {"expert": "b", "propensity": 0.5}]
    }
    store.forget(before=time.time(), now=time.time())
    store.add([Record(id="x", at=time.time(), detail=detail)])
    store.close()

    assert "nobody said how good" in coe("exp", "ope", "--choose", "ranked").stderr


FIVE = """\
version: 1
backends: {{up: "{url}"}}
experts: {{{experts}}}
categories:
  code: {{keywords: [python], experts: [a, b, c, d, e]}}
default: a
routing: {{choose: {choose}}}
"""


@pytest.mark.anyio
@pytest.mark.parametrize("choose", ["random", "ranked"])
async def test_what_a_gateway_logs(
    serve: Serve, upstream: FakeUpstream, coe: Coe, choose: str
) -> None:
    """More experts than are asked in turn: the propensities of the others are in the log, too."""
    experts = ", ".join(f"{name}: {{backend: up, model: ok}}" for name in "abcde")
    file = FIVE.format(url=upstream.url, experts=experts, choose=choose)
    async with serve(file) as running:
        for number in range(30):
            response = await running.chat(text=f"python {number}")
            said = {"response_id": (await response.json())["id"], "value": True}
            assert (
                await running.request("POST", f"{running.url}/feedback", json=said)
            ).status == 201

    done = coe("exp", "ope", "--choose", "expert:e")

    if choose == "random":
        assert "the 30 decisions of the log" in done.stderr
    else:
        assert "of 30 decisions none was drawn at random" in done.stderr
        assert "choose: random" in done.stderr
