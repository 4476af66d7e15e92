"""The content blocks of a message, why it stopped, and its usage. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from coe.api.dialects.speech import Part
from coe.errors import BackendProtocolError

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
}


def block(part: Part, finish: str) -> dict[str, Any]:
    """Return the content block of a part.

    Raises:
        BackendProtocolError: the arguments of a call are not a JSON object, and not because the
            answer reached its limit.
    """
    if part.kind == "reasoning":
        return {"type": "thinking", "thinking": part.text, "signature": ""}
    if part.kind == "call":
        given = _arguments(part, is_cut=finish == "length")
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": given}
    return {"type": "text", "text": part.text}


def _arguments(part: Part, *, is_cut: bool) -> dict[str, Any]:
    try:
        value = orjson.loads(part.text or "{}")
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        return value
    if is_cut:
        return {}
    raise BackendProtocolError(f"the arguments of a call of `{part.name}` are not a JSON object")


def stop(
    finish: str, stopped_by: str | None, stops: tuple[str, ...], kinds: set[str]
) -> dict[str, Any]:
    """Return `stop_reason` and `stop_sequence`.

    Args:
        finish: of the chat completion.
        stopped_by: the stop sequence that was met, where the server says which.
        stops: the sequences that the client named.
        kinds: of the parts that the answer has.
    """
    reason = _REASONS.get(finish, "end_turn")
    if reason == "end_turn" and "call" in kinds:
        reason = "tool_use"  # some servers say `stop` where a tool is called
    elif reason == "end_turn" and "refusal" in kinds:
        reason = "refusal"
    elif reason == "end_turn" and stopped_by in stops:
        return {"stop_reason": "stop_sequence", "stop_sequence": stopped_by}
    return {"stop_reason": reason, "stop_sequence": None}


def usage(given: Mapping[str, Any] | None, prompt: int, answer: int) -> dict[str, int]:
    """Return the usage of a chat completion as messages have it.

    Args:
        given: the chat completion's; None where the server does not tell.
        prompt: an estimate of the prompt's tokens, for that case.
        answer: the same of the answer's.
    """
    if given is None:
        return {"input_tokens": prompt, "output_tokens": answer}
    sent, made = given.get("prompt_tokens") or 0, given.get("completion_tokens") or 0
    cached = (given.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": sent - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": made,
    }
