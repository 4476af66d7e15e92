"""`coe batch FILE`: what /v1/batches does, in this process and without a server.

The state of a batch lies in a folder of its own, named by the file's content, so that the same
command finds it again after an interruption; it is removed once the results are written.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from coe.api import wire
from coe.api.bulk import Bulk
from coe.batching.checks import endpoint_of, scan
from coe.batching.progress import progress
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.errors import CoEError, ConfigError
from coe.live import Live
from coe.settings import Settings
from coe.stores.batches import FILE, BatchState
from coe.stores.records import Batch, File, Group
from coe.telemetry import Telemetry
from coe.wiring import wire as wire_gateway

_WINDOW_S = 30 * 86_400.0
_LOOK_S = 0.2
_PLAIN_S = 5.0
_PIECE = 1 << 20

Show = Callable[[Batch, tuple[Group, ...]], None]


@dataclass(frozen=True, slots=True)
class Results:
    """Where the results of a file go."""

    output: Path
    errors: Path

    @classmethod
    def of(cls, file: Path, out: Path | None) -> Results:
        """Return the paths: beside the file, or in another folder."""
        folder = file.parent if out is None else out
        return cls(folder / f"{file.stem}.output.jsonl", folder / f"{file.stem}.errors.jsonl")

    def found(self) -> Path | None:
        """Return one that is there already."""
        return next((path for path in (self.output, self.errors) if path.exists()), None)


def run_file(file: Path, out: Path | None, config: Path | None, *, force: bool) -> None:
    """Run a file's requests and write their results.

    Exits with 1 where lines failed, with 2 where the file is not what it has to be, and with 130
    where it was interrupted.

    Raises:
        CoEError: a file cannot be read or written, or there are results already.
    """
    settings = read_settings(config, None, None)
    composition = load(settings.config)
    results = Results.of(file, out)
    try:
        folder = settings.state_folder / "batches" / _digest(file)
        if not (folder / FILE).exists() and (there := results.found()) and not force:
            raise CoEError(f"{there} is there already: --force writes anew, --out DIR elsewhere")
        results.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CoEError(f"{error.filename}: {error.strerror}") from None
    state = BatchState.open(folder)
    try:
        batch = _begun(state, file, settings)
        if not batch.has_ended:
            with suppress(asyncio.CancelledError):  # a second Ctrl-C
                asyncio.run(_run(settings, composition, folder, batch))
            batch = _now(state, batch)[0]
        if not batch.has_ended:
            done = batch.completed + batch.failed
            print(
                f"coe: interrupted; {done} of {batch.total} lines are done and kept: the same "
                "command goes on",
                file=sys.stderr,
            )
            raise SystemExit(130)
        status = _deliver(state, batch, file, results)
    finally:
        state.close()
    shutil.rmtree(folder)
    raise SystemExit(status)


def _digest(file: Path) -> str:
    state = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            state.update(piece)
    return state.hexdigest()[:16]


def _begun(state: BatchState, file: Path, settings: Settings) -> Batch:
    """Return the file's batch, which may be half done; make it where there is none."""
    (known, _) = state.batches.page([""], limit=1, after=None)
    if known:
        return known[0]
    file_id = f"file-{wire.new_id()}"
    with file.open("rb") as source, state.files.writing(file_id) as sink:
        shutil.copyfileobj(source, sink, _PIECE)
    with state.files.path(file_id).open("rb") as source:
        first = next(scan(source, settings.max_body_bytes), None)
    endpoint = endpoint_of(
        first.text if first and first.text else b"", lambda raw: wire.parse_json(raw, settings)
    )
    now = time.time()
    state.files.add(
        File(
            id=file_id,
            filename=file.name,
            purpose="batch",
            size=state.files.path(file_id).stat().st_size,
            created_at=int(now),
        )
    )
    return state.batches.add(
        Batch(
            seq=0,
            id=f"batch_{wire.new_id()}",
            endpoint=endpoint,
            input_file_id=file_id,
            completion_window="30d",
            status="validating",
            created_at=now,
            expires_at=now + _WINDOW_S,
        )
    )


async def _run(settings: Settings, composition: Composition, folder: Path, batch: Batch) -> None:
    """Run a batch until it has ended or somebody interrupts; lines in flight then end."""
    failures: list[ConfigError] = []
    live = Live(
        wire_gateway(composition, settings, Telemetry(log_requests=False)),
        settings,
        failures.append,
    )
    bulk = Bulk(lambda: live.current, settings, folder)
    with _shown() as show, _interrupts() as interrupted:
        async with live.running(), bulk.running():
            while not batch.has_ended and not interrupted.is_set() and not failures:
                batch, groups = await asyncio.to_thread(_now, bulk.shelf.open(), batch)
                show(batch, groups)
                with suppress(TimeoutError):
                    await asyncio.wait_for(interrupted.wait(), _LOOK_S)
    if failures:
        raise failures[0]


def _now(state: BatchState, batch: Batch) -> tuple[Batch, tuple[Group, ...]]:
    now = state.batches.get(batch.id)
    if now is None:
        raise CoEError(f"batch {batch.id} is gone")
    return now, state.lines.groups(now.seq)


@contextmanager
def _interrupts() -> Iterator[asyncio.Event]:
    """Set an event at the first Ctrl-C; the second one ends the command at once."""
    loop, event, task = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()

    def interrupt() -> None:
        if event.is_set() and task is not None:
            task.cancel()
            return
        event.set()
        print("coe: the lines in flight end; Ctrl-C again to leave them", file=sys.stderr)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield event
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def _shown() -> Iterator[Show]:
    """Show progress on standard error: a bar on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[lines]} {task.fields[rest]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("checking", total=None, lines="", rest="")

        def show(batch: Batch, groups: tuple[Group, ...]) -> None:
            doing, lines, share, rest = _said(batch, groups)
            total = 1.0 if batch.total else None
            shown = f"{lines}/{batch.total}" if batch.total else ""
            bar.update(
                task, description=doing, completed=share, total=total, lines=shown, rest=rest
            )

        yield show


def _plain() -> Show:
    told_at = time.monotonic()

    def show(batch: Batch, groups: tuple[Group, ...]) -> None:
        nonlocal told_at
        if time.monotonic() - told_at < _PLAIN_S:
            return
        told_at = time.monotonic()
        doing, lines, _, rest = _said(batch, groups)
        print(f"{doing}: {lines} of {batch.total} lines {rest}".rstrip(), file=sys.stderr)

    return show


def _said(batch: Batch, groups: tuple[Group, ...]) -> tuple[str, int, float, str]:
    """Return what is being done, how many lines are through it, what share, and what is left."""
    now = progress(batch, groups)
    if batch.status == "validating":
        return "checking", 0, 0.0, ""
    if now.share == 0 and now.placed < batch.total:
        return "routing", now.placed, now.placed / batch.total, ""
    rest = [] if now.per_s is None else [f"{now.per_s:.1f}/s"]
    made, known = _calls(groups)
    if known > now.placed:
        rest.insert(0, f"({made} of {known} calls)")
    if now.eta_s is not None:
        rest.append(f"{_spoken(now.eta_s)} left")
    return "running", now.done, now.share, ", ".join(rest)


def _calls(groups: tuple[Group, ...]) -> tuple[int, int]:
    """Return how many calls were made, and how many are known of: panels make several a line."""
    return sum(group.done for group in groups), sum(group.lines for group in groups)


def _spoken(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _deliver(state: BatchState, batch: Batch, file: Path, results: Results) -> int:
    """Write the results and say what came of the batch; return the exit status."""
    for mistake in batch.mistakes:
        place = f"{file}:{mistake.line}" if mistake.line else f"{file}"
        param = f" {mistake.param}:" if mistake.param else ""
        print(f"{place}:{param} {mistake.message}", file=sys.stderr)
    if batch.status == "failed":
        _copy(state, batch.error_file_id, results.errors)
        return 2
    written = [
        str(path)
        for file_id, path in (
            (batch.output_file_id, results.output),
            (batch.error_file_id, results.errors),
        )
        if _copy(state, file_id, path)
    ]
    groups = state.lines.groups(batch.seq)
    experts = ", ".join(f"{row.expert} {row.done}" for row in groups)
    made, _ = _calls(groups)
    if made > batch.total:
        experts = f"{made} calls: {experts}"
    print(
        f"{batch.completed} of {batch.total} lines answered, {batch.failed} failed, "
        f"in {batch.ran_s:.1f} s of running ({experts}): {', '.join(written)}"
    )
    return 1 if batch.completed < batch.total else 0


def _copy(state: BatchState, file_id: str | None, path: Path) -> bool:
    """Put a file of the batch where it belongs, whole or not at all; False where there is none."""
    if file_id is None:
        path.unlink(missing_ok=True)  # of a run before, which --force replaces
        return False
    part = path.with_name(f"{path.name}.part")
    try:
        shutil.copyfile(state.files.path(file_id), part)
        part.replace(path)
    except OSError as error:
        raise CoEError(f"{path}: {error.strerror}") from None
    return True
