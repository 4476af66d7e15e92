"""Drafts that are the answer, as OpenAI's chat completions have one: whole, or in chunks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from coe import sse
from coe.unfold import unfold

_HEAD = ("id", "created", "system_fingerprint", "service_tier")
_BETWEEN = "\n\n"


def chosen(completion: Mapping[str, Any], expert: str, *, logprobs: bool) -> dict[str, Any]:
    """Return the answer that one draft is.

    Args:
        completion: the member's answer.
        expert: who wrote it.
        logprobs: whether the client asked for log-probabilities.
    """
    choice = {**completion["choices"][0], "index": 0}
    choice["finish_reason"] = choice.get("finish_reason") or "stop"
    if not logprobs:
        choice["logprobs"] = None
    return {**_head(completion, expert), "choices": [choice]}


def merged(
    completions: Sequence[Mapping[str, Any]], experts: Sequence[str], *, as_choices: bool
) -> dict[str, Any]:
    """Return the answer that several drafts are: as its choices, or under their experts' names.

    Args:
        completions: the members' answers.
        experts: who wrote them; as many.
        as_choices: which of the two.
    """
    firsts = [completion["choices"][0] for completion in completions]
    if as_choices:
        choices = [{**choice, "index": index} for index, choice in enumerate(firsts)]
    else:
        texts = [
            f"**{expert}**{_BETWEEN}{str(choice['message'].get('content') or '').strip()}"
            for expert, choice in zip(experts, firsts, strict=True)
        ]
        message = {"role": "assistant", "content": _BETWEEN.join(texts)}
        reasons = {choice.get("finish_reason") for choice in firsts}
        reason = "length" if "length" in reasons else "stop"
        choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}]
    return {**_head(completions[0], experts[0]), "choices": choices}


def whole(
    completion: Mapping[str, Any], usage: Mapping[str, Any] | None, coe: Mapping[str, Any]
) -> bytes:
    """Return an answer as one JSON body, with the panel's usage and provenance."""
    return orjson.dumps({**completion, "usage": usage, "coe": coe})


def frames(
    completion: Mapping[str, Any],
    usage: Mapping[str, Any] | None,
    coe: Mapping[str, Any],
    *,
    include_usage: bool,
) -> list[bytes]:
    """Return an answer as the frames of a stream.

    The last chunk holds the provenance, and the usage where the client asked for that.
    """
    *chunks, last = unfold({**completion, "usage": usage}, usage=include_usage)
    return [_frame(chunk) for chunk in (*chunks, {**last, "coe": coe})]


def closing(
    held: Sequence[Mapping[str, Any]],
    head: Mapping[str, Any],
    usage: Mapping[str, Any] | None,
    coe: Mapping[str, Any],
    *,
    include_usage: bool,
) -> list[bytes]:
    """Return a stream's last frames, the very last of which tells how the answer came about.

    Args:
        held: its last chunks, without usage; none where it ended without a finish reason.
        head: what every chunk begins with.
        usage: of all calls.
        coe: the provenance.
        include_usage: whether the client asked for the usage.
    """
    chunks = [dict(chunk) for chunk in held]
    if include_usage:
        chunks.append({**head, "choices": [], "usage": usage, "coe": coe})
    elif chunks:
        chunks[-1] = {**chunks[-1], "coe": coe}
    else:
        nothing = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
        chunks = [{**head, "choices": [nothing], "coe": coe}]
    return [_frame(chunk) for chunk in chunks]


def _head(completion: Mapping[str, Any], expert: str) -> dict[str, Any]:
    head = {key: completion[key] for key in _HEAD if key in completion}
    return {**head, "object": "chat.completion", "model": expert}


def _frame(chunk: Mapping[str, Any]) -> bytes:
    return sse.frame(orjson.dumps(chunk))
