"""What the README shows is what happens: its commands, with the composition that ships."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from .conftest import COE, Server

ENCODER = Path(__file__).parents[2] / "routers" / "artefacts" / "minilm" / "encoder.json"
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not ENCODER.exists(), reason="the encoder is not built: `make test` does"),
]


@pytest.fixture(scope="module")
def readme() -> str:
    return (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server(cwd=Path(__file__).parents[2])
    with httpx2.Client(timeout=60, trust_env=False) as client:
        running.wait_ready(client, 120)
    yield running
    running.stop()


def shown_command(readme: str, start: str) -> str:
    """Return a command of the README's code blocks, its continued lines joined."""
    joined = readme.replace("\\\n", " ")
    found = re.search(rf"^{re.escape(start)}.*$", joined, re.MULTILINE)
    assert found, f"the README shows no command that starts with {start}"
    return found[0].split("      #")[0]


def run(command: str, root: Path) -> str:
    done = subprocess.run(
        shlex.split(command), cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_of_the_readme_streams_a_right_answer(
    readme: str, server: Server, root: Path
) -> None:
    command = shown_command(readme, "curl -sN 127.0.0.1:8088")

    out = run(command.replace("127.0.0.1:8088", server.url), root)

    assert out.endswith("data: [DONE]\n\n")
    assert out.count("data: {") > 3
    assert '"model":"arithmetic"' in out
    text = "".join(re.findall(r'"content":"((?:[^"\\]|\\.)*)"', out))
    assert text.endswith("17 * 24 = 408")


def test_the_route_command_of_the_readme(readme: str, root: Path) -> None:
    command = shown_command(readme, ".venv/bin/coe route").replace(".venv/bin/coe", str(COE))

    out = run(command, root)

    assert "category  units" in out
    assert "expert    units" in out
    assert "evidence" in out


def test_the_headers_that_the_readme_shows_are_sent(readme: str, server: Server) -> None:
    shown = readme.partition("<!-- answer -->")[2].partition("<!-- /answer -->")[0]
    names = set(re.findall(r"^(x-coe-[a-z-]+|x-request-id|server-timing):", shown, re.MULTILINE))
    assert "x-coe-expert" in names
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": "what is 17 * 24?"}]}

    response = httpx2.post(
        f"{server.url}/v1/chat/completions", json=body, timeout=60, trust_env=False
    )

    assert names <= set(response.headers)
    assert response.headers["x-coe-expert"] == "arithmetic"


@pytest.mark.parametrize(
    ("prompt", "expert", "part"),
    [
        ("how many feet are 12 metres", "units", "39.37"),
        ("what is the capital of Japan?", "facts", "Tokyo"),
        ("show the names of users with age over 30", "sql", "SELECT name FROM users"),
        ("write a poem about the sea", "general", "do not know that"),
    ],
)
def test_each_prompt_reaches_its_expert(
    server: Server, prompt: str, expert: str, part: str
) -> None:
    assert part in answer(server, prompt, expert)


def answer(server: Server, prompt: str, expert: str | None = None) -> str:
    """Ask as coe/auto; return the text."""
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": prompt}]}
    response = httpx2.post(
        f"{server.url}/v1/chat/completions", json=body, timeout=60, trust_env=False
    )
    completion = response.json()
    assert expert in {None, completion["model"]}
    return str(completion["choices"][0]["message"]["content"])


def test_coe_ask_answers_in_its_own_process(root: Path) -> None:
    done = subprocess.run(
        [str(COE), "ask", "what is the capital of Japan?"],
        cwd=root,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "[facts -> facts, matched]" in done.stderr
    assert "Tokyo" in done.stdout


def test_the_composition_that_ships_passes_check(root: Path) -> None:
    done = subprocess.run(
        [str(COE), "check"], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "10 experts, 9 categories, 0 warnings" in done.stdout
