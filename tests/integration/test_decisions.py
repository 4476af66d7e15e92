"""The decision log and feedback, through a gateway on a real socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from coe.stores.decisions import FILE, DecisionStore
from coe.testing.upstream import FakeUpstream

from .conftest import Coe, Running, Serve

pytestmark = pytest.mark.anyio

FILE_TEXT = """
version: 1
backends: {{up: "{url}"}}
experts:
  good: {{backend: up, model: ok, cost: {{input: 1 USD/M, output: 10 USD/M}}}}
  broken: {{backend: up, model: error-503}}
categories:
  code:
    keywords: [python]
    experts: [broken, good]
default: good
{more}
"""
MESSAGES = [{"role": "user", "content": "a secret plan in python"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def text(upstream: FakeUpstream, more: str = "") -> str:
    return FILE_TEXT.format(url=upstream.url, more=more)


async def get(running: Running, name: str, **headers: str) -> tuple[int, dict[str, Any]]:
    response = await running.request("GET", f"{running.url}/decisions/{name}", headers=headers)
    return response.status, await response.json()


async def say(running: Running, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    response = await running.request(
        "POST", f"{running.url}/feedback", data=json.dumps(body), headers=headers
    )
    return response.status, await response.json()


async def test_a_decision_is_found_by_its_id_and_by_the_answer(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(text(upstream)) as running:
        response = await running.chat(text="a secret plan in python")
        body = await response.json()
        name = response.headers["x-coe-decision-id"]
        status, facts = await get(running, name)
        _, same = await get(running, body["id"])

    assert status == 200
    assert same == facts
    assert facts["category"] == "code"
    assert facts["expert"] == "good"
    assert facts["reason"] == "fallback"
    assert [row["expert"] for row in facts["attempts"]] == ["broken"]
    assert [row["propensity"] for row in facts["candidates"]] == [1.0, 0.0]
    usage = body["usage"]
    assert facts["prompt_tokens"] == usage["prompt_tokens"]
    cost = (usage["prompt_tokens"] + 10 * usage["completion_tokens"]) / 1e6
    assert facts["cost"] == pytest.approx(cost)
    assert facts["composition"] == running.gateway.composition.fingerprint


async def test_a_stream_is_logged_with_its_usage(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(text(upstream)) as running:
        api = openai.AsyncOpenAI(base_url=running.url, api_key="mine")
        stream = await api.chat.completions.create(
            model="good",
            messages=MESSAGES,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        status, facts = await get(running, chunks[0].id, authorization="Bearer mine")
        await api.close()

    assert status == 200
    assert facts["stream"] is True
    assert facts["reason"] == "pinned"
    assert chunks[-1].usage is not None
    assert facts["answer_tokens"] == chunks[-1].usage.completion_tokens
    assert facts["first_s"] <= facts["latency_s"]


async def test_what_nobody_answered_is_logged_too(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(text(upstream)) as running:
        response = await running.chat(model="broken")
        name = response.headers["x-request-id"]
        _, facts = await get(running, name)

    assert facts["status"] == response.status
    assert facts["error"] == "BackendRejected"
    assert facts["expert"] is None
    assert facts["pinned"] == "broken"


async def test_another_key_with_the_same_answers_id_hides_nothing(
    serve: Serve, upstream: FakeUpstream, folder: Path
) -> None:
    async with serve(text(upstream)) as running:
        body = await (await running.chat(model="good")).json()
        _, facts = await get(running, body["id"])
        with DecisionStore.open(folder / ".coe" / FILE) as store:
            own = store.find(facts["id"])
            assert own is not None
            store.add([replace(own, id="theirs", tenant="another", at=own.at + 1)])
        status, same = await get(running, body["id"])
        said, answer = await say(running, {"response_id": body["id"], "value": True})

    assert (status, said) == (200, 201)
    assert same["id"] == answer["decision_id"] == facts["id"]


async def test_another_keys_decision_is_not_there(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(text(upstream)) as running:
        body = {"model": "good", "messages": MESSAGES}
        response = await running.request(
            "POST",
            f"{running.url}/chat/completions",
            json=body,
            headers={"authorization": "Bearer theirs"},
        )
        name = response.headers["x-coe-decision-id"]
        await response.read()
        for key in ({}, {"authorization": "Bearer mine"}):
            assert (await get(running, name, **key))[0] == 404
            status, error = await say(running, {"decision_id": name, "value": True}, **key)
            assert status == 404
            assert "another key" in error["error"]["message"]
        assert (await get(running, name, authorization="Bearer theirs"))[1]["feedback"] == []


async def test_feedback_by_every_word(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(text(upstream)) as running:
        answer = await (await running.chat(model="good")).json()
        name = {"response_id": answer["id"]}
        for body in (
            {"value": False, "idempotency_key": "thumb"},
            {"value": True, "idempotency_key": "thumb"},  # changed their mind
            {"rating": 4, "tags": ["polite"]},
            {"score": 0.25, "comment": "too long"},
            {"correct": {"good": True, "broken": 0.0}, "demonstration": "like this"},
        ):
            status, said = await say(running, {**name, **body})
            assert status == 201, said
        _, facts = await get(running, answer["id"])

    values = [one.get("value") for one in facts["feedback"]]
    assert values == [1.0, 0.75, 0.25, None]
    assert facts["feedback"][1]["tags"] == {"polite": ""}
    assert facts["feedback"][3]["correct"] == {"good": 1.0, "broken": 0.0}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "name the answer"),
        ({"decision_id": "x", "response_id": "x", "value": True}, "name the answer"),
        ({"decision_id": "x"}, "nothing is said"),
        ({"decision_id": "x", "value": 1}, "`value` must be true or false"),
        ({"decision_id": "x", "rating": 6}, "1 to 5"),
        ({"decision_id": "x", "rating": 2.5}, "1 to 5"),
        ({"decision_id": "x", "score": 1.5}, "0 to 1"),
        ({"decision_id": "x", "score": float("nan")}, "not JSON"),
        ({"decision_id": "x", "value": True, "rating": 5}, "say the same"),
        ({"decision_id": "x", "comment": "x" * 10_001}, "10001 characters"),
        ({"decision_id": "x", "correct": {}}, "how right experts were"),
        ({"decision_id": "x", "correct": {"good": 2}}, "`correct.good`"),
        ({"decision_id": "x", "tags": [1]}, "`tags`"),
        ({"decision_id": "x", "verdict": "fine"}, "`verdict` is no field"),
        ([], "must be a JSON object"),
    ],
)
async def test_feedback_that_is_refused(
    serve: Serve, upstream: FakeUpstream, body: Any, words: str
) -> None:
    async with serve(text(upstream)) as running:
        status, error = await say(running, body)

    assert status == 400
    assert words in error["error"]["message"]


async def test_prompts_are_digests_unless_asked_for(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    file = tmp_path / ".coe" / FILE
    async with serve(text(upstream)) as running:
        digests = []
        for words in ("a secret plan", "a secret plan", "another"):
            response = await running.chat(model="good", text=words)
            _, facts = await get(running, response.headers["x-coe-decision-id"])
            digests.append(facts["prompt"])
            assert "text" not in facts
    raw = b"".join(path.read_bytes() for path in file.parent.rglob("*") if path.is_file())
    assert b"secret plan" not in raw
    assert digests[0] == digests[1] != digests[2]

    async with serve(text(upstream, "observe: {keep_prompts: text}")) as running:
        response = await running.chat(model="good", text="a secret plan")
        _, facts = await get(running, response.headers["x-coe-decision-id"])
    assert facts["text"] == [{"role": "user", "content": "a secret plan"}]
    assert facts["prompt"] == digests[0]


async def test_nothing_is_written_where_that_is_asked(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with serve(text(upstream, "observe: {decisions: false}")) as running:
        response = await running.chat(model="good")
        assert response.status == 200
        assert not (tmp_path / ".coe" / FILE).exists()


async def test_a_disk_that_fails_holds_up_nobody(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    (tmp_path / ".coe").write_text("a file where the folder should be")
    async with serve(text(upstream)) as running:
        response = await running.chat(model="good")
        assert response.status == 200
        status, error = await get(running, response.headers["x-coe-decision-id"])
        assert status == 500
        assert "COE_STATE_DIR" in error["error"]["message"]
        assert (await running.chat(model="good")).status == 200
        (tmp_path / ".coe").unlink()
        assert (await get(running, response.headers["x-coe-decision-id"]))[0] == 200
        assert running.metric('coe_decisions_logged_total{result="written"}') == 2


async def test_why_from_the_shell(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, coe: Coe
) -> None:
    async with serve(text(upstream)) as running:
        response = await running.chat(text="a secret plan in python")
        name = response.headers["x-coe-decision-id"]
        await say(running, {"decision_id": name, "rating": 5, "comment": "just so"})
    done = await asyncio.to_thread(coe, "why", name, "-c", str(tmp_path / "experts.yaml"))

    assert done.returncode == 0, done.stderr
    assert "category  code" in done.stdout
    assert "tried     broken" in done.stdout
    assert "feedback  user 1.00: just so" in done.stdout
    missing = await asyncio.to_thread(coe, "why", "nobody")
    assert missing.returncode == 1
    assert "no decision `nobody`" in missing.stderr


async def test_old_decisions_are_forgotten(tmp_path: Path) -> None:
    from coe.stores.decisions import Feedback, Record

    store = DecisionStore.open(tmp_path / FILE)
    for place in range(3):
        store.add([Record(id=f"d{place}", at=place, text=[{"n": place}], text_until=place + 1.5)])
        store.say(Feedback(decision=f"d{place}", at=place, value=1.0, key="k"))

    assert store.forget(before=1.0, now=3.0) == 2  # the texts of the first two are over
    assert [record.id for record in store.records()] == ["d1", "d2"]
    assert [record.text for record in store.records()] == [None, [{"n": 2}]]
    assert [one.decision for one in store.feedback()] == ["d1", "d2"]
    store.close()
