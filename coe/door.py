"""The door through which every call to an expert goes: a slot, the keepers, the frames.

A keeper sees every call, whoever makes it: an answer's, a panel's, a judge's, a shadow's, a
batch's. It may refuse it, and it is told how it ended. Before all of them the door itself looks
whether the request may reach the expert at all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from time import perf_counter
from typing import Protocol

from coe.claim import Claim
from coe.errors import BackendError, BackendProtocolError, CoEError
from coe.policies.permits import bars, refused
from coe.protocols import Backend
from coe.scheduler.loop import Slot, Slots
from coe.telemetry import Telemetry
from coe.telemetry.trace import CURRENT
from coe.types import Call, Dispatch

WAITED: ContextVar[float] = ContextVar("coe_waited_s", default=0.0)
"""How long the call that this task made last has waited at the door: for the keepers, and under its
backend's own limit. In seconds, of those that its caller times."""


class Visit(Protocol):
    """One call that was let in, for the keeper that let it in.

    Where it has a `watch`, a function, that is called with every piece: few need it, and it costs.
    """

    def opened(self, first: bytes) -> None:
        """Take note of the first content frame, or of the whole body of one not streamed."""

    def ended(self, last: bytes, error: BaseException | None) -> None:
        """Take note of the end; called once, whatever happens.

        Args:
            last: the last piece that came, which is where a stream tells its usage; the first one
                where nothing followed it, empty where nothing came.
            error: what ended it: a CoEError, or a cancellation; None where it ended well, and
                where whoever read it closed it early.
        """


class Keeper(Protocol):
    """Who lets calls in."""

    async def admit(self, call: Call, claim: Claim | None) -> Visit | None:
        """Let a call in; None where the keeper does not care how it goes on.

        Args:
            call: about to be made; it has its slot.
            claim: who asks; None where nobody does but the gateway itself.

        Raises:
            CoEError: it may not be made.
        """


class House(Protocol):
    """What is behind the door.

    Attributes:
        backends: by name.
        slots: who lets calls through to the backends whose memory is managed.
        telemetry: told of calls that fail.
        keepers: who lets calls in, asked in this order.
    """

    @property
    def backends(self) -> Mapping[str, Backend]: ...  # noqa: D102 - see the class
    @property
    def slots(self) -> Mapping[str, Slots]: ...  # noqa: D102
    @property
    def telemetry(self) -> Telemetry: ...  # noqa: D102
    @property
    def keepers(self) -> Sequence[Keeper]: ...  # noqa: D102


async def schedule(house: House, call: Call, claim: Claim) -> Slot | None:
    """Wait until the call's expert is in memory and has a slot; None where nobody manages that.

    Raises:
        CapacityError: it cannot be had.
    """
    slots = house.slots.get(call.backend)
    if slots is None or not slots.manages(call.expert):
        return None
    slot = await slots.take(
        call.expert,
        key=claim.key,
        team=claim.identity.team,
        lane=claim.lane,
        deadline_s=claim.left_s(),
        told=claim.told,
    )
    if (trace := CURRENT.get()) is not None:
        trace.waited(call.expert, slot.queued_s, slot.swap_s)
    return slot


async def enter(
    house: House, query_id: str, call: Call, slot: Slot | None, claim: Claim | None = None
) -> tuple[bytes, AsyncGenerator[bytes, None]]:
    """Return the first content frame of a call, and the rest; the slot is given back at its end.

    Raises:
        BackendError, CapacityError: it failed before that.
        Forbidden: the request may not reach the expert.
        CoEError: a keeper did not let it in.
    """
    visits: list[Visit] = []
    WAITED.set(0.0)
    try:
        if claim is not None and bars(claim.permit, (call.expert,)):
            # Nobody plans such a call. Whoever does so all the same, a plugin maybe, ends here.
            raise refused(claim.permit, call.expert)
        if house.keepers:
            came = perf_counter()
            await _admit(house.keepers, call, claim, visits)
            WAITED.set(perf_counter() - came)
    except BaseException:
        if slot is not None:
            slot.release()
        raise
    frames = _begun(house.backends[call.backend], query_id, call, slot, claim)
    if visits and call.stream:
        frames = _visited(frames, visits)
    try:
        if visits and not call.stream:
            first = await _whole(frames, visits)
        else:
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


async def _admit(
    keepers: Sequence[Keeper], call: Call, claim: Claim | None, visits: list[Visit]
) -> None:
    """Have every keeper let a call in; where one does not, those before it are told so."""
    try:
        for keeper in keepers:
            if (visit := await keeper.admit(call, claim)) is not None:
                visits.append(visit)  # noqa: PERF401 - those before one that refuses count
    except BaseException as error:
        for visit in visits:
            visit.ended(b"", error)
        raise


def _begun(
    backend: Backend, query_id: str, call: Call, slot: Slot | None, claim: Claim | None
) -> AsyncGenerator[bytes, None]:
    """Return what a backend will send; the slot is given back at its end."""
    if slot is None:
        return backend.generate(Dispatch(query_id=query_id, call=call, claim=claim))
    queued_s, swap_s = slot.queued_s, slot.swap_s
    dispatch = Dispatch(query_id=query_id, call=call, queued_s=queued_s, swap_s=swap_s, claim=claim)
    return _held(backend.generate(dispatch), slot)


async def _visited(
    frames: AsyncGenerator[bytes, None], visits: Sequence[Visit]
) -> AsyncGenerator[bytes, None]:
    """Yield what there is, and tell the keepers of the first piece and of the end."""
    last = b""
    error: BaseException | None = None
    watches = [watch for one in visits if (watch := getattr(one, "watch", None)) is not None]
    try:
        async with aclosing(frames):
            async for piece in frames:
                if not last:
                    for visit in visits:
                        visit.opened(piece)
                for watch in watches:
                    watch(piece)
                last = piece
                yield piece
    except GeneratorExit:
        raise
    except BaseException as failure:
        error = failure
        raise
    finally:
        for visit in visits:
            visit.ended(last, error)


async def _whole(frames: AsyncGenerator[bytes, None], visits: Sequence[Visit]) -> bytes:
    """Return an answer that is not streamed, and tell the keepers of it: nothing follows.

    A second generator around the first one would cost each request some microseconds.
    """
    first = b""
    error: BaseException | None = None
    try:
        try:
            first = await anext(frames, b"")
        finally:
            await frames.aclose()
        if first:
            for visit in visits:
                visit.opened(first)
    except BaseException as failure:
        error = failure
        raise
    finally:
        for visit in visits:
            visit.ended(first, error)
    return first


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
