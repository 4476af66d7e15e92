"""Preferred experts: there from the start, the last to leave, and back when nobody minds."""

from __future__ import annotations

import math

from coe.scheduler.events import (
    Action,
    Arrive,
    Cancel,
    Event,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    Start,
    Tick,
    Ticket,
    Unload,
    Unloaded,
)
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options
from coe.scheduler.policies import LeastRecent
from coe.scheduler.preference import QUIET
from coe.scheduler.state import Scheduler

LOAD_S = 2.0


def scheduler(memory: int, *experts: Expert, options: Options | None = None) -> Scheduler:
    layout = Layout(pools=(Pool(name="p", memory=memory),), experts=experts)
    return Scheduler(layout, options, eviction=LeastRecent())


def expert(name: str, size: int = 1, *, preferred: bool = False, pinned: bool = False) -> Expert:
    return Expert(
        name=name, pool="p", memory=size, load_s=LOAD_S, preferred=preferred, pinned=pinned
    )


def moves(actions: list[Action]) -> list[str]:
    """Return loads as `+name`, unloads as `-name` and starts as names."""
    signs = {Load: "+", Unload: "-", Start: ""}
    return [f"{signs[type(one)]}{one.expert}" for one in actions if not hasattr(one, "reason")]  # type: ignore[union-attr]


def tell(machine: Scheduler, now_s: float, *events: Event) -> list[str]:
    return [move for event in events for move in moves(machine.handle(event, now_s))]


def replaced() -> Scheduler:
    """Return one whose preferred `a` had to leave for `b`, which works since 4 s."""
    machine = scheduler(1, expert("a", preferred=True), expert("b"))
    tell(machine, 0.0, Tick())
    tell(machine, 2.0, Loaded("a"), call("b"), Unloaded("a"))
    assert tell(machine, 4.0, Loaded("b")) == ["b"]
    return machine


def call(name: str, number: str = "") -> Arrive:
    return Arrive(Ticket(id=number or name, expert=name))


def test_they_are_loaded_at_the_start_after_the_pinned_ones_where_they_fit() -> None:
    machine = scheduler(
        6,
        expert("big", 5, preferred=True),
        expert("small", 2, preferred=True),
        expert("tiny", preferred=True),
        expert("pinned", 3, pinned=True),
        expert("other"),
    )

    assert tell(machine, 0.0, Tick()) == ["+pinned"]
    assert tell(machine, 2.0, Loaded("pinned")) == ["+small"]
    assert tell(machine, 4.0, Loaded("small")) == ["+tiny"]
    assert tell(machine, 6.0, Loaded("tiny")) == []
    assert machine.wake_s == math.inf  # `big` never fits beside what is pinned


def test_whoever_is_called_for_comes_first() -> None:
    machine = scheduler(2, expert("a", preferred=True), expert("b"))

    assert tell(machine, 0.0, call("b"), Tick()) == ["+b"]
    assert tell(machine, 2.0, Loaded("b")) == ["b", "+a"]


def test_they_leave_after_the_others() -> None:
    """Though it was used longest ago."""
    machine = scheduler(2, expert("a", preferred=True), expert("b"), expert("c"), expert("d"))
    tell(machine, 0.0, Tick(), Loaded("a"), call("b"), Loaded("b"), Finished("b"))

    assert tell(machine, 9.0, call("c")) == ["-b"]
    tell(machine, 9.0, Unloaded("b"), Loaded("c"))  # and `c` goes on working
    assert tell(machine, 9.5, call("d")) == ["-a"]


def test_they_come_back_when_who_came_for_them_has_been_quiet() -> None:
    machine = scheduler(1, expert("a", preferred=True), expert("b"))
    tell(machine, 0.0, Tick(), Loaded("a"))
    assert tell(machine, 10.0, call("b")) == ["-a"]
    assert tell(machine, 10.0, Unloaded("a")) == ["+b"]
    assert tell(machine, 12.0, Loaded("b")) == ["b"]

    assert tell(machine, 13.0, Finished("b")) == []
    due_s = machine.wake_s
    assert due_s == 13.0 + QUIET * LOAD_S  # as it was measured
    assert tell(machine, due_s - 0.1, Tick()) == []
    assert tell(machine, due_s, Tick()) == ["-b"]
    assert tell(machine, due_s, Unloaded("b")) == ["+a"]
    assert tell(machine, due_s + 2.0, Loaded("a")) == []
    assert machine.wake_s == math.inf


def test_a_call_in_between_has_its_own_expert_loaded() -> None:
    machine = scheduler(1, expert("a", preferred=True), expert("b"), expert("c"))
    tell(machine, 0.0, Tick(), Loaded("a"), call("b"), Unloaded("a"))
    tell(machine, 2.0, Loaded("b"), Finished("b"))
    assert tell(machine, machine.wake_s, Tick()) == ["-b"]

    assert tell(machine, 30.0, call("c")) == []
    assert tell(machine, 30.0, Unloaded("b")) == ["+c"]


def test_who_works_or_worked_of_late_does_not_leave_for_them() -> None:
    machine = replaced()

    assert tell(machine, 500.0, Tick(), Finished("b")) == []
    assert machine.wake_s == 500.0 + QUIET * LOAD_S
    assert tell(machine, 519.0, call("b", "2")) == ["b"]
    assert tell(machine, 521.0, Tick()) == []


def test_a_cancelled_call_takes_nobodys_place_for_them() -> None:
    machine = replaced()
    tell(machine, 100.0, call("a"))
    assert machine.wake_s < math.inf
    tell(machine, machine.wake_s, Tick())  # it presses, and `b` is closed for it

    assert tell(machine, 201.0, Cancel("a")) == []
    assert tell(machine, 202.0, Finished("b"), call("b", "2")) == ["b"]


def test_a_load_that_fails_is_tried_again_and_in_nobodys_way() -> None:
    machine = scheduler(2, expert("a", preferred=True), expert("b"))
    tell(machine, 0.0, Tick())

    assert tell(machine, 1.0, LoadFailed("a")) == []
    assert tell(machine, 1.5, call("b")) == ["+b"]
    tell(machine, 1.6, Loaded("b"), Finished("b"))
    assert machine.wake_s == 2.0
    assert tell(machine, 2.0, Tick()) == ["+a"]


def test_an_adapter_that_is_preferred_comes_with_its_base() -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=4),),
        experts=(
            Expert(name="base", pool="p", memory=2, max_loras=1),
            Expert(name="x", pool="p", memory=1, base="base"),
            Expert(name="y", pool="p", memory=1, base="base", preferred=True),
        ),
    )
    machine = Scheduler(layout)

    assert tell(machine, 0.0, Tick()) == []
    assert tell(machine, 1.0, call("base")) == ["+base"]
    assert tell(machine, 2.0, Loaded("base")) == ["base", "+y"]
