"""A backend under test: how to provoke it, and what came of a call."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import orjson

from coe import sse
from coe.errors import CoEError
from coe.protocols import Backend
from coe.types import Call, Dispatch, Timeouts

EXPERT = "the-expert"
Behaviour = Literal[
    "answers",  # a chat answer
    "unauthorized",  # 401
    "rate-limited",  # 429 with a time to wait
    "server-error",  # 500
    "too-long",  # the prompt is longer than the context
    "garbage",  # something that is no answer
    "error-frame-first",  # an error in the place of a stream's first frame
    "error-frame",  # content, and then an error frame
    "truncated",  # content, and then the end, or the connection's end
    "silent",  # nothing at all, for long
    "stalled",  # content, and then nothing, for long
]
_Error = TypeVar("_Error", bound=CoEError)
Of = TypeVar("Of")  # whatever is under test


class Unchecked(Exception):
    """The subject has no model that does what a check needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What arrived of an answer, and how it ended: well, where `error` is None."""

    items: tuple[bytes, ...]
    error: CoEError | None

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON objects of the frames that arrived."""
        payloads = (sse.data(frame) for item in self.items for frame in sse.frames(item))
        return [orjson.loads(payload) for payload in payloads if payload is not None]

    @property
    def has_content(self) -> bool:
        """Whether what arrived holds more than a role."""
        return any(has_content(chunk) for chunk in self.chunks)

    def failed_with(self, kind: type[_Error]) -> _Error:
        """Return the error. Raises AssertionError where it is of another kind, or missing."""
        if not isinstance(self.error, kind):
            raise AssertionError(  # noqa: TRY004 - a check failed
                f"contract broken: expected {kind.__name__}, not {self.error!r},"
                f" after {len(self.items)} items"
            )
        return self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A backend under test.

    Attributes:
        models: for each behaviour that can be provoked, the name of a model that has it.
        body: a request's body, without its messages; e.g. a limit on tokens.
        echoes: whether the answer repeats the prompt, so that mixed-up answers show.
    """

    backend: Backend
    models: Mapping[Behaviour, str]
    body: Mapping[str, Any] = field(default_factory=dict)
    echoes: bool = False

    def open(
        self,
        behaviour: Behaviour,
        *,
        stream: bool,
        prompt: str = "say something short",
        timeouts: Timeouts | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Start a call of the model that behaves so. Raises Unchecked where there is none."""
        if behaviour not in self.models:
            raise Unchecked(f"no model is {behaviour}")
        call = Call(
            expert=EXPERT,
            backend=self.backend.name,
            model=self.models[behaviour],
            body={**self.body, "messages": [{"role": "user", "content": prompt}]},
            stream=stream,
            timeouts=timeouts or Timeouts(),
        )
        return self.backend.generate(Dispatch(query_id="check", call=call))

    async def ask(
        self,
        behaviour: Behaviour,
        *,
        stream: bool,
        prompt: str = "say something short",
        timeouts: Timeouts | None = None,
    ) -> Outcome:
        """Make a call, read it to its end, and return what came of it."""
        return await drain(self.open(behaviour, stream=stream, prompt=prompt, timeouts=timeouts))


async def run_checks(
    checks: Sequence[Callable[[Of], Awaitable[None]]],
    make_subject: Callable[[], AbstractAsyncContextManager[Of]],
) -> tuple[str, ...]:
    """Run every check, each on a fresh subject; return the names of those that could not run.

    Raises:
        AssertionError: a sentence of the contract does not hold.
    """
    unchecked = []
    for check in checks:
        async with make_subject() as subject:
            try:
                await check(subject)
            except Unchecked:
                unchecked.append(getattr(check, "__name__", repr(check)))
    return tuple(unchecked)


async def drain(stream: AsyncGenerator[bytes, None]) -> Outcome:
    """Read a call to its end and close it."""
    items: list[bytes] = []
    async with contextlib.aclosing(stream):
        try:
            async for item in stream:
                items.append(item)  # noqa: PERF401 - what came before an error is wanted too
        except CoEError as error:
            return Outcome(items=tuple(items), error=error)
    return Outcome(items=tuple(items), error=None)


def has_content(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk carries text, reasoning, a tool call, a refusal or a finish reason."""
    choices: Sequence[Mapping[str, Any]] = chunk.get("choices") or ()
    return any(
        choice.get("finish_reason")
        or any(value for key, value in (choice.get("delta") or {}).items() if key != "role")
        for choice in choices
    )
