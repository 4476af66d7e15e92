"""Kills a process at the k-th statement of the database that begins or ends a transaction.

    python batch_crashes.py FOLDER STEP WHAT

WHAT is `lines`, each of which is asked once, or `panels`, which make three calls for a line.

For k = 1, 1 + STEP, ...: a child works a fresh batch off and is killed at its k-th `BEGIN` or
`COMMIT`; another child goes on from what is left. Ends once a first child is through before it is
killed. Prints one JSON line for each k: what had been recorded at the kill, what was asked, what
came out. Children are forked, so that hundreds of deaths take seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from coe.api import embeddings
from coe.api.bulk import kinds
from coe.batching.desk import Desk, Limits
from coe.batching.runner import Runner
from coe.composition import load
from coe.identity import ANONYMOUS
from coe.live import Hold
from coe.pipeline import Gateway
from coe.protocols import Backend
from coe.settings import Settings
from coe.stores.batches import BatchState
from coe.stores.records import Batch, File
from coe.telemetry import Telemetry
from coe.types import Answer, Dispatch, Query
from coe.wiring import wire

COMPOSITION = """
version: 1
backends: {gone: "http://127.0.0.1:9"}
experts:
  one: gone/m
  a: {constant: this}
  b: {constant: that}
  w: {constant: both}
encoders: {small: {type: hashed}}
aggregation: {pair: {method: synthesize, experts: [a, b], writer: w}}
models: {coe/pair: {aggregate: pair}}
default: one
"""


@dataclass(frozen=True)
class What:
    """What a batch is of: `calls` name the marks that each of its lines leaves."""

    endpoint: str
    lines: int
    calls: tuple[str, ...]

    def body(self, number: int) -> dict[str, Any]:
        if self.endpoint.endswith("embeddings"):
            return {"model": "small", "input": f"{number}"}
        return {"model": "coe/pair", "messages": [{"role": "user", "content": f"{number}"}]}


WHATS = {
    "lines": What("/v1/embeddings", 3, ("",)),
    "panels": What("/v1/chat/completions", 2, ("a", "b", "w")),
}


def mark(log: Path, what: str) -> None:
    """Leave a mark on the disk: it outlives the process."""
    with log.open("ab", buffering=0) as marks:
        marks.write(f"{what}\n".encode())


def marking(log: Path) -> Any:
    """The endpoint's own answer, and a mark for each call."""

    async def encode(gateway: Gateway, query: Query) -> Answer:
        mark(log, query.body["input"])
        return await embeddings.open_answer(gateway, query)

    return encode


@dataclass
class Marking:
    """A backend's own answers, and a mark for each call: its line, and the expert."""

    backend: Backend
    log: Path

    def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        line = dispatch.call.body["messages"][-1]["content"]
        mark(self.log, f"{line}{dispatch.call.expert}")
        return self.backend.generate(dispatch)

    async def aclose(self) -> None:
        await self.backend.aclose()


def begin(folder: Path, what: What) -> None:
    state = BatchState.open(folder)
    rows = (
        {"custom_id": f"{n}", "url": what.endpoint, "body": what.body(n)} for n in range(what.lines)
    )
    size = state.files.write("file-in", (orjson.dumps(row) + b"\n" for row in rows))
    state.files.add(File(id="file-in", filename="in", purpose="batch", size=size, created_at=1))
    state.batches.add(
        Batch(
            seq=0,
            id="batch_1",
            endpoint=what.endpoint,
            input_file_id="file-in",
            completion_window="24h",
            status="validating",
            created_at=1.0,
            expires_at=1e12,
        )
    )
    state.close()


async def work(folder: Path, kill_at: int | None) -> None:
    """Work the batch off; die at a statement."""
    state = BatchState.open(folder)
    seen = 0

    def trace(statement: str) -> None:
        nonlocal seen
        if statement.startswith(("BEGIN", "COMMIT")):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    with state.database.reading() as connection:
        connection.set_trace_callback(trace)
    file = folder / "experts.yaml"
    file.write_text(COMPOSITION)
    settings = Settings(config=file)
    log = folder / "asked"
    gateway = wire(load(file), settings, Telemetry(log_requests=False))
    backends: Any = {name: Marking(one, log) for name, one in gateway.backends.items()}
    held = Hold(replace(gateway, backends=backends))
    known = kinds(settings)
    known["/v1/embeddings"] = replace(known["/v1/embeddings"], encode=marking(log))
    desk = Desk(
        state=state,
        current=lambda: held,
        kinds=known,
        parse=orjson.loads,
        owner=f"{os.getpid()}",
        new_id=lambda: "id",
        identify=lambda _: ANONYMOUS,
        limits=Limits(concurrency=1),
    )
    runner = Runner(lambda: desk)
    async with runner.running(1.0):
        while True:
            await asyncio.sleep(0.001)
            batch = state.batches.get("batch_1")
            if batch is not None and batch.has_ended:
                return


def child(folder: Path, kill_at: int | None) -> bool:
    """Fork; True where the child was killed."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            asyncio.run(work(folder, kill_at))
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in {0, -signal.SIGKILL}, status
    return status != 0


def recorded(folder: Path, what: What) -> list[str]:
    """Return the marks of the calls that are never to be made again."""
    with closing(sqlite3.connect(folder / "batches.sqlite")) as database:
        lines = database.execute("SELECT custom_id FROM lines WHERE done = 1").fetchall()
        done = [f"{line}{call}" for (line,) in lines for call in what.calls]
        calls = database.execute(
            "SELECT custom_id || calls.expert FROM calls JOIN lines USING (batch, number) "
            "WHERE calls.done = 1"
        ).fetchall()
        done += [call for (call,) in calls]
        # A lease that its dead owner cannot give up: as if its time had run out.
        database.execute("UPDATE batches SET lease_until = 0")
        database.commit()
    return sorted(done)


def output(folder: Path) -> dict[str, Any]:
    state = BatchState.open(folder)
    batch = state.batches.get("batch_1")
    assert batch is not None
    assert batch.output_file_id is not None
    rows = state.files.path(batch.output_file_id).read_bytes().splitlines()
    with state.database.reading() as connection:
        (left,) = connection.execute("SELECT count(*) FROM calls").fetchone()
    files = sorted(path.name for path in (folder / "files").iterdir())
    state.close()
    return {
        "status": batch.status,
        "completed": batch.completed,
        "answers": [orjson.loads(row)["custom_id"] for row in rows],
        "left": left,
        "files": files,
    }


def main() -> None:
    base, what = Path(sys.argv[1]), WHATS[sys.argv[3]]
    for kill_at in range(1, 1000, int(sys.argv[2])):
        folder = base / f"{kill_at}"
        begin(folder, what)
        was_killed = child(folder, kill_at)
        marks = folder / "asked"
        before = marks.read_text().split() if marks.exists() else []
        done = recorded(folder, what)
        if was_killed:
            assert not child(folder, None)
        asked = marks.read_text().split()
        report = {"kill": kill_at, "done": done, "before": before, "asked": asked}
        print(json.dumps({**report, **output(folder)}), flush=True)  # noqa: T201
        if not was_killed:
            return


if __name__ == "__main__":
    main()
