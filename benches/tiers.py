"""What an expert takes to come back, from disk and from host memory: `python -m benches.tiers`.

The embedded engine, alone and idle. An adapter and the base that ship, and a model of 182 million
random weights, saved in half precision and used in single; each is loaded, parked, loaded again and
unloaded, in turns. The files are in the operating system's cache: a disk that has to be read makes
the difference larger. The machine has no accelerator, so parking copies nothing, and what is saved
is reading and building. Writes build/bench/tiers.json.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Awaitable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console

from benches import report
from benches.report import Goal, Metric
from coe.backends.local import LocalBackend, build
from coe.protocols import BackendSpec, ExpertSite

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "bench" / "tiers.json"
BASE, ADAPTERS = ROOT / "experts" / "base", ROOT / "experts" / "adapters"
NAMES = ("arithmetic", "dates", "facts", "general", "json", "phrasebook", "python", "sql", "units")
ROUNDS = 9

GOALS = {
    name: Goal(metric=f"{name}_host_vs_disk", unit="x", better="lower", goal=0.5)
    for name in ("adapter", "base", "model")
}


def main() -> None:
    """Measure, print and write."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    console = Console(width=100)
    with TemporaryDirectory() as folder:
        _save_model(folder)
        metrics = asyncio.run(_measure(folder, console))
    console.print(report.goals_table(metrics))
    report.write_metrics(OUT, metrics)


async def _measure(model: str, console: Console) -> list[Metric]:
    base = str(BASE)
    sites = (
        ExpertSite(expert="base", model=base),
        *(ExpertSite(expert=n, model=base, adapter=str(ADAPTERS / n)) for n in NAMES),
        ExpertSite(expert="model", model=model),
    )
    backend = build(BackendSpec(name="here", type="local", experts=sites))
    await backend.load(NAMES[0])  # imports the libraries
    await backend.load("base")
    rows, metrics = [], []
    for what, experts in (
        ("adapter", NAMES),
        ("base", ["base"] * ROUNDS),
        ("model", ["model"] * ROUNDS),
    ):
        turns = [await _turn(backend, expert) for expert in experts]
        disk, host, park = ([turn[i] for turn in turns] for i in range(3))
        times = (f"{median(one):.2f}" for one in (disk, host, park))
        rows.append((what, f"{turns[0][3] / 2**20:.1f}", *times))
        metrics.append(GOALS[what].measured(report.ratios(host, disk)))
    await backend.aclose()
    columns = ("loads, medians", "MiB", "from disk, ms", "from host memory, ms", "parking, ms")
    console.print(report.table("The embedded engine", columns, rows))
    return metrics


async def _turn(backend: LocalBackend, expert: str) -> tuple[float, float, float, int]:
    """Return milliseconds from disk, from host memory and to there; and the bytes."""
    await backend.unload(expert)
    if expert in NAMES:
        await backend.load("base")
    disk = await _took_ms(backend.load(expert))
    size = (await backend.resident())[expert] or 0
    park = await _took_ms(backend.park(expert))
    host = await _took_ms(backend.load(expert))
    return disk, host, park, size


async def _took_ms(work: Awaitable[None]) -> float:
    began_s = time.perf_counter()
    await work
    return 1000 * (time.perf_counter() - began_s)


def _save_model(folder: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(tokenizer),
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=16,
        num_attention_heads=16,
        num_key_value_heads=4,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
