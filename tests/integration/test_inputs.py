"""Every shape of input has a defined behaviour, the same through /v1/route and through chat."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from coe.testing.upstream import FakeUpstream

from .conftest import Running, Serve

pytestmark = pytest.mark.anyio

COMPOSITION = """
version: 1
backends:
  up: {url: "URL", timeouts: {connect: 1s, first_token: 5s, idle: 1s, total: 9s}}
experts:
  general: {backend: up, model: ok, context: 1000k, capabilities: [chat, tools, vision]}
  coder: {backend: up, model: ok, context: 32k, capabilities: [chat, tools]}
  reader: {backend: up, model: ok, context: 1000k, capabilities: [chat, tools, vision]}
categories:
  code:
    utterances: [write a python function, fix this python class, explain this python error,
      refactor this python module, test this python function]
    experts: [coder, reader]
  travel:
    utterances: [поезд в Рим, 去罗马的火车, قطار إلى روما, रोम के लिए ट्रेन, a train to Rome]
    keywords: [поезд, 火车, قطار, गाड़ी, train]
    experts: [reader]
encoders: {small: {type: hashed}}
routers:
  rules: keyword
  near: {type: embedding, encoder: small}
  default: {type: chain, stages: [rules, near]}
routing: {threshold: 0.3}
default: general
"""
ASKS = "write a python function"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
FILE = {"type": "file", "file": {"filename": "train.pdf", "file_data": "data:;base64,JVBERg=="}}
CALL = {"id": "1", "type": "function", "function": {"name": "book_train", "arguments": "{}"}}
LONG = "train " + "word " * 200_000


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


# What is sent, the category that it gets, and who answers.
INPUTS: dict[str, tuple[list[dict[str, Any]], str | None, str]] = {
    "a string": ([user(ASKS)], "code", "coder"),
    "a part": ([user([part(ASKS)])], "code", "coder"),
    "parts": ([user([part("write a"), part("python function")])], "code", "coder"),
    "a text with an image": ([user([part(ASKS), IMAGE])], "code", "reader"),
    "a text with a sound": ([user([part(ASKS), AUDIO])], "code", "coder"),
    "a text with a file": ([user([FILE, part(ASKS)])], "code", "coder"),
    "an image alone": ([user([IMAGE])], None, "general"),
    "an image after a question": ([user(ASKS), user([IMAGE])], "code", "reader"),
    "a tool's result": (
        [
            user(ASKS),
            said("assistant", None, tool_calls=[CALL]),
            said("tool", "a train to Rome", tool_call_id="1"),
        ],
        "code",
        "coder",
    ),
    "a tool's result in parts": (
        [
            user(ASKS),
            said("assistant", None, tool_calls=[CALL]),
            said("tool", [part("a train to Rome")], tool_call_id="1"),
        ],
        "code",
        "coder",
    ),
    "a system prompt that speaks of a category": (
        [said("system", "You book a train to Rome."), user(ASKS)],
        "code",
        "coder",
    ),
    "no user at all": ([said("system", ASKS)], None, "general"),
    "the empty string": ([user("")], None, "general"),
    "space": ([user(" \t\r\n\u3000")], None, "general"),
    "no parts": ([user([])], None, "general"),
    "an empty part": ([user([part("")])], None, "general"),
    "null": ([user(None)], None, "general"),
    "no content": ([{"role": "user"}], None, "general"),
    "nothing after a question": ([user(ASKS), user("")], "code", "coder"),
    "200,000 tokens": ([user(LONG)], "travel", "reader"),
    "200,000 tokens for a small expert": ([user(f"{ASKS} " * 40_000)], "code", "reader"),
    "200,000 tokens before a question": ([user(LONG), user(ASKS)], "code", "reader"),
    "200,000 tokens of one letter": ([user("x" * 800_000)], None, "general"),
    "Chinese": ([user("我想坐火车去米兰")], "travel", "reader"),
    "Arabic": ([user("أريد قطار إلى ميلانو")], "travel", "reader"),
    "Russian": ([user("Когда поезд в Милан?")], "travel", "reader"),
    "Hindi": ([user("मिलान के लिए गाड़ी कब है")], "travel", "reader"),
    "a script that no utterance has": ([user("რა არის ეს")], None, "general"),
    "emoji": ([user("👩‍👩‍👧‍👦🇨🇭🙂")], None, "general"),
    "control characters": ([user("\x00\x1b[31m\u202e")], None, "general"),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "a number": ([user(3)], "messages[0].content"),
    "a part that is a text": ([user(["hello"])], "messages[0].content"),
    "a part without a type": ([user([{"text": "hello"}])], "messages[0].content"),
    "an unknown role": ([said("robot", "hello")], "messages[0].role"),
    "a message that is a text": (["hello"], "messages[0]"),
    "no messages": ([], "messages"),
}


async def post(running: Running, path: str, body: bytes) -> Any:
    return await running.request("POST", f"{running.url}/{path}", data=io.BytesIO(body))


@pytest.mark.parametrize("case", INPUTS)
async def test_an_input_is_routed_as_the_documentation_says(
    case: str, serve: Serve, upstream: FakeUpstream
) -> None:
    messages, category, expert = INPUTS[case]
    body = json.dumps({"model": "coe/auto", "messages": messages}).encode()
    async with serve(COMPOSITION.replace("URL", upstream.url)) as running:
        explained = await (await post(running, "route", body)).json()
        answer = await post(running, "chat/completions", body)
        assert answer.status == 200, await answer.text()
        passed_on = json.loads(upstream.requests[-1].body)

    assert explained["category"] == category
    assert explained["reason"] == ("matched" if category else "below-threshold")
    assert explained["expert"] == answer.headers["x-coe-expert"] == expert
    assert answer.headers.get("x-coe-category") == category
    assert passed_on["messages"] == messages


@pytest.mark.parametrize("case", REFUSED)
async def test_an_input_that_cannot_be_is_refused_with_its_place(
    case: str, serve: Serve, upstream: FakeUpstream
) -> None:
    messages, place = REFUSED[case]
    body = json.dumps({"model": "coe/auto", "messages": messages}).encode()
    async with serve(COMPOSITION.replace("URL", upstream.url)) as running:
        for path in ("route", "chat/completions"):
            response = await post(running, path, body)

            assert response.status == 400
            assert (await response.json())["error"]["param"] == place

    assert upstream.received == 0


async def test_half_a_character_is_no_json(serve: Serve, upstream: FakeUpstream) -> None:
    body = rb'{"model": "coe/auto", "messages": [{"role": "user", "content": "\ud83d"}]}'
    async with serve(COMPOSITION.replace("URL", upstream.url)) as running:
        for path in ("route", "chat/completions"):
            response = await post(running, path, body)

            assert response.status == 400
            assert "surrogate" in (await response.json())["error"]["message"]
