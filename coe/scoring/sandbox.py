"""Code of answers, run against tests in a process of its own with limits.

What holds it, outermost first:

- It has an empty environment, no standard input, and a folder of its own that is deleted after it.
- Processor time, memory, the size of a file, open files and wall time are limited; so is the number
  of its processes, unless it runs as root.
- Where the kernel lets us (Linux, unprivileged user namespaces), it has no network, sees no other
  process, and whatever it started ends with it.
- Where the kernel lets us (Linux 5.13, Landlock), it can write in its folder and nowhere else.
- Where this process is root and Python's own files are readable by all, it is not root.

What does not: it can read whatever the user can read, and it can fill the disk its folder is on
with many files until its time is over. A flaw of the kernel is a way out. It is made for the
mistakes of models, not for people who attack: for those use a virtual machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coe.errors import CoEError
from coe.extract import code_in
from coe.scoring.checks import Tests

_CHILD = Path(__file__).with_name("sandbox_child.py")
_START_S = 10.0  # for an interpreter to start on a busy machine, on top of the tests' own time


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether code passed its tests, and if not, why."""

    passed: bool
    why: str = ""


async def run_tests(check: Tests, answer: str) -> Verdict:
    """Run an answer's code, and then the tests, in one process.

    Raises:
        CoEError: the process could not be started.
    """
    # Code that ends the process before the tests have run must not pass: only who was told this
    # word, which is after the tests, can say it.
    word = secrets.token_hex(16)
    order = {
        "answer": code_in(answer),
        "tests": check.code,
        "word": word,
        "cpu_s": check.timeout_s,
        "wall_s": check.timeout_s,
        "memory": check.memory,
    }
    with tempfile.TemporaryDirectory(prefix="coe-tests-", ignore_cleanup_errors=True) as folder:
        said = await _run(json.dumps(order).encode(), folder, check.timeout_s)
    return Verdict(passed=said.get("word") == word, why=str(said.get("why", "")))


async def _run(order: bytes, folder: str, timeout_s: float) -> dict[str, Any]:
    """Return the line that the process says in the end."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-B", str(_CHILD)),
            cwd=folder,
            env={},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise CoEError(f"tests cannot be run: {error.strerror}") from None
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        async with asyncio.timeout(timeout_s + _START_S):
            process.stdin.write(order)
            process.stdin.close()
            line = await process.stdout.readline()
    except TimeoutError:
        return {"why": f"not done after {timeout_s:g} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if not line:
        raise CoEError("tests cannot be run: the sandbox ended by itself")
    found: dict[str, Any] = json.loads(line)
    return found
