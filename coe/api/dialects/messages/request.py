"""A request of /v1/messages -> the chat completion that it asks for. Pure."""

from __future__ import annotations

from typing import Any

from coe.api import wire
from coe.api.dialects.messages.conversation import messages_of
from coe.api.dialects.messages.writer import Writer
from coe.api.dialects.node import Node, passed_on, usable
from coe.api.dialects.translation import Translated, translated
from coe.settings import Settings

# What is not translated tunes Anthropic's own servers: caches, effort, tiers, places. An expert's
# own settings say how it thinks.
_OWN = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "mcp_servers",
        "messages",
        "metadata",
        "output_config",
        "output_format",
        "service_tier",
        "speed",
        "stop_sequences",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
_INSTEAD = {
    "max_completion_tokens": "use `max_tokens`",
    "n": "a message is one answer",
    "response_format": "use `output_config.format`",
    "stop": "use `stop_sequences`",
    "stream_options": "a stream always tells its usage",
}
_REFUSED = {
    "container": "would run on the server, and no code runs here; leave it out",
    "mcp_servers": "would be called by the server; call them from the client, as `tools`",
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_THINKS = ("enabled", "adaptive")


def parse(
    body: dict[str, Any], query_id: str, settings: Settings, sender: wire.Sender
) -> Translated:
    """Return the query of a body.

    Raises:
        InvalidRequest: it names the field.
    """
    root = Node(body)
    if not root["max_tokens"].is_given:
        raise root["max_tokens"].wrong("is required: the most tokens that the answer may have")
    return _query(root, query_id, settings, sender)


def parse_counting(
    body: dict[str, Any], query_id: str, settings: Settings, sender: wire.Sender
) -> Translated:
    """Return the query whose prompt is to be counted; it needs no limit.

    Raises:
        InvalidRequest: it names the field.
    """
    return _query(Node(body), query_id, settings, sender)


def _query(root: Node, query_id: str, settings: Settings, sender: wire.Sender) -> Translated:
    tools, left_out = usable(root["tools"], (None, "custom"))
    chat = _chat(root, tools)
    if len(chat["messages"]) > settings.max_messages:
        detail = f"make {len(chat['messages'])} messages; the limit is {settings.max_messages}"
        raise root["messages"].wrong(f"{detail} (COE_MAX_MESSAGES)")
    writer = Writer(query_id, thinks=_thinks(root["thinking"]), stops=chat.get("stop", ()))
    query = translated(chat, query_id, settings, sender, writer=writer, left_out=left_out)
    writer.expect(query.model, query.tokens)
    return query


def _chat(root: Node, tools: list[Node]) -> dict[str, Any]:
    for name, why in _REFUSED.items():
        if root[name].value:
            raise root[name].wrong(why)
    chat = passed_on(root, _OWN, _INSTEAD)
    chat["messages"] = messages_of(root["system"], root["messages"])
    if (limit := root["max_tokens"].count()) is not None:
        chat["max_completion_tokens"] = limit
    if root["stop_sequences"].value:
        chat["stop"] = [stop.text() for stop in root["stop_sequences"]]
    if root["metadata"].is_given and (user := root["metadata"]["user_id"]).is_given:
        chat["user"] = user.text()
    if tools:
        chat["tools"] = [_tool(tool) for tool in tools]
        chat |= _choice(root["tool_choice"])
    elif root["tool_choice"].is_given and root["tool_choice"]["type"].value not in ("auto", "none"):
        raise root["tool_choice"].wrong("asks for a tool, and `tools` has none")
    chat |= _format(root)
    if root["stream"].flag():
        chat["stream_options"] = {"include_usage": True}
    return chat


def _tool(tool: Node) -> dict[str, Any]:
    """Return a tool as chat completions have it."""
    function = {"name": tool["name"].text(), "parameters": tool["input_schema"].object()}
    for name in ("description", "strict"):
        if tool[name].is_given:
            function[name] = tool[name].value
    return {"type": "function", "function": function}


def _choice(given: Node) -> dict[str, Any]:
    """Return the `tool_choice` of a chat completion, and whether calls may be parallel."""
    if not given.is_given:
        return {}
    kind = given["type"].one_of(*_CHOICES, "tool")
    one = {"type": "function", "function": {"name": given["name"].value}}
    chat: dict[str, Any] = {"tool_choice": one if kind == "tool" else _CHOICES[kind]}
    if kind == "tool":
        given["name"].text()
    if given["disable_parallel_tool_use"].flag():
        chat["parallel_tool_calls"] = False
    return chat


def _thinks(given: Node) -> bool:
    """Whether the client wants to see what the model thinks."""
    return given.is_given and given["type"].value in _THINKS


def _format(root: Node) -> dict[str, Any]:
    """Return the `response_format` of an output format."""
    given = root["output_format"]
    if root["output_config"].is_given and root["output_config"]["format"].is_given:
        given = root["output_config"]["format"]
    if not given.is_given:
        return {}
    given["type"].one_of("json_schema")
    schema = {"name": "answer", "schema": given["schema"].object(), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
