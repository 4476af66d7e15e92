"""The held-out set as files, so that tests and benches read it without the generators."""

import json
from dataclasses import asdict
from pathlib import Path

from experts.recipe.example import Example, heldout_examples
from experts.recipe.plan import Plan
from experts.recipe.skills import SKILLS


def write_heldout(plan: Plan, folder: Path) -> None:
    """Write one file of prompts and answers for each skill."""
    folder.mkdir(parents=True, exist_ok=True)
    for skill in SKILLS:
        rows = heldout_examples(skill, plan.heldout, plan.seed)
        lines = [json.dumps(asdict(row), ensure_ascii=False) for row in rows]
        (folder / f"{skill.name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_heldout(folder: Path, name: str) -> list[Example]:
    """Read the held-out examples of one skill."""
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [Example(**json.loads(line)) for line in lines]
