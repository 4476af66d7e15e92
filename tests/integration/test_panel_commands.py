"""From drafts to a panel that answers: `coe score --samples`, `coe panel fit`, `apply`, `rollback`.

The experts are an upstream. On puzzles three of them err on different prompts, so that a vote is
right where any of them alone is often wrong, and one that is asked again says the same. On riddles
they err together.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from coe.composition import load
from coe.panels.applied import applied_rates
from coe.panels.store import read_panels
from coe.testing.upstream import FakeUpstream
from tests.commands import run

pytestmark = pytest.mark.anyio

FILE = """\
version: 1
backends:
  up: {url: "URL", concurrency: 16}
experts:
  ada: {backend: up, model: ada}
  bob: {backend: up, model: bob}
  eve: {backend: up, model: eve}
  judge: {backend: up, model: judge, status: live}
categories:
  puzzles: {keywords: [puzzle], experts: [ada, bob, eve]}   # who errs alone
  riddles: {keywords: [riddle], experts: [ada, bob, eve]}   # who err together
routers: {default: keyword}
aggregation:
  trio: {method: vote, experts: {choose: recruited, top: 3}}
  court: {method: best_of, experts: 3, judge: judge}
  scribe: {method: synthesize, experts: 3, writer: judge}
models: {coe/court: {aggregate: court}, coe/scribe: {aggregate: scribe}}
default: ada
"""
COUNT = 30
ERRS = {"ada": 0, "bob": 1, "eve": 2}


def says(body: Mapping[str, Any]) -> str | None:
    """Answer `right`, but for every third puzzle, each expert another; and every third riddle."""
    model, asked = str(body["model"]), str(body["messages"][-1]["content"])
    if model == "judge":
        return "1"
    number = int(asked.rsplit(maxsplit=1)[-1])
    is_wrong = number % 3 == (ERRS[model] if "puzzle" in asked else 0)
    return "wrong" if is_wrong else "right"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        fake.says = says
        yield fake


@pytest.fixture
def folder(tmp_path: Path, upstream: FakeUpstream) -> Path:
    (tmp_path / "experts.yaml").write_text(FILE.replace("URL", upstream.url))
    rows = [
        {"prompt": f"the {kind[:-1]} number {i}", "answer": "right", "category": kind}
        for i in range(COUNT)
        for kind in ("puzzles", "riddles")
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


ASKED = ("prompts.jsonl", "--samples", "3", "--experts", "ada,bob,eve")


async def test_a_panel_is_switched_on_where_it_pays_and_nowhere_else(
    folder: Path, upstream: FakeUpstream
) -> None:
    _, planned = await run(folder, "score", *ASKED)
    asked = upstream.received
    _, again = await run(folder, "score", *ASKED, "--dry-run")
    out, _ = await run(folder, "panel", "fit", "--json")
    fitted = json.loads(out)

    assert "60 prompts x 3 experts x 3 samples: 540 answers to ask for" in planned
    assert asked == 540
    assert "0 answers to ask for, 540 are kept already" in again
    assert fitted["panels"] == {"puzzles": "trio"}
    verdicts = {(row["category"], row["panel"]): row for row in fitted["verdicts"]}
    trio = verdicts["puzzles", "trio"]
    assert trio["quality"] == 1.0
    # About two in three; who is best by the other folds is a little worse on this one.
    assert 0.5 < trio["single"] == trio["self_moa"] < 0.7
    assert trio["over_self"]["low"] > 0
    assert not verdicts["riddles", "trio"]["is_on"]
    assert "no gain is shown" in verdicts["riddles", "trio"]["why"]
    assert verdicts["puzzles", "court"]["why"].startswith("not measured")

    diff, _ = await run(folder, "panel", "diff")
    await run(folder, "panel", "apply")
    composition = load(folder / "experts.yaml")

    assert "puzzles   -    trio" in diff
    assert dict(composition.routing.panels) == {"puzzles": "trio"}
    assert "# who errs alone" in (folder / "experts.yaml").read_text()
    rates = applied_rates(composition)
    assert rates is not None
    assert rates.of("puzzles", wrong=["ada"])["bob"] > rates.of("riddles", wrong=["ada"])["bob"]

    shown, _ = await run(folder, "panel", "show")
    routed, _ = await run(folder, "route", "the puzzle number 7", "--json")
    await run(folder, "panel", "rollback")

    assert re.search(r"puzzles +trio +yes", shown)
    assert "on: puzzles: trio" in shown
    assert "3 of 3, by what was measured" in routed
    assert not load(folder / "experts.yaml").routing.panels
    assert read_panels(folder / "experts.panels") is None


async def test_who_judges_is_asked_where_the_prompts_are_given(
    folder: Path, upstream: FakeUpstream
) -> None:
    await run(folder, "score", *ASKED)
    asked = upstream.received

    out, err = await run(
        folder, "panel", "fit", "prompts.jsonl", "--test-aggregators", "--max-tokens", "9", "--json"
    )

    fitted = json.loads(out)
    court = [row for row in fitted["verdicts"] if row["panel"] == "court"]
    assert {row["category"] for row in court} == {"puzzles", "riddles"}
    assert all(row["prompts"] == COUNT for row in court)
    assert upstream.received > asked
    assert "asked experts" in err
    scribe = {row["category"]: row for row in fitted["verdicts"] if row["panel"] == "scribe"}
    assert scribe["puzzles"]["quality"] == 0  # it writes `1`, wherever drafts differ
    assert scribe["puzzles"]["calls"] == 4
    assert scribe["riddles"]["quality"] == pytest.approx(2 / 3)
    assert scribe["riddles"]["calls"] == 3
    # Of puzzles two are right and one is wrong; a test needs one right and two wrong.
    assert fitted["tests"] == []


async def test_samples_are_asked_as_a_panel_asks_for_them(
    folder: Path, upstream: FakeUpstream
) -> None:
    text = (folder / "experts.yaml").read_text()
    able = "ada: {backend: up, model: ada, capabilities: [chat, logprobs]}"
    (folder / "experts.yaml").write_text(text.replace("ada: {backend: up, model: ada}", able))

    await run(folder, "score", "prompts.jsonl", "--samples", "3", "--limit", "1")

    asked = [json.loads(request.body) for request in upstream.requests]
    own = sorted(
        (body.get("seed", 0), body.get("temperature"), body.get("logprobs"))
        for body in asked
        if body["model"] == "ada" and "puzzle" in body["messages"][-1]["content"]
    )
    assert own == [(0, None, True), (1, 0.7, True), (2, 0.7, True)]
    assert not any("logprobs" in body for body in asked if body["model"] == "bob")


async def test_nothing_is_asked_beyond_the_cap(folder: Path, upstream: FakeUpstream) -> None:
    text = (folder / "experts.yaml").read_text()
    priced = "model: judge, cost: {input: 1 USD/M, output: 1 USD/M}"
    (folder / "experts.yaml").write_text(text.replace("model: judge", priced))
    await run(folder, "score", *ASKED)
    asked = upstream.received
    fit = ("panel", "fit", "prompts.jsonl", "--max-cost", "0.00001 USD")

    _, refused = await run(folder, *fit, code=2)
    _, err = await run(folder, *fit, "--max-tokens", "9")

    assert "add --max-tokens N" in refused
    assert "--max-cost could have been passed" in err
    assert upstream.received == asked
