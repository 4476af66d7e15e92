"""The command: `python -m experts.recipe train | evaluate | draw`."""

import argparse
import os
from pathlib import Path

from experts.recipe.adapters import NAMES
from experts.recipe.evaluation import bounds, measure
from experts.recipe.heldout import write_fresh
from experts.recipe.plan import EXPERTS, Plan
from experts.recipe.production import train_all
from experts.recipe.report import write_matrix, write_training


def main() -> None:
    """Run the chosen command."""
    parser = argparse.ArgumentParser(prog="python -m experts.recipe", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train what is missing: the base, then the adapters")
    train.add_argument("--only", nargs="+", choices=("base", *NAMES), help="train only these")
    train.add_argument("--again", action="store_true", help="train also what is there already")
    train.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="adapters at a time")
    evaluate = commands.add_parser("evaluate", help="measure every adapter on every skill")
    evaluate.add_argument("--limit", type=int, help="only so many prompts a skill")
    draw = commands.add_parser("draw", help="write prompts that are not among the held-out ones")
    draw.add_argument("folder", type=Path, help="where to: one file for each skill")
    draw.add_argument("--seed", type=int, default=1, help="that they are drawn by")
    for command in (train, evaluate):
        command.add_argument("--folder", type=Path, default=EXPERTS, help="where the experts are")
    asked = parser.parse_args()
    if asked.command == "train":
        train_all(asked.folder, asked.only or ["base", *NAMES], again=asked.again, jobs=asked.jobs)
    elif asked.command == "draw":
        write_fresh(Plan(), asked.folder, asked.seed)
    else:
        evaluate_all(asked.folder, asked.limit)


def evaluate_all(folder: Path, limit: int | None) -> None:
    """Measure the matrix and write it where people and benches look."""
    matrix = measure(folder, limit=limit)
    for name, value in bounds(matrix).items():
        print(f"{name} {value:.4f}")
    if limit is None:
        write_training(folder / "training.json", folder / "README.md")
        bench = EXPERTS.parent / "build" / "bench" / "experts-matrix.json"
        write_matrix(matrix, folder / "README.md", bench)


if __name__ == "__main__":
    main()
