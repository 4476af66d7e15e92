"""What one replica asks of the owner of a pool, and what it is told: JSON, a line at a time.

    POST /internal/replicas/slots   {"pool": .., "expert": .., "key": .., "lane": .., ...}
    <- {"told": "x is being loaded"}             now and then
    <- {"granted": [queued_s, swap_s]}           from here on the call holds its slot
    <- {}                                        every `BEAT_S`: the owner is alive
    <- {"refused": [status, code, ...]}          in the place of `granted`
    <- {"moved": true}                           this replica is not the owner (any more)

Whoever asked gives the slot back by closing the connection; so does one that dies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from coe.errors import (
    CapacityError,
    CoEError,
    DeadlineExceeded,
    ExpertLoadFailed,
    InvalidRequest,
    QueueFull,
)
from coe.scheduler.events import LANES, Lane

PREFIX = "/internal/replicas/"
"""Of the paths that replicas alone may call."""
BEAT_S = 2.0
SILENCE_S = 8.0
"""An owner that says nothing for so long is gone."""

_KINDS: tuple[type[CapacityError], ...] = (
    QueueFull,
    DeadlineExceeded,
    ExpertLoadFailed,
    CapacityError,
)


class Moved(Exception):
    """The replica that was asked does not own the pool, or does not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A slot that is asked for.

    Attributes:
        pool: whose.
        expert: that the call is for.
        key: whose call it is.
        team: that the key belongs to.
        lane: that it waits in.
        deadline_s: seconds in which it must have been let in; None for whenever.
        is_held: whether the call runs already: an owner before this one let it in.
    """

    pool: str
    expert: str
    key: str = ""
    team: str = ""
    lane: Lane = "interactive"
    deadline_s: float | None = None
    is_held: bool = False

    def body(self) -> bytes:
        """Return it as it is sent."""
        return orjson.dumps(self)


def read(raw: bytes) -> Errand:
    """Return an errand as it was sent.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        said = orjson.loads(raw)
        errand = Errand(**said)
        texts = (errand.pool, errand.expert, errand.key, errand.team)
        if not all(isinstance(text, str) for text in texts) or errand.lane not in LANES:
            raise TypeError
        if errand.deadline_s is not None:
            float(errand.deadline_s)
    except (ValueError, TypeError):
        raise InvalidRequest("this is no errand of a replica's") from None
    return errand


def line(**said: object) -> bytes:
    """Return a line of the owner's."""
    return orjson.dumps(said) + b"\n"


def refusal(error: CoEError) -> list[Any]:
    """Return a refusal as it is sent."""
    kind = next((kind.__name__ for kind in _KINDS if isinstance(error, kind)), "CapacityError")
    return [kind, error.message, error.retry_after_s]


def refused(said: list[Any]) -> CapacityError:
    """Return the error that an owner refused with."""
    name, message, retry_after_s = said
    kind = next((kind for kind in _KINDS if kind.__name__ == name), CapacityError)
    return kind(str(message), retry_after_s=retry_after_s)
