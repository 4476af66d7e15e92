"""The how-to on more experts than fit is run as it is written, but for the port."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import httpx2
import pytest

from .conftest import COE, Server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve-more-experts-than-fit.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
TIMEOUT_S = 120
FEW = 32

pytestmark = pytest.mark.timeout(2 * TIMEOUT_S)


def run(script: str, folder: Path) -> str:
    """Run lines of the page as a shell does, in a folder that has the experts."""
    path = f"{COE.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    (tmp_path / "experts").symlink_to(root / "experts")
    return tmp_path


@pytest.mark.parametrize("file", ["twenty.yaml", pytest.param("fifo.yaml", marks=pytest.mark.slow)])
def test_twenty_adapters_answer_from_two_places(file: str, folder: Path) -> None:
    prepare, ask = BLOCKS[:2]
    steps, _, serve = prepare.rstrip().rpartition("\n")
    assert serve == "coe serve -c twenty.yaml"

    run(steps, folder)
    server = Server("-c", file, cwd=folder)
    try:
        with httpx2.Client(timeout=60, trust_env=False) as client:
            server.wait_ready(client)
            said = run(ask.replace("http://127.0.0.1:8088", server.url), folder)
            shown = run(f"coe scheduling {server.url} --html now.html --calls calls.jsonl", folder)
    finally:
        server.stop()

    assert re.search(r"mean wait [\d.]+ s, longest [\d.]+ s", said)
    loads = sum(float(line.rsplit(" ", 1)[1]) for line in said.splitlines() if "{" in line)
    # Each adapter once, and the base; a few more where calls take long to arrive.
    assert (21 <= loads <= FEW) == (file == "twenty.yaml"), said
    assert f"embedded: 64MiB, {loads:.0f} loads within" in shown
    page = (folder / "now.html").read_text(encoding="utf-8")
    assert "arithmetic-0: loads" in page
    plan = re.search(r"`(coe plan [^`]*)`", TEXT)
    assert plan
    played = run(f"{plan[1]} --json", folder)  # the calls that were just made
    assert json.loads(played)["rules"]["affinity"]["swaps"] <= 1000 * FEW / 300
    assert (folder / "plan.html").read_text(encoding="utf-8").count("<figure") >= 3
