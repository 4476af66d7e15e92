"""What was used of every account, of one process: in memory, and behind it in a SQLite file.

Nothing on the path of a request waits for the file. What changed is written at intervals, so that
`kill -9` loses at most the last one; what was set aside for calls that were under way then counts
as used, for nobody knows what they cost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from coe.errors import ArtefactError, CoEError
from coe.limits.ledger import Tolls
from coe.limits.tally import Entry, Held, Refusal, State, Tally
from coe.limits.windows import length_s, window
from coe.stores.sqlite import Format, Store, rows_of

logger = logging.getLogger(__name__)

FILE = "limits.sqlite"
INTERVAL_S = 0.25
_FORGET_EVERY_S = 60.0

_TABLE = """
CREATE TABLE counters (
    key TEXT PRIMARY KEY,
    period TEXT NOT NULL,
    number INTEGER NOT NULL,
    used INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    until REAL NOT NULL
)
"""
_READ = "SELECT key, period, number, used, previous FROM counters"
_SAVE = """
INSERT INTO counters VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
SET number = excluded.number, used = excluded.used, previous = excluded.previous,
    until = excluded.until
"""


class LedgerStore(Store):
    """Counters by account, in a file."""

    form = Format(what="limits", mark=0x436F4C4D, version=1, tables=(_TABLE,))

    def load(self, now_s: float) -> list[State]:
        """Return the counters that may still count; the others are dropped."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM counters WHERE until < ?", (now_s,))
        rows = self._database.rows(_READ)
        return [State(*row) for row in rows]

    def save(self, states: Iterable[State], now_s: float) -> None:
        """Keep counters as they are now."""
        rows = [
            (one.key, one.period, one.number, one.used, one.previous, _until(one, now_s))
            for one in states
            if one.period is not None
        ]
        with self._database.writing() as connection:
            connection.executemany(_SAVE, rows)


def _until(state: State, now_s: float) -> float:
    return now_s + window(state.period, now_s).left_s + length_s(state.period)


class LocalLedger:
    """See `coe.limits.ledger.Ledger`; for one process."""

    def __init__(
        self,
        folder: Path,
        *,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Store the parts; the file is made when there is something to keep.

        Args:
            folder: the state folder.
            interval_s: between two writes.
            clock: seconds since the epoch.
        """
        self.tally = Tally()
        self.tolls = Tolls()
        self.is_running = False
        self._path = folder / FILE
        self._interval_s = interval_s
        self._clock = clock
        self._store: LedgerStore | None = None
        self._complained = False
        self._is_open = False

    async def reserve(self, entries: Sequence[Entry], now_s: float) -> tuple[Held, ...] | Refusal:
        """See `Ledger.reserve`."""
        return self.tally.reserve(entries, now_s)

    def settle(self, held: Held, amount: int) -> None:
        """See `Ledger.settle`."""
        self.tally.settle(held, amount)

    async def open(self) -> None:
        """See `Ledger.open`.

        Raises:
            ArtefactError: the file cannot be read, is damaged, or of another program: what was
                spent is not known.
        """
        if not self._is_open and self._path.exists():
            for state in await asyncio.to_thread(self._load):
                self.tally.learn(state)
        self._is_open = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `Ledger.running`."""
        await self.open()
        task = asyncio.create_task(self._work())
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self._flush()
            if self._store is not None:
                self._store.close()
                self._store = None

    async def _work(self) -> None:
        forgotten = self._clock()
        while True:
            await asyncio.sleep(self._interval_s)
            await self._flush()
            if (now_s := self._clock()) - forgotten > _FORGET_EVERY_S:
                self.tally.forget(now_s)
                forgotten = now_s

    async def _flush(self) -> None:
        """Write what changed; where the disk does not take it, it is tried again."""
        changed = self.tally.changed
        if not changed:
            return
        self.tally.changed = set()
        states = self.tally.states(changed)
        try:
            await asyncio.shield(asyncio.to_thread(self._save, states))
        except CoEError as error:
            self.tally.changed |= changed
            if not self._complained:
                logger.warning("limits go on in memory alone: %s", error.message)
            self._complained = True
        else:
            self._complained = False

    def _load(self) -> list[State]:
        try:
            return self._opened().load(self._clock())
        except ArtefactError:
            raise
        except CoEError as error:
            logger.warning("limits are only read: %s", error.message)
        try:
            return [State(*row) for row in rows_of(self._path, _READ)]
        except CoEError as error:
            raise ArtefactError(
                f"{error.message}; it cannot be read what was spent, and nobody may spend it again:"
                " make it readable, or move it away to begin anew"
            ) from None

    def _save(self, states: Sequence[State]) -> None:
        self._opened().save(states, self._clock())

    def _opened(self) -> LedgerStore:
        if self._store is None:
            self._store = LedgerStore.open(self._path)
        return self._store
