"""The last decision of each session, in this process's memory: bounded in number and in time.

Where several replicas serve, each remembers its own and asks the others' store only for sessions
that it does not know, or of which it may have missed that another one decided on them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

MOST = 50_000
"""Sessions that are remembered, about 20 MB; the one used longest ago makes room."""


@dataclass(frozen=True, slots=True)
class Session:
    """What was decided last.

    Attributes:
        category: None where the router abstained.
        expert: who answered.
        turn: digest of the user turn that it was decided for.
    """

    category: str | None
    expert: str
    turn: bytes


class Elsewhere(Protocol):
    """What the other replicas remember.

    Attributes:
        epoch: grows each time that what they decided may have been missed.
    """

    epoch: int

    def follow(self, sessions: Sessions) -> None:
        """Tell sessions, by `forget`, which of them another replica decided since."""

    def put(self, key: bytes, session: Session, ttl_s: float) -> None:
        """Let the others know a decision, soon. Never waits."""

    async def find(self, key: bytes) -> Session | None:
        """Return what is remembered; None where nothing is, or nobody says. Never raises."""


class Sessions:
    """Remembers sessions by key. Belongs to the event loop's thread.

    A session is forgotten `ttl_s` seconds after its last decision, and with the process: the next
    turn is then routed by its window alone.
    """

    def __init__(
        self,
        *,
        ttl_s: float,
        most: int = MOST,
        clock: Callable[[], float] = monotonic,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Store the bounds.

        Args:
            ttl_s: seconds after which a session is forgotten.
            most: sessions that are remembered here.
            clock: returns seconds that never go back.
            elsewhere: what the other replicas remember; None where there are none.
        """
        self._ttl_s = ttl_s
        self._most = most
        self._clock = clock
        self._elsewhere = elsewhere
        self._entries: OrderedDict[bytes, tuple[float, Session, int]] = OrderedDict()
        if elsewhere is not None:
            elsewhere.follow(self)

    def __len__(self) -> int:
        """Return how many are held, those that nobody has asked for since they ended included."""
        return len(self._entries)

    def recall(self, key: bytes) -> Session | None:
        """Return the session, or None where there is none any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            del self._entries[key]
            return None
        return entry[1]

    async def find(self, key: bytes) -> Session | None:
        """Return the session, wherever it is remembered; None where it is not."""
        known, elsewhere = self.recall(key), self._elsewhere
        if elsewhere is None or (known is not None and self._entries[key][2] == elsewhere.epoch):
            return known
        found = await elsewhere.find(key) or known
        if found is not None:
            self._keep(key, found)
        return found

    def remember(self, key: bytes, session: Session) -> None:
        """Keep a session's last decision; forget what is over, or more than can be held."""
        self._keep(key, session)
        if self._elsewhere is not None:
            self._elsewhere.put(key, session, self._ttl_s)

    def forget(self, key: bytes) -> None:
        """Forget a session here: somebody else decided on it since."""
        self._entries.pop(key, None)

    def _keep(self, key: bytes, session: Session) -> None:
        now, elsewhere = self._clock(), self._elsewhere
        entries = self._entries
        entries[key] = (now + self._ttl_s, session, 0 if elsewhere is None else elsewhere.epoch)
        entries.move_to_end(key)
        # All live equally long, so that the first is the first to end.
        while len(entries) > self._most or next(iter(entries.values()))[0] <= now:
            entries.popitem(last=False)
