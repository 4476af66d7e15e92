"""The how-to on feedback: its curl, its snippets and its page work as they are written."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.e2e import browser

from .conftest import COE, Server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "collect-feedback.md"
TEXT = PAGE.read_text(encoding="utf-8")
CURL, PYTHON, SCRIPT = (
    re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]  # type: ignore[index]
    for language in ("sh", "python", "js")
)
FILE = """\
version: 1
backends: {up: "http://127.0.0.1:9"}
experts: {hello: {constant: "Hello! I am {model}."}}
default: hello
"""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "experts.yaml").write_text(FILE)
    running = Server(cwd=tmp_path)
    with httpx2.Client(timeout=60, trust_env=False) as client:
        running.wait_ready(client)
    yield running
    running.stop()


def decision(server: Server, name: str, **headers: str) -> Any:
    url = f"{server.url}/v1/decisions/{name}"
    return httpx2.get(url, headers=headers, trust_env=False).json()


def test_the_lines_of_curl(server: Server, tmp_path: Path) -> None:
    script = CURL.replace("http://127.0.0.1:8088", server.url) + '\ncoe why "$id" --json\n'
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{COE.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said, _, facts = done.stdout.partition("}")
    assert json.loads(said + "}")["object"] == "coe.feedback"
    assert [one["value"] for one in json.loads(facts)["feedback"]] == [1.0]


def test_the_sdk(server: Server) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="mine") as client:
        names: dict[str, Any] = {
            "client": client,
            "messages": [{"role": "user", "content": "hello"}],
        }
        exec(PYTHON, names)  # noqa: S102 - the page's own lines
    name = names["raw"].headers["x-coe-decision-id"]

    facts = decision(server, name, authorization="Bearer mine")
    assert [one["value"] for one in facts["feedback"]] == [1.0]


@pytest.fixture
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[browser.Page]:
    if browser.installed() is None:
        pytest.skip(
            "no page gives feedback: there is no Chromium (Debian: apt-get install chromium)"
        )
    async with browser.browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


async def run(page: browser.Page, script: str) -> Any:
    """Return what the page's functions come to, or the error's text."""
    wrapped = f"(async () => {{ {SCRIPT}\ntry {{ {script} }} catch (e) {{ return `${{e}}`; }} }})()"
    found = await page.send(
        "Runtime.evaluate", expression=wrapped, awaitPromise=True, returnByValue=True
    )
    assert "exceptionDetails" not in found, found
    return found["result"].get("value")


async def open_address(page: browser.Page, url: str) -> None:
    await page.send("Page.navigate", url=url)
    while await page.value("document.readyState + location.href") != f"complete{url}":
        pass


@pytest.mark.anyio
async def test_a_page_of_the_same_origin(server: Server, page: browser.Page) -> None:
    await open_address(page, f"{server.url}/health/live")

    answer = await run(page, "return await ask('hello');")
    assert answer["text"] == "Hello! I am hello."
    for is_good in ("true", "false"):
        assert (
            await run(page, f"await thumb('{answer['id']}', {is_good}); return 'said';") == "said"
        )
    assert [one["value"] for one in decision(server, answer["id"])["feedback"]] == [0.0]
    assert "no decision `nobody`" in await run(page, "await thumb('nobody', true);")
    assert "give one of" in await run(page, "await thumb('nobody', null);")


@pytest.mark.anyio
async def test_a_page_of_another_origin_is_refused_by_the_browser(
    server: Server, page: browser.Page
) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    await open_address(page, f"{other}/health/live")
    script = f"return (await fetch('{server.url}/v1/models')).status;"

    assert "Failed to fetch" in await run(page, script)
