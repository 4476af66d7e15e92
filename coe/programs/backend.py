"""Prompt programs as a `Backend`: a request is answered from what it says, or by other experts.

    constant, refuse   an answer that is there (`fixed`)
    cached             an answer that is kept, or else the other expert's (`cached`)
    recipe             the other expert's answer to a longer prompt, as it comes; of several
                       samples the one that a vote picks (`recipe`)

Whoever asks a program asks the expert under it: its slot is waited for, its limits hold, and its
call ends when the program's is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Protocol

from coe.composition.programs import Cached, Program, Recipe, Vote
from coe.errors import BackendError, BackendRejected, BackendUnreachable, ConfigError
from coe.programs.cached import CachedExpert
from coe.programs.fixed import Fixed
from coe.programs.nearest import Nearest
from coe.programs.recipe import RecipeExpert
from coe.protocols import Aggregator, AggregatorSpec, Backend, BackendSpec, Others
from coe.registry import Registry
from coe.types import Dispatch


class Running(Protocol):
    """A program at work."""

    async def load(self) -> None:
        """Load what it needs. Calls that come before it is done wait for it."""

    def frames(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """Yield the answer; see `coe.protocols.Backend.generate`."""


def build(spec: BackendSpec) -> ProgramBackend:
    """Make the backend; it answers once `bind` was called.

    Raises:
        ConfigError: an option, or an expert that is no program.
    """
    if spec.options:
        raise ConfigError(f"backends.{spec.name}: programs have no options; remove them")
    programs: dict[str, Program] = {}
    for site in spec.experts:
        if site.program is None:
            raise ConfigError(f"experts.{site.expert}: `{spec.name}` serves prompt programs alone")
        programs[site.model] = site.program
    votes = {one.vote for one in programs.values() if isinstance(one, Recipe)} - {None}
    return ProgramBackend(spec.name, programs, {vote: _aggregator(vote) for vote in votes if vote})


def _aggregator(vote: Vote) -> Aggregator:
    options: dict[str, object] = {"answer": vote.answer}
    options |= {"after": vote.after} if vote.after else {}
    options |= {"options": vote.options} if vote.options else {}
    spec = AggregatorSpec(name="vote", type="vote", options=options)
    made: Aggregator = Registry().load("coe.aggregators", spec.type)(spec)
    return made


class ProgramBackend:
    """See `coe.protocols.Backend` and `coe.protocols.Composed`. Belongs to one event loop.

    Attributes:
        running: the programs at work, by the name that calls have as their model.
    """

    def __init__(
        self, name: str, programs: Mapping[str, Program], votes: Mapping[Vote, Aggregator]
    ) -> None:
        """Store the parts.

        Args:
            name: of the backend.
            programs: by the name that calls have as their model.
            votes: who counts samples.
        """
        self.name = name
        self._programs = programs
        self._votes = votes
        self.running: dict[str, Running] = {}
        self._waiting: set[asyncio.Timeout] = set()
        self._is_closed = False

    def bind(self, others: Others, before: Backend | None = None) -> None:
        """See `coe.protocols.Composed`."""
        kept = before.running if isinstance(before, ProgramBackend) else {}
        for name, program in self._programs.items():
            self.running[name] = self._set_up(program, others, kept.get(name))

    async def start(self) -> None:
        """Load what programs need. Calls that come before it is done wait for it.

        Raises:
            ConfigError, RouterUnavailable: an encoder cannot be had.
        """
        for running in self.running.values():
            await running.load()

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """See `Backend.generate`."""
        self._check_open()
        call = dispatch.call
        running = self.running.get(call.model)
        if running is None:
            message = f"backend `{self.name}` has no program `{call.model}`"
            raise BackendRejected(message, backend_status=404)
        if call.endpoint != "chat/completions" and not isinstance(running, CachedExpert):
            raise BackendRejected(f"`{call.expert}` only chats", backend_status=400)
        frames = running.frames(dispatch)
        async with aclosing(frames):
            while piece := await self._next(frames):
                yield piece

    async def models(self) -> tuple[str, ...]:
        """See `Backend.models`."""
        self._check_open()
        return tuple(self._programs)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        self._is_closed = True
        now_s = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            waiting.reschedule(now_s)

    def _set_up(self, program: Program, others: Others, before: Running | None) -> Running:
        """Return a program at work, with what the one before it has kept."""
        if isinstance(program, Cached):
            return CachedExpert(program, others).after(before)
        if not isinstance(program, Recipe):
            return Fixed(program)
        aggregator = self._votes[program.vote] if program.vote is not None else None
        nearest = None
        if program.examples is not None:
            encoder = partial(others.encoder, program.examples.encoder)
            nearest = Nearest(program.examples, encoder, others.cache_folder)
        return RecipeExpert(program, others, aggregator, nearest).after(before)

    async def _next(self, frames: AsyncGenerator[bytes, None]) -> bytes:
        """Return the next piece of an answer, empty at its end. Raises BackendError if closed."""
        self._check_open()
        try:
            async with asyncio.timeout(None) as waiting:
                self._waiting.add(waiting)
                return await anext(frames, b"")
        except TimeoutError:
            if waiting.expired():
                raise self._closed() from None
            raise
        finally:
            self._waiting.discard(waiting)

    def _check_open(self) -> None:
        if self._is_closed:
            raise self._closed()

    def _closed(self) -> BackendError:
        return BackendUnreachable(f"backend `{self.name}` was closed")
