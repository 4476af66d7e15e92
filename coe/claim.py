"""What a request says of how it wants to wait: whose it is, in which lane, and until when."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple

from coe.errors import InvalidRequest
from coe.identity import ANONYMOUS, FREE, Identity, Permit
from coe.scheduler.events import LANES, Lane
from coe.scheduler.loop import Told
from coe.types import Query

Cold = Literal["wait", "reroute"]

LANE, DEADLINE, COLD = b"x-coe-lane", b"x-coe-deadline-ms", b"x-coe-cold"
_HOW = frozenset({LANE, DEADLINE, COLD})
_COLD: dict[bytes, Cold] = {b"wait": "wait", b"reroute": "reroute"}
_MOST_MS = 86_400_000


class Claim(NamedTuple):
    """A place in the queue that is asked for.

    Attributes:
        key: whose it is, for fair shares: `Identity.tenant`.
        due_s: when it must have been let in, of the monotonic clock; None for whenever.
        told: told in a sentence what is waited for, now and then; None where nobody listens.
        identity: who asks, and pays.
        permit: which experts may be asked; nobody asks another one on the request's behalf.
        insists: whether an expert is asked though it failed too often: nobody else is left.
    """

    key: str = ""
    lane: Lane = "interactive"
    due_s: float | None = None
    told: Told | None = None
    identity: Identity = ANONYMOUS
    permit: Permit = FREE
    insists: bool = False

    def left_s(self) -> float | None:
        """Return the seconds until then; None for whenever."""
        return None if self.due_s is None else self.due_s - time.monotonic()


def claim_of(query: Query, told: Told | None = None) -> Claim:
    """Return what a request's headers ask for.

    Args:
        query: the request.
        told: see `Claim`.

    Raises:
        InvalidRequest: a lane that there is not, or a deadline that is no number.
    """
    due_s: float | None = None
    lane: Lane | None = "interactive"
    for name, value in query.headers:
        if name == LANE:
            lane = next((one for one in LANES if one.encode() == value.strip().lower()), None)
            if lane is None:
                raise InvalidRequest(f"x-coe-lane is {' or '.join(LANES)}", param="x-coe-lane")
        elif name == DEADLINE:
            due_s = time.monotonic() + _milliseconds(value) / 1000
    identity = query.identity
    return Claim(identity.tenant, lane or "interactive", due_s, told, identity, query.permit)


def cold_of(query: Query) -> Cold | None:
    """Return what a request wants where its expert is not in memory; None where it does not say.

    Raises:
        InvalidRequest: it says something else.
    """
    for name, value in query.headers:
        if name == COLD:
            wanted = _COLD.get(value.strip().lower())
            if wanted is None:
                raise InvalidRequest("x-coe-cold is wait or reroute", param="x-coe-cold")
            return wanted
    return None


def is_plain(query: Query) -> bool:
    """Whether a request says nothing of how it waits: it may as well wait for another one."""
    return not any(name in _HOW for name, _ in query.headers)


def behind(query: Query) -> Claim:
    """Return the claim of a call that waits behind everybody's, for as long as it takes."""
    return Claim(lane="bulk", identity=query.identity, permit=query.permit)


def _milliseconds(value: bytes) -> int:
    text = value.strip()
    number = int(text) if text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004
    if not 1 <= number <= _MOST_MS:
        raise InvalidRequest(
            f"x-coe-deadline-ms is a whole number from 1 to {_MOST_MS}", param="x-coe-deadline-ms"
        )
    return number
