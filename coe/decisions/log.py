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
_MOST_BYTES = 64 * 2**20
_MOST_AT_ONCE = 100
_MOST_FORGOTTEN = 1000
"""More than that is forgotten behind what is written next: what waits must not become too much."""
_AT_A_STRETCH = 16
_BREATH_S = 0.0005
"""So often the thread lets go of the interpreter by itself: the event loop else waits 5 ms for it,
which requests would feel."""
_PURGE_EVERY_S = 600.0
_COMPLAIN_EVERY_S = 60.0
_NOT_TAKEN = (TypeError, ValueError, OverflowError)
"""What SQLite and JSON raise of a value that they have no form for."""


class DecisionLog:
    """Writes down the decisions of one process.

    Attributes:
        written: decisions that are in the file.
        lost: decisions that will never be.
        listen: told what was written, in the writing thread; None where nobody listens.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secret: str = "",
        interval_s: float = INTERVAL_S,
        purge_every_s: float = _PURGE_EVERY_S,
    ) -> None:
        """Store where the file is; it is opened, and made, when there is something to write.

        Args:
            folder: the state folder.
            secret: that replicas share, so that their files have the same digests; empty for none.
            interval_s: how long decisions are gathered before they are written.
            purge_every_s: how often what is too old is forgotten, also where nothing is written.
        """
        self.written = 0
        self.lost = 0
        self.listen: Callable[[list[Record]], None] | None = None
        self._path = folder / FILE
        self._secret = secret
        self._interval_s = interval_s
        self._purge_every_s = purge_every_s
        self._waiting: deque[Event] = deque()
        # Bytes of what waits: the first is only ever changed by the loop, the second by the thread.
        self._came = 0
        self._gone = 0
        self._decisions_for_s: float | None = None
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
        self._came += _size(event)
        waiting.append(event)
        if len(waiting) == 1:
            self._signal.set()
        while len(waiting) > _MOST_WAITING or (
            len(waiting) > 1 and self._came - self._gone > _MOST_BYTES
        ):
            try:
                dropped = waiting.popleft()
            except IndexError:  # the thread was quicker
                return
            self._came -= _size(dropped)
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
                    records = _written(store, _records(events, store))
                except CoEError:
                    self._gone -= sum(map(_size, events))
                    self._waiting.extendleft(reversed(events))
                    raise
                self.written += len(records)
                self.lost += len(events) - len(records)
                if self.listen is not None:
                    self.listen(records)
                self._decisions_for_s = events[-1].composition.observe.decisions_for_s
                self._purge(store)

    def _taken(self) -> list[Event]:
        events: list[Event] = []
        while self._waiting and len(events) < _MOST_AT_ONCE:
            try:
                events.append(self._waiting.popleft())
            except IndexError:  # the loop dropped it
                break
        self._gone += sum(map(_size, events))
        return events

    def _opened(self) -> DecisionStore:
        if self._store is None:
            self._store = DecisionStore.open(self._path, self._secret)
        return self._store

    def _purge(self, store: DecisionStore) -> bool:
        """Forget some of what is to be forgotten; return whether there is more."""
        now = time.time()
        if now - self._purged < self._purge_every_s:
            return False
        kept_s = self._decisions_for_s
        before = 0.0 if kept_s is None else now - kept_s
        if store.forget(before=before, now=now, most=_MOST_FORGOTTEN) >= _MOST_FORGOTTEN:
            return True
        self._purged = now
        return False

    def _purge_idle(self) -> None:
        """Forget what is to be forgotten though nothing is written: the time of texts is over."""
        has_more = self._store is not None or self._path.exists()
        while has_more and not self._is_closing:
            with self._lock:
                has_more = self._purge(self._opened())

    def _work(self) -> None:
        while not self._is_closing:
            if not self._signal.wait(self._purge_every_s):
                self._try(self._purge_idle)
                continue
            self._signal.clear()
            time.sleep(0 if self._is_closing else self._interval_s)
            if not self._try_to_flush():
                time.sleep(0 if self._is_closing else self._interval_s)
                self._signal.set()  # try again

    def _try_to_flush(self) -> bool:
        return self._try(self.flush)

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except CoEError as error:
            now = time.monotonic()
            if now - self._complained > _COMPLAIN_EVERY_S:
                self._complained = now
                logger.error("decisions are not written: %s", error.message)  # noqa: TRY400
            return False
        except Exception:  # a supervisor: whatever it is, the next ones are to be written
            logger.exception("decisions: a bug")
            return False
        return True


def _size(event: Event) -> int:
    """Return about how many bytes an event keeps in memory."""
    return event.size + len(event.last) + (len(event.answer.first) if event.answer else 0)


def _records(events: list[Event], store: DecisionStore) -> list[Record]:
    records: list[Record] = []
    for place, event in enumerate(events, start=1):
        if not place % _AT_A_STRETCH:
            time.sleep(_BREATH_S)
        try:
            records.append(record_of(event, store.digest))
        except Exception:  # one that cannot be told must not keep the others from being written
            logger.exception("decision %s is not written", event.query.id)
    return records


def _written(store: DecisionStore, records: list[Record]) -> list[Record]:
    """Write records, and return those that the file takes.

    Raises:
        CoEError: it cannot be written now.
    """
    try:
        store.add(records)
    except _NOT_TAKEN:  # it must not keep the others out
        taken = []
        for record in records:
            try:
                store.add([record])
            except _NOT_TAKEN:
                logger.exception("decision %s is not written", record.id)
            else:
                taken.append(record)
        return taken
    return records
