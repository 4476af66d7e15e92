"""The four time limits of a call, for clients whose waiting we can only bound from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from coe.backends.http import late
from coe.errors import BackendError
from coe.types import Timeouts


class Limits:
    """The time limits of one call, which begins when this is made.

    Attributes:
        started: whether content has arrived: from then on `idle_s` applies, not `first_token_s`.
    """

    def __init__(self, name: str, timeouts: Timeouts, *, streamed: bool) -> None:
        self.started = False
        self._name = name
        self._timeouts = timeouts
        self._streamed = streamed
        self._began = asyncio.get_running_loop().time()
        self._bound: asyncio.Timeout | None = None
        self._error: BackendError | None = None

    def begin(self) -> None:
        """Count from now on: until now the call waited here, which is nobody's fault."""
        self._began = asyncio.get_running_loop().time()

    @contextlib.asynccontextmanager
    async def next(self) -> AsyncGenerator[None, None]:
        """Bound what is awaited inside by the limit that passes first.

        Raises:
            BackendTimeout: it has passed.
            BackendError: what `fail` was given.
        """
        if self._error is not None:
            raise self._error
        at, which, limit_s = self._due()
        try:
            async with asyncio.timeout_at(at) as self._bound:
                yield
        except TimeoutError as error:
            if self._error is not None:
                raise self._error from error
            if self._bound is None or not self._bound.expired():
                raise
            raise late(self._name, which, limit_s) from error
        finally:
            self._bound = None

    def fail(self, error: BackendError) -> None:
        """Let the call fail now, or when it next waits."""
        self._error = error
        if self._bound is not None:
            self._bound.reschedule(asyncio.get_running_loop().time())

    def _due(self) -> tuple[float, str, float]:
        limits = self._timeouts
        total = (self._began + limits.total_s, "total", limits.total_s)
        if not self._streamed:
            return total
        if not self.started:
            first_s = limits.first_token_s
            return min((self._began + first_s, "first token", first_s), total)
        now = asyncio.get_running_loop().time()
        return min((now + limits.idle_s, "idle", limits.idle_s), total)
