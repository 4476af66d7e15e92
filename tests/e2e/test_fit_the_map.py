"""From scores to a fitted map that is served: the commands of docs/how-to/prove-a-map.md, in small.

The experts are an upstream that is right by topic; the written lists have one topic wrong.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from coe.testing.upstream import FakeUpstream
from tests.commands import run

from .conftest import Start

pytestmark = pytest.mark.anyio

FILE = """\
version: 1
backends:
  up: {url: "URL", concurrency: 8}
experts:
  adder: {backend: up, model: adder}
  guide: {backend: up, model: guide}
  mute: {backend: up, model: mute, status: shadow}
categories:
  sums: {keywords: [plus], experts: [guide]}    # wrong: the adder knows them
  trips: {keywords: [train], experts: [guide]}
routers: {default: keyword}
default: guide
"""
RIGHT = {"adder": "plus", "guide": "train"}


def says(body: Mapping[str, Any]) -> str | None:
    asked = str(body["messages"][-1]["content"])
    return "right" if RIGHT.get(str(body["model"]), "nothing") in asked else "no idea"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        fake.says = says
        yield fake


@pytest.fixture
def folder(tmp_path: Path, upstream: FakeUpstream) -> Path:
    (tmp_path / "experts.yaml").write_text(FILE.replace("URL", upstream.url))
    for name, numbers in (("scored", range(60)), ("fresh", range(60, 90))):
        rows = [
            {"prompt": text, "answer": "right", "category": category}
            for i in numbers
            for text, category in ((f"{i} plus 1", "sums"), (f"the train at {i}", "trips"))
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


async def test_scores_become_a_map_that_answers_better(
    folder: Path, start: Start, client: httpx2.Client
) -> None:
    file = folder / "experts.yaml"
    by_hand = file.read_text()
    (folder / "hand.yaml").write_text(by_hand)

    scored = json.loads((await run(folder, "score", "scored.jsonl", "--json"))[0])
    fitted, _ = await run(folder, "map", "fit")
    server = await asyncio.to_thread(start, "--config", str(file))
    url = await asyncio.to_thread(lambda: server.url)
    await asyncio.to_thread(server.wait_ready, client)
    before, _ = await run(folder, "evaluate", "fresh.jsonl", "--url", url, "--save", "b.jsonl")
    await run(folder, "map", "apply")
    server.process.send_signal(signal.SIGHUP)
    composition = await _other_composition(client, url)
    out, _ = await run(
        folder, *("evaluate", "fresh.jsonl", "--url", url, "--against", "b.jsonl", "--json")
    )
    here, _ = await run(folder, "evaluate", "fresh.jsonl", "--save", "here.jsonl")
    moved = ("replay", "--config", "experts.yaml", "--against", "hand.yaml", "--json")
    replayed = json.loads((await run(folder, *moved))[0])

    # A shadow expert is scored like the others, and never answers.
    assert {row["expert"] for row in scored["experts"]} == {"adder", "guide", "mute"}
    assert "accepted: it is better than the incumbent" in fitted
    assert "all       60       0.500" in before
    assert composition
    total = json.loads(out)["parts"][-1]
    assert total["right"][0] == 1.0
    assert total["moved"] == 30
    assert total["gain"][0] == 0.5
    assert total["gain"][1] > 0.3
    assert "all       60       1.000" in here
    rows = [json.loads(line) for line in (folder / "here.jsonl").read_text().splitlines()]
    assert {row["expert"] for row in rows} == {"adder", "guide"}
    assert all(row["categories"] and row["digest"] for row in rows)
    assert replayed["found"]["moved"] == [
        {"category": "sums", "old": "guide", "new": "adder", "count": 60}
    ]
    assert replayed["found"]["after"]["quality"] == 1.0


async def _other_composition(client: httpx2.Client, url: str) -> bool:
    """Wait until the gateway chooses by a map."""
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": "1 plus 1"}]}
    for _ in range(100):
        said = await asyncio.to_thread(client.post, f"{url}/v1/route", json=body)
        if said.json()["choice"] is not None:
            return True
        await asyncio.sleep(0.1)
    return False
