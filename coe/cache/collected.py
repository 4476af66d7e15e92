"""A stream that is passed on and collected; what it was together is told once it has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any


class Collected(AsyncGenerator[bytes, None]):
    """Passes pieces on. Who closes it early, or sees it fail, has nobody told of anything.

    A generator would not close what it reads from where nobody ever asked it for a piece.
    """

    def __init__(
        self,
        first: bytes,
        frames: AsyncGenerator[bytes, None],
        most: int,
        ended: Callable[[bytes | None], None],
    ) -> None:
        """Store the parts.

        Args:
            first: what was read before.
            frames: the rest.
            most: bytes that are collected.
            ended: told all of it in the end; None where that is more.
        """
        self._pieces = [first]
        self._left = most - len(first)
        self._frames = frames
        self._ended: Callable[[bytes | None], None] | None = ended

    async def __anext__(self) -> bytes:
        """Return the next piece."""
        try:
            piece = await self._frames.__anext__()
        except StopAsyncIteration:
            if (ended := self._ended) is not None:
                self._ended = None
                ended(b"".join(self._pieces) if self._left >= 0 else None)
            raise
        self._left -= len(piece)
        if self._left >= 0:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
        return piece

    async def aclose(self) -> None:
        """Close what it reads from."""
        self._ended = None
        await self._frames.aclose()

    async def asend(self, value: None) -> bytes:
        """Return the next piece."""
        del value
        return await self.__anext__()

    async def athrow(self, *error: Any) -> bytes:
        """Raise an error where it reads from."""
        self._ended = None
        return await self._frames.athrow(*error)
