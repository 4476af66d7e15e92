"""The output items of a response, and its usage. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coe.api.dialects.speech import Kind, Part

_PREFIXES: dict[Kind, str] = {"text": "msg", "refusal": "msg", "reasoning": "rs", "call": "fc"}

CONTENT: dict[Kind, tuple[str, str]] = {
    "text": ("output_text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning": ("reasoning_text", "text"),
}
"""The type of the content part, and the field with its text."""


def item(part: Part, seed: str, place: int, status: str) -> dict[str, Any]:
    """Return the output item of a part.

    Args:
        part: what was said.
        seed: of which its id is made, and of `place`, its place in the output.
        place: see `seed`.
        status: `in_progress`: it has no content yet; `completed` or `incomplete`.
    """
    head = {"id": f"{_PREFIXES[part.kind]}_{seed}{place:02d}", "status": status}
    has_begun = status == "in_progress"
    if part.kind == "call":
        told = "" if has_begun else part.text
        called = {"call_id": part.id, "name": part.name, "arguments": told}
        return {"type": "function_call", **head, **called}
    inner = [] if has_begun else [content(part)]
    if part.kind == "reasoning":
        return {"type": "reasoning", **head, "summary": [], "content": inner}
    return {"type": "message", **head, "role": "assistant", "content": inner}


def content(part: Part, *, empty: bool = False) -> dict[str, Any]:
    """Return the one content part of an item that is not a call."""
    kind, field = CONTENT[part.kind]
    made: dict[str, Any] = {"type": kind, field: "" if empty else part.text}
    if part.kind == "text":
        made |= {"annotations": [], "logprobs": [] if empty else list(part.logprobs)}
    return made


def ending(finish: str) -> dict[str, Any]:
    """Return the status of a response whose model stopped for this reason."""
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    if (reason := reasons.get(finish)) is not None:
        return {"status": "incomplete", "incomplete_details": {"reason": reason}}
    return {"status": "completed"}


def usage(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the usage of a chat completion as responses have it; None where it has none."""
    if given is None:
        return None
    sent, made = given.get("prompt_tokens") or 0, given.get("completion_tokens") or 0
    cached = (given.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (given.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": given.get("total_tokens") or sent + made,
    }
