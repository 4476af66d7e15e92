"""The how-to on panels is run as it is written, but for the port."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest

from .conftest import Server
from .test_more_than_fits import folder, run

__all__ = ["folder"]  # a fixture

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "build-a-panel.md"
TEXT = PAGE.read_text(encoding="utf-8")
PREPARE, ASK = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
SAID = re.search(r"```text\n(.*?)```", TEXT, re.DOTALL)

pytestmark = pytest.mark.timeout(240)


def test_three_embedded_experts_vote(folder: Path) -> None:
    steps, _, serve = PREPARE.rstrip().rpartition("\n")
    assert serve == "coe serve -c panel.yaml"

    run(steps, folder)
    server = Server("-c", "panel.yaml", cwd=folder)
    try:
        with httpx2.Client(timeout=60, trust_env=False) as client:
            server.wait_ready(client)
            said = run(ASK.replace("http://127.0.0.1:8088", server.url), folder)
    finally:
        server.stop()

    assert SAID is not None
    # Whether the third member is waited for is a matter of milliseconds.
    certain = [line for line in SAID[1].splitlines() if "units" not in line and "agree" not in line]
    assert [line for line in certain[1:] if line not in said.splitlines()] == []
    assert said.startswith("trio 3 ")
