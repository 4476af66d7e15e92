"""The sandbox with code that means harm. What the kernel must grant for a check is said there."""

import asyncio
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coe.scoring.checks import Tests
from coe.scoring.sandbox import Verdict, run_tests

linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


def run(code: str, tests: str = "pass", *, timeout_s: float = 5.0) -> Verdict:
    return asyncio.run(run_tests(Tests(code=tests, timeout_s=timeout_s, memory=256 << 20), code))


def has_namespaces() -> bool:
    who = [] if os.geteuid() == 0 else ["--user"]
    command = ["unshare", *who, "--net", "--pid", "--fork", "true"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def has_landlock() -> bool:
    libc = ctypes.CDLL(None)
    return sys.platform == "linux" and libc.syscall(444, None, ctypes.c_size_t(0), 1) >= 1


def test_code_that_passes_its_tests_passes() -> None:
    answer = "Here:\n```python\ndef double(x):\n    return 2 * x\n```"

    assert run(answer, "assert double(4) == 8") == Verdict(passed=True)


def test_code_may_import_and_keep_files_in_its_folder() -> None:
    code = "import decimal, json, pathlib\npathlib.Path('a').write_text('b')"

    assert run(code, "assert pathlib.Path('a').read_text() == 'b'").passed


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def double(x): return x", "AssertionError"),
        ("def double(x) return x", "SyntaxError"),
        ("raise ValueError('no')", "ValueError: no"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import os; os._exit(0)", "ended with 0 before the tests had run"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "ended by SIGSEGV"),
    ],
)
def test_code_that_does_not_pass_says_why(code: str, why: str) -> None:
    verdict = run(code, "assert double(4) == 8")

    assert not verdict.passed
    assert why in verdict.why


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(60)"])
def test_code_without_end_is_ended(code: str) -> None:
    assert run(code, timeout_s=1.0) == Verdict(passed=False, why="not done after 1 s")


def test_memory_is_limited() -> None:
    verdict = run("hog = []\nwhile True: hog.append(bytearray(10_000_000))")

    assert not verdict.passed
    assert "MemoryError" in verdict.why


def test_a_file_cannot_grow_without_end() -> None:
    assert "File too large" in run("open('big', 'wb').write(bytes(64 << 20))").why


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")

    assert run("import os", "assert 'SOME_API_KEY' not in os.environ").passed


@linux
@pytest.mark.skipif(
    not (has_landlock() or has_namespaces()), reason="this kernel keeps no process apart"
)
def test_our_own_environment_cannot_be_read() -> None:
    assert "PermissionError" in run(f"open('/proc/{os.getpid()}/environ').read()").why


def test_its_folder_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert run("open('left', 'w').write('behind')").passed
    assert list(tmp_path.iterdir()) == []


@linux
def test_a_fork_bomb_is_limited_and_leaves_nothing_behind(tmp_path: Path) -> None:
    mark = tmp_path.name
    bomb = f"""
import ctypes, os, time
made = 0
try:
    while made < 500:
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, {mark[-14:].encode()!r})  # its name
            time.sleep(60)
        made += 1
except OSError:
    raise SystemExit(made)
"""

    verdict = run(bomb)

    assert verdict.why.startswith("SystemExit: "), verdict
    assert int(verdict.why.split()[1]) < 40
    assert mark[-14:] not in names_of_processes()


def names_of_processes() -> list[str]:
    names = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.append(comm.read_text().strip())
        except OSError:
            continue
    return names


@linux
@pytest.mark.skipif(not has_namespaces(), reason="this kernel grants no namespaces")
def test_there_is_no_network() -> None:
    verdict = run("import socket; socket.create_connection(('127.0.0.1', 9), 1)")

    assert "unreachable" in verdict.why


@linux
@pytest.mark.skipif(not has_namespaces(), reason="this kernel grants no namespaces")
def test_other_processes_are_out_of_reach_and_its_own_end_with_it(tmp_path: Path) -> None:
    mark = tmp_path.name[-14:]
    code = f"""
import ctypes, os, time
if os.fork() == 0:
    os.setsid()
    ctypes.CDLL(None).prctl(15, {mark.encode()!r})  # its name
    time.sleep(60)
try:
    os.kill({os.getpid()}, 0)
except ProcessLookupError:
    pass
else:
    raise SystemExit('it sees us')
"""

    assert run(code) == Verdict(passed=True)
    assert mark not in names_of_processes()


@linux
@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")
def test_nothing_is_written_outside_of_its_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    target = tmp_path / "escaped"

    assert "PermissionError" in run(f"open({str(target)!r}, 'w')").why
    assert not target.exists()
