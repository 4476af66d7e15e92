"""The load generator: wrk, pinned, with a script that prints its counts for us to parse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benches.processes import environment, pinned

SCRIPT = Path(__file__).with_name("load.lua")
FRESH = "@FRESH@"
"""Where a body says this, load.lua puts other words into every request."""


class LoadFailed(Exception):
    """The load generator did not run to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to ask, and where.

    Attributes:
        url: of the chat endpoint.
        body: JSON, as sent; see `FRESH`.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run of the load generator saw.

    Attributes:
        requests: whole responses, of any status.
        failures: responses that are not 2xx, and socket errors (timeouts too).
        bytes_each: mean size of a response, head included; falls when streams are cut short.
    """

    requests: int
    seconds: float
    failures: int
    bytes_each: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Good responses per second."""
        return max(self.requests - self.failures, 0) / self.seconds


class Wrk:
    """Runs wrk against targets; a new seed for each run, so that no prompt comes back.

    Args:
        program: path of wrk.
        core: the processor that it is pinned to.
        folder: where request bodies are written.
    """

    def __init__(self, program: Path, *, core: int, folder: Path) -> None:
        self.program = program
        self.core = core
        self.folder = folder
        self.runs = 0

    def __call__(self, target: Target, *, connections: int, seconds: float) -> Load:
        """Keep `connections` requests in flight for about `seconds`.

        Raises:
            LoadFailed: wrk did not end well, or in time.
        """
        self.runs += 1
        body = self.folder / "body.json"
        body.write_bytes(target.body)
        headers = {"content-type": "application/json", **target.headers}
        command = pinned(
            [
                str(self.program),
                *("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"),
                *("-s", str(SCRIPT), target.url, "--", str(self.runs), str(body)),
                *(f"{name}: {value}" for name, value in headers.items()),
            ],
            self.core,
        )
        try:
            ran = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=seconds + 60,
                check=False,
                env=environment(),
            )
        except subprocess.TimeoutExpired as late:
            raise LoadFailed(f"wrk was still running {late.timeout:.0f} s later") from late
        if ran.returncode:
            raise LoadFailed(f"wrk ended with {ran.returncode}: {ran.stdout}{ran.stderr}")
        return parse(ran.stdout)


def parse(output: str) -> Load:
    """Read the line that load.lua prints.

    Raises:
        LoadFailed: the line is not there.
    """
    for line in output.splitlines():
        if line.startswith("BENCH "):
            seen = json.loads(line.removeprefix("BENCH "))
            return Load(
                requests=seen["requests"],
                seconds=seen["micros"] / 1e6,
                failures=seen["statuses"] + seen["sockets"],
                bytes_each=seen["bytes"] / max(seen["requests"], 1),
                p50_ms=seen["p50"] / 1e3,
                p99_ms=seen["p99"] / 1e3,
            )
    raise LoadFailed(f"wrk printed no counts: {output!r}")
