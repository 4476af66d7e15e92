"""The input of /v1/responses -> the messages of a chat completion. Pure.

A response's items are flat; a chat's assistant message holds its tool calls. So a call is put to
the assistant message before it, and begins one where there is none. Reasoning of earlier turns is
left out: no chat message has a place for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coe.api.dialects.node import Node

Message = dict[str, Any]

_ROLES = ("user", "assistant", "system", "developer")
_TEXTS = frozenset({"input_text", "output_text", "text"})


def messages_of(instructions: Node, given: Node) -> list[Message]:
    """Return the messages: the instructions first, as a system message.

    Raises:
        InvalidRequest: names the item that is wrong, or that no chat message can hold.
    """
    found: list[Message] = []
    if instructions.is_given:
        found.append({"role": "system", "content": instructions.text()})
    if given.is_text:
        return [*found, {"role": "user", "content": given.text()}]
    if not isinstance(given.value, list) or not given.value:
        raise given.wrong("must be a string or a list with at least one item")
    shown: list[Message] = []  # images that tools gave; they come after all of the tools' messages
    for item in given:
        kind = item["type"].value or "message"
        if kind != "function_call_output" and shown:
            found.append({"role": "user", "content": shown})
            shown = []
        if kind == "message":
            found.append(_message(item))
        elif kind == "function_call":
            _add_call(found, item)
        elif kind == "function_call_output":
            message, images = _output(item)
            found.append(message)
            shown += images
        elif kind != "reasoning":
            raise item["type"].wrong(_why_not(kind))
    return [*found, {"role": "user", "content": shown}] if shown else found


def _why_not(kind: object) -> str:
    if kind == "item_reference":
        return "is item_reference, and no items are stored here; send the item itself"
    return f"is {kind}; served are message, function_call, function_call_output and reasoning"


def _message(item: Node) -> Message:
    role = item["role"].one_of(*_ROLES)
    content = item["content"]
    # To a model, a developer is who a system is; most chat templates know the older name alone.
    role = "system" if role == "developer" else role
    if content.is_text:
        return {"role": role, "content": content.text()}
    parts = [_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        # One string is what every server's chat template takes.
        return {"role": role, "content": "\n".join(part["text"] for part in parts)}
    return {"role": role, "content": parts}


def _part(part: Node) -> Message:
    kind = part["type"].text()
    if kind in _TEXTS:
        return {"type": "text", "text": part["text"].text()}
    if kind == "refusal":
        return {"type": "text", "text": part["refusal"].text()}
    if kind != "input_image":
        raise part["type"].wrong(f"is {kind}; served are input_text, output_text and input_image")
    if not part["image_url"].is_given:
        raise part["image_url"].wrong("must be a URL or a data URL: no files are stored for images")
    image = {"url": part["image_url"].text()}
    if part["detail"].is_given:
        image["detail"] = part["detail"].text()
    return {"type": "image_url", "image_url": image}


def _add_call(found: list[Message], item: Node) -> None:
    function = {"name": item["name"].text(), "arguments": item["arguments"].text()}
    call = {"id": item["call_id"].text(), "type": "function", "function": function}
    if found and found[-1]["role"] == "assistant":
        found[-1].setdefault("tool_calls", []).append(call)
    else:
        found.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _output(item: Node) -> tuple[Message, list[Message]]:
    """Return the message of a tool, and the images that it gave."""
    output = item["output"]
    parts = [{"type": "text", "text": output.text()}] if output.is_text else list(_parts(output))
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    images = [part for part in parts if part["type"] != "text"]
    return {"role": "tool", "tool_call_id": item["call_id"].text(), "content": text}, images


def _parts(given: Node) -> Iterator[Message]:
    for part in given:
        yield _part(part)
