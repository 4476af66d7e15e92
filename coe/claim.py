"""What a request says of how it wants to wait: whose it is, in which lane, and until when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from coe.errors import InvalidRequest
from coe.scheduler.events import LANES, Lane
from coe.scheduler.loop import Told

AUTHORIZATION, API_KEY = b"authorization", b"x-api-key"
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
    due_s: float | None = None
    lane: Lane | None = "interactive"
    for name, value in headers:
        if name == LANE:
            lane = next((one for one in LANES if one.encode() == value.strip().lower()), None)
            if lane is None:
                raise InvalidRequest(f"x-coe-lane is {' or '.join(LANES)}", param="x-coe-lane")
        elif name == DEADLINE:
            due_s = time.monotonic() + _milliseconds(value) / 1000
    return Claim(key_of(headers), lane or "interactive", due_s, told)


def key_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return a digest of the client's credentials; empty where it has none.

    A key is the same key as a bearer token of `authorization` and alone in `x-api-key`, which is
    where Anthropic's clients put it; the former goes first.
    """
    key = b""
    for name, value in headers:
        if name == AUTHORIZATION:
            return _digest(value)
        if name == API_KEY:
            key = value
    return _digest(b"Bearer " + key) if key else ""


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
