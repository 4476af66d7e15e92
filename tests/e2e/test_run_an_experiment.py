"""The how-to on experiments is run as it is written, but for the port."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import COE

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-an-experiment.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
SHOWN = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
ENCODER = Path(__file__).parents[2] / "routers" / "artefacts" / "minilm" / "encoder.json"
FEW = 12

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not ENCODER.exists(), reason="the encoder is not built: `make test` does"),
]

Run = Callable[[str], str]


@pytest.fixture
def run(tmp_path: Path, root: Path) -> Iterator[Run]:
    """Run a block of the page in a folder that has what a clone has; end its gateway."""
    for name in ("experts", "docs"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "experts.yaml").write_text((root / "experts.yaml").read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = f"{COE.parent}{os.pathsep}{os.environ['PATH']}"

    def running(block: str) -> str:
        script = block.replace("127.0.0.1:8088", f"127.0.0.1:{port}")
        script = script.replace("coe serve -c", f"coe serve --port {port} -c")
        script = script.replace("users.py", f"users.py --url http://127.0.0.1:{port}")
        served = lines(tmp_path)
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if "kill -HUP" in script:
            until(lambda: lines(tmp_path) > served)
        return done.stdout

    yield running
    if (tmp_path / "serve.pid").exists():
        number = int((tmp_path / "serve.pid").read_text())
        try:
            os.kill(number, signal.SIGTERM)
        except ProcessLookupError:
            return
        until(lambda: "Finished server process" in log(tmp_path))


def log(folder: Path) -> str:
    file = folder / "serve.log"
    return file.read_text() if file.exists() else ""


def lines(folder: Path) -> int:
    """Return how often the gateway has begun to serve another composition."""
    return log(folder).count("serving composition")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def few(block: str) -> str:
    """Return a block with fewer users, who do not take a minute."""
    return re.sub(r"--users \d+", f"--users {FEW}", block)


def test_a_few_users_and_every_command(run: Run, tmp_path: Path) -> None:
    """All commands of the page; too few users for any verdict, so that the promotion is forced."""
    write, power, serve, rehearse, start, loop, page, promote, ask, rollback, end = BLOCKS

    assert "rehearsal   running  split" in run(write)
    assert run(power) == SHOWN[0]
    run(serve)
    said = run(few(rehearse).replace(":0.7", ":1"))
    users = int(re.findall(r"(\d+) users", said)[0])
    assert 0 < users < FEW  # the others were lost
    assert "rehearsal:one" in said
    assert "rehearsal:other" not in said
    assert "too soon to say anything" in said
    run(start)
    said = run(few(loop).replace("1 2 3 4 5 6 7 8", "1"))
    assert f"on {FEW} users and {2 * FEW} requests" in said
    assert "with a value" in said
    run(page)
    assert "routers" in (tmp_path / "report.html").read_text()
    file = (tmp_path / "trial.yaml").read_text()
    with pytest.raises(AssertionError, match="To promote `meaning` all the same: --force"):
        run(promote)
    assert (tmp_path / "trial.yaml").read_text() == file
    run(promote.replace("promote routers", "promote --force routers"))
    assert run(ask).strip() == "x-coe-router: meaning"
    run(rollback)
    assert run(ask).strip() == "x-coe-router: letters"
    assert (tmp_path / "trial.yaml").read_text() == file.replace(
        "status: running", "status: paused"
    )
    run(end)


@pytest.mark.slow
def test_the_page_as_it_is_written(run: Run, tmp_path: Path) -> None:
    said = [run(block) for block in BLOCKS]
    (tmp_path / "said.txt").write_text("\n----\n".join(said))  # for who writes the page

    broken = next(line for line in SHOWN[1].splitlines() if "the split is broken" in line)
    assert broken in said[3]  # who is in which arm is a matter of hashes, and the same everywhere
    assert said[3].endswith("exit status 3\n")
    assert "Stop: `meaning` is better than `letters`" in said[5]
    assert said[8].strip() == "x-coe-router: meaning"
    assert "routing: {router: letters}" in (tmp_path / "trial.yaml").read_text()
