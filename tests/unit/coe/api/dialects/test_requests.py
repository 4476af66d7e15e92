"""What a request of a dialect asks for, as a chat completion; the SDKs' tests have the rest."""

from __future__ import annotations

from typing import Any

import pytest

from coe.api import wire
from coe.api.dialects import completions, messages, responses
from coe.errors import InvalidRequest
from coe.settings import Settings

SETTINGS = Settings.model_construct()
TOOL = {"type": "function", "name": "f"}
IMAGE = {"type": "input_image", "image_url": "https://x.test/a.png"}
SHOWN = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(parse: Any, **fields: Any) -> dict[str, Any]:
    """Return the chat completion, less its model."""
    body = dict(parse({"model": "m", **fields}, "q", SETTINGS, wire.NOBODY).body)
    return {name: value for name, value in body.items() if name != "model"}


def of_response(given: Any, **fields: Any) -> dict[str, Any]:
    return chat(responses.parse, input=given, **fields)


def of_message(*said: Any, **fields: Any) -> dict[str, Any]:
    return chat(messages.parse, messages=list(said), max_tokens=5, **fields)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}},
         {"response_format": {"type": "json_object"}}),
        ({"text": {}}, {}),
        ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}}},
         {"response_format": {"type": "json_schema",
                              "json_schema": {"name": "n", "schema": {}, "strict": True}}}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"reasoning": {"effort": None}}, {}),
        ({"tools": [], "parallel_tool_calls": True, "tool_choice": "auto"}, {}),
        ({"tools": [TOOL], "parallel_tool_calls": False},
         {"tools": [{"type": "function", "function": {"name": "f"}}],
          "parallel_tool_calls": False}),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}},
         {"tools": [{"type": "function", "function": {"name": "f"}}],
          "tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ({"truncation": "disabled", "background": False, "store": False}, {}),
    ],
)  # fmt: skip
def test_the_options_of_a_response(fields: dict[str, Any], asked: dict[str, Any]) -> None:
    assert of_response("hi", **fields) == {"messages": [user("hi")], **asked}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([user([{"type": "input_text", "text": "a"}, {"type": "text", "text": "b"}])],
         [user("a\nb")]),
        ([{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, user("?")],
         [{"role": "assistant", "content": "no"}, user("?")]),
        ([user([IMAGE])], [user([SHOWN])]),
        ([{"role": "assistant", "content": "ok"}, CALL],
         [{"role": "assistant", "content": "ok", "tool_calls": [CALLED]}]),
        # What tools showed follows all of their messages, and comes before what the user says.
        ([CALL, CALL,
          {"type": "function_call_output", "call_id": "c", "output": [IMAGE]},
          {"type": "function_call_output", "call_id": "c",
           "output": [{"type": "input_text", "text": "x"}]},
          user("and?")],
         [{"role": "assistant", "content": None, "tool_calls": [CALLED, CALLED]},
          {"role": "tool", "tool_call_id": "c", "content": ""},
          {"role": "tool", "tool_call_id": "c", "content": "x"},
          user([SHOWN]),
          user("and?")]),
        ([CALL, {"type": "function_call_output", "call_id": "c", "output": [IMAGE]}],
         [{"role": "assistant", "content": None, "tool_calls": [CALLED]},
          {"role": "tool", "tool_call_id": "c", "content": ""},
          user([SHOWN])]),
    ],
)  # fmt: skip
def test_the_items_of_a_response(items: list[Any], said: list[Any]) -> None:
    assert of_response(items)["messages"] == said


@pytest.mark.parametrize(
    ("messages_given", "said"),
    [
        ([{"role": "system", "content": "brief"}, user("hi")],
         [{"role": "system", "content": "brief"}, user("hi")]),
        ([user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], [user("a\n\nb")]),
        ([user([])], [user([])]),
        ([{"role": "assistant", "content": "ok"}, user("hi")],
         [{"role": "assistant", "content": "ok"}, user("hi")]),
        ([{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
          user("hi")],
         [{"role": "assistant", "content": ""}, user("hi")]),
        ([user([{"type": "tool_result", "tool_use_id": "t"}])],
         [{"role": "tool", "tool_call_id": "t", "content": ""}]),
    ],
)  # fmt: skip
def test_the_messages_of_a_message(messages_given: list[Any], said: list[Any]) -> None:
    assert of_message(*messages_given)["messages"] == said


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        ({"type": "tool", "name": "f"},
         {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (None, {}),
    ],
)  # fmt: skip
def test_the_choice_of_a_tool_in_a_message(choice: Any, asked: dict[str, Any]) -> None:
    tool = {"name": "f", "input_schema": {}, "strict": True, "cache_control": {}}
    made = of_message(user("hi"), tools=[tool], tool_choice=choice)

    function = {"name": "f", "parameters": {}, "strict": True}
    assert made == {
        "messages": [user("hi")],
        "max_completion_tokens": 5,
        "tools": [{"type": "function", "function": function}],
        **asked,
    }


@pytest.mark.parametrize(
    ("block", "place"),
    [
        ({"type": "server_tool_use"}, "messages[0].content[0].type"),
        ({"type": "tool_use", "id": "t", "name": "f"}, "messages[0].content[0].input"),
    ],
)
def test_what_an_assistant_cannot_have_said_is_named(block: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        of_message({"role": "assistant", "content": [block]}, user("hi"))

    assert caught.value.param == place


def test_a_completion_passes_on_what_it_does_not_know() -> None:
    made = chat(completions.parse, prompt="hi", stop=["x"], made_up=1, logprobs=0)

    assert made == {
        "messages": [user("hi")],
        "stop": ["x"],
        "made_up": 1,
        "logprobs": True,
        "top_logprobs": 0,
    }
