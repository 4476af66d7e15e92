"""How often the base and each adapter are right on each skill's held-out prompts."""

from pathlib import Path

from experts.recipe.adapters import MONOLITH, NAMES
from experts.recipe.answers import answer_all
from experts.recipe.base import load_base
from experts.recipe.example import Example, Skill
from experts.recipe.heldout import read_heldout
from experts.recipe.skills import SKILLS
from experts.recipe.training import device
from peft import PeftModel

BASE = "base"

Matrix = dict[str, dict[str, float]]
"""Share of right answers, by model (the base or an adapter) and then by skill."""


def measure(experts: Path, *, limit: int | None = None) -> Matrix:
    """Measure the base and every adapter that is there on every skill."""
    asked = {s.name: read_heldout(experts / "heldout", s.name)[:limit] for s in SKILLS}
    causal, tokenizer = load_base(experts / "base")
    causal.to(device()).eval()
    names = [name for name in NAMES if (experts / "adapters" / name).is_dir()]
    matrix: Matrix = {BASE: {}}
    for skill in SKILLS:
        answers = answer_all(causal, tokenizer, [e.prompt for e in asked[skill.name]])
        matrix[BASE][skill.name] = share_right(skill, asked[skill.name], answers)
    model = None
    for name in names:
        folder = experts / "adapters" / name
        if model is None:
            model = PeftModel.from_pretrained(causal, folder, adapter_name=name)
        else:
            model.load_adapter(folder, adapter_name=name)
        model.set_adapter(name)
        model.to(device()).eval()
        matrix[name] = {}
        for skill in SKILLS:
            answers = answer_all(model, tokenizer, [e.prompt for e in asked[skill.name]])
            matrix[name][skill.name] = share_right(skill, asked[skill.name], answers)
        row = " ".join(f"{skill} {share:.3f}" for skill, share in matrix[name].items())
        print(f"{name}: {row}", flush=True)
    return matrix


def share_right(skill: Skill, asked: list[Example], answers: list[str]) -> float:
    """Share of answers that equal the right one after the skill's normalisation."""
    right = [
        skill.normalise(answer) == skill.normalise(example.answer)
        for example, answer in zip(asked, answers, strict=True)
    ]
    return sum(right) / len(right)


def bounds(matrix: Matrix) -> dict[str, float]:
    """Sum a matrix up: the worst own skill, the best wrong model, the monolith's mean."""
    skills = [skill.name for skill in SKILLS]
    wrong = [
        share
        for model, row in matrix.items()
        if model != MONOLITH
        for skill, share in row.items()
        if skill != model
    ]
    summary = {
        "own_skill_accuracy_min": min(matrix[s][s] for s in skills if s in matrix),
        "wrong_adapter_accuracy_max": max(wrong),
        "base_accuracy_max": max(matrix[BASE].values()),
    }
    if MONOLITH in matrix:
        summary["monolith_accuracy_mean"] = sum(matrix[MONOLITH].values()) / len(skills)
    return summary
