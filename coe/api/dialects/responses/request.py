"""A request of /v1/responses -> the chat completion that it asks for. Pure."""

from __future__ import annotations

import time
from typing import Any

from coe.api import wire
from coe.api.dialects.node import Node, passed_on, usable
from coe.api.dialects.responses.conversation import messages_of
from coe.api.dialects.responses.writer import Writer
from coe.api.dialects.translation import Translated, translated
from coe.settings import Settings

_OWN = frozenset(
    {
        "background",
        "context_management",
        "conversation",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",  # of tools that run on the server, of which there are none
        "metadata",  # it is the client's; chat completions take it only with `store`
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "reasoning",
        "store",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "truncation",
    }
)
_INSTEAD = {
    "messages": "use `input`",
    "max_tokens": "use `max_output_tokens`",
    "max_completion_tokens": "use `max_output_tokens`",
    "n": "a response is one answer",
    "reasoning_effort": "use `reasoning.effort`",
    "response_format": "use `text.format`",
}
_REFUSED = {
    "store": "nothing is stored here; send `store: false`, and the whole conversation in `input`",
    "previous_response_id": "names nothing, as responses are not stored here; send the whole "
    "conversation in `input`",
    "conversation": "names nothing, as conversations are not stored here; send the whole "
    "conversation in `input`",
    "background": "is not served, as responses are not stored here; wait for the answer, or send "
    "a batch to /v1/batches",
    "prompt": "names a template, and none are stored here; send `instructions` and `input`",
    "context_management": "is not served; shorten the `input` yourself",
}
_LOGPROBS = "message.output_text.logprobs"
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "prompt_cache_key",
    "safety_identifier",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
)


def parse(
    body: dict[str, Any], query_id: str, settings: Settings, sender: wire.Sender
) -> Translated:
    """Return the query of a body.

    Raises:
        InvalidRequest: with `param` naming the field; it says what to do where a field needs
            a server that remembers.
    """
    root = Node(body)
    tools, left_out = usable(root["tools"], ("function",))
    chat = _chat(root, settings, tools)
    skeleton = _skeleton(root, query_id) | {"tools": [tool.value for tool in tools]}
    writer = Writer(query_id, skeleton)
    return translated(chat, query_id, settings, sender, writer=writer, left_out=left_out)


def _chat(root: Node, settings: Settings, tools: list[Node]) -> dict[str, Any]:
    for name, why in _REFUSED.items():
        if root[name].value:
            raise root[name].wrong(why)
    if root["truncation"].value not in (None, "disabled"):
        raise root["truncation"].wrong("must be disabled; shorten the `input` yourself")
    chat = passed_on(root, _OWN, _INSTEAD)
    messages = messages_of(root["instructions"], root["input"])
    if len(messages) > settings.max_messages:
        detail = f"makes {len(messages)} messages; the limit is {settings.max_messages}"
        raise root["input"].wrong(f"{detail} (COE_MAX_MESSAGES)")
    chat["messages"] = messages
    if (limit := root["max_output_tokens"].count()) is not None:
        chat["max_completion_tokens"] = limit
    if tools:
        chat["tools"] = [_tool(tool) for tool in tools]
        chat |= _choice(root["tool_choice"])
        if root["parallel_tool_calls"].is_given:
            chat["parallel_tool_calls"] = root["parallel_tool_calls"].flag()
    elif root["tool_choice"].value not in (None, "auto", "none"):
        raise root["tool_choice"].wrong("asks for a tool, and `tools` has none")
    chat |= _options(root)
    if root["stream"].flag():
        chat["stream_options"] = {"include_usage": True}
    return chat


def _tool(tool: Node) -> dict[str, Any]:
    """Return a tool as chat completions have it."""
    function = {"name": tool["name"].text()}
    for name in ("description", "parameters", "strict"):
        if tool[name].is_given:
            function[name] = tool[name].value
    return {"type": "function", "function": function}


def _choice(given: Node) -> dict[str, Any]:
    if not given.is_given:
        return {}
    if given.is_text:
        return {"tool_choice": given.one_of("auto", "none", "required")}
    if given["type"].value != "function":
        raise given["type"].wrong("must be function, or `tool_choice` auto, none or required")
    return {"tool_choice": {"type": "function", "function": {"name": given["name"].text()}}}


def _options(root: Node) -> dict[str, Any]:
    """Return what has another name, or another place, in chat completions."""
    chat: dict[str, Any] = {}
    if (text := root["text"]).is_given:
        chat |= _format(text["format"])
        if text["verbosity"].is_given:
            chat["verbosity"] = text["verbosity"].text()
    if (reasoning := root["reasoning"]).is_given and reasoning["effort"].is_given:
        chat["reasoning_effort"] = reasoning["effort"].text()
    include = root["include"]
    if include.is_given and any(one.text() == _LOGPROBS for one in include):
        chat["logprobs"] = True
        if (top := root["top_logprobs"].count(0)) is not None:
            chat["top_logprobs"] = top
    return chat


def _format(given: Node) -> dict[str, Any]:
    """Return the `response_format` of a `text.format`."""
    if not given.is_given:
        return {}
    kind = given["type"].one_of("text", "json_schema", "json_object")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": kind}}
    schema = {"name": given["name"].text(), "schema": given["schema"].object()}
    for name in ("description", "strict"):
        if given[name].is_given:
            schema[name] = given[name].value
    return {"response_format": {"type": kind, "json_schema": schema}}


def _skeleton(root: Node, query_id: str) -> dict[str, Any]:
    """Return the response object before anything was answered: what the request said of itself."""
    return {
        "id": f"resp_{query_id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": root["model"].value,
        "output": [],
        "parallel_tool_calls": root["parallel_tool_calls"].value is not False,
        "previous_response_id": None,
        "reasoning": root["reasoning"].value or {"effort": None, "summary": None},
        "store": False,
        "text": root["text"].value or {"format": {"type": "text"}},
        "tool_choice": root["tool_choice"].value or "auto",
        "truncation": "disabled",
        "usage": None,
        **{name: root[name].value for name in _ECHOED},
    }
