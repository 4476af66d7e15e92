"""The matrix as a table in the README and as numbers for the benches."""

import json
from pathlib import Path

from experts.recipe.evaluation import Matrix, bounds
from experts.recipe.skills import SKILLS

BEGIN, FINISH = "<!-- matrix: begin -->", "<!-- matrix: end -->"
TRAINING_BEGIN, TRAINING_FINISH = "<!-- training: begin -->", "<!-- training: end -->"


def write_matrix(matrix: Matrix, readme: Path, bench: Path) -> None:
    """Put the matrix between the README's markers and its summary into a JSON file."""
    _replace(readme, BEGIN, FINISH, _matrix_table(matrix))
    bench.parent.mkdir(parents=True, exist_ok=True)
    numbers = {**bounds(matrix), "matrix": matrix}
    bench.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


def write_training(record: Path, readme: Path) -> None:
    """Put what each training took between the README's markers."""
    lines = [
        "| trained | steps | tokens | minutes | tokens/s | loss |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, row in json.loads(record.read_text(encoding="utf-8")).items():
        rate = row["tokens"] / row["seconds"]
        lines.append(
            f"| {name} | {row['steps']:,} | {row['tokens']:,} | {row['seconds'] / 60:.1f} "
            f"| {rate:,.0f} | {row['loss']:.4f} |"
        )
    _replace(readme, TRAINING_BEGIN, TRAINING_FINISH, "\n".join(lines))


def _matrix_table(matrix: Matrix) -> str:
    skills = [skill.name for skill in SKILLS]
    lines = ["| | " + " | ".join(skills) + " |", "|---" + "|--:" * len(skills) + "|"]
    for model, row in matrix.items():
        shown = [f"{100 * row[skill]:.1f}" for skill in skills]
        marked = [
            f"**{share}**" if skill == model else share
            for skill, share in zip(skills, shown, strict=True)
        ]
        lines.append(f"| {model} | " + " | ".join(marked) + " |")
    return "\n".join(lines)


def _replace(readme: Path, begin: str, finish: str, table: str) -> None:
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(begin, 1)
    after = rest.split(finish, 1)[1]
    readme.write_text(f"{before}{begin}\n{table}\n{finish}{after}", encoding="utf-8")
