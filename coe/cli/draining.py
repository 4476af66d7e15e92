"""How a gateway ends: told first, then closed, then empty.

    a signal      /health/ready is 503, so that load balancers look elsewhere; batches begin no line
    the notice    is over: nobody new is let in, and idle connections are closed
    the drain     is over: what is in flight still is cut, each stream with an error of its own
    the end       state is written, connections are closed; the process ends with 0

A second signal cuts at once, and a second later the process is gone whatever hangs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

from coe.api.app import App
from coe.settings import Settings

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CUT_S = 5
"""How long requests that were cut may take to say so."""
_AT_ONCE_S = 1.0


class Server(uvicorn.Server):
    """uvicorn, which leaves the signals to the drain: it would raise them again in the end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Drain:
    """See the module. Belongs to one event loop."""

    def __init__(self, app: App, server: Server, settings: Settings) -> None:
        """Args are what answers, what listens, and how long things may take."""
        self._app = app
        self._server = server
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the gateway is on its way out."""
        return self._task is not None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """End at a signal meanwhile."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.signalled, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
            if self._task is not None:
                self._task.cancel()

    def signalled(self, number: signal.Signals) -> None:
        """Begin to end; end at once where that was begun already."""
        if self._task is not None:
            logger.warning("%s again: ending at once", number.name)
            self._cut()
            asyncio.get_running_loop().call_later(_AT_ONCE_S, os._exit, 1)
            return
        # Whoever presses Ctrl-C is no load balancer.
        notice_s = self._settings.drain_notice_s if number == signal.SIGTERM else 0.0
        logger.info("%s: in flight may end within %g s", number.name, self._settings.drain_s)
        self._app.leave()
        self._task = asyncio.get_running_loop().create_task(self._end(notice_s))

    async def _end(self, notice_s: float) -> None:
        with suppress(asyncio.CancelledError):  # everything ended by itself
            await asyncio.sleep(notice_s)
            self._server.should_exit = True
            await asyncio.sleep(self._settings.drain_s)
            self._cut()

    def _cut(self) -> None:
        self._server.should_exit = True
        if cut := self._app.cut():
            logger.warning("%d requests in flight were cut", cut)
