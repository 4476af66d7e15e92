"""The whole of the training: the base first, then the adapters side by side."""

import json
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from experts.recipe.adapters import NAMES, train_adapter
from experts.recipe.base import train_base
from experts.recipe.heldout import write_heldout
from experts.recipe.plan import Plan
from experts.recipe.training import Training


def train_all(folder: Path, names: list[str], *, again: bool, jobs: int) -> None:
    """Train the base on all cores and then the adapters, a few at a time, one core each."""
    plan = Plan()
    write_heldout(plan, folder / "heldout")
    base = folder / "base"
    if "base" in names and (again or not (base / "model.safetensors").exists()):
        shutil.rmtree(base, ignore_errors=True)
        record(folder, train_base(plan, base))
    wanted = [name for name in NAMES if name in names]
    if not again:
        wanted = [name for name in wanted if not (folder / "adapters" / name).exists()]
    # A process each: what `torch.compile` has compiled for one model is in the way of the next.
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        begun = [pool.submit(_train_one, plan, folder, name) for name in wanted]
        for done in as_completed(begun):
            record(folder, done.result())


def record(folder: Path, training: Training) -> None:
    """Note what a training took, beside what the others took."""
    path = folder / "training.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    row = asdict(training)
    rows[row.pop("name")] = row
    ordered = {name: rows[name] for name in ("base", *NAMES) if name in rows}
    path.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")


def _train_one(plan: Plan, folder: Path, name: str) -> Training:
    torch.set_num_threads(1)
    return train_adapter(plan, name, folder / "base", folder / "adapters" / name)
