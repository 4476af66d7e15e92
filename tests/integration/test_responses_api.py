"""/v1/responses with the real openai SDK over real sockets."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from .conftest import Gateways, Running

pytestmark = pytest.mark.anyio

ADD: Any = {
    "type": "function",
    "name": "add",
    "description": "adds one",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "strict": False,
}


def client(running: Running) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=running.url, api_key="unused", max_retries=0)


async def test_a_response(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        made = await api.responses.create(
            model="good",
            input="hello there",
            instructions="be brief",
            max_output_tokens=50,
            temperature=0.5,
            reasoning={"effort": "low", "summary": "auto"},
            metadata={"team": "a"},
            prompt_cache_key="key",
            store=False,
            include=["reasoning.encrypted_content"],
            extra_body={"made_up": 1},
        )

    assert made.status == "completed"
    assert made.output_text == "echo: hello there"
    assert made.model == "good"
    assert made.id.startswith("resp_")
    assert made.store is False  # type: ignore[attr-defined]
    assert made.metadata == {"team": "a"}
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens) == (2, 3)
    assert gateways.sent == {
        "model": "ok",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello there"},
        ],
        "max_completion_tokens": 50,
        "temperature": 0.5,
        "reasoning_effort": "low",
        "prompt_cache_key": "key",
        "made_up": 1,
    }


async def test_a_stream_has_the_documented_events(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        stream = await api.responses.create(model="good", input="hello there", stream=True)
        events: list[Any] = [event async for event in stream]

    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events[4:7]) == "echo: hello there"
    assert len({event.item_id for event in events[3:9]}) == 1
    end = events[-1].response
    assert end.output_text == "echo: hello there"
    assert end.usage.total_tokens == 5
    assert end.id == events[0].response.id
    assert gateways.sent["stream_options"] == {"include_usage": True}


async def test_the_sdks_own_accumulator_takes_the_stream(gateways: Gateways) -> None:
    async with (
        gateways.start("tools") as running,
        client(running) as api,
        api.responses.stream(model="behaves", input="hi", tools=[ADD]) as stream,
    ):
        async for _ in stream:
            pass
        made: Any = await stream.get_final_response()

    assert made.output[0].arguments == '{"a": 1}'


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_tool_loop(gateways: Gateways, is_streamed: bool) -> None:  # noqa: FBT001
    async with gateways.start("ok") as running, client(running) as api:
        gateways.upstream.plan(["tools", "tools", "ok"])
        items: list[Any] = [{"role": "user", "content": "what is one more than 1?"}]
        for number in count():
            made = await _asked(api, items, is_streamed=is_streamed)
            calls = [item for item in made.output if item.type == "function_call"]
            if not calls:
                break
            assert (calls[0].name, calls[0].arguments) == ("add", '{"a": 1}')
            items += [item.model_dump(exclude_none=True) for item in made.output]
            output = {"type": "function_call_output", "call_id": calls[0].call_id}
            items.append({**output, "output": f"it is {number}"})

    assert number == 2
    assert made.output_text == "echo: it is 1"
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "add", "arguments": '{"a": 1}'},
    }
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert gateways.sent["messages"] == [
        {"role": "user", "content": "what is one more than 1?"},
        called,
        {"role": "tool", "tool_call_id": "call_1", "content": "it is 0"},
        called,
        {"role": "tool", "tool_call_id": "call_1", "content": "it is 1"},
    ]
    function = {name: value for name, value in ADD.items() if name != "type"}
    assert gateways.sent["tools"] == [{"type": "function", "function": function}]
    assert gateways.sent["tool_choice"] == "auto"


async def _asked(api: openai.AsyncOpenAI, items: list[Any], *, is_streamed: bool) -> Any:
    asked: dict[str, Any] = {
        "model": "behaves",
        "input": items,
        "tools": [ADD],
        "tool_choice": "auto",
    }
    if not is_streamed:
        return await api.responses.create(**asked)
    events: list[Any] = [event async for event in await api.responses.create(**asked, stream=True)]
    assert events[-1].type == "response.completed"
    return events[-1].response


async def test_a_structured_answer_is_parsed(gateways: Gateways) -> None:
    class Sum(BaseModel):
        total: int

    async with gateways.start() as running, client(running) as api:
        gateways.upstream.says = lambda _: '{"total": 3}'
        made = await api.responses.parse(model="good", input="1 + 2", text_format=Sum)

    assert made.output_parsed == Sum(total=3)
    asked = gateways.sent["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["name"] == "Sum"
    assert asked["json_schema"]["schema"]["properties"]["total"]["type"] == "integer"


async def test_images_and_earlier_turns_are_passed_on(gateways: Gateways) -> None:
    picture = "data:image/png;base64,AA=="
    async with gateways.start() as running, client(running) as api:
        await api.responses.create(
            model="good",
            input=[
                {"role": "developer", "content": "be brief"},
                {"role": "assistant", "content": "hello"},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "what is it?"},
                        {"type": "input_image", "image_url": picture, "detail": "low"},
                    ],
                },
            ],
        )

    assert gateways.sent["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": "hello"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is it?"},
                {"type": "image_url", "image_url": {"url": picture, "detail": "low"}},
            ],
        },
    ]


async def test_reasoning_is_an_item_of_its_own(gateways: Gateways) -> None:
    async with gateways.start("reasoning") as running, client(running) as api:
        whole: Any = await api.responses.create(model="behaves", input="hi")
        stream = await api.responses.create(model="behaves", input="hi", stream=True)
        events: list[Any] = [event async for event in stream]

    for made in (whole, events[-1].response):
        assert [item.type for item in made.output] == ["reasoning", "message"]
        assert made.output[0].content[0].text == "let me think"
        assert made.output_text == "42"
    deltas = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert deltas == ["let me", " think"]


async def test_a_refusal_is_a_refusal(gateways: Gateways) -> None:
    async with gateways.start("refusal") as running, client(running) as api:
        whole: Any = await api.responses.create(model="behaves", input="hi")
        stream = await api.responses.create(model="behaves", input="hi", stream=True)
        events: list[Any] = [event async for event in stream]

    for made in (whole, events[-1].response):
        assert made.output[0].content[0].refusal == "I would rather not"
        assert made.output_text == ""
    assert "response.refusal.done" in [event.type for event in events]


async def test_an_answer_at_its_limit_is_incomplete(gateways: Gateways) -> None:
    async with gateways.start("length") as running, client(running) as api:
        whole: Any = await api.responses.create(model="behaves", input="hi", max_output_tokens=1)
        stream = await api.responses.create(model="behaves", input="hi", stream=True)
        events: list[Any] = [event async for event in stream]

    assert events[-1].type == "response.incomplete"
    for made in (whole, events[-1].response):
        assert made.status == "incomplete"
        assert made.incomplete_details.reason == "max_output_tokens"
        assert made.output[-1].status == "incomplete"


async def test_log_probabilities_are_with_the_text(gateways: Gateways) -> None:
    async with gateways.start("logprobs") as running, client(running) as api:
        made: Any = await api.responses.create(
            model="behaves", input="hi", include=["message.output_text.logprobs"], top_logprobs=2
        )

    assert made.output[0].content[0].logprobs[0].token == "a"
    assert (gateways.sent["logprobs"], gateways.sent["top_logprobs"]) == (True, 2)


async def test_an_unknown_model_is_not_found(gateways: Gateways) -> None:
    async with gateways.start() as running, client(running) as api:
        with pytest.raises(openai.NotFoundError) as caught:
            await api.responses.create(model="gpt-7", input="hi")

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_an_error_before_the_answer_keeps_its_status(
    gateways: Gateways,
    is_streamed: bool,  # noqa: FBT001
) -> None:
    async with gateways.start("error-400-context") as running, client(running) as api:
        with pytest.raises(openai.BadRequestError) as caught:
            await api.responses.create(model="behaves", input="hi", stream=is_streamed)

    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "behaviour",
    ["error-frame-after-2", "truncate-after-2", "drop-after-2", "cut-after-2", "done-after-2"],
)
async def test_a_broken_stream_ends_as_failed(gateways: Gateways, behaviour: str) -> None:
    async with gateways.start(behaviour) as running, client(running) as api:
        stream = await api.responses.create(model="behaves", input="hi", stream=True)
        events: list[Any] = [event async for event in stream]

    assert events[0].type == "response.created"
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert events[-1].response.error.message
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_a_client_that_leaves_cancels_the_upstream(gateways: Gateways) -> None:
    async with gateways.start("stall-after-2") as running, client(running) as api:
        stream = await api.responses.create(model="behaves", input="hi", stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        await asyncio.wait_for(gateways.upstream.client_gone(), 5)


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("store", True, "store: false"),
        ("previous_response_id", "resp_1", "`input`"),
        ("conversation", "conv_1", "`input`"),
        ("background", True, "/v1/batches"),
        ("prompt", {"id": "p"}, "instructions"),
        ("truncation", "auto", "shorten"),
        ("messages", [{"role": "user", "content": "hi"}], "`input`"),
        ("max_tokens", 5, "max_output_tokens"),
        ("n", 2, "one answer"),
        ("input", None, "string or a list"),
        ("input", [], "at least one item"),
        ("input", 5, "string or a list"),
        ("instructions", ["x"], "string"),
        ("max_output_tokens", 0, "1 or more"),
        ("tools", {}, "list"),
        ("stream", "yes", "true or false"),
        ("model", None, "coe/auto"),
    ],
)
async def test_a_field_that_is_not_served_is_named_and_says_what_to_do(
    gateways: Gateways, field: str, value: object, advice: str
) -> None:
    body = {"model": "good", "input": "hi", field: value}
    async with gateways.start() as running:
        response = await running.request("POST", f"{running.url}/responses", json=body)
        error = (await response.json())["error"]

    assert response.status == 400
    assert error["param"] == field
    assert field in error["message"]
    assert advice in error["message"]
    assert gateways.upstream.received == 0


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
         "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
         "input[0].content[0].image_url"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [ADD], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [ADD], "tool_choice": {"type": "mcp"}}, "tool_choice.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"reasoning": "low"}, "reasoning"),
    ],
)  # fmt: skip
async def test_a_malformed_part_is_named(
    gateways: Gateways, fields: dict[str, Any], place: str
) -> None:
    body = {"model": "good", "input": "hi", **fields}
    async with gateways.start() as running:
        response = await running.request("POST", f"{running.url}/responses", json=body)
        error = (await response.json())["error"]

    assert response.status == 400
    assert error["param"] == place
    assert place in error["message"]
