"""The contract of `coe.protocols.Composed`, one check per sentence, and a double of the others.

A test runs each check on a fresh backend, as with `coe.testing.backends`:

    @asynccontextmanager
    async def make_subject():
        yield ComposedSubject(backend=MyBackend(...), model="my-model")

    @pytest.mark.parametrize("check", COMPOSED_CHECKS)
    async def test_keeps_the_contract(check):
        async with make_subject() as subject:
            await check(subject)

or all of them at once, with `await check_composed(make_subject)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from coe.errors import BackendRejected
from coe.protocols import Backend, Composed, Encoder
from coe.testing.echo import EchoBackend
from coe.testing.expectation import expect
from coe.testing.subject import EXPERT, Outcome, drain, run_checks
from coe.types import Call, Dispatch

PROMPT = "one-word"  # a stream has it in one piece


class ComposedBackend(Backend, Composed, Protocol):
    """A backend whose experts stand on others."""


class EchoOthers:
    """A double of `coe.protocols.Others`: whoever is asked echoes the prompt.

    Args:
        behaviour: what everybody does: a model of `EchoBackend`'s.
        encoders: by name.

    Attributes:
        echo: who answers.
        cache_folder: see `coe.protocols.Others`.
        was_asked: set once somebody is asked.
    """

    def __init__(
        self, behaviour: str = "answers", encoders: Mapping[str, Encoder] | None = None
    ) -> None:
        self.echo = EchoBackend(
            failures={"fails": BackendRejected("made to fail", backend_status=500)},
            silent=["silent"],
            stalled=["stalled"],
        )
        self.cache_folder = ""
        self.was_asked = asyncio.Event()
        self._behaviour = behaviour
        self._encoders = dict(encoders or {})

    @property
    def asked(self) -> tuple[str, ...]:
        """The experts that were asked, oldest first."""
        return tuple(dispatch.call.expert for dispatch in self.echo.dispatches)

    async def open(
        self, expert: str, body: Mapping[str, Any], dispatch: Dispatch, *, stream: bool
    ) -> AsyncGenerator[bytes, None]:
        """See `coe.protocols.Others`."""
        call = replace(
            dispatch.call, expert=expert, model=self._behaviour, body=body, stream=stream
        )
        self.was_asked.set()
        frames = self.echo.generate(replace(dispatch, call=call))
        async with aclosing(frames):
            async for piece in frames:
                yield piece

    def encoder(self, name: str) -> Encoder:
        """See `coe.protocols.Others`."""
        return self._encoders[name]

    def mark(self, expert: str) -> object:
        """See `coe.protocols.Others`."""
        return expert


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedSubject:
    """A backend under test, to which nobody is bound yet.

    Attributes:
        model: of an expert of it that asks others for every answer.
    """

    backend: ComposedBackend
    model: str

    def open(self, *, stream: bool) -> AsyncGenerator[bytes, None]:
        """Start a call."""
        call = Call(
            expert=EXPERT,
            backend=self.backend.name,
            model=self.model,
            body={"messages": [{"role": "user", "content": PROMPT}]},
            stream=stream,
        )
        return self.backend.generate(Dispatch(query_id="check", call=call))

    async def ask(self, *, stream: bool) -> Outcome:
        """Make a call and read it to its end."""
        return await drain(self.open(stream=stream))


async def check_composed(
    make_subject: Callable[[], AbstractAsyncContextManager[ComposedSubject]],
) -> tuple[str, ...]:
    """Run every check, each on a fresh subject; return the names of those that could not run.

    Raises:
        AssertionError: a sentence of the contract does not hold.
    """
    return await run_checks(COMPOSED_CHECKS, make_subject)


async def check_others_are_asked(subject: ComposedSubject) -> None:
    """It asks these others from now on: its answers, streamed and not, are theirs."""
    others = EchoOthers()
    subject.backend.bind(others)
    for stream in (True, False):
        before = len(others.asked)
        outcome = await subject.ask(stream=stream)
        expect(outcome.error is None, f"it answers, and does not fail with {outcome.error!r}")
        expect(len(others.asked) > before, "others are asked")
        expect(PROMPT.encode() in b"".join(outcome.items), "the answer is theirs")


async def check_what_others_say_has_its_own_name(subject: ComposedSubject) -> None:
    """The answer's `model` is the expert that was asked, and not those that it asked."""
    subject.backend.bind(EchoOthers())
    for stream in (True, False):
        answer = b"".join((await subject.ask(stream=stream)).items)
        expect(b'"model":"%b"' % EXPERT.encode() in answer, f"its model is {EXPERT!r}")
        expect(answer.count(b'"model"') == answer.count(EXPERT.encode()), "nobody else is named")


async def check_a_failure_below_is_passed_on(subject: ComposedSubject) -> None:
    """Where the others fail, it fails as they do."""
    subject.backend.bind(EchoOthers("fails"))
    for stream in (True, False):
        outcome = await subject.ask(stream=stream)
        expect(outcome.failed_with(BackendRejected).backend_status == 500, "with their reason")  # noqa: PLR2004


async def check_closing_ends_what_it_asked(subject: ComposedSubject) -> None:
    """Closing or cancelling a call cancels the calls below it within a second."""
    others = EchoOthers("silent")
    subject.backend.bind(others)
    task = asyncio.ensure_future(subject.ask(stream=True))
    await others.was_asked.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    expect(task.cancelled(), "a cancelled call ends within a second")
    expect(others.echo.open == 0, "no call of the others is left open")


COMPOSED_CHECKS: tuple[Callable[[ComposedSubject], Awaitable[None]], ...] = (
    check_others_are_asked,
    check_what_others_say_has_its_own_name,
    check_a_failure_below_is_passed_on,
    check_closing_ends_what_it_asked,
)
