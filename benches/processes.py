"""Child processes of a benchmark: pinned, logged, measured from /proc, ended with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_S = 5.0
TICKS = os.sysconf("SC_CLK_TCK")
MB = 1e6


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without proxies and COE_* settings, plus `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("COE_")
    }
    return {**kept, **(extra or {})}


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """Return the command, held to one processor where `core` says which."""
    return [*(() if core is None else ("taskset", "-c", str(core))), *command]


def cores() -> tuple[int, int]:
    """Return the processors of gateways, and of upstream and load generator; one twice if alone."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A command in a session of its own; leaving the context ends that session and no other.

    Args:
        core: the processor that it is pinned to; None for any.
        log: its output goes here.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int | None,
        log: Path,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.command = pinned(command, core)
        self.log = log
        self.extra = extra
        self.child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(self.extra),
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it and its children: asked first, then made to."""
        if self.child is None:
            return
        for order in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.child.pid, order)
                self.child.wait(STOP_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue

    @property
    def is_alive(self) -> bool:
        """Whether the command itself still runs."""
        return self.child is not None and self.child.poll() is None

    def output(self) -> str:
        """Return what it printed so far."""
        return self.log.read_text(errors="replace")

    def cpu_s(self) -> float:
        """Return the processor time of all its processes, in seconds."""
        return sum(int(stat[11]) + int(stat[12]) for _, stat in self._stats()) / TICKS

    def rss_mb(self) -> float:
        """Return the resident memory of all its processes, in MB of 10^6 bytes."""
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(int(stat[21]) for _, stat in self._stats()) * page / MB

    def _stats(self) -> Iterator[tuple[int, list[str]]]:
        """Yield pid and the fields of /proc/PID/stat from `state` on, of all that live in it."""
        session = str(self.child.pid) if self.child else ""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended while we looked
                continue
            if fields[3] == session and fields[0] != "Z":
                yield int(folder.name), fields
