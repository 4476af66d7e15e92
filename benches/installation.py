"""What a bench stands on, set up once under build/bench: wrk, the upstream, the peers.

A part that cannot be installed is absent, with the reason, and its metrics are left out. Once set
up, nothing needs the network. Parts are marked as done by a stamp that holds their requirements,
so that a changed requirement installs again.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "bench"
HERE = Path(__file__).parent

PYTHON_PEERS = (
    "litellm[proxy]>=1.84,<1.109,!=1.82.7,!=1.82.8",
    "tensorzero==2026.6.0",
    "fastapi>=0.135",
    "starlette>=1.0.1",
    "httpx>=0.28,<1",
    "aiohttp>=3.13",
    "orjson",
    "uvicorn",
    "uvloop",
    "httptools",
)
# @hono/node-server shares the upstream's immutable headers from 1.14.2 on, and Portkey writes to
# them: every stream then fails with "TypeError: immutable".
NODE_PEERS = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "~1.15.2"},
    "overrides": {"@hono/node-server": "1.14.1"},
}
TIMEOUT_S = 900


class Missing(Exception):
    """A part could not be installed; the message says what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where the parts are.

    Attributes:
        python: of the peers' own environment; None when it could not be made.
        portkey: the script that starts Portkey's gateway; None when it could not be installed.
        absent: part -> why it is not there.
    """

    wrk: Path
    upstream: Path
    python: Path | None
    portkey: Path | None
    absent: dict[str, str] = field(default_factory=dict)

    def version(self, distribution: str) -> str:
        """Return the installed version of a Python peer, or an empty string."""
        found = (self.python.parents[1] / "lib") if self.python else BUILD / "none"
        for info in found.glob(f"python*/site-packages/{distribution}-*.dist-info"):
            return info.name.removesuffix(".dist-info").rpartition("-")[2]
        return ""


def install(say: Callable[[str], None], *, peers: bool = True) -> Installation:
    """Install what is not there yet; without `peers`, the load generator and the upstream alone.

    Raises:
        Missing: no load generator or no upstream: then nothing can be measured.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    absent: dict[str, str] = {}

    def optional(name: str, make: Callable[[], Path]) -> Path | None:
        try:
            return make()
        except Missing as reason:
            absent[name] = str(reason)
            say(f"absent: {name}: {reason}")
            return None

    return Installation(
        wrk=_wrk(say),
        upstream=_upstream(),
        python=optional("python peers", lambda: _python_peers(say)) if peers else None,
        portkey=optional("portkey", lambda: _portkey(say)) if peers else None,
        absent=absent,
    )


def run(command: Sequence[str], folder: Path = ROOT, *, timeout_s: float = TIMEOUT_S) -> None:
    """Run a command to its end, quietly. Raises Missing with what it said last."""
    try:
        ran = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise Missing(f"{command[0]}: {reason}") from reason
    if ran.returncode:
        said = (ran.stderr or ran.stdout).strip().splitlines()[-3:]
        raise Missing(
            f"`{' '.join(command)[:120]}` ended with {ran.returncode}: {' | '.join(said)}"
        )


def _wrk(say: Callable[[str], None]) -> Path:
    """Find wrk, or install Debian's: as root for the system, otherwise unpacked under build/."""
    unpacked = BUILD / "wrk" / "wrk.sh"
    found = shutil.which("wrk")
    if found or unpacked.exists():
        return Path(found) if found else unpacked
    say("installing wrk from Debian")
    try:
        if os.geteuid() == 0:
            run(["apt-get", "update", "-qq"])
            run(["apt-get", "install", "-y", "-qq", "wrk"])
            return Path(shutil.which("wrk") or "wrk")
        say(f"not root: unpacking wrk into {unpacked.parent} instead of installing it")
        unpacked.parent.mkdir(exist_ok=True)
        run(["apt-get", "download", "wrk", "libluajit-5.1-2"], unpacked.parent)
        for package in unpacked.parent.glob("*.deb"):
            run(["dpkg", "-x", str(package), str(unpacked.parent)])
    except Missing as reason:
        raise Missing(f"no load generator: install wrk (apt-get install wrk); {reason}") from reason
    libraries = next(unpacked.parent.glob("usr/lib/*/"), unpacked.parent)
    unpacked.write_text(
        f"#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(str(libraries))} "
        f'exec {shlex.quote(str(unpacked.parent / "usr/bin/wrk"))} "$@"\n'
    )
    unpacked.chmod(0o755)
    return unpacked


def _upstream() -> Path:
    """Compile the upstream when its source is newer."""
    source, program = HERE / "upstream.c", BUILD / "upstream"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Missing("no C compiler for benches/upstream.c: apt-get install gcc libc6-dev")
        run([compiler, "-O2", "-Wall", "-o", str(program), str(source)])
    return program


def _python_peers(say: Callable[[str], None]) -> Path:
    """Make the peers' virtual environment."""
    folder = BUILD / "env"
    python = folder / "bin" / "python"
    stamp, wanted = folder / "requirements.txt", "\n".join(PYTHON_PEERS)
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        say("installing the Python peers (some minutes)")
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(python), "-m", "pip", "install", "-q", "--upgrade", *PYTHON_PEERS])
        stamp.write_text(wanted)
    return python


def _portkey(say: Callable[[str], None]) -> Path:
    """Install Portkey's gateway with npm."""
    folder = BUILD / "portkey"
    script = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    wanted = json.dumps(NODE_PEERS, indent=1)
    manifest, stamp = folder / "package.json", folder / "done"
    if not (script.exists() and stamp.exists() and stamp.read_text() == wanted):
        say("installing Portkey's gateway")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        manifest.write_text(wanted)
        run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], folder)
        stamp.write_text(wanted)
    return script
