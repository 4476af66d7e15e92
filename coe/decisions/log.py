"""The decision log of a process: noted by the event loop, written by a thread behind it.

The hot path appends a tuple. A thread turns what has gathered into rows and writes them in one
transaction, so that `kill -9` loses at most what came in the last interval. A disk that is full or
slow never holds up an answer: what cannot be written waits, up to a bound, and is then lost and
counted.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Event as Signal
from threading import Lock, Thread

from coe.decisions.event import Event, record_of
from coe.errors import CoEError
from coe.stores.decisions import FILE, DecisionStore, Record

logger = logging.getLogger(__name__)

INTERVAL_S = 0.25
_MOST_WAITING = 5000
_MOST_AT_ONCE = 1000
_PURGE_EVERY_S = 600.0
_COMPLAIN_EVERY_S = 60.0


class DecisionLog:
    """Writes down the decisions of one process.

    Attributes:
        written: decisions that are in the file.
        lost: decisions that will never be.
        listen: told what was written, in the writing thread; None where nobody listens.
    """

    def __init__(self, folder: Path, *, interval_s: float = INTERVAL_S) -> None:
        """Store where the file is; it is opened, and made, when there is something to write.

        Args:
            folder: the state folder.
            interval_s: how long decisions are gathered before they are written.
        """
        self.written = 0
        self.lost = 0
        self.listen: Callable[[list[Record]], None] | None = None
        self._path = folder / FILE
        self._interval_s = interval_s
        self._waiting: deque[Event] = deque()
        self._signal = Signal()
        self._lock = Lock()
        self._store: DecisionStore | None = None
        self._thread: Thread | None = None
        self._is_closing = False
        self._purged = 0.0
        self._complained = float("-inf")

    def add(self, event: Event) -> None:
        """Take note of a request that has ended. Takes a microsecond."""
        waiting = self._waiting
        waiting.append(event)
        if len(waiting) == 1:
            self._signal.set()
        elif len(waiting) > _MOST_WAITING:
            try:
                waiting.popleft()
            except IndexError:  # the thread was quicker
                return
            self.lost += 1

    def start(self) -> None:
        """Begin to write in the background."""
        self._thread = Thread(target=self._work, name="decisions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._is_closing = True
        self._signal.set()
        if self._thread is not None:
            self._thread.join()
        self._try_to_flush()
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def store(self) -> DecisionStore:
        """Return the file, with everything in it that was noted so far. Blocks its thread.

        Raises:
            CoEError: it cannot be opened or written.
        """
        self.flush()
        with self._lock:
            return self._opened()

    def flush(self) -> None:
        """Write what waits. Blocks its thread.

        Raises:
            CoEError: it cannot be written; it goes on waiting.
        """
        with self._lock:
            while self._waiting:
                events = self._taken()
                try:
                    store = self._opened()
                    records = self._records(events, store)
                    store.add(records)
                except CoEError:
                    self._waiting.extendleft(reversed(events))
                    raise
                self.written += len(events)
                if self.listen is not None:
                    self.listen(records)
                self._purge(store, events[-1])

    def _taken(self) -> list[Event]:
        events: list[Event] = []
        while self._waiting and len(events) < _MOST_AT_ONCE:
            events.append(self._waiting.popleft())
        return events

    def _records(self, events: list[Event], store: DecisionStore) -> list[Record]:
        records: list[Record] = []
        for event in events:
            try:
                records.append(record_of(event, store.digest))
            except Exception:  # one that cannot be told must not keep the others from being written
                logger.exception("decision %s is not written", event.query.id)
                self.lost += 1
        return records

    def _opened(self) -> DecisionStore:
        if self._store is None:
            self._store = DecisionStore.open(self._path)
        return self._store

    def _purge(self, store: DecisionStore, event: Event) -> None:
        now = time.time()
        if now - self._purged < _PURGE_EVERY_S:
            return
        self._purged = now
        store.forget(before=now - event.composition.observe.decisions_for_s, now=now)

    def _work(self) -> None:
        while not self._is_closing:
            self._signal.wait()
            self._signal.clear()
            time.sleep(0 if self._is_closing else self._interval_s)
            if not self._try_to_flush():
                time.sleep(0 if self._is_closing else self._interval_s)
                self._signal.set()  # try again

    def _try_to_flush(self) -> bool:
        try:
            self.flush()
        except CoEError as error:
            now = time.monotonic()
            if now - self._complained > _COMPLAIN_EVERY_S:
                self._complained = now
                logger.error("decisions are not written: %s", error.message)  # noqa: TRY400
            return False
        return True
