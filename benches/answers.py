"""Whether a stack answers correctly; asked before anything is measured."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from benches.load import Target

STREAM_WORDS = 198
"""Content events of benches/upstream.c; with the role and the finish reason 200 events."""
COMPLETION = "".join(f"word{n:03d} " for n in range(40))
STREAMED = "".join(f"word{n:03d} " for n in range(STREAM_WORDS))
TIMEOUT_S = 60.0


class WrongAnswer(Exception):
    """A stack did not answer as the upstream did; the message shows what it said."""


def check(target: Target, *, streamed: bool) -> int:
    """Ask once and compare the text with the upstream's; return the size of the body in bytes.

    Raises:
        WrongAnswer: no answer, another status than 200, or another text.
    """
    status, content = _post(target)
    if status != 200:
        raise WrongAnswer(f"{target.url} answered {status}: {content[:300]}")
    try:
        text = stream_text(content) if streamed else completion_text(content)
    except (ValueError, LookupError, TypeError) as reason:
        raise WrongAnswer(f"{target.url}: {reason!r} in {content[:300]}") from reason
    if text != (STREAMED if streamed else COMPLETION):
        raise WrongAnswer(f"{target.url} gave another text: {text[:200]!r}")
    return len(content.encode())


def completion_text(content: str) -> str:
    """Return the text of a chat completion. Raises ValueError or LookupError when it is none."""
    text: str = json.loads(content)["choices"][0]["message"]["content"]
    return text


def stream_text(content: str) -> str:
    """Return the text of a stream of chat completion chunks.

    Raises:
        ValueError, LookupError: not such a stream, or one without a finish reason and [DONE].
    """
    events = [line[5:].strip() for line in content.splitlines() if line.startswith("data:")]
    if not events or events[-1] != "[DONE]":
        raise ValueError("the stream does not end with [DONE]")
    choices: list[dict[str, Any]] = [
        choice for event in events[:-1] for choice in json.loads(event)["choices"]
    ]
    if not any(choice.get("finish_reason") for choice in choices):
        raise ValueError("the stream has no finish reason")
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def _post(target: Target) -> tuple[int, str]:
    where = urlsplit(target.url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_S)
    try:
        headers = {"content-type": "application/json", **target.headers}
        connection.request("POST", where.path, target.body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (OSError, HTTPException, UnicodeDecodeError) as reason:
        raise WrongAnswer(f"{target.url}: {reason!r}") from reason
    finally:
        connection.close()
