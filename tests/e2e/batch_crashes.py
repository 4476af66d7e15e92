"""Kills a process at the k-th statement of the database that begins or ends a transaction.

    python batch_crashes.py FOLDER STEP

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
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from coe.api import embeddings
from coe.api.bulk import kinds
from coe.batching.desk import Desk, Limits
from coe.batching.runner import Runner
from coe.composition import load
from coe.live import Hold
from coe.pipeline import Gateway
from coe.settings import Settings
from coe.stores.batches import BatchState
from coe.stores.records import Batch, File
from coe.telemetry import Telemetry
from coe.types import Answer, Query
from coe.wiring import wire

LINES = 3


COMPOSITION = """
version: 1
backends: {gone: "http://127.0.0.1:9"}
experts: {one: gone/m}
encoders: {small: {type: hashed}}
default: one
"""


def marking(log: Path) -> Any:
    """The endpoint's own answer, and a mark on the disk for each call: it outlives the process."""

    async def encode(gateway: Gateway, query: Query) -> Answer:
        with log.open("ab", buffering=0) as marks:
            marks.write(f"{query.body['input']}\n".encode())
        return await embeddings.open_answer(gateway, query)

    return encode


def begin(folder: Path) -> None:
    state = BatchState.open(folder)
    rows = (
        {"custom_id": f"{n}", "url": "/v1/embeddings", "body": {"model": "small", "input": f"{n}"}}
        for n in range(LINES)
    )
    size = state.files.write("file-in", (orjson.dumps(row) + b"\n" for row in rows))
    state.files.add(File(id="file-in", filename="in", purpose="batch", size=size, created_at=1))
    state.batches.add(
        Batch(
            seq=0,
            id="batch_1",
            endpoint="/v1/embeddings",
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
    held = Hold(wire(load(file), settings, Telemetry(log_requests=False)))
    kind = replace(kinds(settings)["/v1/embeddings"], encode=marking(folder / "asked"))
    desk = Desk(
        state=state,
        current=lambda: held,
        kinds={"/v1/embeddings": kind},
        parse=orjson.loads,
        owner=f"{os.getpid()}",
        new_id=lambda: "id",
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


def recorded(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "batches.sqlite")) as database:
        rows = database.execute("SELECT custom_id FROM lines WHERE done = 1").fetchall()
        # A lease that its dead owner cannot give up: as if its time had run out.
        database.execute("UPDATE batches SET lease_until = 0")
        database.commit()
    return sorted(row[0] for row in rows)


def output(folder: Path) -> dict[str, Any]:
    state = BatchState.open(folder)
    batch = state.batches.get("batch_1")
    assert batch is not None
    assert batch.output_file_id is not None
    rows = state.files.path(batch.output_file_id).read_bytes().splitlines()
    files = sorted(path.name for path in (folder / "files").iterdir())
    state.close()
    return {
        "status": batch.status,
        "completed": batch.completed,
        "answers": [orjson.loads(row)["custom_id"] for row in rows],
        "files": files,
    }


def main() -> None:
    base = Path(sys.argv[1])
    for kill_at in range(1, 1000, int(sys.argv[2])):
        folder = base / f"{kill_at}"
        begin(folder)
        was_killed = child(folder, kill_at)
        marks = folder / "asked"
        before = marks.read_text().split() if marks.exists() else []
        done = recorded(folder)
        if was_killed:
            assert not child(folder, None)
        asked = marks.read_text().split()
        report = {"kill": kill_at, "done": done, "before": before, "asked": asked}
        print(json.dumps({**report, **output(folder)}), flush=True)  # noqa: T201
        if not was_killed:
            return


if __name__ == "__main__":
    main()
