"""What passes between the event loop and the engine's thread: tickets in, pieces of answers out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from coe.backends.local.request import Request
from coe.errors import CoEError

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """More of one choice: text, or its end, or both.

    Attributes:
        logprobs: OpenAI's `logprobs.content` items of the tokens that `text` is made of; None
            where the client wants none.
        finish_reason: set on a choice's last piece, and only there.
    """

    choice: int
    text: str
    logprobs: tuple[Mapping[str, Any], ...] | None = None
    finish_reason: FinishReason | None = None


class Ticket:
    """One call on its way through the engine.

    Attributes:
        expert: which of the engine's experts is asked.
        deliver: hands a piece, or what went wrong, to the caller; safe to call in any thread.
        closed: set by the caller when it wants no more. Read by the engine before each step: a
            plain bool, because being one step late is harmless.
        prompt_tokens: tokens of the prompt; written by the engine before the first piece.
        completion_tokens: tokens generated so far, of all choices together.
        fingerprint: of the weights that answer; written by the engine before the first piece.
    """

    __slots__ = (
        "closed",
        "completion_tokens",
        "deliver",
        "expert",
        "fingerprint",
        "prompt_tokens",
        "request",
    )

    def __init__(
        self, expert: str, request: Request, deliver: Callable[[Piece | CoEError], None]
    ) -> None:
        self.expert = expert
        self.request = request
        self.deliver = deliver
        self.closed = False
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.fingerprint = ""

    def fail(self, error: CoEError) -> None:
        """End the call with an error, unless the caller has left already."""
        if not self.closed:
            self.closed = True
            self.deliver(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A wish to have an expert's weights in memory; `done` is told None, or what went wrong."""

    expert: str
    done: Callable[[CoEError | None], None]

    def fail(self, error: CoEError) -> None:
        """Say that it cannot be had."""
        self.done(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unload:
    """A wish to have the memory of an expert's weights back; `done` as of `Load`.

    Attributes:
        park: whether they are kept in host memory.
    """

    expert: str
    done: Callable[[CoEError | None], None]
    park: bool = False

    def fail(self, error: CoEError) -> None:
        """Say that they stay."""
        self.done(error)
