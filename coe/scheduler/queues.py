"""The calls that wait for one expert in one lane: oldest first, or each key in its turn."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import takewhile

from coe.scheduler.events import Ticket


@dataclass(frozen=True, slots=True)
class Waiter:
    """A call in a queue.

    Attributes:
        number: grows with every arrival; the order of two that arrived at the same moment.
        share: whose turn it uses; the same for all where shares do not matter.
    """

    arrived_s: float
    number: int
    ticket: Ticket
    share: str


class Queue:
    """Calls in order of arrival; every operation takes constant time, `due_s` a logarithm.

    Attributes:
        oldest: who has waited longest. An attribute, since it is asked for at every turn.
    """

    __slots__ = ("_by_key", "_dues", "_sum_s", "_waiters", "oldest")

    def __init__(self) -> None:
        self._waiters: OrderedDict[str, Waiter] = OrderedDict()
        self._by_key: OrderedDict[str, OrderedDict[str, Waiter]] = OrderedDict()
        self._dues: list[tuple[float, str]] = []
        self._sum_s = 0.0
        self.oldest: Waiter | None = None

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiters)

    @property
    def due_s(self) -> float:
        """The earliest deadline of those that wait; infinite where none has one."""
        if not self._dues:
            return math.inf
        while self._dues and self._dues[0][1] not in self._waiters:
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else math.inf

    def ages_s(self, now_s: float) -> float:
        """Return the sum of how long each has waited, in seconds."""
        return len(self._waiters) * now_s - self._sum_s

    def push(self, waiter: Waiter) -> None:
        """Add a call, which is the youngest."""
        ticket = waiter.ticket
        self._waiters[ticket.id] = waiter
        self._by_key.setdefault(waiter.share, OrderedDict())[ticket.id] = waiter
        self._sum_s += waiter.arrived_s
        if self.oldest is None:
            self.oldest = waiter
        if ticket.deadline_s is not None:
            heapq.heappush(self._dues, (ticket.deadline_s, ticket.id))

    def remove(self, ticket: Ticket) -> None:
        """Take one out, wherever it stands."""
        waiter = self._waiters.pop(ticket.id)
        self._sum_s = self._sum_s - waiter.arrived_s if self._waiters else 0.0
        if waiter is self.oldest:
            self.oldest = next(iter(self._waiters.values()), None)
        own = self._by_key[waiter.share]
        del own[ticket.id]
        if not own:
            del self._by_key[waiter.share]

    def next_in_turn(self) -> Waiter | None:
        """Return the oldest call of the key whose turn it is; that key is then last in turn."""
        if not self._by_key:
            return None
        key, own = next(iter(self._by_key.items()))
        self._by_key.move_to_end(key)
        return next(iter(own.values()))

    def waited(self, for_s: float, now_s: float) -> list[Waiter]:
        """Return those that have waited for so long, oldest first."""
        late = takewhile(lambda one: one.arrived_s + for_s <= now_s, self._waiters.values())
        return list(late)
