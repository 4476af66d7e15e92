"""What clients see of a conversation that keeps its category."""

from __future__ import annotations

from typing import Any

import pytest

from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve

pytestmark = pytest.mark.anyio

COMPOSITION = """
version: 1
backends:
  up: {url: "URL", timeouts: {connect: 1s, first_token: 2s, idle: 1s, total: 3s}}
experts:
  general: {backend: up, model: ok}
  coder: {backend: up, model: ok}
  guide: {backend: up, model: ok}
categories:
  code: {keywords: [python, traceback], experts: [coder]}
  travel: {keywords: [flight, hotel], experts: [guide]}
default: general
"""
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ],
}


def messages(*texts: str) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for text in texts:
        said += [{"role": "user", "content": text}, {"role": "assistant", "content": "fine"}]
    return said[:-1]


async def ask(
    running: Running, said: list[dict[str, Any]], path: str = "chat/completions", **headers: str
) -> Any:
    body = {"model": "coe/auto", "messages": said}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await running.request("POST", f"{running.url}/{path}", json=body, headers=named)
    assert response.status == 200, await response.text()
    return response


async def test_a_follow_up_goes_to_the_expert_of_the_conversation(
    serve: Serve, upstream: FakeUpstream
) -> None:
    async with serve(COMPOSITION.replace("URL", upstream.url)) as running:
        first = await ask(running, messages("a python question"))
        second = await ask(running, messages("a python question", "and now?"))
        third = await ask(running, messages("a python question", "and now?", "find a hotel"))

    assert first.headers["x-coe-reason"] == "matched"
    assert first.headers["x-coe-session"] == "derived"
    assert "x-coe-alone" not in first.headers
    assert second.headers["x-coe-expert"] == "coder"
    assert third.headers["x-coe-expert"] == "guide"


async def test_headers_and_document_say_that_the_session_kept_the_category(
    serve: Serve, upstream: FakeUpstream
) -> None:
    """The client sends one turn at a time, so that the header alone knows the conversation."""
    async with serve(COMPOSITION.replace("URL", upstream.url)) as running:
        await ask(running, messages("a python question"), x_session_id="s1")
        answer = await ask(running, messages("and now?"), x_session_id="s1")
        other = await ask(running, messages("and now?"), x_session_id="s2")
        explained = await (
            await ask(running, messages("once more"), "route", x_session_id="s1")
        ).json()

    assert answer.headers["x-coe-expert"] == "coder"
    assert answer.headers["x-coe-category"] == "code"
    assert answer.headers["x-coe-reason"] == "session"
    assert answer.headers["x-coe-session"] == "header:x-session-id"
    assert answer.headers["x-coe-alone"] == "none"
    assert other.headers["x-coe-expert"] == "general"
    assert explained["reason"] == "session"
    assert explained["session"] == {
        "key": "header:x-session-id",
        "previous": "code",
        "expert": "coder",
        "kept": "margin",
        "alone": {"category": None, "probability": 0.0, "reason": "below-threshold"},
    }


async def test_a_tool_loop_stays_with_its_expert(serve: Serve, upstream: FakeUpstream) -> None:
    said = messages("a python question")
    loop = [*said, CALL, {"role": "tool", "tool_call_id": "1", "content": "book a hotel"}]
    async with serve(COMPOSITION.replace("URL", upstream.url)) as running:
        await ask(running, said)
        answer = await ask(running, loop)
        explained = await (await ask(running, loop, "route")).json()

    assert answer.headers["x-coe-expert"] == "coder"
    assert answer.headers["x-coe-reason"] == "session"
    assert "x-coe-alone" not in answer.headers, "the router was not asked"
    assert explained["session"]["kept"] == "tool-loop"
    assert explained["session"]["alone"]["category"] == "code"


async def test_never_remembers_nothing(serve: Serve, upstream: FakeUpstream) -> None:
    text = COMPOSITION.replace("URL", upstream.url) + "routing: {sessions: never}\n"
    async with serve(text) as running:
        await ask(running, messages("a python question"), x_session_id="s1")
        answer = await ask(running, messages("and now?"), x_session_id="s1")

    assert answer.headers["x-coe-expert"] == "general"
    assert "x-coe-session" not in answer.headers


async def test_a_named_expert_pays_for_no_session(serve: Serve, upstream: FakeUpstream) -> None:
    async with serve(COMPOSITION.replace("URL", upstream.url)) as running:
        response = await running.chat("coder", "a hotel")

    assert response.headers["x-coe-reason"] == "pinned"
    assert "x-coe-session" not in response.headers
