"""Bytes of a request -> Query. What is checked here is exactly what is forwarded."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from random import getrandbits
from typing import Any, NamedTuple

import orjson

from coe.api import destination
from coe.errors import InvalidRequest
from coe.identity import ANONYMOUS, Identity
from coe.settings import Settings
from coe.types import Query

Headers = Sequence[tuple[bytes, bytes]]


class Sender(NamedTuple):
    """Who sent a request, and its headers."""

    headers: Headers = ()
    identity: Identity = ANONYMOUS


NOBODY = Sender()

_SPACED_COLONS = (b" :", b"\t:", b"\n:", b"\r:")
_CONTAINERS = frozenset({dict, list})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def new_id() -> str:
    """Return a UUIDv7-like id: sorts by time, 80 random bits, 32 hexadecimal digits."""
    return f"{int(time.time() * 1000):012x}7{getrandbits(76):019x}"


def request_id(given: str | None, fallback: str) -> str:
    """Return the client's own request id where it is harmless to echo, else ours."""
    return given if given and _REQUEST_ID.fullmatch(given) else fallback


def parse_json(raw: bytes, settings: Settings) -> dict[str, Any]:
    """Parse a body strictly: UTF-8, one object, no duplicate keys, bounded depth.

    Raises:
        InvalidRequest: says what is wrong, and where.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "depth" in str(error):
            raise InvalidRequest("the JSON is nested too deeply") from None
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body must be a JSON object, not {_kind(body)}")
    keys = _count_keys(body, settings.max_depth)
    # A key that stands twice leaves fewer keys in the tree than `":` in the text. Quoted text can
    # hold `":` too, and space may come before a colon, so this is only a suspicion: the slow
    # parser decides.
    quoted = raw.count(b'":')
    if quoted != keys or (quoted != raw.count(b":") and any(s in raw for s in _SPACED_COLONS)):
        json.loads(raw, object_pairs_hook=_refuse_duplicates)
    return body


def parse_chat(
    body: dict[str, Any],
    query_id: str,
    settings: Settings,
    sender: Sender = NOBODY,
) -> Query:
    """Check the fields that the gateway acts on; every other one is passed on as it is.

    Raises:
        InvalidRequest: with `param` naming the field.
    """
    destination.refuse(body)
    model = _model(body)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest(
            "`messages` must be a list with at least one message", param="messages"
        )
    if len(messages) > settings.max_messages:
        detail = f"{len(messages)} messages; the limit is {settings.max_messages}"
        raise InvalidRequest(f"{detail} (COE_MAX_MESSAGES)", param="messages")
    characters, has_image = _check_messages(messages)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidRequest("`stream` must be true or false", param="stream")
    _whole_number(body, "n", 1, settings.max_choices)
    tools = body.get("tools")
    if tools is not None and (not isinstance(tools, list) or len(tools) > settings.max_tools):
        raise InvalidRequest(
            f"`tools` must be a list of at most {settings.max_tools} tools", param="tools"
        )
    most = settings.max_output_tokens
    limit = _whole_number(body, "max_completion_tokens", 1, most)
    older = _whole_number(body, "max_tokens", 1, most)
    return Query(
        id=query_id,
        model=model,
        body=body,
        stream=stream is True,
        tokens=characters // 4 + 4 * len(messages),
        max_output=older if limit is None else limit,
        requires=_requires(body, has_image=has_image),
        headers=sender.headers,
        identity=sender.identity,
    )


def parse_embeddings(body: dict[str, Any], query_id: str, sender: Sender = NOBODY) -> Query:
    """Check an embeddings request.

    Raises:
        InvalidRequest: with `param` naming the field.
    """
    destination.refuse(body)
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise InvalidRequest("`input` must be a string or a list of strings", param="input")
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise InvalidRequest("`encoding_format` must be float or base64", param="encoding_format")
    return Query(
        id=query_id,
        model=_model(body),
        body=body,
        endpoint="embeddings",
        headers=sender.headers,
        identity=sender.identity,
    )


def _model(body: dict[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest(
            "`model` must be a string: an expert, a category, or coe/auto", param="model"
        )
    return model


def _check_messages(messages: list[Any]) -> tuple[int, bool]:
    """Return the number of characters and whether there is an image."""
    characters, has_image = 0, False
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            place = f"messages[{index}]"
            raise InvalidRequest(f"{place} must be an object, not {_kind(message)}", param=place)
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            roles, place = ", ".join(sorted(_ROLES)), f"messages[{index}]"
            raise InvalidRequest(f"{place}.role must be one of {roles}", param=f"{place}.role")
        content = message.get("content")
        if isinstance(content, str):
            characters += len(content)
        elif isinstance(content, list):
            part_characters, part_image = _check_parts(content, f"messages[{index}].content")
            characters += part_characters
            has_image |= part_image
        elif content is not None:
            place = f"messages[{index}].content"
            detail = f"{place} must be a string or a list of parts, not {_kind(content)}"
            raise InvalidRequest(detail, param=place)
    return characters, has_image


def _check_parts(parts: list[Any], place: str) -> tuple[int, bool]:
    """Return what `_check_messages` does, of one message's content parts."""
    characters, has_image = 0, False
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequest(f"{place} must hold parts with a `type`", param=place)
        has_image |= part["type"] == "image_url"
        if isinstance(text := part.get("text"), str):
            characters += len(text)
    return characters, has_image


def _requires(body: dict[str, Any], *, has_image: bool) -> frozenset[str]:
    needed: list[str] = []
    if body.get("tools"):
        needed.append("tools")
    if has_image:
        needed.append("vision")
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") not in (None, "text"):
        needed.append("json")
    return frozenset(needed)


def _whole_number(
    body: dict[str, Any], name: str, least: int, most: int | None = None
) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        upper = f" to {most}" if most is not None else " or more"
        raise InvalidRequest(f"`{name}` must be a whole number, {least}{upper}", param=name)
    return int(value)


def _count_keys(value: object, depth: int) -> int:
    """Count the keys of a JSON tree and check its depth."""
    if depth == 0:
        raise InvalidRequest("the JSON is nested too deeply (COE_MAX_DEPTH)")
    if isinstance(value, dict):
        count = len(value)
        for child in value.values():
            if type(child) in _CONTAINERS:
                count += _count_keys(child, depth - 1)
        return count
    count = 0
    if isinstance(value, list):
        for child in value:
            if type(child) in _CONTAINERS:
                count += _count_keys(child, depth - 1)
    return count


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidRequest(f"the key `{key}` stands twice in one object", param=key)
        seen.add(key)


def _kind(value: object) -> str:
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")
