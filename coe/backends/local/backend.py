"""The embedded engine as a `Backend`: tickets in, OpenAI's wire format out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path

import orjson

from coe.backends.local.engine import Engine, Events
from coe.backends.local.frames import Chunks
from coe.backends.local.places import find
from coe.backends.local.request import parse
from coe.backends.local.ticket import Piece, Ticket
from coe.errors import BackendError, BackendRejected, BackendTimeout, CoEError
from coe.fold import Fold
from coe.protocols import ExpertSite
from coe.sse import frame
from coe.types import Dispatch, Timeouts


class LocalBackend:
    """Experts that run in this process.

    Greedy unless the model's generation config or the request says otherwise.
    """

    def __init__(
        self, name: str, engine: Engine, experts: tuple[str, ...], folder: Path = Path()
    ) -> None:
        self.name = name
        self._engine = engine
        self._experts = experts
        self._folder = folder

    async def start(self) -> None:
        """Load everything now. Calls that come before it is done wait for what they need.

        Raises:
            ExpertLoadFailed: some experts could not be loaded; the others serve.
        """
        await self._engine.load()

    async def load(self, expert: str) -> None:
        """See `coe.protocols.Residency`; the base comes with its adapter.

        Raises:
            ExpertLoadFailed: the weights could not be loaded.
            BackendError: no such expert, or the engine is closed.
        """
        self._check_expert(expert)
        await self._engine.bring(expert)

    async def unload(self, expert: str) -> None:
        """See `coe.protocols.Residency`; a base leaves with the last expert that needs it.

        Raises:
            BackendError: it is at work, there is no such expert, or the engine is closed.
        """
        self._check_expert(expert)
        await self._engine.drop(expert)

    async def park(self, expert: str) -> None:
        """See `coe.protocols.Parking`; on a processor the weights stay where they are.

        Raises:
            BackendError: it is at work, others use its model, or as of `unload`.
        """
        self._check_expert(expert)
        await self._engine.drop(expert, park=True)

    async def parked(self) -> Mapping[str, int | None]:
        """Return the bytes of each parked expert's weights.

        Raises:
            BackendError: the engine is closed.
        """
        self._check_open()
        return dict(self._engine.parked)

    async def resident(self) -> Mapping[str, int | None]:
        """Return the bytes of each expert's weights; a base's are told once.

        Raises:
            BackendError: the engine is closed.
        """
        self._check_open()
        return dict(self._engine.sizes)

    def serve(self, experts: tuple[ExpertSite, ...]) -> bool:
        """Serve these experts, too, beside those in memory; False where that needs a new engine.

        A base model in memory is not loaded again for one more adapter on it. An expert that is
        left out stays in memory as long as the engine does: requests may still be on it.

        Raises:
            ArtefactError: an expert's folder is not there, or holds something else.
        """
        places = {site.expert: find(site, self._folder) for site in experts}
        if not self._engine.extend(places):
            return False
        self._experts = tuple(dict.fromkeys((*self._experts, *places)))
        return True

    async def generate(self, dispatch: Dispatch) -> AsyncGenerator[bytes, None]:
        """Yield the answer; see `coe.protocols.Backend`.

        Raises:
            BackendRejected: what the engine does not support, before anything is loaded.
            BackendTimeout: a limit passed; the message says which.
            ContextTooLong: the prompt leaves no room for an answer.
            ExpertLoadFailed: the weights could not be loaded.
            BackendError: the engine failed, or was closed.
        """
        call = dispatch.call
        if call.endpoint != "chat/completions":
            raise BackendRejected("the embedded engine only chats", backend_status=400)
        self._check_expert(call.expert)
        ticket, events = self._engine.submit(call.expert, parse(call.body))
        chunks = Chunks(ticket, answer_id=f"chatcmpl-{dispatch.query_id}", created=int(time.time()))
        whole = Fold()
        try:
            pieces = self._pieces(ticket, events, call.timeouts)
            async with aclosing(pieces):
                async for some in pieces:
                    spelt = [chunk for piece in some for chunk in chunks.spell(piece)]
                    if call.stream:
                        yield b"".join(frame(orjson.dumps(chunk)) for chunk in spelt)
                    else:
                        for chunk in spelt:
                            whole.add(chunk)
            if not call.stream:
                whole.add(chunks.usage())
                yield orjson.dumps(whole.completion)
            elif ticket.request.include_usage:
                yield frame(orjson.dumps(chunks.usage()))
        finally:
            self._engine.discard(ticket)

    async def models(self) -> tuple[str, ...]:
        """Return the experts that are loaded or may yet be.

        Raises:
            BackendError: the engine is closed.
        """
        self._check_open()
        return tuple(name for name in self._experts if name not in self._engine.failures)

    async def aclose(self) -> None:
        """End the engine's thread. Calls in flight fail with a `BackendError`."""
        await self._engine.aclose()

    def _check_expert(self, expert: str) -> None:
        if expert not in self._experts:
            raise BackendRejected(
                f"backend {self.name!r} has no expert {expert!r}", backend_status=404
            )

    def _check_open(self) -> None:
        if self._engine.is_closed:
            raise BackendError(f"backend {self.name!r} is closed")

    async def _pieces(
        self, ticket: Ticket, events: Events, timeouts: Timeouts
    ) -> AsyncGenerator[list[Piece], None]:
        """Yield what is there, at least one piece at a time, until every choice has ended."""
        clock = asyncio.get_running_loop().time
        ends_at = clock() + timeouts.total_s
        open_choices = ticket.request.n
        limit, limit_s = "first_token", timeouts.first_token_s
        while open_choices:
            at = min(ends_at, clock() + limit_s)
            try:
                async with asyncio.timeout_at(at):
                    some = [await events.get()]
            except TimeoutError:
                which, seconds = ("total", timeouts.total_s) if at == ends_at else (limit, limit_s)
                raise BackendTimeout(
                    f"backend {self.name!r}: expert {ticket.expert!r} passed its {which} limit "
                    f"of {seconds:g} s"
                ) from None
            while not events.empty():
                some.append(events.get_nowait())
            pieces = [event for event in some if isinstance(event, Piece)]
            open_choices -= sum(piece.finish_reason is not None for piece in pieces)
            if pieces:
                yield pieces
            for event in some:
                if isinstance(event, CoEError):
                    raise event
            limit, limit_s = "idle", timeouts.idle_s
