"""An answer that is kept, and the bytes that it is kept as. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A whole answer.

    Attributes:
        partition: whose it is: nobody else is given it.
        id: of the request that it answers, 32 hexadecimal digits.
        expert: who wrote it, and the `backend` that it ran on.
        experts: all who had a part in it, as members of a panel, as its judge or writer.
        category: of the request; None where it had none.
        at: when it was written, in seconds since the epoch; `until`: when it is forgotten.
        has_usage: whether it says what it used, or was asked to: a stream may not have been.
        body: JSON, without its id and the time at which it was made.
    """

    partition: str
    id: str
    expert: str
    backend: str
    experts: tuple[str, ...]
    category: str | None
    at: float
    until: float
    has_usage: bool = True
    body: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return len(self.body) + _AROUND

    def packed(self) -> bytes:
        """Return it as bytes."""
        head = [self.partition, self.id, self.expert, self.backend, self.experts, self.category]
        return orjson.dumps([*head, self.at, self.until, self.has_usage]) + b"\n" + self.body

    @classmethod
    def unpacked(cls, raw: bytes) -> Self | None:
        """Return what bytes hold; None where they are not an entry of this version."""
        head, _, body = raw.partition(b"\n")
        try:
            partition, name, expert, backend, experts, category, at, until, usage = orjson.loads(
                head
            )
            return cls(
                partition=partition,
                id=name,
                expert=expert,
                backend=backend,
                experts=tuple(experts),
                category=category,
                at=at,
                until=until,
                has_usage=usage,
                body=body,
            )
        except (ValueError, TypeError):
            return None


_AROUND = 800
"""Bytes of an entry beside its body, measured."""
