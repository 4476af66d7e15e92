"""Panels of the embedded experts, for real: `benches.panels` without anything modelled.

Nine specialists, each right about its own skill and hardly ever about another: where panels are
expected to lose. Rates are fitted to some prompts of the held-out set by the commands that people
use (`coe score --samples`, `coe panel fit`, `coe panel apply`), and the arms answer others, through
router, planner, recruitment, members, and the vote.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from rich.console import Console

from benches.report import table
from coe import pipeline
from coe.api import wire
from coe.composition import load
from coe.composition.draft import Draft
from coe.errors import ConfigError
from coe.intervals import paired_gain
from coe.live import Live
from coe.pipeline import Gateway
from coe.scoring.checks import Judge, Tests
from coe.scoring.rows import Row, read_rows
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.wiring import wire as wire_gateway

FITTED, REPORTED = 12, 30
"""Prompts of each skill that rates are fitted to, and that are reported on."""
AT_ONCE = 8
SINGLE = "coe/single"
ARMS = {
    SINGLE: "one expert, routed",
    "coe/self": "Self-MoA, 3 samples",
    "coe/random": "random panel of 3",
    "coe/fixed": "the ranking's first 3",
    "coe/recruited": "recruited 3",
    "coe/adaptive": "adaptive size",
    "coe/cascade": "cascade: two that agree, else a third",
    "coe/auto": "default: on where it is proved",
}
VOTE = {"method": "vote", "answer": "text"}
RECRUITED = {"choose": "recruited", "top": 3}
PANELS = {
    "self": {**VOTE, "experts": {"top": 1, "samples": 3}},
    "random": {**VOTE, "experts": ["phrasebook", "dates", "python"]},
    "fixed": {**VOTE, "experts": 3},
    "recruited": {**VOTE, "experts": RECRUITED},
    "adaptive": {**VOTE, "experts": {**RECRUITED, "sure_at": 0.9}, "wave": 1},
    "cascade": {**VOTE, "experts": 3, "wave": 2, "agree": 2},
}


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one prompt."""

    score: float
    calls: int


def show(root: Path, console: Console) -> None:
    """Fit, ask, and print the table."""
    folder = root / "build" / "bench" / "panels-live"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _write_composition(root, folder)
    rows = _write_prompts(root, folder)
    for words in (
        ("score", "fitted.jsonl", "--samples", "3", "--max-tokens", "160"),
        ("panel", "fit"),
        ("panel", "apply"),
    ):
        _coe(folder, *words)
    verdicts = json.loads(_coe(folder, "panel", "show", "--json"))["verdicts"]
    found = asyncio.run(_ask_all(folder, rows))
    console.print(_table(found, len(rows)))
    console.print(_verdicts(verdicts))


def _write_composition(root: Path, folder: Path) -> None:
    """Write the shipped composition with its panels, every expert ranked behind the category's."""
    file = root / "experts.yaml"
    content: dict[str, Any] = json.loads(json.dumps(Draft(file.read_text(), str(file)).content))
    names = [name for name in content["experts"] if name != "tiny"]
    content["experts"]["tiny"]["model"] = str(root / "experts" / "base")
    for name in names:
        content["experts"][name]["adapter"] = str(root / "experts" / "adapters" / name)
    for name, category in content["categories"].items():
        for key in ("utterances_file", "negatives_file"):
            category[key] = str(root / category[key])
        category["experts"] = [name, *(other for other in names if other != name)]
    content["aggregation"] = PANELS
    content["models"] = {
        SINGLE: {"aggregate": "none"},
        **{f"coe/{name}": {"aggregate": name} for name in PANELS},
    }
    (folder / "experts.yaml").write_text(json.dumps(content, indent=1))


def _write_prompts(root: Path, folder: Path) -> list[Row]:
    """Write the prompts to fit to; return those to report on."""
    fitted: list[str] = []
    reported: list[str] = []
    for file in sorted((root / "experts" / "heldout").glob("*.jsonl")):
        lines = file.read_text().splitlines()
        fitted += lines[:FITTED]
        reported += lines[FITTED : FITTED + REPORTED]
    (folder / "fitted.jsonl").write_text("\n".join(fitted) + "\n")
    (folder / "reported.jsonl").write_text("\n".join(reported) + "\n")
    composition = load(folder / "experts.yaml")
    names, experts = tuple(composition.categories), tuple(composition.experts)
    return list(read_rows(folder / "reported.jsonl", categories=names, experts=experts))


def _coe(folder: Path, *words: str) -> str:
    """Run a command of the gateway; it says itself what goes wrong."""
    return subprocess.run(
        [sys.executable, "-m", "coe", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


async def _ask_all(folder: Path, rows: list[Row]) -> dict[str, list[Answered]]:
    settings = Settings(config=folder / "experts.yaml", router_wait_s=60.0)
    gateway = wire_gateway(load(settings.config), settings, Telemetry(log_requests=False))
    failures: list[ConfigError] = []
    found: dict[str, list[Answered]] = {}
    async with Live(gateway, settings, failures.append).running():
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(model: str, row: Row) -> Answered:
            async with slots:
                return await _ask(gateway, settings, model, row)

        for model in ARMS:
            found[model] = await asyncio.gather(*(one(model, row) for row in rows))
    if failures:
        raise failures[0]
    return found


async def _ask(gateway: Gateway, settings: Settings, model: str, row: Row) -> Answered:
    body = {"model": model, "max_tokens": 160, **row.request}
    query = wire.parse_chat(body, wire.new_id(), settings)
    answer = await pipeline.answer(gateway, query)
    async with aclosing(answer.frames):
        completion = orjson.loads(answer.first)
    assert not isinstance(row.check, Judge | Tests)
    text = completion["choices"][0]["message"]["content"] or ""
    calls = answer.panel.calls if answer.panel is not None else 1
    return Answered(row.check.grade(text), calls)


def _table(found: dict[str, list[Answered]], prompts: int) -> object:
    single = _scores(found[SINGLE])
    rows = []
    for model, name in ARMS.items():
        scores = _scores(found[model])
        mean, low, high = paired_gain(scores, single)
        rows.append(
            (
                name,
                f"{scores.mean():.3f}",
                f"{mean:+.3f} [{low:+.3f} {high:+.3f}]" if model != SINGLE else "",
                f"{np.mean([row.calls for row in found[model]]):.2f}",
            )
        )
    return table(
        f"The embedded experts, live: {prompts} held-out prompts that no rate was fitted to; "
        "95 % intervals, paired",
        ("arm", "right", "over one expert", "calls"),
        rows,
    )


def _verdicts(verdicts: list[dict[str, Any]]) -> object:
    rows = [
        (
            row["panel"],
            str(sum(other["is_on"] for other in verdicts if other["panel"] == row["panel"])),
            f"{np.mean([o['unnecessary'] for o in verdicts if o['panel'] == row['panel']]):.0%}",
        )
        for row in {row["panel"]: row for row in verdicts}.values()
    ]
    return table(
        f"What `coe panel fit` says of them, on {FITTED} prompts of each category",
        ("panel", "categories where it is on", "calls in vain"),
        rows,
    )


def _scores(rows: list[Answered]) -> Any:
    return np.array([row.score for row in rows])
