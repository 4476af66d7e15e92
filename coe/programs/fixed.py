"""Answers that cost nothing: a template, or a refusal."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any

from coe.composition.programs import Constant, Refusal, filled
from coe.programs.spelling import headed, spelt
from coe.types import Dispatch
from coe.usage import NONE


class Fixed:
    """See `coe.programs.backend.Running`."""

    def __init__(self, program: Constant | Refusal) -> None:
        self._program = program

    async def load(self) -> None:
        """There is nothing to load."""

    async def frames(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """Yield the answer."""
        yield spelt(completion(self._program, dispatch, time.time()), dispatch.call)


def completion(program: Constant | Refusal, dispatch: Dispatch, created_s: float) -> dict[str, Any]:
    """Return the `chat.completion` of a program that asks nobody.

    A refusal is OpenAI's: a message without content, whose `refusal` says why, and the finish
    reason of an answer that was held back.

    Args:
        program: what is said.
        dispatch: the call.
        created_s: now, in seconds since 1970.
    """
    day = datetime.fromtimestamp(created_s, UTC).date().isoformat()
    text = filled(program.text, {"model": dispatch.call.expert, "date": day})
    is_refusal = isinstance(program, Refusal)
    message = {
        "role": "assistant",
        "content": None if is_refusal else text,
        "refusal": text if is_refusal else None,
    }
    n = dispatch.call.body.get("n")
    count = n if isinstance(n, int) and n > 0 else 1
    choices = [_choice(index, message, is_refusal=is_refusal) for index in range(count)]
    return headed(dispatch, created_s) | {"choices": choices, "usage": dict(NONE)}


def _choice(index: int, message: Mapping[str, Any], *, is_refusal: bool) -> dict[str, Any]:
    return {
        "index": index,
        "message": dict(message),
        "logprobs": None,
        "finish_reason": "content_filter" if is_refusal else "stop",
    }
