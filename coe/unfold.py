"""One `chat.completion` as the stream of chunk objects that spells it: `coe.fold`, backwards. Pure.

For an answer that is there as a whole when a client asked for a stream of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

CHUNK = "chat.completion.chunk"


def unfold(completion: Mapping[str, Any], *, usage: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the chunks: for each choice its message, its finish reason; then the usage, if wanted.

    Args:
        completion: a `chat.completion`.
        usage: whether a last chunk without choices tells the tokens.

    Example:
        >>> message = {"role": "assistant", "content": "hi"}
        >>> whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        >>> [chunk["choices"][0]["delta"] for chunk in unfold(whole)]
        [{'role': 'assistant', 'content': 'hi'}, {}]
    """
    head = {key: value for key, value in completion.items() if key not in {"choices", "usage"}}
    head["object"] = CHUNK
    nothing = {"usage": None} if usage else {}
    for choice in completion.get("choices") or ():
        rest = {key: value for key, value in choice.items() if key != "message"}
        first = {**rest, "delta": _delta(choice["message"]), "finish_reason": None}
        yield {**head, "choices": [first], **nothing}
        yield {**head, "choices": [{**rest, "delta": {}, "logprobs": None}], **nothing}
    if usage:
        yield {**head, "choices": [], "usage": completion.get("usage")}


def _delta(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as one delta; its tool calls are numbered, as a stream has them."""
    delta = {key: value for key, value in message.items() if value is not None}
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
    return delta
