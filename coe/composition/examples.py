"""One line of a file of examples: an answered prompt, read strictly. Pure."""

from __future__ import annotations

import json
from typing import Any

from coe.composition.programs import Example
from coe.composition.report import suggestion

FORM = '`{"prompt": "2 + 2?", "answer": "4"}`'

_KNOWN = ("prompt", "messages", "answer")
# What rows have that `coe score` reads: a file of the one kind may serve as the other.
_IGNORED = frozenset({"category", "check", "id", "body"})
_ROLES = ("user", "assistant")


class WrongRow(ValueError):
    """A line that is no example: why, and what to do."""

    def __init__(self, message: str, hint: str = f"a line is {FORM}") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def read_row(line: str) -> Example:
    r"""Return the example of a line.

    Example:
        >>> read_row('{"prompt": "2 + 2?", "answer": "4"}').messages
        ({'role': 'user', 'content': '2 + 2?'},)

    Raises:
        WrongRow: it is none.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WrongRow(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise WrongRow("an example is an object")
    for key in row:
        if key not in _KNOWN and key not in _IGNORED:
            raise WrongRow(f"unknown key `{key:.60}`", suggestion(key, _KNOWN))
    if ("prompt" in row) == ("messages" in row):
        raise WrongRow("an example has either a `prompt` or `messages`")
    messages = (
        ({"role": "user", "content": _text(row, "prompt")},)
        if "prompt" in row
        else tuple(_message(message, at) for at, message in enumerate(_list(row["messages"])))
    )
    if messages[-1]["role"] != "user":
        raise WrongRow("`messages` do not end with the user's", "what is said to it is `answer`")
    return Example(messages=messages, answer=_text(row, "answer"))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise WrongRow("`messages` is no list of messages")
    return value


def _message(message: Any, at: int) -> dict[str, str]:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        hint = "the system prompt is that of the recipe"
        raise WrongRow(f"`messages[{at}]` is neither the user's nor the assistant's", hint)
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise WrongRow(f"`messages[{at}].content` is no text")
    return {"role": str(message["role"]), "content": content}


def _text(row: dict[str, Any], key: str) -> str:
    if key not in row:
        raise WrongRow(f"`{key}` is missing")
    if not isinstance(row[key], str) or not row[key].strip():
        raise WrongRow(f"`{key}` is no text")
    return str(row[key])
