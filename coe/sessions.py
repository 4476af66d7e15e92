"""The last decision of each session, in this process's memory: bounded in number and in time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

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


class Sessions:
    """Remembers sessions by key. Belongs to the event loop's thread.

    A session is forgotten `ttl_s` seconds after its last decision, and with the process: the next
    turn is then routed by its window alone.
    """

    def __init__(
        self, *, ttl_s: float, most: int = MOST, clock: Callable[[], float] = monotonic
    ) -> None:
        """Store the bounds; `clock` returns seconds that never go back."""
        self._ttl_s = ttl_s
        self._most = most
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, Session]] = OrderedDict()

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

    def remember(self, key: bytes, session: Session) -> None:
        """Keep a session's last decision; forget what is over, or more than can be held."""
        now = self._clock()
        entries = self._entries
        entries[key] = (now + self._ttl_s, session)
        entries.move_to_end(key)
        # All live equally long, so that the first is the first to end.
        while len(entries) > self._most or next(iter(entries.values()))[0] <= now:
            entries.popitem(last=False)
