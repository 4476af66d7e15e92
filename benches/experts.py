"""The embedded experts: each adapter on each skill, and the whole gateway on all of them.

`python -m benches.experts` measures the matrix of `experts/README.md` (with transformers alone, no
code of the gateway), then sends every held-out prompt through router, planner and engine as
`coe/auto`, and compares the answer that comes back with the right one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import orjson
from rich.progress import Progress

from benches.report import console, table
from coe import pipeline
from coe.api import wire
from coe.composition import load
from coe.errors import ConfigError
from coe.live import Live
from coe.pipeline import Gateway
from coe.settings import Settings
from coe.telemetry import Telemetry
from coe.wiring import wire as wire_gateway
from experts.recipe.evaluation import bounds, measure
from experts.recipe.example import Example
from experts.recipe.heldout import read_heldout
from experts.recipe.report import write_matrix
from experts.recipe.skills import SKILLS

ROOT = Path(__file__).resolve().parents[1]
EXPERTS = ROOT / "experts"
MATRIX = ROOT / "build" / "bench" / "experts-matrix.json"
OUT = ROOT / "build" / "bench" / "experts.json"
_AT_A_TIME = 8


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="only so many prompts a skill")
    limit = parser.parse_args().limit
    matrix = measure(EXPERTS, limit=limit)
    if limit is None:
        write_matrix(matrix, EXPERTS / "README.md", MATRIX)
    routed = asyncio.run(_routed(limit))
    summary = bounds(matrix)
    summary["routed_accuracy_mean"] = sum(right for right, _, _ in routed.values()) / len(routed)
    summary["routing_accuracy_mean"] = sum(found for _, found, _ in routed.values()) / len(routed)
    show = console()
    rows = [
        (name, *(f"{100 * row[skill.name]:.1f}" for skill in SKILLS))
        for name, row in matrix.items()
    ]
    show.print(table("right, %", ("model", *(skill.name for skill in SKILLS)), rows))
    rows = [
        (name, f"{100 * found:.1f}", f"{100 * right:.1f}", lost)
        for name, (right, found, lost) in routed.items()
    ]
    columns = ("skill", "routed to its expert, %", "right, %", "the others went to")
    show.print(table("through the gateway, as coe/auto", columns, rows))
    metrics = [
        _metric("own_skill_accuracy_min", summary, "higher", 0.95),
        _metric("wrong_adapter_accuracy_max", summary, "lower", 0.40),
        _metric("monolith_accuracy_mean", summary, "higher", None),
        _metric("routed_accuracy_mean", summary, "higher", 0.95),
        _metric("routing_accuracy_mean", summary, "higher", 0.95),
    ]
    show.print(
        table(
            "Goals",
            ("metric", "value", "goal"),
            [(str(m["metric"]), f"{m['value']:.4f}", str(m["goal"] or "-")) for m in metrics],
        )
    )
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("[" + ",\n ".join(json.dumps(metric) for metric in metrics) + "]\n")


def _metric(
    name: str, summary: dict[str, float], better: str, goal: float | None
) -> dict[str, object]:
    value = round(summary[name], 4)
    return {"metric": name, "value": value, "unit": "share", "better": better, "goal": goal}


async def _routed(limit: int | None) -> dict[str, tuple[float, float, str]]:
    """Return, by skill, the shares of right answers and of right experts, and who got the rest."""
    settings = Settings(config=ROOT / "experts.yaml")
    gateway = wire_gateway(load(settings.config), settings, Telemetry(log_requests=False))
    failures: list[ConfigError] = []
    results: dict[str, tuple[float, float, str]] = {}
    async with Live(gateway, settings, failures.append).running():
        slots = asyncio.Semaphore(_AT_A_TIME)
        with Progress() as progress:
            for skill in SKILLS:
                asked = read_heldout(EXPERTS / "heldout", skill.name)[:limit]
                task = progress.add_task(f"asking about {skill.name}", total=len(asked))

                async def ask(example: Example, task: object = task) -> tuple[str, str]:
                    async with slots:
                        answered = await _ask(gateway, settings, example.prompt)
                        progress.advance(task)  # type: ignore[arg-type]
                        return answered

                answers = await asyncio.gather(*(ask(example) for example in asked))
                if failures:
                    raise failures[0]
                right = [
                    skill.normalise(text) == skill.normalise(example.answer)
                    for (_, text), example in zip(answers, asked, strict=True)
                ]
                others = Counter(expert for expert, _ in answers if expert != skill.name)
                results[skill.name] = (
                    sum(right) / len(asked),
                    1 - others.total() / len(asked),
                    ", ".join(f"{name} {count}" for name, count in others.most_common(4)),
                )
    return results


async def _ask(gateway: Gateway, settings: Settings, prompt: str) -> tuple[str, str]:
    """Return the expert that answered and its text."""
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": prompt}]}
    query = wire.parse_chat(body, wire.new_id(), settings)
    answer = await pipeline.answer(gateway, query)
    async with aclosing(answer.frames):
        completion = orjson.loads(answer.first)
    return answer.call.expert, completion["choices"][0]["message"]["content"]


if __name__ == "__main__":
    main()
