"""What a request says of how it wants to wait: whose it is, in which lane, and until when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from coe.errors import InvalidRequest
from coe.scheduler.events import LANES, Lane
from coe.scheduler.loop import Told

AUTHORIZATION = b"authorization"
LANE, DEADLINE = b"x-coe-lane", b"x-coe-deadline-ms"
_MOST_MS = 86_400_000


class Claim(NamedTuple):
    """A place in the queue that is asked for.

    Attributes:
        key: a digest of the client's credentials, for fair shares; empty where it has none.
        due_s: when it must have been let in, of the monotonic clock; None for whenever.
        told: told in a sentence what is waited for, now and then; None where nobody listens.
    """

    key: str = ""
    lane: Lane = "interactive"
    due_s: float | None = None
    told: Told | None = None

    def left_s(self) -> float | None:
        """Return the seconds until then; None for whenever."""
        return None if self.due_s is None else self.due_s - time.monotonic()


def claim_of(headers: Sequence[tuple[bytes, bytes]], told: Told | None = None) -> Claim:
    """Return what a request's headers ask for.

    Args:
        headers: as ASGI has them, names in lower case.
        told: see `Claim`.

    Raises:
        InvalidRequest: a lane that there is not, or a deadline that is no number.
    """
    key, due_s = "", None
    lane: Lane | None = "interactive"
    for name, value in headers:
        if name == AUTHORIZATION:
            key = _digest(value)
        elif name == LANE:
            lane = next((one for one in LANES if one.encode() == value.strip().lower()), None)
            if lane is None:
                raise InvalidRequest(f"x-coe-lane is {' or '.join(LANES)}", param="x-coe-lane")
        elif name == DEADLINE:
            due_s = time.monotonic() + _milliseconds(value) / 1000
    return Claim(key, lane or "interactive", due_s, told)


def key_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return a digest of the client's credentials; empty where it has none."""
    for name, value in headers:
        if name == AUTHORIZATION:
            return _digest(value)
    return ""


def _digest(credentials: bytes) -> str:
    return blake2b(credentials, digest_size=8).hexdigest()


def _milliseconds(value: bytes) -> int:
    text = value.strip()
    number = int(text) if text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004
    if not 1 <= number <= _MOST_MS:
        raise InvalidRequest(
            f"x-coe-deadline-ms is a whole number from 1 to {_MOST_MS}", param="x-coe-deadline-ms"
        )
    return number
