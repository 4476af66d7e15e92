"""`coe score` where nobody is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.mapping.outcomes import Outcome
from coe.stores.outcomes import OutcomeStore

from .conftest import Coe

FILE = """
version: 1
backends:
  up: {url: "http://127.0.0.1:9"}
experts:
  one: {backend: up, model: one, cost: {input: 1 USD/M, output: 1 USD/M}}
  two: {backend: up, model: two}
  gone: {backend: up, model: gone, status: retired}
default: one
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "experts.yaml").write_text(FILE)
    rows = [{"prompt": f"number {i}", "answer": "?"} for i in range(60)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "nothing to do: name a file of prompts"),
        (("none.jsonl",), 2, "none.jsonl: cannot be read"),
        (("prompts.jsonl", "--experts", "three"), 2, "no expert `three`"),
        (("prompts.jsonl", "--source", "rumour"), 2, "--source: one of evaluation"),
        (("prompts.jsonl", "--max-cost", "2"), 2, "--max-cost: `2` is not money"),
        (("prompts.jsonl", "--max-cost", "2 EUR"), 2, "in USD, and the cap is in EUR"),
        (("prompts.jsonl", "--max-cost", "2 USD"), 2, "add --max-tokens N"),
        (("prompts.jsonl", "--export", "no/out.jsonl"), 2, "there is no folder"),
        (("--import", "prompts.jsonl"), 2, "prompts.jsonl:1: `expert`: is missing"),
        (
            ("prompts.jsonl", "--experts", "one", "--max-cost", "0.00001 USD", "--max-tokens", "9"),
            1,
            "not all was asked of one: --max-cost could have been passed",
        ),
    ],
)
def test_what_is_wrong_is_said(coe: Coe, words: tuple[str, ...], code: int, said: str) -> None:
    done = coe("score", *words)

    assert done.returncode == code
    assert said in done.stderr


def test_a_command_says_what_it_would_do(coe: Coe) -> None:
    done = coe("score", "prompts.jsonl", "--dry-run", "--limit", "5")

    assert done.returncode == 0
    assert "5 prompts x 2 experts: 10 answers to ask for" in done.stderr
    assert "USD (one" in done.stderr
    assert "no price is known of two" in done.stderr
    assert "--max-cost sets one" in done.stderr


def test_the_state_may_be_elsewhere(
    coe: Coe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COE_STATE_DIR", str(tmp_path / "state"))
    with OutcomeStore.open(tmp_path / "state" / "outcomes.sqlite") as store:
        store.add([Outcome(prompt="p", expert=name, score=1.0) for name in ("one", "two")])

    done = coe("score", "--export", "out.jsonl", "--experts", "two")

    assert done.returncode == 0
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "prompt": "p",
        "expert": "two",
        "score": 1.0,
        "source": "evaluation",
        "at": 0.0,
    }


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_outcomes_leave_and_come_back(coe: Coe, folder: Path, name: str) -> None:
    path = folder / ".coe" / "outcomes.sqlite"
    first = [Outcome(prompt=f"p{i}", expert="one", score=i / 4, revision="r") for i in range(4)]
    with OutcomeStore.open(path) as store:
        store.add(first)

    written = coe("score", "--export", name)
    path.unlink()
    read = coe("score", "--import", name)

    assert f"wrote {name}: 4 outcomes" in written.stderr
    assert f"read {name}: 4 outcomes" in read.stderr
    with OutcomeStore.open(path) as store:
        again = list(store.read())
    assert [(row.prompt, row.expert, row.score) for row in again] == [
        (row.prompt, row.expert, row.score) for row in first
    ]


def test_a_damaged_store_is_said_to_be(coe: Coe, folder: Path) -> None:
    (folder / ".coe").mkdir()
    (folder / ".coe" / "outcomes.sqlite").write_text("scores\n" * 1000)

    done = coe("score", "prompts.jsonl")

    assert done.returncode == 2
    assert "outcomes.sqlite: not a database, or damaged" in done.stderr
