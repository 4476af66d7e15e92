"""The held-out set as files, so that tests and benches read it without the generators.

Each row says its category and how its answers are checked, as `coe score` reads it.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experts.recipe.example import Example, Skill, heldout_examples
from experts.recipe.plan import Plan
from experts.recipe.skills import SKILLS

CHECKS: dict[str, dict[str, Any]] = {
    "arithmetic": {"type": "exact", "after": "="},
    "units": {"type": "exact", "after": "="},
    "dates": {"type": "exact", "after": ", so "},
    "json": {"type": "json"},
    "python": {"type": "exact", "case": True, "spaces": False},
}
"""What `Skill.normalise` compares, said as a check; the other skills' is the check's usual one."""


def write_heldout(plan: Plan, folder: Path) -> None:
    """Write one file of prompts and answers for each skill."""
    for skill in SKILLS:
        _write(folder, skill, heldout_examples(skill, plan.heldout, plan.seed))


def write_fresh(plan: Plan, folder: Path, seed: int) -> None:
    """Write as many again by another seed, of those that are not among the held-out ones.

    The wordings are the same; the prompts, and what most of them are about, are not.
    """
    for skill in SKILLS:
        known = {row.prompt for row in heldout_examples(skill, plan.heldout, plan.seed)}
        drawn = heldout_examples(skill, 3 * plan.heldout, seed)
        fresh = [row for row in drawn if row.prompt not in known]
        _write(folder, skill, fresh[: plan.heldout])


def _write(folder: Path, skill: Skill, rows: list[Example]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    check = {"check": CHECKS[skill.name]} if skill.name in CHECKS else {}
    lines = [
        json.dumps({**asdict(row), "category": skill.name, **check}, ensure_ascii=False)
        for row in rows
    ]
    (folder / f"{skill.name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_heldout(folder: Path, name: str) -> list[Example]:
    """Read the held-out examples of one skill."""
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    return [Example(prompt=row["prompt"], answer=row["answer"]) for row in rows]
