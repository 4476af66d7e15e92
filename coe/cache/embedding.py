"""Last turns as vectors, off the event loop, and only as far as that delays nobody for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from coe.protocols import Encoder
from coe.types import Embedding

logger = logging.getLogger(__name__)

WAIT_S = 0.25
"""A text that takes longer is looked for as it stands only; weights are loaded meanwhile."""
AT_ONCE = 4
"""Texts that are encoded at a time; whoever comes meanwhile is not kept waiting."""


class Embedder:
    """Encodes texts by an encoder of the composition. Belongs to one event loop."""

    def __init__(self, encoder: Callable[[], Encoder], *, wait_s: float = WAIT_S) -> None:
        """Args are what returns the encoder, loading its weights the first time, and the limit."""
        self._encoder = encoder
        self._wait_s = wait_s
        self._running = 0
        self._failure = ""

    async def of(self, text: str) -> Embedding | None:
        """Return a text's embedding; None where it is not there in time."""
        if self._running >= AT_ONCE:
            return None
        self._running += 1
        work = asyncio.get_running_loop().run_in_executor(None, self._encode, text)
        work.add_done_callback(self._ended)
        done, _ = await asyncio.wait({work}, timeout=self._wait_s)
        return work.result() if done and work.exception() is None else None

    def _encode(self, text: str) -> Embedding:
        encoder = self._encoder()
        return Embedding(encoder.encode([text])[0], encoder.fingerprint)

    def _ended(self, work: asyncio.Future[Embedding]) -> None:
        self._running -= 1
        error = None if work.cancelled() else work.exception()
        if error is not None and str(error) != self._failure:
            self._failure = str(error)
            logger.warning("the cache finds the same requests only: %s", error)
