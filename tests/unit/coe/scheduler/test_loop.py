"""The owner of the scheduler, with a memory that does, or does not do, what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from coe.errors import (
    BackendUnreachable,
    CapacityError,
    DeadlineExceeded,
    ExpertLoadFailed,
    QueueFull,
)
from coe.scheduler.events import Ticket
from coe.scheduler.loop import LocalSlots, Setup, Slot
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options
from coe.scheduler.policies import Affinity, LeastRecent

pytestmark = pytest.mark.anyio


class Memory:
    """A `Residency` that notes what it is told, and obeys unless told otherwise."""

    def __init__(self, *resident: str) -> None:
        self.inside: dict[str, int | None] = dict.fromkeys(resident)
        self.moves: list[str] = []
        self.failing: set[str] = set()
        self.hanging: set[str] = set()
        self.is_gone = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, expert: str) -> None:
        self.moves.append(f"+{expert}")
        await self.gate.wait()
        if expert in self.hanging:
            await asyncio.Event().wait()
        if self.is_gone or expert in self.failing:
            raise BackendUnreachable("the server is gone")
        self.inside[expert] = None

    async def unload(self, expert: str) -> None:
        self.moves.append(f"-{expert}")
        if self.is_gone:
            raise BackendUnreachable("the server is gone")
        self.inside.pop(expert, None)

    async def resident(self) -> Mapping[str, int | None]:
        if self.is_gone:
            raise BackendUnreachable("the server is gone")
        return dict(self.inside)


def setup(*names: str, memory: int = 1, options: Options | None = None, **more: object) -> Setup:
    return Setup(
        layout=Layout(
            pools=(Pool(name="p", memory=memory),),
            experts=tuple(Expert(name=n, pool="p", memory=1, concurrency=2) for n in names),
        ),
        options=options or Options(),
        **more,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def opened(memory: Memory, given: Setup) -> AsyncIterator[LocalSlots]:
    slots = LocalSlots("box", memory, given)
    await slots.open()
    try:
        yield slots
    finally:
        await slots.aclose()


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until something holds; the test's own timeout is the limit."""
    while not holds():
        await asyncio.sleep(0)


def ask(slots: LocalSlots, expert: str, **more: object) -> asyncio.Task[Slot]:
    return asyncio.ensure_future(slots.take(expert, **more))  # type: ignore[arg-type]


async def test_a_call_waits_for_its_expert_and_says_how_long() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b")) as slots:
        slot = await slots.take("a")

        assert memory.moves == ["+a"]
        assert slot.is_running
        assert 0 < slot.swap_s <= slot.queued_s


async def test_who_is_in_memory_already_is_not_loaded() -> None:
    memory = Memory("b")
    async with opened(memory, setup("a", "b")) as slots:
        slot = await slots.take("b")

        assert memory.moves == []
        assert slot.swap_s == 0


async def test_a_call_that_was_let_in_elsewhere_is_its_keys_and_its_teams_here() -> None:
    call = Ticket(id="1", expert="a", key="k", team="t", lane="bulk", deadline_s=0.1)
    async with opened(Memory("a", "b"), setup("a", "b", memory=2)) as slots:
        adopted = [slots.adopt(call), slots.adopt(replace(call, expert="b"))]

        assert all(slot.is_running for slot in adopted)
        for slot, expert in zip(adopted, "ab", strict=True):
            number = slot.ticket.id
            assert slot.ticket == replace(call, id=number, expert=expert, deadline_s=None)
        assert len({slot.ticket.id for slot in adopted}) == 2


async def test_calls_that_come_before_it_is_open_are_let_in_then() -> None:
    memory = Memory()
    slots = LocalSlots("box", memory, setup("a"))
    call = ask(slots, "a")
    await asyncio.sleep(0)

    await slots.open()

    assert (await call).is_running
    await slots.aclose()


async def test_interleaved_calls_are_grouped_by_expert() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b", "c")) as slots:

        async def one(expert: str) -> None:
            slot = await slots.take(expert)
            await asyncio.sleep(0)
            slot.release()

        await asyncio.gather(*(one(expert) for expert in "abcabcabcabc"))

        assert sorted(move for move in memory.moves if move[0] == "+") == ["+a", "+b", "+c"]


async def test_a_cancelled_call_causes_no_load() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b")) as slots:
        running = await slots.take("a")
        waiting = ask(slots, "b")
        await asyncio.sleep(0)

        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        running.release()
        (await slots.take("a")).release()

        assert memory.moves == ["+a"]
        assert slots.views()[1].interactive == 0


async def test_a_call_cancelled_just_as_it_is_let_in_gives_its_slot_back() -> None:
    memory = Memory("a")
    async with opened(memory, setup("a")) as slots:
        first, second = await slots.take("a"), await slots.take("a")
        third = ask(slots, "a")
        await asyncio.sleep(0)

        first.release()  # lets the third one in, which does not know it yet
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)

        assert slots.views()[0].running == 1
        await slots.take("a")
        second.release()
        second.release()
        assert slots.views()[0].running == 1


async def test_a_load_that_fails_refuses_who_waits_and_says_why() -> None:
    memory = Memory()
    memory.failing.add("a")
    async with opened(memory, setup("a", "b")) as slots:
        with pytest.raises(ExpertLoadFailed, match="server is gone") as caught:
            await slots.take("a")

        assert caught.value.retry_after_s
        with pytest.raises(ExpertLoadFailed):  # at once: it is left alone for a while
            await slots.take("a")
        assert (await slots.take("b")).is_running


async def test_a_load_that_hangs_is_given_up() -> None:
    memory = Memory()
    memory.hanging.add("a")
    async with opened(memory, setup("a", "b", load_limit_s=0.01)) as slots:
        call, other = ask(slots, "a"), ask(slots, "b")

        with pytest.raises(ExpertLoadFailed, match="took longer than"):
            await call

        assert (await other).is_running
        assert memory.moves == ["+a", "-a", "+b"]


async def test_a_server_that_is_gone_and_comes_back_leaves_nobody_waiting() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b", "c")) as slots:
        running = await slots.take("a")
        waiting = [ask(slots, "b"), ask(slots, "c")]
        await asyncio.sleep(0)

        memory.is_gone = True
        running.release(failed=True)
        await until(lambda: "-a" in memory.moves)  # which fails, and is tried again
        memory.is_gone = False
        memory.inside.clear()

        for call in waiting:
            (await call).release()
        assert memory.moves[-1] == "+c"


async def test_an_expert_that_was_lost_is_loaded_again() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b")) as slots:
        slot = await slots.take("a")
        memory.inside.clear()
        slot.release(failed=True)
        await until(lambda: slots.views()[0].state == "out")

        assert (await slots.take("a")).is_running
        assert memory.moves == ["+a", "+a"]


async def test_a_full_queue_is_told_so() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b", options=Options(max_queue=1))) as slots:
        await slots.take("a")
        waiting = ask(slots, "b")
        await asyncio.sleep(0)

        with pytest.raises(QueueFull, match=r"batching\.queue\.max") as caught:
            await slots.take("b")

        assert caught.value.retry_after_s
        waiting.cancel()


async def test_a_deadline_that_passes_in_the_queue_is_told() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b")) as slots:
        await slots.take("a")

        with pytest.raises(DeadlineExceeded, match="queue of `b`"):
            await slots.take("b", deadline_s=0.01)

        assert memory.moves == ["+a"]


async def test_streams_are_told_what_they_wait_for() -> None:
    memory = Memory()
    memory.gate.clear()
    said: list[str] = []

    async def told(words: str) -> None:
        said.append(words)
        if len(said) == 2:
            memory.gate.set()

    async with opened(memory, setup("a")) as slots:
        await slots.take("a", told=told, tell_every_s=0.001)

    assert said[0] == "a is being loaded"


async def test_a_caller_that_cannot_be_told_gives_its_place_up() -> None:
    memory = Memory()
    memory.gate.clear()

    async def told(words: str) -> None:
        raise ConnectionError(words)

    async with opened(memory, setup("a")) as slots:
        with pytest.raises(ConnectionError):
            await slots.take("a", told=told, tell_every_s=0.001)

        assert slots.views()[0].interactive == 0


async def test_another_setup_takes_over_calls_that_wait_and_run() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b")) as slots:
        running = await slots.take("a")
        waiting = ask(slots, "b")
        await asyncio.sleep(0)

        slots.change(setup("b", "c", memory=2))

        assert (await waiting).is_running  # there is room for two now
        assert {view.expert: view.running for view in slots.views()} == {"b": 1, "c": 0, "a": 1}
        running.release()
        assert (await slots.take("c")).is_running  # `a`, which nobody knows any more, left
        assert memory.moves == ["+a", "+b", "-a", "+c"]


async def test_less_memory_waits_for_who_works_and_unloads_who_does_not() -> None:
    memory = Memory()
    async with opened(memory, setup("a", "b", "c", memory=2)) as slots:
        running = await slots.take("a")
        (await slots.take("b")).release()

        slots.change(setup("a", "b", "c", memory=1))
        call = ask(slots, "c")
        await until(lambda: "-b" in memory.moves)
        assert not call.done()
        running.release()

        assert (await call).is_running
        assert set(memory.inside) == {"c"}


async def test_a_change_during_a_load_waits_for_it() -> None:
    memory = Memory()
    memory.gate.clear()
    async with opened(memory, setup("a", "b")) as slots:
        call = ask(slots, "a")
        await until(lambda: memory.moves == ["+a"])

        slots.change(setup("a", "c"))
        memory.gate.set()

        assert (await call).is_running
        assert memory.moves == ["+a"]


async def test_a_load_whose_way_was_closed_is_made_by_the_new_one() -> None:
    memory, other = Memory(), Memory()
    memory.gate.clear()
    async with opened(memory, setup("a")) as slots:
        call = ask(slots, "a")
        await until(lambda: memory.moves == ["+a"])

        slots.reach(other, None)
        memory.is_gone = True
        memory.gate.set()

        assert (await call).is_running
        assert (memory.moves, other.moves) == (["+a"], ["+a"])


class Broken(Affinity):
    """An ordering with a bug."""

    def pick(self, pending, now_s):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        raise ZeroDivisionError


async def test_a_bug_of_a_plugin_refuses_calls_and_does_not_keep_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory("a")
    async with opened(memory, replace(setup("a", "b"), ordering=Broken())) as slots:
        (await slots.take("a")).release()

        with pytest.raises(CapacityError, match="scheduler failed"):
            await slots.take("b")

    assert "ZeroDivisionError" in caplog.text


async def test_closing_refuses_who_waits() -> None:
    memory = Memory()
    slots = LocalSlots("box", memory, setup("a", "b"))
    await slots.open()
    await slots.take("a")
    waiting = ask(slots, "b")
    await asyncio.sleep(0)

    await slots.aclose()

    with pytest.raises(CapacityError, match="being closed"):
        await waiting
    with pytest.raises(CapacityError, match="being closed"):
        await slots.take("a")


async def test_strangers_in_memory_leave_when_it_opens() -> None:
    memory = Memory("a", "stranger")

    async with opened(memory, setup("a", "b")):
        assert memory.moves == ["-stranger"]


async def test_too_much_in_memory_leaves_when_it_opens() -> None:
    memory = Memory("a", "b")

    async with opened(memory, setup("a", "b")) as slots:
        assert (await slots.take("a")).is_running
        assert len(memory.inside) == 1


async def test_a_pinned_expert_is_loaded_though_nobody_asks() -> None:
    memory = Memory()
    given = setup("a", "b", memory=2)
    pinned = tuple(replace(one, pinned=one.name == "b") for one in given.layout.experts)
    layout = Layout(pools=given.layout.pools, experts=pinned)

    async with opened(memory, Setup(layout=layout)) as slots:
        await until(lambda: slots.views()[1].state == "ready")

    assert memory.moves == ["+b"]


# ---------------------------------------------------------------- host memory


class TwoTiers(Memory):
    """A memory beside which host memory is; it notes parks as `=`.

    Attributes:
        beside: bytes of those in host memory.
        failing: of `=a`, `-a` and so on: what fails.
    """

    def __init__(self, *resident: str, parked: Mapping[str, int] | None = None) -> None:
        super().__init__(*resident)
        self.beside: dict[str, int | None] = dict(parked or {})

    async def load(self, expert: str) -> None:
        await super().load(expert)
        self.beside.pop(expert, None)

    async def unload(self, expert: str) -> None:
        if f"-{expert}" in self.failing:
            self.moves.append(f"-{expert}")
            raise BackendUnreachable("it stays")
        await super().unload(expert)
        self.beside.pop(expert, None)

    async def park(self, expert: str) -> None:
        self.moves.append(f"={expert}")
        if f"={expert}" in self.failing:
            raise BackendUnreachable("it cannot be parked")
        if expert in self.inside:
            self.beside[expert] = self.inside.pop(expert)
        if f"={expert}!" in self.failing:
            raise BackendUnreachable("it is parked, and nobody hears of it")

    async def parked(self) -> Mapping[str, int | None]:
        return dict(self.beside)


def tiers(*names: str, host: int | None = 2) -> Setup:
    return Setup(
        layout=Layout(
            pools=(Pool(name="p", memory=1, host=host),),
            experts=tuple(
                Expert(name=n, pool="p", memory=1, concurrency=2, load_s=5, host_s=1) for n in names
            ),
        ),
        options=Options(retry_first_s=0.001),
    )


@asynccontextmanager
async def tiered(memory: TwoTiers, given: Setup) -> AsyncIterator[LocalSlots]:
    slots = LocalSlots("box", memory, given, parking=memory)
    await slots.open()
    try:
        yield slots
    finally:
        await slots.aclose()


async def visit(slots: LocalSlots, *experts: str) -> None:
    for expert in experts:
        (await slots.take(expert)).release()


def states(slots: LocalSlots) -> dict[str, str]:
    return {view.expert: view.state for view in slots.views()}


async def test_who_leaves_is_parked_and_comes_back_and_both_loads_are_measured() -> None:
    memory = TwoTiers()
    async with tiered(memory, tiers("a", "b")) as slots:
        await visit(slots, "a", "b", "a")

        assert memory.moves == ["+a", "=a", "+b", "=b", "+a"]
        assert states(slots) == {"a": "ready", "b": "parked"}
        assert slots.parked_bytes == 1
        a, b = (view.times for view in slots.views())
        assert (a.from_disk, a.from_host, b.from_disk, b.from_host) == (1, 1, 1, 0)
        assert 0 < a.host_s < 1
        assert b.host_s == 1, "a guess"


async def test_who_is_needed_least_is_dropped_before_another_one_is_parked() -> None:
    memory = TwoTiers()
    async with tiered(memory, tiers("a", "b", "c", host=1)) as slots:
        slots.change(replace(slots.setup, eviction=LeastRecent()))
        await visit(slots, "a", "b", "c")

        assert memory.moves == ["+a", "=a", "+b", "-a", "=b", "+c"]
        assert states(slots) == {"a": "out", "b": "parked", "c": "ready"}


@pytest.mark.parametrize(
    ("failing", "moves", "state"),
    [
        ("=a", ["+a", "=a", "-a", "+b"], "out"),
        ("=a!", ["+a", "=a", "+b"], "parked"),
    ],
)
async def test_who_cannot_be_parked_is_unloaded(failing: str, moves: list[str], state: str) -> None:
    memory = TwoTiers()
    memory.failing.add(failing)
    async with tiered(memory, tiers("a", "b")) as slots:
        await visit(slots, "a", "b")

        assert memory.moves == moves
        assert states(slots) == {"a": state, "b": "ready"}


async def test_who_cannot_be_dropped_keeps_its_place_and_the_other_is_unloaded() -> None:
    memory = TwoTiers()
    memory.failing.add("-a")
    async with tiered(memory, tiers("a", "b", "c", host=1)) as slots:
        slots.change(replace(slots.setup, eviction=LeastRecent()))
        await visit(slots, "a", "b", "c")

        assert memory.moves == ["+a", "=a", "+b", "-a", "-b", "+c"]
        assert states(slots) == {"a": "parked", "b": "out", "c": "ready"}
        assert slots.parked_bytes == 1


async def test_a_failed_load_leaves_nobody_in_either_tier() -> None:
    memory = TwoTiers("b", parked={"a": 1})
    memory.failing.add("a")
    async with tiered(memory, tiers("a", "b")) as slots:
        with pytest.raises(ExpertLoadFailed):
            await slots.take("a")

        assert states(slots) == {"a": "out", "b": "parked"}
        assert memory.beside.keys() == {"b"}


async def test_a_failed_load_that_leaves_it_parked_counts_it() -> None:
    memory = TwoTiers("b", parked={"a": 1})
    memory.failing |= {"a", "-a"}
    async with tiered(memory, tiers("a", "b")) as slots:
        with pytest.raises(ExpertLoadFailed):
            await slots.take("a")

        assert states(slots) == {"a": "parked", "b": "parked"}
        assert slots.parked_bytes == 2


async def test_who_is_in_host_memory_already_is_known_and_strangers_leave() -> None:
    memory = TwoTiers("b", parked={"a": 1, "stranger": 9})
    async with tiered(memory, tiers("a", "b")) as slots:
        assert states(slots) == {"a": "parked", "b": "ready"}
        assert memory.beside.keys() == {"a"}

        await visit(slots, "a")

        (times, _) = (view.times for view in slots.views())
        assert (times.from_disk, times.from_host) == (0, 1)


async def test_what_was_measured_outlives_another_setup() -> None:
    memory = TwoTiers()
    async with tiered(memory, tiers("a", "b")) as slots:
        await visit(slots, "a", "b", "a")
        before = slots.views()[0].times.host_s
        slots.change(tiers("a", "b", "c"))
        await visit(slots, "c")

        assert slots.views()[0].times.host_s == before
        assert states(slots) == {"a": "parked", "b": "parked", "c": "ready"}


@pytest.mark.parametrize("host", [None, 1])
async def test_host_memory_that_is_taken_away_is_freed(host: int | None) -> None:
    memory = TwoTiers()
    async with tiered(memory, tiers("a", "b", "c")) as slots:
        await visit(slots, "a", "b", "c")
        assert slots.parked_bytes == 2

        slots.change(tiers("a", "b", "c", host=host))
        await until(lambda: not slots.parked_bytes)

        assert not memory.beside
        await visit(slots, "a")
        assert slots.parked_bytes == (host or 0)


async def test_a_parked_expert_that_nobody_knows_any_more_leaves() -> None:
    memory = TwoTiers()
    async with tiered(memory, tiers("a", "b")) as slots:
        await visit(slots, "a", "b")
        slots.change(tiers("b", "c"))
        await until(lambda: not slots.parked_bytes)

        assert not memory.beside
        assert states(slots) == {"b": "ready", "c": "out"}


async def test_what_host_memory_lost_or_has_after_all_is_found_out_after_a_failure() -> None:
    memory = TwoTiers()
    async with tiered(memory, tiers("a", "b", "c", "d", host=3)) as slots:
        await visit(slots, "a", "b", "c")
        memory.beside = {"b": 1, "d": 1}

        slot = await slots.take("c")
        slot.release(failed=True)
        await until(lambda: states(slots)["d"] == "parked")

        assert states(slots) == {"a": "out", "b": "parked", "c": "ready", "d": "parked"}
        await visit(slots, "d")
        assert slots.views()[3].times.from_host == 1


async def test_memory_that_is_not_freed_keeps_everybody_out_and_refuses_them() -> None:
    memory = TwoTiers()
    async with tiered(memory, tiers("a", "b")) as slots:
        await visit(slots, "a", "b")
        memory.failing.add("-a")
        slots.change(tiers("a", "b", host=None))
        waiting = ask(slots, "b")

        with pytest.raises(CapacityError, match="does not free its memory"):
            await waiting
        memory.failing.clear()
        slot = await slots.take("b")

        assert slot.is_running
        assert not memory.beside
