"""What holds for chat completions holds for every dialect: routing, panels, the decision log."""

from __future__ import annotations

from typing import Any

import pytest

from coe.testing.upstream import FakeUpstream

from .conftest import Gateways, Running, Serve

pytestmark = pytest.mark.anyio

FILE = """
version: 1
backends: {{up: "{url}"}}
experts:
  broken: {{backend: up, model: error-503}}
  good: {{backend: up, model: ok, cost: {{input: 1 USD/M, output: 10 USD/M}}}}
  other: {{backend: up, model: ok}}
categories:
  code:
    keywords: [python]
    experts: [broken, good]
default: other
aggregation:
  pair: {{method: concat, experts: [good, other]}}
models: {{coe/pair: {{aggregate: pair}}}}
"""
TEXT = "a plan in python"
ASKED: dict[str, dict[str, Any]] = {
    "completions": {"prompt": TEXT},
    "responses": {"input": TEXT},
    "messages": {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 50},
}
STREAM = {"completions": {"stream_options": {"include_usage": True}}}

every = pytest.mark.parametrize("path", ASKED)
streamed = pytest.mark.parametrize("stream", [False, True])


async def post(running: Running, path: str, **fields: Any) -> Any:
    body = {"model": "coe/auto", **ASKED[path], **fields}
    return await running.request("POST", f"{running.url}/{path}", json=body)


@every
@streamed
async def test_a_request_is_routed_and_falls_back_and_is_logged(
    serve: Serve,
    upstream: FakeUpstream,
    path: str,
    stream: bool,  # noqa: FBT001
) -> None:
    more = STREAM.get(path, {}) if stream else {}
    async with serve(FILE.format(url=upstream.url)) as running:
        response = await post(running, path, stream=stream, **more)
        text = await response.text()
        name = response.headers["x-coe-decision-id"]
        logged = await running.request("GET", f"{running.url}/decisions/{name}")
        facts = await logged.json()

    assert response.headers["x-coe-expert"] == "good"
    assert response.headers["x-coe-category"] == "code"
    assert response.headers["x-coe-reason"] == "fallback"
    assert "plan" in text
    assert (facts["category"], facts["expert"], facts["status"]) == ("code", "good", 200)
    assert (facts["prompt_tokens"], facts["answer_tokens"]) == (4, 5)
    assert facts["cost"] == pytest.approx(54e-6)
    assert facts["response_id"] in text


@every
async def test_feedback_finds_an_answer_by_the_id_that_the_client_saw(
    serve: Serve, upstream: FakeUpstream, path: str
) -> None:
    async with serve(FILE.format(url=upstream.url)) as running:
        answer = await (await post(running, path)).json()
        said = {"response_id": answer["id"], "value": True}
        response = await running.request("POST", f"{running.url}/feedback", json=said)

    assert response.status == 201


@every
@streamed
async def test_a_panel_answers_and_says_who_wrote_what(
    serve: Serve,
    upstream: FakeUpstream,
    path: str,
    stream: bool,  # noqa: FBT001
) -> None:
    async with serve(FILE.format(url=upstream.url)) as running:
        response = await post(running, path, model="coe/pair", stream=stream)
        text = await response.text()

    assert response.headers["x-coe-panel"] == "pair"
    assert '"provenance"' in text
    assert "plan" in text


@every
async def test_metrics_name_the_endpoint(serve: Serve, upstream: FakeUpstream, path: str) -> None:
    async with serve(FILE.format(url=upstream.url)) as running:
        await post(running, path)
        count = running.metric(f'coe_requests_total{{endpoint="{path}"')

    assert count == 1


@every
async def test_another_method_is_refused_and_says_which_one_is_allowed(
    gateways: Gateways, path: str
) -> None:
    async with gateways.start() as running:
        response = await running.request("GET", f"{running.url}/{path}")

    assert response.status == 405
    assert response.headers["allow"] == "POST"


@every
async def test_a_body_over_the_limit_is_refused(gateways: Gateways, path: str) -> None:
    async with gateways.start(max_body_bytes=1024) as running:
        response = await post(running, path, model="good", padding="x" * 2000)
        answer = await response.json()

    assert response.status == 413
    assert "COE_MAX_BODY_BYTES" in answer["error"]["message"]


@pytest.mark.parametrize(("path", "field"), [("responses", "input"), ("messages", "messages")])
async def test_too_many_messages_or_tools_are_refused(
    gateways: Gateways, path: str, field: str
) -> None:
    many = [{"role": "user", "content": "hi"}] * 3
    tools = [
        {"type": "function", "name": "f"} if field == "input" else {"name": "f", "input_schema": {}}
    ] * 3
    async with gateways.start(max_messages=2, max_tools=2) as running:
        first = await post(running, path, model="good", **{field: many})
        second = await post(running, path, model="good", tools=tools)
        errors = [(await answer.json())["error"]["message"] for answer in (first, second)]

    assert (first.status, second.status) == (400, 400)
    assert f"`{field}`" in errors[0]
    assert "COE_MAX_MESSAGES" in errors[0]
    assert "`tools`" in errors[1]


@pytest.mark.parametrize("path", ["responses", "messages"])
async def test_tools_of_the_vendors_servers_are_left_out_and_that_is_told(
    gateways: Gateways, path: str
) -> None:
    own: dict[str, Any] = {"type": "function", "name": "f", "parameters": {}}
    if path == "messages":
        own = {"name": "f", "input_schema": {}}
    others = [{"type": "web_search_20250305", "name": "s"}, {"type": "a\r\nb: c"}]
    async with gateways.start() as running:
        response = await post(running, path, model="good", tools=[*others, own])
        answer = await response.json()

    assert response.status == 200
    assert response.headers["x-coe-left-out"] == "web_search_20250305, other"
    function = {"name": "f", "parameters": {}}
    assert gateways.sent["tools"] == [{"type": "function", "function": function}]
    assert answer.get("tools", [own]) == [own]  # a response says which tools it could use
