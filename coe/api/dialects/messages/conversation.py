"""The messages of /v1/messages -> those of a chat completion. Pure.

What a tool gave is a block of a user's message there, and a message of its own here. What the model
thought in earlier turns is left out: no chat message has a place for it.
"""

from __future__ import annotations

from typing import Any

import orjson

from coe.api.dialects.node import Node

Message = dict[str, Any]

_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_BLOCKS = "text, image, document, tool_use, tool_result and thinking"


def messages_of(system: Node, given: Node) -> list[Message]:
    """Return the messages: the system prompt first.

    Raises:
        InvalidRequest: names the block that is wrong, or that no chat message can hold.
    """
    found: list[Message] = []
    if system.is_given:
        found.append({"role": "system", "content": _text(system)})
    if not isinstance(given.value, list) or not given.value:
        raise given.wrong("must be a list with at least one message")
    for message in given:
        role = message["role"].one_of("user", "assistant", "system")
        if role == "user":
            found += _of_user(message["content"])
        elif role == "assistant":
            found.append(_of_assistant(message["content"]))
        else:
            found.append({"role": "system", "content": _text(message["content"])})
    if found[-1]["role"] == "assistant":
        last = Node(given.value[-1], f"{given.place}[{len(given.value) - 1}]")
        raise last["role"].wrong(
            "must be user in the last message: an answer that was begun is not continued here"
        )
    return found


def _text(given: Node) -> str:
    """Return the text of a string, or of a list of text blocks."""
    if given.is_text:
        return given.text()
    texts = []
    for block in given:
        block["type"].one_of("text")
        texts.append(block["text"].text())
    return "\n\n".join(texts)


def _of_user(content: Node) -> list[Message]:
    """Return a tool's messages first, as a chat has them, and then the user's own."""
    if content.is_text:
        return [{"role": "user", "content": content.text()}]
    tools: list[Message] = []
    shown: list[Message] = []  # images that tools gave: a tool's message holds text alone
    said: list[Message] = []
    for block in content:
        if block["type"].value == "tool_result":
            message, images = _of_tool(block)
            tools.append(message)
            shown += images
        else:
            said.append(_part(block))
    said = shown + said
    if said and all(part["type"] == "text" for part in said):
        # One string is what every server's chat template takes.
        return [*tools, {"role": "user", "content": "\n\n".join(part["text"] for part in said)}]
    return [*tools, {"role": "user", "content": said}] if said or not tools else tools


def _of_tool(block: Node) -> tuple[Message, list[Message]]:
    """Return the message of a tool, and the images that it gave."""
    content = block["content"]
    parts: list[Message] = []
    if content.is_text:
        parts = [{"type": "text", "text": content.text()}]
    elif content.is_given:
        parts = [_part(part) for part in content]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    if block["is_error"].flag():
        text = f"Error: {text}"  # a chat message has no flag for it
    images = [part for part in parts if part["type"] != "text"]
    return {"role": "tool", "tool_call_id": block["tool_use_id"].text(), "content": text}, images


def _of_assistant(content: Node) -> Message:
    if content.is_text:
        return {"role": "assistant", "content": content.text()}
    texts: list[str] = []
    calls: list[Message] = []
    for block in content:
        kind = block["type"].text()
        if kind == "text":
            texts.append(block["text"].text())
        elif kind == "tool_use":
            arguments = orjson.dumps(block["input"].object()).decode()
            function = {"name": block["name"].text(), "arguments": arguments}
            calls.append({"id": block["id"].text(), "type": "function", "function": function})
        elif kind not in _THOUGHTS:
            raise block["type"].wrong(f"is {kind}; served are {_BLOCKS}")
    message: Message = {"role": "assistant", "content": "\n\n".join(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    elif not texts:
        message["content"] = ""
    return message


def _part(block: Node) -> Message:
    """Return the content part of a block."""
    kind = block["type"].text()
    if kind == "text":
        return {"type": "text", "text": block["text"].text()}
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": _url(block["source"])}}
    if kind == "document":
        source = block["source"]
        if source["type"].value != "text":
            raise source["type"].wrong("must be text: send a document as its text")
        return {"type": "text", "text": source["data"].text()}
    raise block["type"].wrong(f"is {kind}; served are {_BLOCKS}")


def _url(source: Node) -> str:
    kind = source["type"].text()
    if kind == "url":
        return source["url"].text()
    if kind == "base64":
        return f"data:{source['media_type'].text()};base64,{source['data'].text()}"
    raise source["type"].wrong(f"is {kind}; served are base64 and url, as no files are stored")
