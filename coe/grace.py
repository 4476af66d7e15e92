"""Who is still here after a while: a watch over many short things for the price of a set entry.

A timer of its own for every call costs two to three microseconds of the event loop; nearly all of
them are cancelled unused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Grace(Generic[T]):
    """Names everyone who entered and has not left, once, after one to two periods.

    Belongs to one event loop; one timer serves all, and none runs while nobody is inside.
    """

    def __init__(self, period_s: float, overdue: Callable[[T], None]) -> None:
        """Args are the length of a period in seconds, and whom to tell."""
        self._period_s = period_s
        self._overdue = overdue
        self._fresh: set[T] = set()
        self._aged: set[T] = set()
        self._is_ticking = False

    def enter(self, item: T) -> None:
        """Start to watch an item."""
        self._fresh.add(item)
        if not self._is_ticking:
            self._tick()

    def leave(self, item: T) -> None:
        """Forget an item, whether or not it was named."""
        self._fresh.discard(item)
        self._aged.discard(item)

    def _tick(self) -> None:
        self._is_ticking = True
        asyncio.get_running_loop().call_later(self._period_s, self._turn)

    def _turn(self) -> None:
        overdue, self._aged, self._fresh = self._aged, self._fresh, set()
        self._is_ticking = False
        if self._aged:
            self._tick()
        for item in overdue:
            self._overdue(item)
