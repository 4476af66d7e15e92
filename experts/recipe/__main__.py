"""The command: `python -m experts.recipe train` and `python -m experts.recipe evaluate`."""

import argparse
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from experts.recipe.adapters import NAMES, train_adapter
from experts.recipe.base import train_base
from experts.recipe.evaluation import bounds, measure
from experts.recipe.heldout import write_heldout
from experts.recipe.plan import EXPERTS, Plan
from experts.recipe.report import write_matrix, write_training
from experts.recipe.training import Training


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
    for command in (train, evaluate):
        command.add_argument("--folder", type=Path, default=EXPERTS, help="where the experts are")
    asked = parser.parse_args()
    if asked.command == "train":
        train_all(asked.folder, asked.only or ["base", *NAMES], again=asked.again, jobs=asked.jobs)
    else:
        evaluate_all(asked.folder, asked.limit)


def train_all(folder: Path, names: list[str], *, again: bool, jobs: int) -> None:
    """Train the base and then the adapters, a few at a time, one core each."""
    plan = Plan()
    write_heldout(plan, folder / "heldout")
    base = folder / "base"
    if "base" in names and (again or not (base / "model.safetensors").exists()):
        shutil.rmtree(base, ignore_errors=True)
        torch.set_num_threads(1)
        _record(folder, train_base(plan, base))
    wanted = [name for name in NAMES if name in names]
    if not again:
        wanted = [name for name in wanted if not (folder / "adapters" / name).exists()]
    spawned = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawned) as pool:
        for training in pool.map(_train_one, [(plan, folder, name) for name in wanted]):
            _record(folder, training)


def evaluate_all(folder: Path, limit: int | None) -> None:
    """Measure the matrix and write it where people and benches look."""
    matrix = measure(folder, limit=limit)
    for name, value in bounds(matrix).items():
        print(f"{name} {value:.4f}")
    if limit is None:
        write_training(folder / "training.json", folder / "README.md")
        write_matrix(
            matrix, folder / "README.md", EXPERTS.parent / "build" / "bench" / "experts.json"
        )


def _train_one(job: tuple[Plan, Path, str]) -> Training:
    plan, folder, name = job
    torch.set_num_threads(1)
    return train_adapter(plan, name, folder / "base", folder / "adapters" / name)


def _record(folder: Path, training: Training) -> None:
    path = folder / "training.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    row = asdict(training)
    rows[row.pop("name")] = row
    ordered = {name: rows[name] for name in ("base", *NAMES) if name in rows}
    path.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
