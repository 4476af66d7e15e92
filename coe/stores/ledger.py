"""What was used of every account: in memory, and behind it in a SQLite file of the state folder.

Nothing on the path of a request waits for the file. What changed is written at intervals, so that
`kill -9` loses at most the last one; what was set aside for calls that were under way then counts
as used, for nobody knows what they cost.

Processes that share the folder add to what is there, and learn of each other at the same intervals:
within one, each may let in what the others do not know of. What is under way is not written.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from coe.errors import ArtefactError, CoEError
from coe.limits.ledger import Tolls
from coe.limits.sums import summed
from coe.limits.tally import Asked, Held, Refusal, State, Tally
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
    until REAL NOT NULL,
    turn INTEGER NOT NULL DEFAULT 0
)
"""
_ADD_TURN = "ALTER TABLE counters ADD COLUMN turn INTEGER NOT NULL DEFAULT 0"
_BY_TURN = "CREATE INDEX counters_by_turn ON counters (turn)"
_READ = "SELECT key, period, number, used, previous FROM counters"
_NEWS = f"{_READ} WHERE turn > ?"
_TURN = "SELECT coalesce(max(turn), 0) FROM counters"
_DROP = "DELETE FROM counters WHERE until < ?"
_SAVE = """
INSERT INTO counters VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE
SET number = excluded.number, used = excluded.used, previous = excluded.previous,
    until = excluded.until, turn = excluded.turn
"""

_Kept = Mapping[str, State]


class Saved(NamedTuple):
    """What became of the file.

    Attributes:
        news: counters as others have left them, before ours were added.
        kept: those that were added to, as they are now.
    """

    news: list[State]
    kept: list[State]


class LedgerStore(Store):
    """Counters by account, in a file. Each write takes the next turn, by which others see it."""

    form = Format(
        what="limits",
        mark=0x436F4C4D,
        version=2,
        tables=(_TABLE, _BY_TURN),
        upgrades={1: (_ADD_TURN, _BY_TURN)},
    )
    _seen = 0

    def load(self, now_s: float) -> list[State]:
        """Return the counters that may still count; the others are dropped."""
        with self._database.writing() as connection:
            connection.execute(_DROP, (now_s,))
            (seen,) = connection.execute(_TURN).fetchone()
            rows = connection.execute(_READ).fetchall()
        self._seen = seen
        return [State(*row) for row in rows]

    def save(self, states: Iterable[State], before: _Kept, now_s: float) -> Saved:
        """Add what was counted to what is kept, and see what others did meanwhile.

        Args:
            states: counters as they are here.
            before: as they were kept when that was last seen.
            now_s: seconds since the epoch.
        """
        lasting = [one for one in states if one.period is not None]
        if not lasting:
            with self._database.reading() as connection:
                return Saved(self._news(connection, before), [])
        with self._database.writing() as connection:
            news = self._news(connection, before)
            (turn,) = connection.execute(_TURN).fetchone()
            there = {one.key: one for one in news}
            kept = []
            for own in lasting:
                was = before.get(own.key)
                kept.append(summed(own, was, there.get(own.key, was)))
            rows = [
                (one.key, one.period, one.number, one.used, one.previous, _until(one, now_s))
                for one in kept
            ]
            connection.executemany(_SAVE, [(*row, turn + 1) for row in rows])
        self._seen = turn + 1
        return Saved(news, kept)

    def drop(self, now_s: float) -> None:
        """Remove counters of which nothing counts any more."""
        with self._database.writing() as connection:
            connection.execute(_DROP, (now_s,))

    def _news(self, connection: sqlite3.Connection, before: _Kept) -> list[State]:
        rows = (State(*row) for row in connection.execute(_NEWS, (self._seen,)))
        return [one for one in rows if one != before.get(one.key)]


def _until(state: State, now_s: float) -> float:
    return now_s + window(state.period, now_s).left_s + length_s(state.period)


class LocalLedger:
    """See `coe.limits.ledger.Ledger`; for the processes of one state folder."""

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
        self.settle = self.tally.settle
        self.tolls = Tolls()
        self.is_running = False
        self._path = folder / FILE
        self._interval_s = interval_s
        self._clock = clock
        self._store: LedgerStore | None = None
        self._kept: dict[str, State] = {}  # as the file has them, as far as is known here
        self._has_company = False
        self._complained = False
        self._is_open = False

    async def reserve(self, entries: Sequence[Asked], now_s: float) -> tuple[Held, ...] | Refusal:
        """See `Ledger.reserve`."""
        return self.tally.reserve(entries, now_s)

    async def open(self) -> None:
        """See `Ledger.open`.

        Raises:
            ArtefactError: the file cannot be read, is damaged, or of another program: what was
                spent is not known.
        """
        if not self._is_open and self._path.exists():
            for state in await asyncio.to_thread(self._load):
                self.tally.learn(state)
                self._kept[state.key] = state
        self._is_open = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `Ledger.running`."""
        await self.open()
        ended = asyncio.Event()
        task = asyncio.create_task(self._work(ended))
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False
            ended.set()  # cancelled while it writes, it would not know what was kept
            await task
            await self._flush()
            if self._store is not None:
                self._store.close()
                self._store = None

    async def _work(self, ended: asyncio.Event) -> None:
        forgotten = self._clock()
        while not ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await ended.wait()
            await self._flush()
            if (now_s := self._clock()) - forgotten > _FORGET_EVERY_S:
                await self._forget(now_s)
                forgotten = now_s

    async def _forget(self, now_s: float) -> None:
        self.tally.forget(now_s)
        self._kept = {key: one for key, one in self._kept.items() if key in self.tally}
        if self._store is not None:
            with suppress(CoEError):  # a disk that takes nothing is told of where that matters
                await asyncio.to_thread(self._store.drop, now_s)

    async def _flush(self) -> None:
        """Write what changed, and read what others did; what cannot be written is tried again."""
        changed = self.tally.changed
        self.tally.changed = set()
        states = self.tally.states(changed)
        try:
            saved = await asyncio.to_thread(self._save, states)
        except CoEError as error:
            self.tally.changed |= changed
            if not self._complained:
                logger.warning("limits go on in memory alone: %s", error.message)
            self._complained = True
            return
        self._complained = False
        for one in saved.news:
            self.tally.join(one, self._kept.get(one.key))
        for one in (*saved.news, *saved.kept):
            self._kept[one.key] = one
        if saved.news and not self._has_company:
            self._has_company = True
            logger.warning(
                "another process counts in %s, too: limits and budgets hold for both together,"
                " but each hears of the other %g times a second only, and `at_once` holds for"
                " each by itself; with COE_REDIS_URL they hold exactly",
                self._path,
                1 / self._interval_s,
            )

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

    def _save(self, states: Sequence[State]) -> Saved:
        if not states and self._store is None and not self._path.exists():
            return Saved([], [])
        return self._opened().save(states, self._kept, self._clock())

    def _opened(self) -> LedgerStore:
        if self._store is None:
            self._store = LedgerStore.open(self._path)
        return self._store
