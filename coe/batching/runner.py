"""The batches of a folder, worked off in the background: checked at once, run one by one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

from coe.batching.desk import Desk
from coe.batching.ending import end
from coe.batching.execution import Execution
from coe.batching.gate import sleep
from coe.batching.lease import Lease
from coe.batching.placing import place
from coe.batching.source import Source
from coe.batching.validation import validate
from coe.stores.lines import LeaseLost
from coe.stores.records import Batch, Status

logger = logging.getLogger(__name__)


class Act(Protocol):
    """What is done with a batch."""

    __name__: str

    async def __call__(self, desk: Desk, lease: Lease) -> None:
        """Do it."""


_LOOK_S = 1.0  # for batches that another process added, or left
_TROUBLE_S = 5.0


async def work(desk: Desk, lease: Lease) -> None:
    """Run a batch from where it stands to its end, or until it is stopped.

    A gateway that was exchanged meanwhile (another composition) places the lines that are left
    anew.

    Raises:
        LeaseLost: another process has the batch.
    """
    batch = lease.batch
    if batch.status == "cancelling":
        lease.stop("cancelled")
    if batch.status == "in_progress" and lease.why is None:
        with Source(desk, batch) as source:
            await _run(desk, lease, source)
        await lease.renew()
    if lease.why == "closing":
        return
    # A batch whose files were being written is done, whatever has passed since.
    was_done = batch.status == "finalizing"
    status, mistakes = ("completed", ()) if was_done else lease.outcome
    await asyncio.to_thread(end, desk, batch, status, mistakes)
    desk.gateway.telemetry.batch_ended(status)


async def _run(desk: Desk, lease: Lease, source: Source) -> None:
    seq, placed_by = lease.batch.seq, lease.batch.placed_by
    last = desk.gateway
    while lease.why is None:
        with desk.current() as gateway:
            fingerprint = gateway.composition.fingerprint
            if fingerprint != placed_by or gateway is not last:
                unplace = desk.state.lines.unplace
                await asyncio.to_thread(unplace, seq, desk.owner, fingerprint)
            placed_by, last = fingerprint, gateway
            await place(desk, lease, source, gateway)
            is_done = not await Execution(desk, lease, source, gateway).run()
        if is_done and desk.gateway is last:
            return


class Runner:
    """Works off the batches of a folder until it is closed."""

    def __init__(self, find_desk: Callable[[], Desk | None]) -> None:
        """Store what returns the desk; None as long as there are no batches."""
        self._find_desk = find_desk
        self._wakes = (asyncio.Event(), asyncio.Event())
        self._held: set[Lease] = set()
        self._closing = False
        self._closed_s: float | None = None

    def close(self) -> None:
        """Begin no line any more; those in flight may end."""
        if self._closing:
            return
        self._closing = True
        self._closed_s = time.monotonic()
        for lease in self._held:
            lease.stop("closing")
        self.wake()

    def wake(self) -> None:
        """Look at once for batches that are new or to be stopped."""
        for event in self._wakes:
            event.set()
        for lease in self._held:
            lease.look()

    @asynccontextmanager
    async def running(self, drain_s: float) -> AsyncIterator[None]:
        """Work in the background meanwhile; then let the lines in flight end, within a time.

        Who is cancelled does not wait for them.
        """
        checks, runs = self._wakes
        tasks = [
            asyncio.create_task(self._serve(("validating",), validate, checks)),
            asyncio.create_task(
                self._serve(("cancelling", "finalizing", "in_progress"), work, runs)
            ),
        ]
        try:
            yield
        except asyncio.CancelledError:
            drain_s = 0.0
            raise
        finally:
            self.close()
            try:
                await asyncio.wait(tasks, timeout=self._left_s(drain_s))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _left_s(self, drain_s: float) -> float:
        """Return what is left of the time for lines in flight, which began with the closing."""
        began_s = time.monotonic() if self._closed_s is None else self._closed_s
        return max(0.0, began_s + drain_s - time.monotonic())

    async def _serve(self, statuses: tuple[Status, ...], act: Act, wake: asyncio.Event) -> None:
        """Do one batch of these statuses after the other."""
        while not self._closing:
            wake.clear()
            pause_s = _LOOK_S
            try:
                if await self._next(statuses, act):
                    continue
            except Exception:  # a supervisor: the disk is full, a plugin broken; it may get better
                logger.exception("batches")
                pause_s = _TROUBLE_S
            await sleep(pause_s, wake)

    async def _next(self, statuses: tuple[Status, ...], act: Act) -> bool:
        """Do the oldest batch that nobody does; False where there is nothing to do."""
        desk = await asyncio.to_thread(self._find_desk)
        if desk is None:
            return False
        # One holds a batch, not one process: else who checked it could give up the lease of who
        # runs it.
        desk = replace(desk, owner=f"{desk.owner}:{act.__name__}")
        batch = await asyncio.to_thread(
            desk.state.batches.claim,
            desk.owner,
            statuses,
            now=desk.clock(),
            lease_s=desk.limits.lease_s,
        )
        if batch is None:
            return await asyncio.to_thread(desk.state.lines.purge)
        await self._do(desk, batch, act)
        self.wake()
        return True

    async def _do(self, desk: Desk, batch: Batch, act: Act) -> None:
        """Do a batch, and give its lease up.

        What fails keeps the lease, so that the batch is tried again only once that has run out,
        and the others have their turn.
        """
        lease = Lease(desk, batch)
        lease.check_window()
        lease.check_key()
        self._held.add(lease)
        if self._closing:
            lease.stop("closing")
        release = desk.state.batches.release
        try:
            await _keeping(desk, lease, act)
        except asyncio.CancelledError:
            release(batch.seq, desk.owner)
            raise
        finally:
            self._held.discard(lease)
        await asyncio.to_thread(release, batch.seq, desk.owner)
        logger.info("batch %s: %s", batch.id, lease.why or "done")


async def _keeping(desk: Desk, lease: Lease, act: Act) -> None:
    """Do a batch while its lease is kept; stop at once where it is lost."""
    try:
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(lease.keep())
            await act(desk, lease)
            keeping.cancel()
    except* LeaseLost:
        logger.warning("batch %s is another process's now", lease.batch.id)
