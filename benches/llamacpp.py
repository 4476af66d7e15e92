"""Swaps of a real server: `python -m benches.llamacpp` (part of `make bench-scheduler`).

llama_cpp.server with four of the experts that ship, of which it holds one: a call of another one
swaps. 200 calls of all four, in an order drawn by lot, are there at once:

    as they come   one after the other, as first come, first served
    scheduled      by the scheduler, which loads an expert for all of its calls

Swaps are counted in the server's own log: the files that it read. The models have 3.7 M parameters
(7 MB), so a swap is short here, and what it saves in time is a lower bound for models of a size.
Rounds have seeds of their own, and who goes first alternates.

The server is set up under build/bench once, which compiles llama.cpp (ten minutes of one core; it
needs a C++ compiler), unless LLAMACPP_PYTHON names a Python that has what `REQUIREMENTS` lists.
Where neither works, that is said and nothing is measured. The metrics are added to
build/bench/scheduler.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.error import URLError
from urllib.request import urlopen

from benches import report
from benches.installation import BUILD, ROOT
from benches.processes import free_port
from benches.report import Goal
from coe.backends.managed.llama_cpp_python import LlamaCppPythonBackend, build
from coe.protocols import BackendSpec, ExpertSite
from coe.scheduler.events import (
    Action,
    Arrive,
    Event,
    Finished,
    Load,
    Loaded,
    Start,
    Unload,
    Unloaded,
)
from coe.scheduler.events import Ticket as Waiting
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options
from coe.scheduler.state import Scheduler
from coe.types import Call, Dispatch

REQUIREMENTS = ("llama-cpp-python[server]==0.3.36", "gguf", "safetensors")
PROMPTS = {
    "sql": "Write SQL: count the rows of the table users",
    "json": "Give me JSON: Anna is 31 and lives in Oslo",
    "python": "Write Python: add two numbers",
    "units": "Convert 3 km to m",
}
NAMES = tuple(PROMPTS)
CALLS = 200
SEEDS = (0, 1, 2, 3, 4)
GOALS = (
    Goal(metric="llamacpp_swaps", unit="swaps", better="lower", goal=4),
    Goal(metric="llamacpp_time_vs_fifo", unit="x", better="lower", goal=1),
)


class NoServer(Exception):
    """The server does not start."""


@dataclass(frozen=True)
class Server:
    """The server in a process of its own."""

    url: str
    log: Path

    @property
    def reads(self) -> int:
        """Models that it has read since it started."""
        return len(re.findall("loaded meta data with", self.log.read_text(errors="replace")))


@dataclass(frozen=True)
class Took:
    """What all calls together took."""

    swaps: int
    seconds: float


def main() -> None:
    """Measure, print, and add the metrics to those of the scheduler."""
    console = report.console()
    try:
        python = _python()
        with _serving(python, _models(python)) as server:
            rounds = asyncio.run(_rounds(server))
    except (OSError, subprocess.CalledProcessError, NoServer) as error:
        console.print(f"llamacpp_swaps and llamacpp_time_vs_fifo: NOT MEASURED ({error})")
        return
    ours, theirs = [one["scheduled"] for one in rounds], [one["as they come"] for one in rounds]
    rows = [
        (
            name,
            f"{median(one[name].swaps for one in rounds):g}",
            f"{median(one[name].seconds for one in rounds):.2f}",
        )
        for name in rounds[0]
    ]
    title = f"llama_cpp.server, {len(NAMES)} models, one in memory, {CALLS} calls"
    console.print(report.table(title, ("order", "swaps", "seconds"), rows))
    swaps, ratio = GOALS
    metrics = (
        swaps.measured([one.swaps for one in ours]),
        ratio.measured(report.ratios([o.seconds for o in ours], [t.seconds for t in theirs])),
    )
    console.print(report.goals_table(metrics))
    _add(metrics)


async def _rounds(server: Server) -> list[dict[str, Took]]:
    sites = tuple(ExpertSite(expert=name, model=name) for name in NAMES)
    backend = build(
        BackendSpec(name="llamacpp", type="llama_cpp_python", url=server.url, experts=sites)
    )
    orders = {"as they come": _as_they_come, "scheduled": _scheduled}
    rounds = []
    try:
        await _as_they_come(backend, NAMES)  # files and code are in memory then
        for seed in SEEDS:
            asked = random.Random(seed).choices(NAMES, k=CALLS)
            took = {}
            for name in list(orders)[:: 1 if seed % 2 else -1]:
                reads, begun_s = server.reads, time.perf_counter()
                await orders[name](backend, asked)
                seconds = time.perf_counter() - begun_s
                took[name] = Took(server.reads - reads, seconds)
            rounds.append({name: took[name] for name in orders})
    finally:
        await backend.aclose()
    return rounds


async def _as_they_come(backend: LlamaCppPythonBackend, asked: Sequence[str]) -> None:
    for name in asked:
        await _call(backend, name)


async def _scheduled(backend: LlamaCppPythonBackend, asked: Sequence[str]) -> None:
    """Do what the scheduler says, as soon as it says it, until all calls are answered."""
    layout = Layout(
        pools=(Pool(name="server", memory=1),),
        experts=tuple(Expert(name=name, pool="server", memory=1) for name in NAMES),
    )
    scheduler = Scheduler(layout, Options(goal=1.0), resident=tuple(await backend.resident()))
    happened: asyncio.Queue[Event] = asyncio.Queue()

    async def act(action: Action) -> None:
        match action:
            case Load(expert=expert):
                await backend.load(expert)
                happened.put_nowait(Loaded(expert))
            case Unload(expert=expert):
                await backend.unload(expert)
                happened.put_nowait(Unloaded(expert))
            case Start(id=call, expert=expert):
                await _call(backend, expert)
                happened.put_nowait(Finished(call))
            case _:
                raise RuntimeError(f"not foreseen: {action}")

    for place, name in enumerate(asked):
        happened.put_nowait(Arrive(Waiting(id=str(place), expert=name)))
    left = len(asked)
    async with asyncio.TaskGroup() as tasks:
        while left:
            event = await happened.get()
            left -= isinstance(event, Finished)
            for action in scheduler.handle(event, time.monotonic()):
                tasks.create_task(act(action))


async def _call(backend: LlamaCppPythonBackend, expert: str) -> None:
    messages = [{"role": "user", "content": PROMPTS[expert]}]
    body = {"messages": messages, "max_tokens": 24, "temperature": 0}
    call = Call(expert=expert, backend=backend.name, model=expert, body=body, stream=False)
    async with aclosing(backend.generate(Dispatch(query_id="bench", call=call))) as items:
        async for _ in items:
            pass


def _python() -> str:
    """Return a Python with the server; sets one up where none is named."""
    if named := os.environ.get("LLAMACPP_PYTHON"):
        return named
    folder = BUILD / "llamacpp"
    python, stamp = folder / "bin" / "python", folder / "stamp"
    wanted = "\n".join(REQUIREMENTS)
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"compiling llama.cpp into {folder}: ten minutes of one core, once", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        # Not from pip's cache: a wheel that was built with other flags there may have no library.
        install = (str(python), "-m", "pip", "install", "-q", "--no-cache-dir", *REQUIREMENTS)
        subprocess.run(install, check=True)
        subprocess.run([str(python), "-c", "import llama_cpp.server"], check=True)
        stamp.write_text(wanted)
    return str(python)


def _models(python: str) -> Path:
    folder = BUILD / "gguf"
    folder.mkdir(parents=True, exist_ok=True)
    script = ROOT / "benches" / "gguf_models.py"
    subprocess.run([python, str(script), str(folder), *NAMES], check=True)
    return folder


@contextmanager
def _serving(python: str, files: Path) -> Iterator[Server]:
    port, log = free_port(), files / "server.log"
    entries = [
        {"model": str(files / f"{name}.gguf"), "model_alias": name, "n_ctx": 512, "n_threads": 1}
        for name in NAMES
    ]
    config = {"host": "127.0.0.1", "port": port, "interrupt_requests": False, "models": entries}
    (files / "server.json").write_text(json.dumps(config))
    command = [python, "-m", "llama_cpp.server", "--config_file", str(files / "server.json")]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        _wait(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield Server(f"http://127.0.0.1:{port}/v1", log)
    finally:
        process.terminate()
        process.wait(20)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise NoServer(f"the server ended: {log.read_text(errors='replace')[-500:]}")
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise NoServer(f"the server did not answer: see {log}")


def _add(metrics: Sequence[report.Metric]) -> None:
    """Write the metrics in the place of those of the same names."""
    path = BUILD / "scheduler.json"
    known: list[Mapping[str, object]] = json.loads(path.read_text()) if path.is_file() else []
    report.write_metrics(BUILD / "llamacpp.json", metrics)
    new = json.loads((BUILD / "llamacpp.json").read_text())
    names = {row["metric"] for row in new}
    rows = [*(row for row in known if row["metric"] not in names), *new]
    path.write_text("[" + ",\n ".join(json.dumps(row) for row in rows) + "]\n")


if __name__ == "__main__":
    main()
