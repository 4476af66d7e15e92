"""The process of a sandbox: it takes away what it can do without, and then runs code.

A program, not a module: `coe.scoring.sandbox` starts it by its path, with nothing of ours on the
path, and gives it its order as JSON on standard input. It answers with one line.

    launcher -fork-> first (ends with everything it started) -fork-> runner (the code)
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import sysconfig
import time
import traceback
from pathlib import Path
from typing import Any

_LIMITS = {"SIGXCPU": " (processor time)", "SIGKILL": " (memory or processor time, most likely)"}
_PROCESSES = 32
_FILES = 64
_FILE_BYTES = 16 << 20
_LINE = 4096
_OWN_USERS = 61184, 4000  # systemd's range for users that nobody has

_NEWUSER, _NEWPID, _NEWNET, _NEWIPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
_PDEATHSIG, _KEEPCAPS, _NO_NEW_PRIVS = 1, 8, 38
_CAP_VERSION, _CAP_DAC_READ_SEARCH = 0x20080522, 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
# By version of the kernel's interface: what may be forbidden that changes files.
_WRITES = {1: 0x1FF2, 2: 0x3FF2, 3: 0x7FF2}
_WRITES_TO_A_FILE = 0x4002


def main() -> None:
    """Run the order of standard input; write one line of JSON."""
    order = json.load(sys.stdin)
    out = os.dup(1)
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        for descriptor in (0, 1, 2):
            os.dup2(nothing.fileno(), descriptor)
    is_root = os.geteuid() == 0
    # Without an entry in the map of a user namespace, no file could be made.
    user, group = os.geteuid(), os.getegid()
    _die_with_parent()
    _part(is_root=is_root, user=user, group=group)
    reading, writing = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(reading)
        os.close(out)
        _be_first(order, writing, is_root=is_root)
    os.close(writing)
    os.write(out, json.dumps(_outcome(reading, first, order["wall_s"])).encode() + b"\n")


def _outcome(reading: int, first: int, wall_s: float) -> dict[str, str]:
    """Return the line that the runner said, or why it said none."""
    until = time.monotonic() + wall_s
    said = b""
    while b"\n" not in said and len(said) < _LINE:
        if not select.select([reading], [], [], max(0.0, until - time.monotonic()))[0]:
            _end(first)
            return {"why": f"not done after {wall_s:g} s"}
        piece = os.read(reading, _LINE)
        if not piece:
            break
        said += piece
    if not said:
        return {"why": _ending(os.waitpid(first, 0)[1])}
    _end(first)
    with contextlib.suppress(ValueError, UnicodeDecodeError):
        line = json.loads(said.partition(b"\n")[0])
        if isinstance(line, dict):
            return {str(key): str(value) for key, value in line.items()}
    return {"why": "it wrote where it must not"}


def _end(first: int) -> None:
    """End the first process; with it, in a namespace of its own, all others: then this returns."""
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code > 128:  # noqa: PLR2004 - as a shell does, see `_be_first`
        name = signal.Signals(code - 128).name
        return f"ended by {name}{_LIMITS.get(name, '')}"
    return f"ended with {code} before the tests had run"


def _be_first(order: dict[str, Any], writing: int, *, is_root: bool) -> None:
    """Wait for the runner; where there is a namespace of processes, all of it ends with this."""
    _die_with_parent()
    runner = os.fork()
    if runner == 0:
        try:
            _limit(order)
            if is_root:
                _become_nobody()
            _keep_to(Path.cwd())
            _run(order, writing)
        finally:
            os._exit(1)
    while True:
        ended, status = os.wait()
        if ended == runner:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _run(order: dict[str, Any], writing: int) -> None:
    """Run the code and the tests, and say so where both are through."""
    names: dict[str, Any] = {"__name__": "answer"}
    try:
        for part in ("answer", "tests"):
            exec(compile(order[part], part, "exec"), names)  # noqa: S102 - what it is for
        line = {"word": order["word"]}
    except BaseException as error:  # noqa: BLE001 - whatever it raises has failed the tests
        line = {"why": traceback.format_exception_only(error)[-1].strip()[:300]}
    os.write(writing, json.dumps(line).encode() + b"\n")
    os._exit(0)


def _limit(order: dict[str, Any]) -> None:
    """Limit what this process and those that it starts may use."""
    seconds = max(1, int(order["cpu_s"] + 0.999))
    for name, least in (
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_AS", order["memory"]),
        ("RLIMIT_FSIZE", _FILE_BYTES),
        ("RLIMIT_NOFILE", _FILES),
        ("RLIMIT_NPROC", _PROCESSES),
        ("RLIMIT_CORE", 0),
    ):
        kind = getattr(resource, name, None)  # some systems lack some
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = least if hard == resource.RLIM_INFINITY else min(least, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if (libc := _libc()) is not None:
        libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _part(*, is_root: bool, user: int, group: int) -> None:
    """Part with the network and the other processes, where the kernel lets us."""
    libc = _libc()
    if libc is None:
        return
    apart = _NEWPID | _NEWNET | _NEWIPC
    if is_root:
        libc.unshare(apart)
    elif libc.unshare(_NEWUSER | apart) == 0:
        for file, content in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with contextlib.suppress(OSError):
                Path("/proc/self", file).write_text(content)


def _become_nobody() -> None:
    """Stop being root. Without that no limit on processes holds."""
    libc = _libc()
    start, count = _OWN_USERS
    user = start + os.getppid() % count
    is_readable = all(_is_open(folder) for folder in Path(sysconfig.get_path("stdlib")).parents)
    with contextlib.suppress(OSError):
        os.chown(".", user, user)
        if libc is not None and not is_readable:
            libc.prctl(_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        if libc is not None:
            # Where Python itself is in a folder of root's, reading is all that is kept.
            kept = 0 if is_readable else 1 << _CAP_DAC_READ_SEARCH
            header = ctypes.create_string_buffer(struct.pack("Ii", _CAP_VERSION, 0))
            sets = ctypes.create_string_buffer(struct.pack("IIIIII", kept, kept, 0, 0, 0, 0))
            libc.capset(header, sets)


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _keep_to(folder: Path) -> None:
    """Let nothing be written outside of the folder, where the kernel lets us (Landlock)."""
    libc = _libc()
    if libc is None:
        return
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    writes = _WRITES[min(version, max(_WRITES))]
    handled = ctypes.create_string_buffer(struct.pack("Q", writes))
    rules = libc.syscall(_LANDLOCK_CREATE, handled, ctypes.c_size_t(8), 0)
    if rules < 0:
        return
    for path, rights in ((folder, writes), (Path(os.devnull), writes & _WRITES_TO_A_FILE)):
        place = os.open(path, os.O_PATH)
        beneath = ctypes.create_string_buffer(struct.pack("=Qi", rights, place))
        libc.syscall(_LANDLOCK_ADD, rules, 1, beneath, 0)
        os.close(place)
    libc.syscall(_LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)


if __name__ == "__main__":
    main()
