"""`coe map`: from scores to a live map and back, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coe.composition import load
from coe.composition.revisions import revision
from coe.mapping.outcomes import Outcome
from coe.mapping.store import read_map
from coe.stores.outcomes import OutcomeStore, Prompt

from .conftest import Coe

FILE = """\
version: 1  # kept
backends:
  box: {url: http://127.0.0.1:9, memory: 16GiB, reserve: 1GiB}
experts:
  coder: {backend: box, model: coder, memory: 8GiB, cost: {input: 1 USD/M, output: 4 USD/M}}
  lawyer: {backend: box, model: lawyer, memory: 6GiB, cost: {input: 1 USD/M, output: 4 USD/M}}
  general: {backend: box, model: general, memory: 4GiB, cost: {input: 1 USD/M, output: 1 USD/M}}
  late: {backend: box, model: late}
encoders: {small: {type: hashed}}
routers: {default: {type: embedding, encoder: small}}
categories:
  code: {utterances: [fix this, write a script, why does it crash, a bash loop, refactor a class]}
  law: {utterances: [is it valid, who is liable, read the contract, a breach, the statute]}
default: general
"""
RIGHT = {"coder": (0.9, 0.2), "lawyer": (0.2, 0.9), "general": (0.6, 0.6)}
COST = {"coder": 0.004, "lawyer": 0.004, "general": 0.001}


def outcomes(count: int = 400) -> str:
    """Return what three experts scored on so many prompts of two categories."""
    draw = np.random.default_rng(0)
    rows = []
    for i in range(count):
        topic = int(draw.integers(2))
        shares = {"code": (0.9, 0.04)[topic], "law": (0.04, 0.9)[topic]}
        for expert, chances in RIGHT.items():
            score = float(draw.random() < chances[topic])
            row = {"prompt": f"p{i}", "expert": expert, "score": score, "probabilities": shares}
            rows.append(json.dumps({**row, "cost": COST[expert], "latency_s": 1.0}))
    return "\n".join(rows) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.joinpath("experts.yaml").write_text(FILE)
    tmp_path.joinpath("outcomes.jsonl").write_text(outcomes())
    return tmp_path


def test_scores_become_a_live_map_and_the_lists_come_back(coe: Coe, folder: Path) -> None:
    fitted = coe("map", "fit", "--on", "outcomes.jsonl")

    assert fitted.returncode == 0, fitted.stderr
    assert "the best one within the budget" in fitted.stdout
    assert "accepted: it is better than the incumbent" in fitted.stdout
    assert "nothing was scored of late" in fitted.stderr
    assert not folder.joinpath("experts.map").exists()

    changed = json.loads(coe("map", "diff", "--json").stdout)
    assert changed["refused"] is None
    assert changed["changed"]["code"] == {"old": "general", "new": "coder"}
    assert changed["changed"]["law"] == {"old": "general", "new": "lawyer"}

    applied = coe("map", "apply")
    assert applied.returncode == 0, applied.stderr
    text = folder.joinpath("experts.yaml").read_text()
    assert "choose: fitted" in text
    assert text.startswith("version: 1  # kept")

    shown = coe("map", "show", "--category", "code")
    assert "* coder" in shown.stdout
    assert shown.stderr == ""
    cells = json.loads(coe("map", "show", "--json").stdout)
    assert [row["expert"] for row in cells["categories"][:2]] == ["coder", "lawyer"]

    again = coe("map", "fit", "--on", "outcomes.jsonl")
    assert "REFUSED: it is not shown to be better" in again.stdout
    refused = coe("map", "apply")
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    forced = coe("map", "apply", "--force")
    assert "applied by force" in forced.stderr
    assert "APPLIED BY FORCE" in coe("map", "show").stdout

    assert "wrote experts.map" in coe("map", "rollback").stdout
    assert "APPLIED BY FORCE" not in coe("map", "show").stdout
    assert "there was no map before" in coe("map", "rollback").stdout
    assert "choose: ranked" in folder.joinpath("experts.yaml").read_text()
    assert not folder.joinpath("experts.map").exists()


def test_a_proposal_about_something_else_is_refused(coe: Coe, folder: Path) -> None:
    coe("map", "fit", "--on", "outcomes.jsonl")
    other = FILE.replace("model: coder", "model: coder-2")
    folder.joinpath("experts.yaml").write_text(other)

    refused = coe("map", "apply")

    assert refused.returncode == 1
    assert "`experts.coder` has changed" in refused.stderr


def kept(folder: Path, *, texts: bool) -> None:
    """Keep scores of prompts whose words, not their category, say who is right."""
    draw = np.random.default_rng(0)
    composition = load(folder / "experts.yaml")
    with OutcomeStore.open(folder / ".coe" / "outcomes.sqlite") as store:
        for i in range(240):
            is_river = bool(draw.integers(2))
            words = draw.choice(["river water fish boat"] if is_river else ["stone rock hill ore"])
            chances = {"coder": 0.1 + 0.8 * is_river, "lawyer": 0.9 - 0.8 * is_river}
            for expert, chance in {**chances, "general": 0.5}.items():
                row = Outcome(
                    prompt=f"p{i}",
                    expert=expert,
                    score=float(draw.random() < chance),
                    probabilities={"code": 0.48, "law": 0.48},
                    revision=revision(composition, expert),
                )
                store.add([row])
            if texts:
                message = {"role": "user", "content": f"{words} {draw.integers(99)}"}
                store.note([Prompt(digest=f"p{i}", body={"messages": [message]})])


def test_neighbours_correct_the_cells_where_they_are_shown_to_help(coe: Coe, folder: Path) -> None:
    kept(folder, texts=True)

    fitted = coe("map", "fit", "--neighbours")

    assert fitted.returncode == 0, fitted.stderr
    assert "correct the cells" in fitted.stdout
    assert "accepted: it is better" in fitted.stdout
    coe("map", "apply")
    found = read_map(folder / "experts.map")
    assert found is not None
    assert found.residual is not None
    assert found.residual.embeddings.shape[0] == 240


def test_neighbours_need_the_texts(coe: Coe, folder: Path) -> None:
    kept(folder, texts=False)

    fitted = coe("map", "fit", "--neighbours")

    assert fitted.returncode == 2
    assert "the texts of 240 of 240 prompts were not kept" in fitted.stderr


def test_a_damaged_live_map_does_not_keep_from_a_new_one(coe: Coe, folder: Path) -> None:
    coe("map", "fit", "--on", "outcomes.jsonl")
    coe("map", "apply")
    folder.joinpath("experts.map").write_text("{}")

    fitted = coe("map", "fit", "--on", "outcomes.jsonl")
    applied = coe("map", "apply")

    assert "experts.map: is damaged" in fitted.stderr
    assert "the written lists count as the incumbent" in fitted.stderr
    assert applied.returncode == 0, applied.stderr
    assert read_map(folder / "experts.map") is not None
    assert "there was no map before" in coe("map", "rollback").stdout


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("money=0.5USD/1k", "cheapest map costs 1 USD per 1,000 requests, the budget is 0.5 USD"),
        ("memory=box:3GiB", "fits the pool box of 3GiB; the smallest needs 4GiB"),
        ("latency=500ms", "the quickest map takes 1 s on average, the budget is 0.5 s"),
        ("money=1EUR/1k", "it is in EUR, and experts.coder.cost in USD"),
    ],
)
def test_a_budget_that_cannot_be_met_is_named(
    coe: Coe, folder: Path, budget: str, expected: str
) -> None:
    found = coe("map", "fit", "--on", "outcomes.jsonl", "--budget", budget)

    assert found.returncode == 2
    assert expected in found.stderr
    assert not folder.joinpath(".coe", "map.proposal").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("fit",), "nothing was scored yet; run `coe score FILE`"),
        (("apply",), "there is no proposal; run `coe map fit` first"),
        (("show",), "there is no map; `coe map fit` fits one"),
        (("rollback",), "none to go back to"),
        (("fit", "--on", "outcomes.jsonl", "--source", "hearsay"), "no source `hearsay`"),
    ],
)
def test_what_is_missing_is_named(coe: Coe, arguments: tuple[str, ...], expected: str) -> None:
    found = coe("map", *arguments)

    assert found.returncode == 2
    assert expected in found.stderr


def test_a_state_folder_that_cannot_be_made_is_named(
    coe: Coe, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "taken").write_text("a file")
    monkeypatch.setenv("COE_STATE_DIR", str(folder / "taken" / "state"))

    found = coe("map", "fit", "--on", "outcomes.jsonl")

    assert found.returncode == 2
    assert "map.proposal: cannot be written: Not a directory" in found.stderr
