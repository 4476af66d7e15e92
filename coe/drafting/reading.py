"""A member's whole answer, read: the draft that it is, and what it took. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from coe.composition import Expert
from coe.drafting.records import Bill
from coe.drafts import Draft
from coe.errors import BackendProtocolError


def parsed(whole: bytes, expert: str) -> dict[str, Any]:
    """Return an answer's JSON object.

    Raises:
        BackendProtocolError: it is none.
    """
    try:
        completion = orjson.loads(whole)
    except orjson.JSONDecodeError:
        completion = None
    if not isinstance(completion, dict):
        raise BackendProtocolError(f"expert `{expert}` answered with what is not a JSON object")
    return completion


def draft_of(completion: Mapping[str, Any], member: int) -> Draft:
    """Return the draft that an answer holds; a failed one where nothing in it can be read."""
    choices = completion.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        return Draft(member=member, error="malformed: an answer without a message")
    text = _text(message.get("content"))
    reason = choice.get("finish_reason")
    if not text.strip():
        return Draft(member=member, error=_why_empty(message, reason))
    return Draft(
        member=member,
        text=text,
        message=message,
        finish_reason=reason if isinstance(reason, str) else "stop",
        logprob=_logprob(choice.get("logprobs")),
    )


def bill_of(usage: Any, expert: Expert, seconds: float) -> Bill:
    """Return what a call took, by the `usage` object of its answer."""
    bill = Bill(usage=usage if isinstance(usage, Mapping) else {}, seconds=seconds)
    cost = (
        None if expert.cost is None else expert.cost.of(bill.prompt_tokens, bill.completion_tokens)
    )
    return replace(bill, cost=cost)


def _text(content: Any) -> str:
    """Return the text of a message's content, which may be a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else ()
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "".join(text for text in texts if isinstance(text, str))


def _why_empty(message: Mapping[str, Any], reason: object) -> str:
    if message.get("refusal"):
        return "it refused to answer"
    if message.get("tool_calls"):
        return "malformed: it calls a tool, and there is none"
    if reason in {"length", "content_filter"}:
        return f"malformed: no text, it ended with `{reason}`"
    return "malformed: no text"


def _logprob(logprobs: Any) -> float | None:
    """Return the mean log-probability of the tokens; None where the answer does not tell."""
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(tokens, list):
        return None
    values = [token.get("logprob") for token in tokens if isinstance(token, Mapping)]
    numbers = [value for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers else None
