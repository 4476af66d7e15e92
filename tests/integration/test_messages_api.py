"""/v1/messages with the real anthropic SDK over real sockets."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from .conftest import Gateways, Running

anthropic = pytest.importorskip("anthropic", reason="anthropic's SDK is not installed")

pytestmark = pytest.mark.anyio

HELLO: Any = [{"role": "user", "content": "hello there"}]
ADD: Any = {
    "name": "add",
    "description": "adds one",
    "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}},
}


def client(running: Running, **options: Any) -> Any:
    url = running.url.removesuffix("/v1")
    return anthropic.AsyncAnthropic(base_url=url, api_key="unused", max_retries=0, **options)


async def test_a_message(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        made = await api.messages.create(
            model="good",
            max_tokens=50,
            system=[
                {"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "be kind"},
            ],
            messages=HELLO,
            stop_sequences=["END"],
            metadata={"user_id": "u1"},
            thinking={"type": "adaptive"},
            output_config={"effort": "low"},
            extra_body={"temperature": 0.5, "made_up": 1},
        )

    assert made.type == "message"
    assert made.role == "assistant"
    assert made.model == "good"
    assert made.id.startswith("msg_")
    assert [block.text for block in made.content] == ["echo: hello there"]
    assert (made.stop_reason, made.stop_sequence) == ("end_turn", None)
    assert (made.usage.input_tokens, made.usage.output_tokens) == (2, 3)
    assert made._request_id
    assert gateways.sent == {
        "model": "ok",
        "messages": [
            {"role": "system", "content": "be brief\n\nbe kind"},
            {"role": "user", "content": "hello there"},
        ],
        "max_completion_tokens": 50,
        "temperature": 0.5,
        "stop": ["END"],
        "user": "u1",
        "made_up": 1,
    }


async def test_a_stream_has_the_documented_events(gateways: Gateways) -> None:
    body = {"model": "good", "max_tokens": 50, "messages": HELLO, "stream": True}
    async with gateways.start() as running:
        response = await running.request("POST", f"{running.url}/messages", json=body)
        text = await response.text()

    names = [line.removeprefix("event: ") for line in text.split("\n") if line[:6] == "event:"]
    assert names == [
        "message_start",
        "ping",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "[DONE]" not in text


async def test_the_sdks_own_accumulator_takes_the_stream(gateways: Gateways) -> None:
    async with (
        gateways.start() as running,
        client(running) as api,
        api.messages.stream(model="good", max_tokens=50, messages=HELLO) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        made = await stream.get_final_message()

    assert text == made.content[0].text == "echo: hello there"
    assert made.stop_reason == "end_turn"
    assert (made.usage.input_tokens, made.usage.output_tokens) == (2, 3)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_tool_loop(gateways: Gateways, is_streamed: bool) -> None:  # noqa: FBT001
    async with gateways.start() as running, client(running) as api:
        gateways.upstream.plan(["tools", "tools", "ok"])
        messages: Any = [{"role": "user", "content": "what is one more than 1?"}]
        for number in count():
            made = await _asked(api, messages, is_streamed=is_streamed)
            if made.stop_reason != "tool_use":
                break
            call = made.content[-1]
            assert (call.type, call.name, call.input) == ("tool_use", "add", {"a": 1})
            messages.append({"role": "assistant", "content": made.content})
            output = {"type": "tool_result", "tool_use_id": call.id, "content": f"it is {number}"}
            messages.append({"role": "user", "content": [output]})

    assert number == 2
    assert made.content[0].text == "echo: it is 1"
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a":1}'},
            }
        ],
    }
    assert gateways.sent["messages"] == [
        {"role": "user", "content": "what is one more than 1?"},
        called,
        {"role": "tool", "tool_call_id": "call_1", "content": "it is 0"},
        called,
        {"role": "tool", "tool_call_id": "call_1", "content": "it is 1"},
    ]
    function = {
        "name": "add",
        "description": "adds one",
        "parameters": ADD["input_schema"],
    }
    assert gateways.sent["tools"] == [{"type": "function", "function": function}]
    assert gateways.sent["tool_choice"] == "required"
    assert gateways.sent["parallel_tool_calls"] is False


async def _asked(api: Any, messages: Any, *, is_streamed: bool) -> Any:
    asked: dict[str, Any] = {
        "model": "behaves",
        "max_tokens": 50,
        "messages": messages,
        "tools": [ADD],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }
    if not is_streamed:
        return await api.messages.create(**asked)
    async with api.messages.stream(**asked) as stream:
        return await stream.get_final_message()


async def test_images_documents_and_what_tools_showed_are_passed_on(gateways: Gateways) -> None:
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
    }
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
    paper = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
    }
    used = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": "seen"}, image],
        "is_error": True,
    }
    async with gateways.start() as running, client(running) as api:
        await api.messages.create(
            model="good",
            max_tokens=5,
            messages=[
                {"role": "user", "content": [paper, linked, {"type": "text", "text": "look"}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": ""},
                        {"type": "text", "text": "I look"},
                        used,
                    ],
                },
                {"role": "user", "content": [result, {"type": "text", "text": "and?"}]},
            ],
        )

    assert gateways.sent["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "d"},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                {"type": "text", "text": "look"},
            ],
        },
        {
            "role": "assistant",
            "content": "I look",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "Error: seen"},
        {"role": "user", "content": [shown, {"type": "text", "text": "and?"}]},
    ]


async def test_an_output_format_is_passed_on(gateways: Gateways) -> None:
    schema = {"type": "object", "properties": {"total": {"type": "integer"}}}
    async with gateways.start() as running, client(running) as api:
        await api.messages.create(
            model="good",
            max_tokens=5,
            messages=HELLO,
            output_config={"format": {"type": "json_schema", "schema": schema}},
        )

    asked = gateways.sent["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["schema"] == schema


async def test_thoughts_are_shown_to_who_asks(gateways: Gateways) -> None:
    asked: Any = {"model": "behaves", "max_tokens": 5000, "messages": HELLO}
    thinking = {"type": "enabled", "budget_tokens": 2000}
    async with gateways.start("reasoning") as running, client(running) as api:
        without = await api.messages.create(**asked)
        whole = await api.messages.create(**asked, thinking=thinking)
        async with api.messages.stream(**asked, thinking=thinking) as stream:
            streamed = await stream.get_final_message()

    assert [block.type for block in without.content] == ["text"]
    for made in (whole, streamed):
        assert [block.type for block in made.content] == ["thinking", "text"]
        assert made.content[0].thinking == "let me think"
        assert made.content[1].text == "42"


async def test_a_refusal_says_so(gateways: Gateways) -> None:
    async with gateways.start("refusal") as running, client(running) as api:
        whole = await api.messages.create(model="behaves", max_tokens=5, messages=HELLO)
        async with api.messages.stream(model="behaves", max_tokens=5, messages=HELLO) as stream:
            streamed = await stream.get_final_message()

    for made in (whole, streamed):
        assert made.stop_reason == "refusal"
        assert made.content[0].text == "I would rather not"


async def test_an_answer_at_its_limit_says_so(gateways: Gateways) -> None:
    async with gateways.start("length") as running, client(running) as api:
        whole = await api.messages.create(model="behaves", max_tokens=1, messages=HELLO)
        async with api.messages.stream(model="behaves", max_tokens=1, messages=HELLO) as stream:
            streamed = await stream.get_final_message()

    assert whole.stop_reason == streamed.stop_reason == "max_tokens"


async def test_tokens_are_counted(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        short = await api.messages.count_tokens(model="good", messages=HELLO)
        more = await api.messages.count_tokens(model="coe/auto", messages=HELLO, tools=[ADD])
        with pytest.raises(anthropic.NotFoundError):
            await api.messages.count_tokens(model="gpt-7", messages=HELLO)
        with pytest.raises(anthropic.BadRequestError) as caught:
            await api.messages.count_tokens(model="good", messages=[])

    assert 1 <= short.input_tokens < more.input_tokens
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert gateways.upstream.received == 0


async def test_an_unknown_model_is_not_found(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        with pytest.raises(anthropic.NotFoundError) as caught:
            await api.messages.create(model="gpt-7", max_tokens=5, messages=HELLO)

    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "not_found_error"
    assert "coe/auto" in caught.value.body["error"]["message"]
    assert caught.value.request_id == caught.value.body["request_id"]


@pytest.mark.parametrize(
    ("behaviour", "status", "kind", "is_streamed"),
    [
        ("error-500", 502, "api_error", False),
        ("error-500", 502, "api_error", True),
        ("error-429", 429, "rate_limit_error", False),
        ("error-400-context", 400, "invalid_request_error", True),
        ("error-frame-first", 502, "api_error", True),
    ],
)
async def test_an_error_before_the_answer_has_anthropics_shape(
    gateways: Gateways,
    behaviour: str,
    status: int,
    kind: str,
    is_streamed: bool,  # noqa: FBT001
) -> None:
    async with gateways.start(behaviour) as running, client(running) as api:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await api.messages.create(
                model="behaves", max_tokens=5, messages=HELLO, stream=is_streamed
            )

    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == kind


@pytest.mark.parametrize(
    "behaviour",
    ["error-frame-after-2", "truncate-after-2", "drop-after-2", "cut-after-2", "done-after-2"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_broken_stream_never_ends_cleanly(gateways: Gateways, behaviour: str) -> None:
    async with gateways.start(behaviour) as running, client(running) as api:
        stream = await api.messages.create(
            model="behaves", max_tokens=5, messages=HELLO, stream=True
        )
        seen = []
        with pytest.raises(anthropic.APIStatusError) as caught:
            async for event in stream:
                seen.append(event.type)  # noqa: PERF401 - it raises on the way

    assert "content_block_delta" in seen
    assert "message_stop" not in seen
    assert caught.value.body["error"]["message"]


async def test_a_client_that_leaves_cancels_the_upstream(gateways: Gateways) -> None:
    async with gateways.start("stall-after-2") as running, client(running) as api:
        stream = await api.messages.create(
            model="behaves", max_tokens=5, messages=HELLO, stream=True
        )
        async for event in stream:
            if event.type == "content_block_delta":
                break
        await stream.close()
        await asyncio.wait_for(gateways.upstream.client_gone(), 5)


async def test_a_key_is_the_same_in_either_header(gateways: Gateways) -> None:
    """What one client was told is shown to whoever has its key, wherever the key is sent."""
    asked: Any = {"model": "good", "max_tokens": 5, "messages": HELLO}
    async with gateways.start() as running:
        url = running.url.removesuffix("/v1")
        async with anthropic.AsyncAnthropic(base_url=url, api_key="k1") as api:
            raw = await api.messages.with_raw_response.create(**asked)
        decision = raw.headers["x-coe-decision-id"]
        seen = {}
        for name, headers in {
            "bearer": {"authorization": "Bearer k1"},
            "key": {"x-api-key": "k1"},
            "other": {"x-api-key": "k2"},
        }.items():
            response = await running.request(
                "GET", f"{running.url}/decisions/{decision}", headers=headers
            )
            seen[name] = response.status

    assert seen == {"bearer": 200, "key": 200, "other": 404}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "I"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]},
         "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
         "messages[0].content[0].tool_use_id"),
        ({"messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
         "messages[0].content[0].source.type"),
        ({"messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "base64", "data": "x"}}]}]},
         "messages[0].content[0].source.type"),
        ({"messages": [{"role": "assistant", "content": [
            {"type": "tool_use", "id": "t", "name": "f", "input": "x"}]}, *HELLO]},
         "messages[0].content[0].input"),
        ({"system": 5}, "system"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [ADD], "tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"tools": [ADD], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"metadata": "me"}, "metadata"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"stop": ["x"]}, "stop"),
        ({"n": 2}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"model": None}, "model"),
    ],
)  # fmt: skip
async def test_a_malformed_field_is_named(
    gateways: Gateways, fields: dict[str, Any], place: str
) -> None:
    body = {"model": "good", "max_tokens": 5, "messages": HELLO, **fields}
    async with gateways.start() as running:
        response = await running.request("POST", f"{running.url}/messages", json=body)
        answer = await response.json()

    assert response.status == 400
    assert answer["type"] == "error"
    assert answer["error"]["type"] == "invalid_request_error"
    assert f"`{place}`" in answer["error"]["message"]
    assert gateways.upstream.received == 0


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "a", "model": "b"}'])
async def test_what_is_no_object_is_refused_in_anthropics_shape(
    gateways: Gateways, body: bytes
) -> None:
    async with gateways.start() as running:
        response = await running.request("POST", f"{running.url}/messages", data=body)
        answer = await response.json()

    assert (response.status, answer["error"]["type"]) == (400, "invalid_request_error")
