"""What holds a call's slot: this replica's own scheduler, another's, or for a while nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import orjson

from coe.backends.http import Client, Response
from coe.errors import BackendError, BackendProtocolError
from coe.replicas.errand import PREFIX, SILENCE_S, Errand, Moved, refused
from coe.scheduler.loop import Told
from coe.types import Timeouts

LIMITS = Timeouts(connect_s=1.0, first_token_s=2.0, idle_s=SILENCE_S, total_s=24 * 3600.0)
QUICK = Timeouts(connect_s=1.0, total_s=5.0)


class Grip(Protocol):
    """A slot that is held."""

    @property
    def swap_s(self) -> float:
        """How much of the wait a load of the expert was under way."""

    def release(self, *, failed: bool = False) -> None:
        """Give it back; see `coe.scheduler.loop.Slot.release`."""


class Loose:
    """The slot of a call that nobody counts now: its owner is gone, or cannot be reached."""

    swap_s = 0.0

    def release(self, *, failed: bool = False) -> None:
        """Nothing is to be given back."""


class Lent:
    """A slot that another replica lent. The connection is open for as long as it is held.

    Attributes:
        replica: the owner.
    """

    def __init__(
        self, client: Client, response: Response, errand: Errand, replica: str, swap_s: float
    ) -> None:
        """Store the parts of an exchange that was granted."""
        self.replica = replica
        self.swap_s = swap_s
        self._client = client
        self._response = response
        self._errand = errand
        self._reading: asyncio.Task[None] | None = None

    def watch(self, lost: Callable[[], None]) -> None:
        """Call `lost` once the owner no longer holds it."""

        async def read() -> None:
            with suppress(BackendError):
                while piece := await self._response.receive():
                    if b"moved" in piece:
                        break
            self._response.close()
            lost()

        self._reading = asyncio.get_running_loop().create_task(read())

    def release(self, *, failed: bool = False) -> None:
        """See `Grip.release`: the owner sees that the connection ends."""
        if self._reading is not None:
            self._reading.cancel()
        self._response.close()
        if failed:
            task = asyncio.get_running_loop().create_task(self._complain())
            self._reading = task  # kept from the garbage collector for as long as this is

    async def _complain(self) -> None:
        """Have the owner ask the backend who is in its memory."""
        body = orjson.dumps({"pool": self._errand.pool})
        with suppress(BackendError):
            response = await self._client.post(f"{PREFIX[1:]}doubt", body, QUICK, streamed=False)
            response.close()


async def borrow(client: Client, errand: Errand, replica: str, told: Told | None) -> Lent:
    """Return a slot of another replica's, once it grants one.

    Raises:
        CapacityError: it refuses.
        Moved: it does not own the pool.
        BackendError: it cannot be reached, or is gone before it said anything.
    """
    response = await client.post(f"{PREFIX[1:]}slots", errand.body(), LIMITS, streamed=True)
    try:
        _check(response.status)
        response.started()
        rest = b""
        while piece := await response.receive():
            *lines, rest = (rest + piece).split(b"\n")
            for said in map(orjson.loads, lines):
                if "granted" in said:
                    return Lent(client, response, errand, replica, float(said["granted"]))
                if "refused" in said:
                    raise refused(said["refused"])
                if "moved" in said:
                    raise Moved
                if told is not None and "told" in said:
                    await told(str(said["told"]))
        raise BackendProtocolError("a replica ended without a word")
    except (ValueError, KeyError, TypeError) as error:
        response.close()
        raise BackendProtocolError("a replica answered with what is no errand's answer") from error
    except BaseException:
        response.close()
        raise


def _check(status: int) -> None:
    """Raise BackendProtocolError where a replica does not hear an errand."""
    if status == 401:  # noqa: PLR2004
        raise BackendProtocolError(
            "it does not know this replica: COE_REPLICA_SECRET is not the same for both"
        )
    if status != 200:  # noqa: PLR2004
        raise BackendProtocolError(f"a replica answered with status {status}")
