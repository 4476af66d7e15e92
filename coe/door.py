"""The door through which every call to an expert goes: a slot, the first frame, the rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Protocol

from coe.claim import Claim
from coe.errors import BackendError, BackendProtocolError, CoEError
from coe.protocols import Backend
from coe.scheduler.loop import Slot, Slots
from coe.telemetry import Telemetry
from coe.types import Call, Dispatch


class House(Protocol):
    """What is behind the door.

    Attributes:
        backends: by name.
        slots: who lets calls through to the backends whose memory is managed.
        telemetry: told of calls that fail.
    """

    @property
    def backends(self) -> Mapping[str, Backend]: ...  # noqa: D102 - see the class
    @property
    def slots(self) -> Mapping[str, Slots]: ...  # noqa: D102
    @property
    def telemetry(self) -> Telemetry: ...  # noqa: D102


async def schedule(house: House, call: Call, claim: Claim) -> Slot | None:
    """Wait until the call's expert is in memory and has a slot; None where nobody manages that.

    Raises:
        CapacityError: it cannot be had.
    """
    slots = house.slots.get(call.backend)
    if slots is None or not slots.manages(call.expert):
        return None
    return await slots.take(
        call.expert,
        key=claim.key,
        lane=claim.lane,
        deadline_s=claim.left_s(),
        told=claim.told,
    )


async def enter(
    house: House, query_id: str, call: Call, slot: Slot | None, claim: Claim | None = None
) -> tuple[bytes, AsyncGenerator[bytes, None]]:
    """Return the first content frame of a call, and the rest; the slot is given back at its end.

    Raises:
        BackendError, CapacityError: it failed before that.
    """
    backend = house.backends[call.backend]
    if slot is None:
        frames = backend.generate(Dispatch(query_id=query_id, call=call, claim=claim))
    else:
        queued_s, swap_s = slot.queued_s, slot.swap_s
        dispatch = Dispatch(
            query_id=query_id, call=call, queued_s=queued_s, swap_s=swap_s, claim=claim
        )
        frames = _held(backend.generate(dispatch), slot)
    try:
        first = await anext(frames, b"")
        if not first:
            raise BackendProtocolError(f"expert `{call.expert}`: an empty answer")
    except CoEError as error:
        error.origin = "upstream"  # whatever its class, it comes from beyond the backend
        await frames.aclose()
        house.telemetry.failed(call, error)
        raise
    except BaseException:  # cancelled, most likely: free the backend before passing it on
        await frames.aclose()
        raise
    return first, frames


async def _held(frames: AsyncGenerator[bytes, None], slot: Slot) -> AsyncGenerator[bytes, None]:
    """Yield what there is; give the slot back at its end, however it ends."""
    has_failed = False
    try:
        async with aclosing(frames):
            async for piece in frames:
                yield piece
    except BackendError:
        has_failed = True
        raise
    finally:
        slot.release(failed=has_failed)
