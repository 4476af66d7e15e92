"""What a recipe sends to the expert under it: a system prompt, examples, then the conversation.

Pure. Medprompt chooses few shots by nearness, asks for a chain of thought and takes a vote. We
differ: the examples' answers are those of the file and are not written by a model, and the options
of a question are not shuffled between samples, since nothing says which they are.

Reference: Nori, H. et al. (2023). Can generalist foundation models outcompete special-purpose
tuning? Case study in medicine. arXiv 2311.16452, section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coe.composition.programs import Example
from coe.extract import text_of

_SYSTEM = frozenset({"system", "developer"})
_OF_STREAMS = frozenset({"stream", "stream_options"})

Message = Mapping[str, Any]


def sent(
    system: str,
    body: Mapping[str, Any],
    shots: Iterable[Example] = (),
    temperature: float | None = None,
) -> dict[str, Any]:
    """Return the body that the expert under a recipe gets.

    Args:
        system: comes before the system prompt of the request; empty for none.
        body: of the request.
        shots: examples; the last one stands next to the conversation.
        temperature: None for that of the request.
    """
    changed = dict(body)
    messages = list(body.get("messages") or ())
    head = [messages.pop(0)] if messages and messages[0].get("role") in _SYSTEM else []
    if system:
        head = [_joined(system, *head)]
    changed["messages"] = [*head, *_shown(shots), *messages]
    if temperature is not None:
        changed["temperature"] = temperature
    return changed


def sample(body: Mapping[str, Any], number: int, *, stream: bool = False) -> dict[str, Any]:
    """Return the body of one of several samples: alone, and not the same as another one.

    Args:
        body: as `sent` makes it.
        number: of the sample, from 0 on.
        stream: whether it is streamed; it then tells its tokens, for the sum.
    """
    alone = {key: value for key, value in body.items() if key not in {*_OF_STREAMS, "n"}}
    if stream:
        alone["stream_options"] = {"include_usage": True}
    if isinstance(seed := alone.get("seed"), int):
        alone["seed"] = seed + number
    return alone


def asked(body: Mapping[str, Any]) -> str:
    """Return the text that examples are to be near to: the user's last turn."""
    for message in reversed(body.get("messages") or ()):
        if message.get("role") == "user":
            return text_of(message.get("content"))
    return ""


def about(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a prompt has: a token is four letters."""
    messages: Sequence[Message] = body.get("messages") or ()
    return sum(len(text_of(message.get("content"))) for message in messages) // 4 + 4 * len(
        messages
    )


def _joined(system: str, *others: Message) -> Message:
    """Return a system message before that of the request, as one: many templates know only one."""
    if not others:
        return {"role": "system", "content": system}
    other = others[0]
    content = other.get("content")
    if isinstance(content, list):
        return {**other, "content": [{"type": "text", "text": system}, *content]}
    return {**other, "content": f"{system}\n\n{content or ''}".rstrip()}


def _shown(shots: Iterable[Example]) -> list[Message]:
    return [
        message
        for shot in shots
        for message in (*shot.messages, {"role": "assistant", "content": shot.answer})
    ]
