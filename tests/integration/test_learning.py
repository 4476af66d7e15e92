"""A gateway that learns from feedback: who answers changes, is bounded, kept, and taken back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coe.composition import load
from coe.learner import FOLDER
from coe.learning.snapshot import Snapshots
from coe.stores.decisions import FILE as STORED
from coe.stores.decisions import DecisionStore, Record
from coe.testing.upstream import FakeUpstream

from .conftest import Coe, Running, Serve
from .test_fitted_map import apply

pytestmark = pytest.mark.anyio

FILE = """
version: 1
backends: {{up: "{url}"}}
experts:
  plain: {{backend: up, model: ok}}
  grand: {{backend: up, model: also-ok}}
  fresh: {{backend: up, model: fresh}}
categories:
  code: {{keywords: [bash], experts: [fresh, plain]}}
  law: {{keywords: [contract], experts: [plain]}}
routing: {{choose: fitted}}
default: plain
learning: {learning}
"""
CODE, LAW = "write a bash script", "read this contract"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def text(upstream: FakeUpstream, learning: str) -> str:
    return FILE.format(url=upstream.url, learning=learning)


async def asked(running: Running, prompt: str) -> Any:
    response = await running.chat(text=prompt)
    assert response.status == 200
    await response.read()
    return response


GRAND: dict[str, Any] = {"price_weight": 0.0, "assignment": ("grand", "grand", "grand")}


async def taught(running: Running, rounds: int) -> Counter[str]:
    """Say of `grand` that it is always wrong on code, and of the others that they are right."""
    found: Counter[str] = Counter()
    for number in range(rounds):
        response = await running.chat(text=f"{CODE} {number}")
        expert = response.headers["x-coe-expert"]
        await response.read()
        found[expert] += 1
        body = {"decision_id": response.headers["x-coe-decision-id"], "value": expert != "grand"}
        await running.request("POST", f"{running.url}/feedback", json=body)
    return found


async def test_it_learns_whom_to_ask(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, coe: Coe
) -> None:
    file = text(upstream, "{mode: adapt, answers: 30}")
    apply(tmp_path, file, **GRAND)
    async with serve(file) as running:
        first = await asked(running, CODE)
        assert first.headers["x-coe-expert"] == "grand"  # .74 against .70 by the map
        await taught(running, 60)
        late = Counter(
            [(await asked(running, f"{CODE} {n}")).headers["x-coe-expert"] for n in range(20)]
        )
        assert late["plain"] >= 17
        law = await asked(running, LAW)
        assert law.headers["x-coe-expert"] == "grand"  # .9: what was said of code says little
        name = first.headers["x-coe-decision-id"]
        facts = await (await running.request("GET", f"{running.url}/decisions/{name}")).json()
        chances = {row["expert"]: row["propensity"] for row in facts["candidates"]}
        assert chances["grand"] > 0.9
        assert sum(chances.values()) == pytest.approx(1.0)
        assert len(facts["x"]) == 4
    async with serve(file) as running:  # what was learnt is kept
        again = Counter(
            [(await asked(running, f"{CODE} {n}")).headers["x-coe-expert"] for n in range(20)]
        )
        assert again["plain"] >= 17

    shown = await asyncio.to_thread(coe, "learn", "show")
    assert shown.returncode == 0, shown.stderr
    assert "learning is `adapt`" in shown.stdout
    listed = json.loads((await asyncio.to_thread(coe, "learn", "snapshots", "--json")).stdout)
    assert listed
    gone = await asyncio.to_thread(coe, "learn", "rollback", "99")
    assert gone.returncode == 2
    assert "there is no snapshot 99" in gone.stderr
    back = await asyncio.to_thread(coe, "learn", "rollback", str(listed[0]["number"]))
    assert back.returncode == 0


async def test_a_reload_loses_nothing_of_what_was_learnt(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = text(upstream, "{mode: adapt, answers: 30}")
    apply(tmp_path, file, **GRAND)
    async with serve(file) as running:
        await taught(running, 20)
        async with running.live.replacing(running.live.composition):
            await taught(running, 10)  # while the new one is made ready
        learner = running.live.current.gateway.learner
        assert learner is not None
        assert learner is not running.gateway.learner
        assert learner.heard == 30
    last = Snapshots(tmp_path / ".coe" / FOLDER).read()  # it ended without another word
    assert last is not None
    assert last.about["heard"] == 30


async def test_feedback_that_is_sent_again_teaches_once(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = text(upstream, "adapt")
    apply(tmp_path, file, **GRAND)
    async with serve(file) as running:
        response = await asked(running, CODE)
        body = {
            "decision_id": response.headers["x-coe-decision-id"],
            "value": False,
            "idempotency_key": "one",
        }
        learner = running.gateway.learner
        assert learner is not None
        for value, heard in ((False, 1), (False, 1), (True, 2)):
            await running.request("POST", f"{running.url}/feedback", json={**body, "value": value})
            assert learner.heard == heard


async def test_propose_changes_nothing_until_a_person_does(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, coe: Coe
) -> None:
    file = text(upstream, "{mode: propose, answers: 30}")
    apply(tmp_path, file, **GRAND)
    async with serve(file) as running:
        found = await taught(running, 80)
        assert set(found) == {"grand"}
    diff = await asyncio.to_thread(coe, "learn", "propose")
    assert diff.returncode == 0, diff.stderr
    assert "- code: grand" in diff.stdout
    assert "+ code: plain" in diff.stdout
    assert (tmp_path / "experts.yaml").read_text() == file

    applied = await asyncio.to_thread(coe, "learn", "propose", "--apply")
    assert applied.returncode == 0, applied.stderr
    composition = load(tmp_path / "experts.yaml")
    assert composition.routing.routes["code"][0] == "plain"
    assert composition.routing.by_hand == {"code"}


async def test_feedback_on_several_experts_teaches_all(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, coe: Coe
) -> None:
    file = text(upstream, "{mode: propose, answers: 10}")
    apply(tmp_path, file, **GRAND)
    async with serve(file) as running:
        for number in range(60):
            response = await asked(running, f"{CODE} {number}")
            body = {
                "decision_id": response.headers["x-coe-decision-id"],
                "correct": {"grand": 0, "plain": 1, "nobody": 1},
            }
            await running.request("POST", f"{running.url}/feedback", json=body)
    found = json.loads((await asyncio.to_thread(coe, "learn", "propose", "--json")).stdout)
    assert [(one["category"], one["expert"], one["instead"]) for one in found] == [
        ("code", "plain", "grand")
    ]


def test_without_a_map_it_is_refused(coe: Coe, tmp_path: Path) -> None:
    (tmp_path / "experts.yaml").write_text(
        FILE.format(url="http://127.0.0.1:9", learning="adapt").replace(
            "routing: {choose: fitted}", ""
        )
    )
    done = coe("check")
    assert done.returncode == 2
    assert "learning" in done.stderr
    assert "coe map fit" in done.stderr
    assert coe("learn", "show").returncode == 2


@pytest.mark.parametrize(
    ("learning", "words"),
    [
        ("maybe", "is not one of off, propose, adapt"),
        ("{mode: adapt, explore: 0.02}", "no unit"),
        ("{mode: adapt, budget: 5}", "no currency"),
        ("{mode: adapt, rate: 1}", "`rate`"),
    ],
)
def test_what_is_refused(coe: Coe, tmp_path: Path, learning: str, words: str) -> None:
    path = tmp_path / "experts.yaml"
    path.write_text(FILE.format(url="http://127.0.0.1:9", learning=learning))
    done = coe("check")
    assert done.returncode == 2
    assert words in done.stderr


def logged(folder: Path, records: list[Record]) -> None:
    store = DecisionStore.open(folder / ".coe" / STORED)
    store.add(records)
    store.close()


def test_what_changed_is_said(coe: Coe, tmp_path: Path) -> None:
    apply(tmp_path, FILE.format(url="http://127.0.0.1:9", learning="propose"), **GRAND)
    calm = [
        Record(
            id=f"a{n}",
            at=n,
            category=(("code",) * 5 + ("law",) * 3 + (None,) * 2)[n % 10],
            reason="matched" if n % 10 < 8 else "below-threshold",
            expert="grand",
        )
        for n in range(2000)
    ]
    logged(tmp_path, calm)
    before = json.loads(coe("learn", "show", "--json").stdout)["changes"]
    assert before["alarms"] == []
    assert before["out_of_scope"] == pytest.approx(0.2)

    strange = [
        Record(id=f"b{n}", at=3000 + n, category=None, reason="below-threshold", expert="plain")
        for n in range(3000)
    ]
    logged(tmp_path, strange)
    shown = coe("learn", "show").stdout
    assert "the mix of categories has shifted" in shown
    assert "belong to no category" in shown
    assert "`plain` takes" in shown
    assert "`grand` gets only" in shown


def test_new_categories_are_shown_where_texts_are_kept(coe: Coe, tmp_path: Path) -> None:
    apply(tmp_path, FILE.format(url="http://127.0.0.1:9", learning="propose"), **GRAND)
    nothing = coe("learn", "groups")
    assert nothing.returncode == 2
    assert "keep_prompts: text" in nothing.stderr

    cities = ("Bern", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Ulm", "Lyon", "Turin", "Kyoto")
    texts = [f"book me a cheap hotel in {city}" for city in (*cities, "Basel", "Nice")]
    texts += ["why is the sky blue", "tell me a joke", "who won the cup", "fix my bicycle"]
    logged(
        tmp_path,
        [
            Record(
                id=f"t{n}",
                at=n,
                reason="below-threshold",
                text=[{"role": "user", "content": text}],
                text_until=1e12,
            )
            for n, text in enumerate(texts)
        ],
    )
    found = json.loads(coe("learn", "groups", "--json").stdout)
    assert [group["prompts"] for group in found] == [12]
    assert all("hotel" in text for text in found[0]["examples"])
