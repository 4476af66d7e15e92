"""The contract of `coe.protocols.Residency`, one check per sentence, for any backend.

A test runs each check on a fresh backend, as with `coe.testing.backends`:

    @asynccontextmanager
    async def make_subject():
        yield ResidencySubject(backend=MyBackend(...), sites=(first, second))

    @pytest.mark.parametrize("check", RESIDENCY_CHECKS)
    async def test_keeps_the_contract(check):
        async with make_subject() as subject:
            await check(subject)

or all of them at once, with `await check_residency(make_subject)`. A backend that can park
experts is `coe.protocols.Parking`, too: `PARKING_CHECKS` and `check_parking`, with a subject whose
first expert is one that can be parked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from coe.errors import BackendError, CapacityError, CoEError
from coe.protocols import Backend, ExpertSite, Parking, Residency
from coe.testing.expectation import expect
from coe.testing.subject import Outcome, Unchecked, drain, run_checks
from coe.types import Call, Dispatch

UNKNOWN = "nobody-is-called-so"


class ManagedBackend(Backend, Residency, Protocol):
    """A backend whose residency is managed."""


class ParkingBackend(ManagedBackend, Parking, Protocol):
    """A managed backend whose experts can be parked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidencySubject:
    """A backend under test. None of its experts is in memory.

    Attributes:
        sites: two experts that it serves.
        broken: an expert that it serves and that cannot be loaded; None where there is none.
        body: a request's body, without its messages; of a call that has more than one piece.
        together: whether the two may be in memory at the same time.
    """

    backend: ManagedBackend
    sites: tuple[ExpertSite, ExpertSite]
    broken: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    together: bool = True

    @property
    def names(self) -> tuple[str, str]:
        """The two experts' names."""
        return self.sites[0].expert, self.sites[1].expert

    def open(self, place: int) -> AsyncGenerator[bytes, None]:
        """Start a streamed call of one of the two."""
        site = self.sites[place]
        call = Call(
            expert=site.expert,
            backend=self.backend.name,
            model=site.model,
            adapter=site.adapter,
            body={**self.body, "messages": [{"role": "user", "content": "say something"}]},
            stream=True,
        )
        return self.backend.generate(Dispatch(query_id="check", call=call))

    async def ask(self, place: int) -> Outcome:
        """Make a call of one of the two and read it to its end."""
        return await drain(self.open(place))


ResidencyCheck = Callable[[ResidencySubject], Awaitable[None]]


async def check_residency(
    make_subject: Callable[[], AbstractAsyncContextManager[ResidencySubject]],
) -> tuple[str, ...]:
    """Run every check, each on a fresh subject; return the names of those that could not run.

    Raises:
        AssertionError: a sentence of the contract does not hold.
    """
    return await run_checks(RESIDENCY_CHECKS, make_subject)


async def check_what_is_loaded_is_resident(subject: ResidencySubject) -> None:
    """After `load`, `resident` has the expert; its size is a number of bytes or None."""
    name = subject.names[0]
    before = await subject.backend.resident()
    expect(name not in before, f"{name} is not in memory before, which {before} says")
    await subject.backend.load(name)
    after = await subject.backend.resident()
    expect(name in after, f"{name} is in memory after load, and not only {sorted(after)}")
    size = after[name]
    expect(size is None or size > 0, f"its size is in bytes or unknown, and not {size}")


async def check_loading_again_changes_nothing(subject: ResidencySubject) -> None:
    """`load` returns where the expert is loaded, also by somebody who asks at the same time."""
    name = subject.names[0]
    await asyncio.gather(subject.backend.load(name), subject.backend.load(name))
    once = await subject.backend.resident()
    await subject.backend.load(name)
    again = await subject.backend.resident()
    expect(dict(once) == dict(again), f"{dict(once)} stays, and does not become {dict(again)}")


async def check_what_is_unloaded_is_gone(subject: ResidencySubject) -> None:
    """After `unload`, `resident` does not have the expert; it can be loaded again and answers."""
    name = subject.names[0]
    await subject.backend.load(name)
    await subject.backend.unload(name)
    left = await subject.backend.resident()
    expect(name not in left, f"{name} is not in memory after unload, which {dict(left)} says")
    await subject.backend.load(name)
    _answers(await subject.ask(0))


async def check_unloading_nothing_is_fine(subject: ResidencySubject) -> None:
    """`unload` returns where the expert is not loaded."""
    await subject.backend.unload(subject.names[0])
    left = await subject.backend.resident()
    expect(subject.names[0] not in left, "what was not loaded is not loaded then")


async def check_swaps_keep_answering(subject: ResidencySubject) -> None:
    """One leaves and the other comes, again and again; whoever is there answers."""
    for turn in range(4):
        place = turn % 2
        await subject.backend.unload(subject.names[1 - place])
        await subject.backend.load(subject.names[place])
        there = await subject.backend.resident()
        expect(set(there) == {subject.names[place]}, f"one is there, and not {sorted(there)}")
        _answers(await subject.ask(place))


async def check_a_busy_expert_is_not_unloaded(subject: ResidencySubject) -> None:
    """`unload` raises while a call of the expert is in flight, which goes on; then it works."""
    name = subject.names[0]
    await subject.backend.load(name)
    stream = subject.open(0)
    await anext(stream)
    error = await _error_of(subject.backend.unload(name))
    expect(isinstance(error, BackendError), f"a busy expert is not unloaded; got {error!r}")
    expect(name in await subject.backend.resident(), "and is still in memory")
    rest = await drain(stream)
    expect(rest.error is None, f"its call goes on, and does not end with {rest.error!r}")
    await subject.backend.unload(name)
    expect(name not in await subject.backend.resident(), "once it is idle, it is unloaded")


async def check_a_closed_call_is_not_busy(subject: ResidencySubject) -> None:
    """A call whose reader has left keeps no expert in memory."""
    name = subject.names[0]
    await subject.backend.load(name)
    stream = subject.open(0)
    await anext(stream)
    await stream.aclose()
    await subject.backend.unload(name)
    expect(name not in await subject.backend.resident(), "it is unloaded")


async def check_calls_go_on_while_another_comes_and_goes(subject: ResidencySubject) -> None:
    """A call is answered while another expert is loaded and unloaded."""
    if not subject.together:
        raise Unchecked("one expert is in memory at a time")
    await subject.backend.load(subject.names[0])
    stream = subject.open(0)
    await anext(stream)
    await subject.backend.load(subject.names[1])
    there = await subject.backend.resident()
    expect(set(subject.names) <= set(there), f"both are there, and not {sorted(there)}")
    await subject.backend.unload(subject.names[1])
    rest = await drain(stream)
    expect(rest.error is None, f"the call goes on, and does not end with {rest.error!r}")


async def check_an_unknown_expert_is_an_error(subject: ResidencySubject) -> None:
    """`load` and `unload` raise for a name that the backend does not serve."""
    for verb in (subject.backend.load, subject.backend.unload):
        error = await _error_of(verb(UNKNOWN))
        expect(isinstance(error, BackendError), f"a BackendError is raised, and not {error!r}")


async def check_a_load_that_fails_says_so(subject: ResidencySubject) -> None:
    """`load` raises where the expert cannot be loaded; it is not resident; others are served."""
    if subject.broken is None:
        raise Unchecked("every expert can be loaded")
    error = await _error_of(subject.backend.load(subject.broken))
    told = isinstance(error, BackendError | CapacityError)
    expect(told, f"it fails with an error of ours, and not with {error!r}")
    expect(subject.broken not in await subject.backend.resident(), "it is not in memory then")
    await subject.backend.load(subject.names[0])
    _answers(await subject.ask(0))


async def check_a_cancelled_load_can_be_repeated(subject: ResidencySubject) -> None:
    """Cancelling `load` leaves a backend that can load and answer."""
    name = subject.names[0]
    task = asyncio.ensure_future(subject.backend.load(name))
    await asyncio.sleep(0)  # let it start
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await subject.backend.load(name)
    expect(name in await subject.backend.resident(), "it is loaded the second time")
    _answers(await subject.ask(0))


async def check_a_closed_backend_says_so(subject: ResidencySubject) -> None:
    """All three raise a BackendError once the backend is closed."""
    await subject.backend.aclose()
    name = subject.names[0]
    for call in (
        subject.backend.load(name),
        subject.backend.unload(name),
        subject.backend.resident(),
    ):
        error = await _error_of(call)
        expect(isinstance(error, BackendError), f"a BackendError is raised, and not {error!r}")


RESIDENCY_CHECKS: tuple[ResidencyCheck, ...] = (
    check_what_is_loaded_is_resident,
    check_loading_again_changes_nothing,
    check_what_is_unloaded_is_gone,
    check_unloading_nothing_is_fine,
    check_swaps_keep_answering,
    check_a_busy_expert_is_not_unloaded,
    check_a_closed_call_is_not_busy,
    check_calls_go_on_while_another_comes_and_goes,
    check_an_unknown_expert_is_an_error,
    check_a_load_that_fails_says_so,
    check_a_cancelled_load_can_be_repeated,
    check_a_closed_backend_says_so,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkingSubject(ResidencySubject):
    """A backend under test whose first expert can be parked."""

    backend: ParkingBackend

    async def where(self) -> str:
        """Return where the first expert is; it cannot be in two places."""
        name = self.names[0]
        is_resident = name in await self.backend.resident()
        is_parked = name in await self.backend.parked()
        expect(not (is_resident and is_parked), f"{name} is resident or parked, and not both")
        return "resident" if is_resident else "parked" if is_parked else "nowhere"


ParkingCheck = Callable[[ParkingSubject], Awaitable[None]]


async def check_parking(
    make_subject: Callable[[], AbstractAsyncContextManager[ParkingSubject]],
) -> tuple[str, ...]:
    """Run every check of parking; see `check_residency`.

    Raises:
        AssertionError: a sentence of the contract does not hold.
    """
    return await run_checks(PARKING_CHECKS, make_subject)


async def check_what_is_parked_is_in_host_memory(subject: ParkingSubject) -> None:
    """After `park`, `parked` has the expert and `resident` has not; its size is as there."""
    name = subject.names[0]
    await subject.backend.load(name)
    await subject.backend.park(name)
    expect(await subject.where() == "parked", f"{name} is parked, not {await subject.where()}")
    size = (await subject.backend.parked())[name]
    expect(size is None or size > 0, f"its size is in bytes or unknown, and not {size}")


async def check_what_is_parked_comes_back(subject: ParkingSubject) -> None:
    """`load` brings a parked expert back, again and again; it answers, and is not parked then."""
    name = subject.names[0]
    for _ in range(3):
        await subject.backend.load(name)
        expect(await subject.where() == "resident", f"{name} is in memory after load")
        _answers(await subject.ask(0))
        await subject.backend.park(name)
        expect(await subject.where() == "parked", f"{name} is parked after park")


async def check_parking_again_changes_nothing(subject: ParkingSubject) -> None:
    """`park` returns where the expert is parked, also by somebody who asks at the same time."""
    name = subject.names[0]
    await subject.backend.load(name)
    await asyncio.gather(subject.backend.park(name), subject.backend.park(name))
    await subject.backend.park(name)
    expect(await subject.where() == "parked", "it stays parked")


async def check_parking_nothing_is_fine(subject: ParkingSubject) -> None:
    """`park` returns where the expert is not loaded, and reads nothing."""
    await subject.backend.park(subject.names[0])
    expect(await subject.where() == "nowhere", "what was not loaded is not parked then")


async def check_unloading_lets_go_of_what_is_parked(subject: ParkingSubject) -> None:
    """After `unload`, an expert that was parked is nowhere; it can be loaded again and answers."""
    name = subject.names[0]
    await subject.backend.load(name)
    await subject.backend.park(name)
    await subject.backend.unload(name)
    expect(await subject.where() == "nowhere", f"{name} is {await subject.where()} after unload")
    await subject.backend.load(name)
    _answers(await subject.ask(0))


async def check_a_busy_expert_is_not_parked(subject: ParkingSubject) -> None:
    """`park` raises while a call of the expert is in flight, which goes on; then it works."""
    name = subject.names[0]
    await subject.backend.load(name)
    stream = subject.open(0)
    await anext(stream)
    error = await _error_of(subject.backend.park(name))
    expect(isinstance(error, BackendError), f"a busy expert is not parked; got {error!r}")
    expect(await subject.where() == "resident", "and is still in memory")
    rest = await drain(stream)
    expect(rest.error is None, f"its call goes on, and does not end with {rest.error!r}")
    await subject.backend.park(name)
    expect(await subject.where() == "parked", "once it is idle, it is parked")


async def check_a_cancelled_park_can_be_repeated(subject: ParkingSubject) -> None:
    """Cancelling `park` leaves a backend that knows where the expert is, and can park it."""
    name = subject.names[0]
    await subject.backend.load(name)
    task = asyncio.ensure_future(subject.backend.park(name))
    await asyncio.sleep(0)  # let it start
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await subject.backend.park(name)
    expect(await subject.where() == "parked", "it is parked the second time")
    await subject.backend.load(name)
    _answers(await subject.ask(0))


async def check_an_unknown_expert_is_not_parked(subject: ParkingSubject) -> None:
    """`park` raises for a name that the backend does not serve."""
    error = await _error_of(subject.backend.park(UNKNOWN))
    expect(isinstance(error, BackendError), f"a BackendError is raised, and not {error!r}")


async def check_a_closed_backend_parks_nobody(subject: ParkingSubject) -> None:
    """Both raise a BackendError once the backend is closed."""
    await subject.backend.aclose()
    for call in (subject.backend.park(subject.names[0]), subject.backend.parked()):
        error = await _error_of(call)
        expect(isinstance(error, BackendError), f"a BackendError is raised, and not {error!r}")


PARKING_CHECKS: tuple[ParkingCheck, ...] = (
    check_what_is_parked_is_in_host_memory,
    check_what_is_parked_comes_back,
    check_parking_again_changes_nothing,
    check_parking_nothing_is_fine,
    check_unloading_lets_go_of_what_is_parked,
    check_a_busy_expert_is_not_parked,
    check_a_cancelled_park_can_be_repeated,
    check_an_unknown_expert_is_not_parked,
    check_a_closed_backend_parks_nobody,
)


async def _error_of(call: Coroutine[Any, Any, object]) -> CoEError | None:
    try:
        await call
    except CoEError as error:
        return error
    return None


def _answers(outcome: Outcome) -> None:
    expect(outcome.error is None, f"it answers, and does not end with {outcome.error!r}")
    expect(outcome.has_content, "its answer has content")
