"""The locks: complete, at the versions that were tested, every file by its digest."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.lock"))
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
NAME = re.compile(r"^[A-Za-z0-9._-]+")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(file: Path) -> dict[str, str]:
    found = ENTRY.findall(file.read_text(encoding="utf-8"))
    return {canonical(name): version for name, version in found}


def wanted(file: Path) -> set[str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return {canonical(found[0]) for line in lines if (found := NAME.match(line))}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_sec_26_every_version_is_locked_by_digest(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").strip())
    assert len(entries) == len(versions(lock))
    assert not [entry for entry in entries if "--hash=sha256:" not in entry]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_the_versions_that_the_tests_ran_with(lock: Path) -> None:
    tested = versions(REQUIREMENTS / "constraints.txt")
    locked = versions(lock)
    differs = {
        name: (locked[name], tested[name])
        for name in locked.keys() & tested.keys()
        if locked[name] != tested[name]
    }
    assert not differs, "run `make lock`"


def test_the_locks_hold_what_was_asked_for() -> None:
    project = tomllib.loads((REQUIREMENTS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {canonical(NAME.findall(line)[0]) for line in project["project"]["dependencies"]}
    missing = asked - versions(REQUIREMENTS / "serve.lock").keys()
    for file in REQUIREMENTS.glob("*.in"):
        missing |= wanted(file) - versions(file.with_suffix(".lock")).keys()
    assert not missing, "run `make lock`"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_pip_installs_from_a_lock_and_nothing_else(lock: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-q"]
    command += ["--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(600)
def test_the_lock_of_the_gateway_is_complete() -> None:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-q"]
    command += ["--only-binary", ":all:", "--require-hashes"]
    command += ["-r", str(REQUIREMENTS / "serve.lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
