"""The event loop's handle on the engine's thread. Imports no torch."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from coe.backends.local.hub import fetched
from coe.backends.local.options import Options
from coe.backends.local.places import Place
from coe.backends.local.request import Request
from coe.backends.local.ticket import Load, Piece, Ticket, Unload
from coe.errors import BackendError, CoEError, ExpertLoadFailed

if TYPE_CHECKING:
    from coe.backends.local.loop import Inbox

Events = asyncio.Queue[Piece | CoEError]

Event = TypeVar("Event")

_JOIN_S = 10.0


class Engine:
    """Starts the thread at the first wish, and speaks to it in tickets.

    A second thread fetches what only a hub has, and then passes the ticket on.

    Attributes:
        failures: experts that could not be loaded, and why; written by the threads.
        sizes: the bytes that each expert in memory takes; replaced by the thread.
        parked: the bytes that each expert takes that waits in host memory; replaced by the thread.
    """

    def __init__(self, name: str, places: Mapping[str, Place], options: Options) -> None:
        self._name = name
        self._places = dict(places)  # those of a hub become folders here once they are fetched
        self._given = dict(places)
        self._options = options
        self._inbox: Inbox = queue.SimpleQueue()
        self._to_fetch: queue.SimpleQueue[Ticket | Load | None] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}
        self._open: set[Ticket | Load | Unload] = set()
        self._closed = False
        self.failures: dict[str, CoEError] = {}
        self.sizes: Mapping[str, int] = {}
        self.parked: Mapping[str, int] = {}

    @property
    def is_closed(self) -> bool:
        """Whether no call is taken any more."""
        return self._closed

    def extend(self, places: Mapping[str, Place]) -> bool:
        """Take more experts, which are loaded when they are asked for, beside those in memory.

        Who could not be loaded is tried again. Returns False, and changes nothing, where an expert
        has other weights than under its name before.
        """
        if any(self._given.get(name, place) != place for name, place in places.items()):
            return False
        for name, place in places.items():
            self.failures.pop(name, None)
            self._given.setdefault(name, place)
            self._places.setdefault(name, place)
        return True

    def submit(self, expert: str, request: Request) -> tuple[Ticket, Events]:
        """Queue a call; its pieces, or what went wrong, arrive in the queue of events.

        Raises:
            BackendError: the engine is closed.
        """
        events: Events = asyncio.Queue()
        ticket = Ticket(expert, request, _deliver_to(events))
        self._send(ticket)
        self._open.add(ticket)
        return ticket, events

    def discard(self, ticket: Ticket) -> None:
        """Forget a call; its rows leave the batch before the next step."""
        ticket.closed = True
        self._open.discard(ticket)

    async def load(self) -> None:
        """Load every expert, in order; calls that come meanwhile are served in between.

        Raises:
            ExpertLoadFailed: some could not be loaded; the message names each. The others serve.
        """
        outcomes: asyncio.Queue[CoEError | None] = asyncio.Queue()
        loads = [Load(expert=expert, done=_deliver_to(outcomes)) for expert in tuple(self._places)]
        self._open.update(loads)
        try:
            for load in loads:
                self._send(load)
            failed = [error for _ in loads if (error := await outcomes.get()) is not None]
        finally:
            self._open.difference_update(loads)
        if failed:
            raise ExpertLoadFailed("\n".join(error.message for error in failed))

    async def bring(self, expert: str) -> None:
        """Load one expert, anew if it could not be loaded before.

        Raises:
            ExpertLoadFailed: it could not be loaded.
            BackendError: the engine is closed.
        """
        self.failures.pop(expert, None)
        outcome: asyncio.Queue[CoEError | None] = asyncio.Queue()
        await self._done(Load(expert=expert, done=_deliver_to(outcome)), outcome)

    async def drop(self, expert: str, *, park: bool = False) -> None:
        """Unload one expert, after what was asked for before; with `park` into host memory.

        Raises:
            BackendError: it is at work, its model is needed by others, or the engine is closed.
        """
        outcome: asyncio.Queue[CoEError | None] = asyncio.Queue()
        wish = Unload(expert=expert, done=_deliver_to(outcome), park=park)
        await self._done(wish, outcome)

    async def aclose(self) -> None:
        """End the thread; calls in flight fail at once."""
        self._closed = True
        self._fail_all(BackendError(f"backend {self._name!r} was closed"))
        self._to_fetch.put(None)
        self._inbox.put(None)
        thread = self._threads.get(self._name)
        if thread is not None:
            # A thread that is still reading a large model is left behind: it is a daemon.
            await asyncio.to_thread(thread.join, _JOIN_S)

    async def _done(self, wish: Load | Unload, outcome: asyncio.Queue[CoEError | None]) -> None:
        self._send(wish)
        self._open.add(wish)
        try:
            error = await outcome.get()
        finally:
            self._open.discard(wish)
        if error is not None:
            raise error

    def _send(self, wish: Ticket | Load | Unload) -> None:
        if self._closed:
            raise BackendError(f"backend {self._name!r} is closed")
        self._ensure_thread(self._name, self._run)
        if isinstance(wish, Unload) or self._places[wish.expert].is_local:
            self._inbox.put(wish)
        else:
            self._ensure_thread(f"{self._name}-hub", self._fetch)
            self._to_fetch.put(wish)

    def _ensure_thread(self, name: str, target: Callable[[], None]) -> None:
        if name not in self._threads:
            self._threads[name] = threading.Thread(target=target, name=f"coe-{name}", daemon=True)
            self._threads[name].start()

    def _fetch(self) -> None:
        while (wish := self._to_fetch.get()) is not None:
            try:
                self._places[wish.expert] = fetched(self._places[wish.expert])
            except ExpertLoadFailed as error:
                self.failures[wish.expert] = error  # until a later call finds the hub
                wish.fail(error)
            else:
                self.failures.pop(wish.expert, None)
                self._inbox.put(wish)

    def _run(self) -> None:
        try:
            from coe.backends.local.loop import Loop
            from coe.backends.local.weights import Weights

            weights = Weights(
                places=self._places,
                options=self._options,
                failures=self.failures,
                tell=self._told,
            )
            Loop(self._inbox, weights, self._options).run()
        except Exception as error:
            self._closed = True
            self._fail_all(BackendError(f"backend {self._name!r}: the engine ended: {error}"))
            raise

    def _told(self, sizes: Mapping[str, int], parked: Mapping[str, int]) -> None:
        self.sizes, self.parked = sizes, parked

    def _fail_all(self, error: BackendError) -> None:
        for wish in list(self._open):
            wish.fail(error)


def _deliver_to(events: asyncio.Queue[Event]) -> Callable[[Event], None]:
    """Return a function that puts an event into the queue, from any thread."""
    loop = asyncio.get_running_loop()

    def deliver(event: Event) -> None:
        # A loop that ended without closing its calls has nobody to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return deliver
