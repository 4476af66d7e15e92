"""The right to run one batch, kept by a heartbeat, and what ends it early."""

from __future__ import annotations

import asyncio
from typing import Literal

from coe.batching.desk import Desk
from coe.batching.gate import sleep
from coe.errors import Unauthorized
from coe.stores.lines import LeaseLost
from coe.stores.records import Batch, Mistake, Status

Stop = Literal[
    "cancelled",  # its client wants no more
    "expired",  # its window has passed
    "refused",  # the key that it was made with works no more
    "closing",  # this process ends; another one goes on
]
_ENDS: dict[Stop, Status] = {
    "cancelled": "cancelled",
    "expired": "expired",
    "refused": "failed",
}
REFUSED = Mistake(
    code="invalid_api_key",
    message="the key that the batch was made with was revoked, or has expired",
)

_LOOK_S = 1.0


class Lease:
    """A batch that this process runs.

    Attributes:
        stopped: set when no further line may be started; lines in flight end.
        why: then says the reason.
    """

    def __init__(self, desk: Desk, batch: Batch) -> None:
        """Hold a batch that was claimed."""
        self.batch = batch
        self.stopped = asyncio.Event()
        self.why: Stop | None = None
        self._desk = desk
        self._look = asyncio.Event()
        self._running_since: float | None = None

    def stop(self, why: Stop) -> None:
        """Let no further line start; the first reason stays."""
        if self.why is None:
            self.why = why
            self.stopped.set()

    @property
    def outcome(self) -> tuple[Status, tuple[Mistake, ...]]:
        """What the batch ends as, and why where that is not as its client wants."""
        if self.why is None:
            return "completed", ()
        return _ENDS[self.why], (REFUSED,) if self.why == "refused" else ()

    def look(self) -> None:
        """Look at once whether somebody wants the batch to stop."""
        self._look.set()

    def run(self) -> None:
        """Count the time from now on: lines are being run."""
        if self._running_since is None:
            self._running_since = asyncio.get_running_loop().time()

    async def keep(self) -> None:
        """Renew the lease until cancelled, or until the batch has ended.

        Raises:
            LeaseLost: another process took it.
        """
        while True:
            self.check_window()
            self.check_key()
            await sleep(min(_LOOK_S, self._desk.limits.lease_s / 3), self._look)
            self._look.clear()
            try:
                await self.renew()
            except LeaseLost:
                if await asyncio.to_thread(self._has_ended):
                    return
                raise

    async def renew(self) -> None:
        """Renew the lease now, and learn what has become of the batch. Raises LeaseLost."""
        desk = self._desk
        status = await asyncio.to_thread(
            desk.state.batches.renew,
            self.batch.seq,
            desk.owner,
            now=desk.clock(),
            lease_s=desk.limits.lease_s,
            ran_s=self._ran_s(),
        )
        if status is None:
            raise LeaseLost("the lease is another's")
        if status == "cancelling":
            self.stop("cancelled")

    def check_window(self) -> None:
        """Stop the batch if its window has passed."""
        if self._desk.clock() >= self.batch.expires_at:
            self.stop("expired")

    def check_key(self) -> None:
        """Stop the batch if the key that it was made with works no more."""
        try:
            self._desk.identify(self.batch)
        except Unauthorized:
            self.stop("refused")

    def _has_ended(self) -> bool:
        now = self._desk.state.batches.get(self.batch.id)
        return now is not None and now.has_ended

    def _ran_s(self) -> float:
        """Return the seconds since this was last asked in which lines were run."""
        if self._running_since is None:
            return 0.0
        now = asyncio.get_running_loop().time()
        ran_s, self._running_since = now - self._running_since, now
        return ran_s
