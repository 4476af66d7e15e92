"""From messages to the prompt's tokens.

The tokenizer's own chat template is used where it has one. Otherwise the plain template: each
message as `System:`, `User:`, `Assistant:` or `Tool:` and its text, an empty line between them,
then `Assistant:`; an answer ends where the model would write the next `User:`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coe.backends.local.request import rejected

PLAIN_STOPS = ("\nUser:",)
# OpenAI renamed `system` to `developer`; the templates in the wild know the old name.
_ROLES = {"developer": "system", "function": "tool"}
_TITLES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


def plain_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the messages with their content as one string each; text parts joined by newlines.

    Raises:
        BackendRejected: 400, for what is not text (images, audio, tool calls) or not a message.
    """
    plain = []
    for place, message in enumerate(messages):
        role = message.get("role")
        role = _ROLES.get(role, role) if isinstance(role, str) else role
        if role not in _TITLES:
            raise rejected(
                f"message {place} has the role {role!r}: expected one of {', '.join(_TITLES)}",
                f"messages.{place}.role",
            )
        if message.get("tool_calls") or message.get("function_call"):
            raise rejected(
                f"message {place} holds a tool call, which the embedded engine cannot read",
                f"messages.{place}.tool_calls",
            )
        plain.append({"role": role, "content": _text(message.get("content"), place)})
    return plain


def plain_template(messages: Sequence[Mapping[str, str]]) -> str:
    r"""Return the prompt for a model that has no chat template.

    Example:
        >>> plain_template([{"role": "user", "content": "Hi"}])
        'User: Hi\n\nAssistant:'
    """
    turns = [f"{_TITLES[message['role']]}: {message['content']}" for message in messages]
    return "\n\n".join([*turns, "Assistant:"])


def encode(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Return the prompt's token ids; at least one, whatever the messages.

    Args:
        tokenizer: a Hugging Face tokenizer.
        messages: as the client sent them.

    Raises:
        BackendRejected: 400, where the messages are not text or the chat template refuses them.
    """
    plain = plain_messages(messages)
    if tokenizer.chat_template:
        try:
            text = tokenizer.apply_chat_template(plain, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # a template is a program: it may raise anything
            raise rejected(
                f"the model's chat template refuses these messages: {error}", "messages"
            ) from error
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        ids = tokenizer(plain_template(plain))["input_ids"]
    return tuple(ids) or (_first_token(tokenizer),)


def _first_token(tokenizer: Any) -> int:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def _text(content: Any, place: int) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise rejected("content must be a string or a list of parts", f"messages.{place}.content")
    texts = []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping) or kind != "text" or not isinstance(part.get("text"), str):
            raise rejected(
                f"message {place} has a part of type {kind!r}: the embedded engine reads text only",
                f"messages.{place}.content.{index}",
            )
        texts.append(part["text"])
    return "\n".join(texts)
