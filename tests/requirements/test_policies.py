"""What policies promise: whoever may not see a prompt never gets a byte of it, whatever asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coe.access.key import Wish
from coe.testing.upstream import FakeUpstream
from tests.integration.conftest import Coe, Running, Serve

pytestmark = pytest.mark.anyio

BASE = """\
version: 1
backends:
  here: {{url: "{url}"}}
  cloud: {{url: "{url}", trust: external}}
experts:
  small: {{backend: here, model: small}}
  other: {{backend: here, model: other, tags: [open]}}
  big: {{backend: cloud, model: big, tags: [dear], cost: {{input: 1 USD/M, output: 2 USD/M}}}}
  wise: {{recipe: {{over: big, system: "Think."}}}}
  kept: {{cached: {{over: big}}}}
categories:
  law: {{keywords: [clause], experts: [big, small], data: confidential}}
  code: {{keywords: [python], experts: [big, other]}}
default: small
policies:
  data_classes: [public, internal, confidential]
  detect: {{secrets: confidential, pii: internal}}
  rules:
    - {{name: confidential stays here, if: {{data: confidential}}, require: {{trust: [local]}},
       else: refuse}}
    - {{name: no big for interns, if: {{team: interns}}, deny: {{experts: [big]}},
       else: refuse}}
"""
CLOSED = "server: {auth: keys}\n"
KEY = "AKIA" + "IOSFODNN7EXAMPLE"
FAR = {"big", "wise", "kept"}


def text(upstream: FakeUpstream, more: str = "") -> str:
    return BASE.format(url=upstream.url) + more


def asked(upstream: FakeUpstream) -> set[str]:
    return {request.json["model"] for request in upstream.requests}


def seen_by_big(upstream: FakeUpstream) -> str:
    """Return all that was sent to the expert far away."""
    requests = (request for request in upstream.requests if request.json["model"] == "big")
    return "".join(request.body.decode() for request in requests)


async def ask(
    running: Running, words: str, headers: Mapping[str, str] | None = None, **body: Any
) -> Any:
    body = {"model": "coe/auto", "messages": [{"role": "user", "content": words}], **body}
    url = f"{running.url}/chat/completions"
    return await running.request("POST", url, json=body, headers=dict(headers or {}))


async def route(running: Running, words: str, headers: Mapping[str, str] | None = None) -> Any:
    url = f"{running.url}/route"
    response = await running.request("POST", url, json={"input": words}, headers=headers or {})
    return await response.json()


async def key(running: Running, **wanted: Any) -> dict[str, str]:
    """Return the header of a client with a new key."""
    premises = running.gateway.premises
    assert premises is not None
    assert premises.keys is not None
    _, shown = await premises.keys.add(Wish(name="test", **wanted), by="the test")
    return {"authorization": f"Bearer {shown}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


async def test_a_prompt_with_a_secret_stays_here(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(text(upstream)) as running:
        free = await ask(running, "python, please")
        held = await ask(running, f"python: {KEY}")

    assert free.headers["x-coe-expert"] == "big"
    assert free.headers["x-coe-reason"] == "matched"
    assert free.headers["x-coe-data-class"] == "public"
    assert held.headers["x-coe-expert"] == "other"
    assert held.headers["x-coe-reason"] == "policy"
    assert held.headers["x-coe-data-class"] == "confidential"
    assert held.headers["x-coe-found"] == "secrets"
    assert [KEY in request.body.decode() for request in upstream.requests] == [False, True]
    assert upstream.requests[1].json["model"] == "other"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": KEY},
        {"role": "user", "content": [{"type": "text", "text": f"look: {KEY}"}]},
        {"role": "tool", "tool_call_id": "1", "content": f"result: {KEY}"},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "f", "arguments": json.dumps({"a": f"x\n{KEY}"})},
                }
            ],
        },
    ],
    ids=["system", "part", "tool result", "tool argument"],
)
async def test_all_of_a_conversation_is_looked_at(
    serve: Serve, upstream: FakeUpstream, message: dict[str, Any]
) -> None:
    messages = [message, {"role": "user", "content": "python, please"}]
    async with serve(text(upstream)) as running:
        response = await ask(running, "", messages=messages)

    assert response.headers["x-coe-expert"] == "other"
    assert asked(upstream) == {"other"}


async def test_a_categorys_class_bars_after_the_decision_and_before_the_plan(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(text(upstream)) as running:
        response = await ask(running, "is this clause enforceable")
        decision = await route(running, "is this clause enforceable")

    assert response.headers["x-coe-expert"] == "small"
    assert response.headers["x-coe-category"] == "law"
    assert decision["reason"] == "policy"
    assert decision["policy"]["data"] == "confidential"
    (row,) = decision["excluded"]
    assert row["expert"] == "big"
    assert row["rule"] == "policy"
    assert "confidential stays here" in row["detail"]
    assert asked(upstream) == {"small"}


async def test_a_client_may_raise_the_class_and_not_lower_it(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(text(upstream)) as running:
        raised = await ask(running, "python", {"x-coe-data-class": "confidential"})
        lowered = await ask(running, f"python {KEY}", {"x-coe-data-class": "public"})
        unknown = await ask(running, "python", {"x-coe-data-class": "secret"})
        why = (await unknown.json())["error"]

    assert raised.headers["x-coe-expert"] == lowered.headers["x-coe-expert"] == "other"
    assert unknown.status == 400
    assert "public, internal, confidential" in why["message"]
    assert asked(upstream) == {"other"}


@pytest.mark.parametrize("model", sorted(FAR))
async def test_whoever_names_a_barred_expert_gets_403_and_the_rule(
    serve: Serve, upstream: FakeUpstream, model: str
) -> None:
    async with serve(text(upstream)) as running:
        response = await ask(running, f"hello {KEY}", model=model)
        error = (await response.json())["error"]

    assert response.status == 403
    assert error["code"] == "forbidden"
    assert "rule `confidential stays here`" in error["message"]
    assert KEY not in error["message"]
    assert upstream.received == 0


@pytest.mark.parametrize("model", sorted(FAR))
async def test_naming_an_expert_does_not_hide_the_category(
    serve: Serve, upstream: FakeUpstream, model: str
) -> None:
    async with serve(text(upstream)) as running:
        response = await ask(running, "is this clause enforceable", model=model)
        error = (await response.json())["error"]
        assert upstream.received == 0
        near = await ask(running, "is this clause enforceable", model="small")
        free = await ask(running, "python, please", model=model)

    assert response.status == 403
    assert "rule `confidential stays here`" in error["message"]
    assert near.headers["x-coe-expert"] == "small"
    assert near.headers["x-coe-reason"] == "pinned"
    assert near.headers["x-coe-category"] == "law"
    assert near.headers["x-coe-data-class"] == "confidential"
    assert free.headers["x-coe-expert"] == model
    assert free.headers["x-coe-data-class"] == "public"
    assert "clause" not in seen_by_big(upstream)


async def test_a_rule_on_a_category_sees_who_names_an_expert(
    serve: Serve, upstream: FakeUpstream
) -> None:
    plain = text(upstream).partition("policies:")[0].replace(", data: confidential", "")
    rule = "policies: {rules: [{name: no law, if: {category: law}, deny: {experts: [big]}}]}\n"
    async with serve(plain + rule) as running:
        barred = await ask(running, "is this clause enforceable", model="wise")
        why = (await barred.json())["error"]["message"]
        url = f"{running.url}/route"
        body = {"model": "big", "input": "is this clause enforceable"}
        decision = await (await running.request("POST", url, json=body)).json()
        free = await ask(running, "python, please", model="wise")

    assert barred.status == 403
    assert "rule `no law`" in why
    assert (decision["category"], decision["expert"]) == ("law", None)
    assert free.status == 200


async def test_a_session_does_not_hear_of_a_turn_that_names_an_expert(
    serve: Serve, upstream: FakeUpstream
) -> None:
    session = {"x-session-id": "s2"}
    async with serve(text(upstream)) as running:
        await ask(running, "python, please", session)
        named = await ask(running, "is this clause enforceable", session, model="small")
        after = await ask(running, "hello", session)

    assert named.headers["x-coe-category"] == "law"
    assert "x-coe-session" not in named.headers
    assert after.headers["x-coe-category"] == "code"


JUDGED = "routers: {default: {type: llm, expert: small}}\n"


async def test_the_router_is_asked_about_a_named_expert_only_where_rules_need_it(
    serve: Serve, upstream: FakeUpstream
) -> None:
    plain = JUDGED + text(upstream).replace(", data: confidential", "")
    async with serve(plain) as running:
        await _until_routed(running)
        await ask(running, "is this clause enforceable", model="big")
        assert asked(upstream) == {"big"}
    async with serve(JUDGED + text(upstream)) as running:
        await _until_routed(running)
        response = await ask(running, "is this clause enforceable", model="other")
        url = f"{running.url}/route"
        body = {"model": "other", "input": "another clause"}
        decision = await (await running.request("POST", url, json=body)).json()

    assert asked(upstream) == {"big", "other", "small"}
    # What the router says here is no category: the request is let through, and the detail says why.
    assert response.status == 200
    assert decision["reason"] == "pinned"
    assert "its category is not known: " in decision["detail"]


async def _until_routed(running: Running) -> None:
    async with asyncio.timeout(10):
        while not running.gateway.classifier or not running.gateway.classifier.ready:
            await asyncio.sleep(0.02)


async def test_an_opt_out_holds_for_all_that_is_derived(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(text(upstream)) as running:
        for header in ("big", "tag:dear", "other, big"):
            response = await ask(running, "python, please", {"x-coe-exclude": header})
            assert response.status == 200
            assert response.headers["x-coe-expert"] in {"other", "small"}
            assert response.headers["x-coe-reason"] == "policy"
            for model in FAR:
                named = await ask(running, "hello", {"x-coe-exclude": header}, model=model)
                assert named.status == 403
        wrong = await ask(running, "python, please", {"x-coe-exclude": "bigg"})
        nobody = await ask(running, "hello", {"x-coe-exclude": "big, small, other"})

    assert wrong.status == 400
    assert nobody.status == 403
    assert "big" not in asked(upstream)


async def test_an_opt_out_needs_no_policies(serve: Serve, upstream: FakeUpstream) -> None:
    plain = text(upstream).partition("policies:")[0].replace(", data: confidential", "")
    async with serve(plain) as running:
        response = await ask(running, "python", {"x-coe-exclude": "tag:dear"})
        named = await ask(running, "python", {"x-coe-exclude": "tag:dear"}, model="wise")

    assert response.headers["x-coe-expert"] == "other"
    assert named.status == 403
    assert asked(upstream) == {"other"}


async def test_a_key_reaches_and_sees_what_it_may_and_nothing_else(
    serve: Serve, upstream: FakeUpstream
) -> None:
    plain = text(upstream).partition("policies:")[0].replace(", data: confidential", "")
    async with serve(CLOSED + plain) as running:
        mine = await key(running, experts=("tag:open", "wise"))
        url = f"{running.url}/models"
        cards = await (await running.request("GET", url, headers=mine)).json()
        card = await running.request("GET", f"{url}/big", headers=mine)
        routed = await ask(running, "python", mine)
        named = await ask(running, "hello", mine, model="big")
        program = await ask(running, "hello", mine, model="wise")
        unknown = await ask(running, "hello", mine, model="biggest")
        names = (await unknown.json())["error"]["message"]

    shown = {row["id"]: row for row in cards["data"]}
    assert {name for name, row in shown.items() if row["kind"] in {"llm", "program"}} == {
        "other",
        "wise",
    }
    assert shown["coe/code"]["experts"] == ["other"]
    assert card.status == 404
    assert routed.headers["x-coe-expert"] == "other"
    assert named.status == 403
    assert program.status == 200  # it is on the list, with what is under it
    assert "big," not in names
    assert "wise" in names


async def test_a_teams_rule_bars_and_is_named(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(CLOSED + text(upstream)) as running:
        mine = await key(running, team="interns")
        routed = await ask(running, "python", mine)
        named = await ask(running, "python", mine, model="big")
        why = (await named.json())["error"]["message"]

    assert routed.headers["x-coe-expert"] == "other"
    assert named.status == 403
    assert "no big for interns" in why
    assert asked(upstream) == {"other"}


async def test_who_is_barred_takes_no_fallback(serve: Serve, upstream: FakeUpstream) -> None:
    failing = text(upstream).replace("model: other", "model: error-503")
    async with serve(failing) as running:
        response = await ask(running, f"python {KEY}")

    assert response.headers["x-coe-expert"] == "small"
    assert asked(upstream) == {"error-503", "small"}


PANELS = """\
aggregation:
  trio: {method: vote, experts: [big, small, other]}
  judged: {method: best_of, experts: [small, other], judge: big}
  written: {method: synthesize, experts: [small, other], writer: big}
models:
  coe/trio: {aggregate: trio}
  coe/judged: {aggregate: judged}
  coe/written: {aggregate: written}
"""


@pytest.mark.parametrize("panel", ["trio", "judged", "written"])
async def test_panels_sit_without_who_is_barred(
    serve: Serve, upstream: FakeUpstream, panel: str
) -> None:
    async with serve(PANELS + text(upstream)) as running:
        response = await ask(running, f"hello {KEY}", model=f"coe/{panel}")
        body = await response.json()
        free = await ask(running, "hello", model=f"coe/{panel}")
        assert free.headers["x-coe-panel"] == panel

    assert response.status == 200
    assert ("x-coe-panel" in response.headers) is (panel == "trio")
    calls = body.get("coe", {}).get("provenance", {}).get("calls", [])
    assert "big" not in {row["expert"] for row in calls}
    assert KEY not in seen_by_big(upstream)


async def test_why_a_panel_is_not_asked_is_told(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(PANELS + text(upstream)) as running:
        url = f"{running.url}/route"
        body = {"model": "coe/judged", "input": KEY}
        decision = await (await running.request("POST", url, json=body)).json()

    assert decision["panel"]["alone"].startswith("the judge of panel `judged` may not see it: rule")


SHADOW = """\
experiments:
  beside:
    status: running
    mode: shadow
    sample: 100%
    metrics: judge
    judge: {expert: big}
    arms: {control: {}, swapped: {set: {routing.routes.code: [wise, small]}}}
"""


async def test_shadows_and_their_judge_keep_to_it(serve: Serve, upstream: FakeUpstream) -> None:
    said = iter(f"answer {i}" for i in range(100))
    upstream.says = lambda _: next(said)
    async with serve(SHADOW + text(upstream)) as running:
        await ask(running, f"python {KEY}")
        async with asyncio.timeout(10):
            while running.metric("coe_shadows_total") < 1:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        held = asked(upstream)
        await ask(running, "python")
        async with asyncio.timeout(10):
            while "big" not in asked(upstream):
                await asyncio.sleep(0.02)

    assert held == {"other", "small"}
    assert not any(
        KEY in request.body.decode()
        for request in upstream.requests
        if request.json["model"] == "big"
    )


ROUTERS = """\
routers:
  default: {type: chain, stages: [words, judge]}
  words: keyword
  judge: {type: llm, expert: big}
"""


async def test_a_router_that_asks_a_barred_expert_is_not_asked(
    serve: Serve, upstream: FakeUpstream
) -> None:
    plain = ROUTERS + text(upstream).replace(", data: confidential", "")
    async with serve(plain) as running:
        async with asyncio.timeout(10):
            while not running.gateway.classifier or not running.gateway.classifier.ready:
                await asyncio.sleep(0.02)
        held = await ask(running, f"hello {KEY}")
        decision = await route(running, f"hello {KEY}")
        assert upstream.received == 1
        await ask(running, "hello")

    assert held.headers["x-coe-expert"] == "small"
    assert held.headers["x-coe-reason"] == "policy"
    assert decision["reason"] == "policy"
    assert "the router is not asked: rule `confidential stays here`" in decision["detail"]
    assert "big" in asked(upstream)  # about the other one
    assert KEY not in seen_by_big(upstream)


async def test_an_encoder_far_away_does_not_embed_what_stays_here(
    serve: Serve, upstream: FakeUpstream
) -> None:
    plain = (
        f"encoders:\n  far: {{type: http, url: '{upstream.url}', model: e, dim: 8,"
        " trust: external}\n  near: hashed\n" + text(upstream)
    )
    async with serve(plain) as running:
        url = f"{running.url}/embeddings"

        async def embed(model: str, words: str) -> int:
            body = {"model": model, "input": words}
            return int((await running.request("POST", url, json=body)).status)

        assert await embed("far", "hello") == 200
        assert await embed("far", f"hello {KEY}") == 403
        assert await embed("near", f"hello {KEY}") == 200

    assert upstream.received == 1


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]], ["hello", [1, 2]], [1.0, 2.0]])
async def test_token_numbers_count_as_all_that_could_be_found(
    serve: Serve, upstream: FakeUpstream, tokens: list[Any]
) -> None:
    async with serve(text(upstream)) as running:
        url = f"{running.url}/embeddings"

        async def embed(model: str, given: object) -> Any:
            return await running.request("POST", url, json={"model": model, "input": given})

        free = await embed("big", ["hello", "again"])
        far = await embed("big", tokens)
        why = (await far.json())["error"]["message"]
        near = await embed("small", tokens)

    assert free.status == 200
    assert far.status == 403
    assert "rule `confidential stays here`" in why
    assert near.status == 200
    assert near.headers["x-coe-data-class"] == "confidential"
    assert asked(upstream) == {"big", "small"}
    assert len(upstream.requests) == 2


async def test_where_nothing_is_to_be_found_token_numbers_are_as_good_as_text(
    serve: Serve, upstream: FakeUpstream
) -> None:
    plain = text(upstream).replace("  detect: {secrets: confidential, pii: internal}\n", "")
    async with serve(plain) as running:
        body = {"model": "big", "input": [1, 2, 3]}
        response = await running.request("POST", f"{running.url}/embeddings", json=body)

    assert response.status == 200
    assert response.headers["x-coe-data-class"] == "public"


async def test_a_session_does_not_go_on_with_who_is_barred_now(
    serve: Serve, upstream: FakeUpstream
) -> None:
    session = {"x-session-id": "s1"}
    async with serve(text(upstream)) as running:
        first = await ask(running, "python, please", session)
        turns = [
            {"role": "user", "content": "python, please"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": f"and {KEY}"},
        ]
        second = await ask(running, "", session, messages=turns)
        url = f"{running.url}/route"
        decision = await (
            await running.request("POST", url, json={"messages": turns}, headers=session)
        ).json()

    assert first.headers["x-coe-expert"] == "big"
    assert second.headers["x-coe-expert"] == "other"
    assert decision["session"]["expert"] != "big"


async def test_a_rule_caps_what_one_request_may_cost(serve: Serve, upstream: FakeUpstream) -> None:
    capped = text(upstream).replace(
        "    - {name: no big",
        "    - {name: cheap, if: {team: free}, max_cost: 0.001 USD}\n    - {name: no big",
    )
    async with serve(CLOSED + capped) as running:
        mine = await key(running, team="free")
        short = await ask(running, "python", mine)
        long = await ask(running, "python", mine, max_tokens=5000)
        unpriced = await ask(running, "python", mine, model="small")
        why = (await unpriced.json())["error"]["message"]

    assert short.headers["x-coe-expert"] == "big"
    sent = upstream.requests[0].json
    assert 100 < sent["max_tokens"] < 500  # what is left pays for so many
    assert long.status == 403
    assert unpriced.status == 403
    assert "rule `cheap`: it has no price" in why
    assert len(upstream.requests) == 1


async def test_what_was_found_is_named_and_never_kept(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(text(upstream)) as running:
        response = await ask(running, f"python {KEY}")
        name = response.headers["x-coe-decision-id"]
        async with asyncio.timeout(10):
            while True:
                found = await running.request("GET", f"{running.url}/decisions/{name}")
                if found.status == 200:
                    break
                await asyncio.sleep(0.05)
        record = await found.json()
        metrics = running.gateway.telemetry.exposition().decode()

    assert record["policy"] == {"data": "confidential", "found": ["secrets"]}
    assert [row["expert"] for row in record["candidates"]] == ["other", "small"]
    assert record["excluded"][0]["rule"] == "policy"
    assert record["reason"] == "policy"
    assert KEY not in metrics + caplog.text + json.dumps(record)
    for file in (tmp_path / ".coe").rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file


async def test_a_batch_keeps_to_policies_and_to_its_own_opt_out(
    serve: Serve, upstream: FakeUpstream
) -> None:
    rows = [
        {
            "custom_id": str(i),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": [{"role": "user", "content": words}]},
        }
        for i, (model, words) in enumerate(
            [
                ("coe/auto", f"python {KEY}"),
                ("coe/auto", "python"),
                ("big", f"hello {KEY}"),
                ("big", "is this clause enforceable"),
            ]
        )
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    async with serve(text(upstream)) as running:
        kept = await _batch(running, lines, {})
        without = await _batch(running, lines, {"x-coe-exclude": "big"})

    assert kept == {"0": (200, "other"), "1": (200, "big"), "2": (403, ""), "3": (403, "")}
    assert without == {"0": (200, "other"), "1": (200, "other"), "2": (403, ""), "3": (403, "")}
    assert KEY not in seen_by_big(upstream)
    assert "clause" not in seen_by_big(upstream)


async def _batch(
    running: Running, lines: str, headers: Mapping[str, str]
) -> dict[str, tuple[int, str]]:
    import aiohttp

    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", lines.encode(), filename="in.jsonl")
    file = await (await running.request("POST", f"{running.url}/files", data=form)).json()
    body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions"}
    url = f"{running.url}/batches"
    batch = await (await running.request("POST", url, json=body, headers=dict(headers))).json()
    async with asyncio.timeout(20):
        while batch["status"] not in {"completed", "failed", "expired"}:
            await asyncio.sleep(0.05)
            batch = await (await running.request("GET", f"{url}/{batch['id']}")).json()
    found: dict[str, tuple[int, str]] = {}
    for key in ("output_file_id", "error_file_id"):
        if batch[key]:
            content = await running.request("GET", f"{running.url}/files/{batch[key]}/content")
            for line in (await content.text()).splitlines():
                row = json.loads(line)
                answer = row["response"]
                body = answer["body"] if answer else {}
                status = answer["status_code"] if answer else 0
                found[row["custom_id"]] = (status, body.get("model", ""))
    return found


def test_commands_keep_to_policies(coe: Coe, folder: Path) -> None:
    (folder / "experts.yaml").write_text(BASE.format(url="http://127.0.0.1:9/v1"))

    routed = coe("route", f"python {KEY}", "--json")
    shown = coe("route", f"python {KEY}")

    decision = json.loads(routed.stdout)
    assert decision["expert"] == "other"
    assert decision["policy"] == {
        "data": "confidential",
        "found": ["secrets"],
        "max_cost": None,
        "cost_rule": None,
    }
    assert "data      confidential, by secrets" in shown.stdout
    assert "excluded  big: rule `confidential stays here`" in shown.stdout
