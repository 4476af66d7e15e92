"""A server of a test's own: it listens for as long as a block lasts, in the block's event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Listener(ABC):
    """Start it with `async with`. One that ended can be started again.

    Attributes:
        url: its address; empty before it listens.
    """

    url = ""
    _server: asyncio.Server | None = None

    @abstractmethod
    async def _listen(self) -> asyncio.Server:
        """Begin to listen."""

    @abstractmethod
    def _address(self, port: int) -> str:
        """Return the address of it on a port."""

    @abstractmethod
    def cut_connections(self) -> None:
        """Close every open connection, idle ones too."""

    def stop_listening(self) -> None:
        """Take no more connections; those that are open stay so."""
        if self._server is not None:
            self._server.close()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await self._listen()
        self.url = self._address(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and cut every connection."""
        self.stop_listening()
        self.cut_connections()
