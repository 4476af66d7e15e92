"""The scheduler, one behaviour at a time. Numbers of rules are those of `coe.scheduler.state`."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from coe.scheduler.events import (
    Action,
    Arrive,
    Cancel,
    Dropped,
    Event,
    Finished,
    Lane,
    Load,
    Loaded,
    LoadFailed,
    Lost,
    Refuse,
    Start,
    Tick,
    Ticket,
    Unload,
    Unloaded,
    UnloadFailed,
)
from coe.scheduler.memory import Expert, Kept, Layout, LoadTimes, Pool
from coe.scheduler.options import Options
from coe.scheduler.policies import Fifo, LeastRecent
from coe.scheduler.state import Scheduler


def one_slot(
    *names: str, concurrency: int = 2, width: int | None = None, memory: int = 1
) -> Layout:
    return Layout(
        pools=(Pool(name="p", memory=memory, width=width),),
        experts=tuple(
            Expert(name=n, pool="p", memory=1, concurrency=concurrency) for n in names or "abc"
        ),
    )


ADAPTERS = Layout(
    pools=(Pool(name="p", memory=10),),
    experts=(
        Expert(name="base", pool="p", memory=6, max_loras=2, concurrency=4),
        *(Expert(name=f"lora{i}", pool="p", memory=2, base="base") for i in range(4)),
        Expert(name="other", pool="p", memory=5),
    ),
)


class Driver:
    """Tells a scheduler what happens, one event after the other."""

    def __init__(self, layout: Layout, options: Options | None = None, **more: object) -> None:
        self.scheduler = Scheduler(layout, options, **more)  # type: ignore[arg-type]
        self.now_s = 0.0

    def at(self, now_s: float) -> Driver:
        self.now_s = now_s
        return self

    def tell(self, event: Event) -> list[Action]:
        return self.scheduler.handle(event, self.now_s)

    def arrive(
        self,
        call: str,
        expert: str,
        *,
        lane: Lane = "interactive",
        key: str = "",
        deadline_s: float | None = None,
    ) -> list[Action]:
        ticket = Ticket(id=call, expert=expert, lane=lane, key=key, deadline_s=deadline_s)
        return self.tell(Arrive(ticket))

    def load(self, *experts: str) -> list[Action]:
        """Report loads that were asked for."""
        return [action for expert in experts for action in self.tell(Loaded(expert))]


def started(actions: list[Action]) -> list[str]:
    return [action.id for action in actions if isinstance(action, Start)]


def loaded(actions: list[Action]) -> list[str]:
    return [action.expert for action in actions if isinstance(action, Load)]


def unloaded(actions: list[Action]) -> list[str]:
    return [action.expert for action in actions if isinstance(action, Unload)]


def refused(actions: list[Action]) -> dict[str, str]:
    return {action.id: action.reason for action in actions if isinstance(action, Refuse)}


def serving(expert: str, *calls: str, layout: Layout | None = None) -> Driver:
    """Return a driver whose expert is in memory and runs those calls."""
    driver = Driver(layout or one_slot(), resident=[expert])
    for call in calls:
        assert started(driver.arrive(call, expert)) == [call]
    return driver


def test_a_call_for_a_resident_expert_starts_at_once() -> None:
    assert serving("a").arrive("1", "a") == [Start("1", "a", 0.0, 0.0)]


def test_a_call_for_an_absent_expert_loads_it_and_starts_when_it_is_there() -> None:
    driver = Driver(one_slot())

    assert loaded(driver.arrive("1", "a")) == ["a"]
    assert driver.at(3).load("a") == [Start("1", "a", 3.0, 3.0)]


def test_a_call_joins_a_load_under_way() -> None:
    """5a."""
    driver = Driver(one_slot())
    driver.arrive("1", "a")

    assert driver.at(2).arrive("2", "a") == []
    assert driver.at(3).load("a") == [Start("1", "a", 3.0, 3.0), Start("2", "a", 1.0, 1.0)]


def test_a_busy_expert_is_not_unloaded_for_another() -> None:
    driver = serving("a", "1")

    assert driver.arrive("2", "b") == []
    assert unloaded(driver.at(5).tell(Finished("1"))) == ["a"]
    assert loaded(driver.tell(Unloaded("a"))) == ["b"]


def test_interleaved_calls_are_served_expert_by_expert() -> None:
    """A B A B A B becomes A A A B B B."""
    driver = Driver(one_slot("a", "b", concurrency=1))
    order: list[str] = []
    actions: list[Action] = []
    for n in range(6):
        actions += driver.arrive(str(n), "ab"[n % 2])
    while actions:
        match actions.pop(0):
            case Start(call, expert):
                order.append(expert)
                actions += driver.tell(Finished(call))
            case Load(expert):
                actions += driver.tell(Loaded(expert))
            case Unload(expert):
                actions += driver.tell(Unloaded(expert))

    assert order == ["a", "a", "a", "b", "b", "b"]


def test_an_expert_that_waited_too_long_closes_the_one_in_memory() -> None:
    """5b: calls that arrive later wait, those that run do not."""
    driver = serving("a", "1")
    driver.arrive("2", "b")
    assert driver.scheduler.wake_s < 60

    driver.at(driver.scheduler.wake_s).tell(Tick())

    assert started(driver.arrive("3", "a")) == []
    assert unloaded(driver.tell(Finished("1"))) == ["a"]
    driver.tell(Unloaded("a"))
    assert started(driver.load("b")) == ["2"]


def test_an_expert_that_fills_its_slots_is_closed_later_than_one_that_does_not() -> None:
    driver = serving("a", "1", "2")
    driver.at(1).arrive("3", "b")
    soft_s = driver.scheduler.wake_s
    driver.at(2).arrive("4", "a")
    driver.at(soft_s).tell(Tick())

    assert started(driver.tell(Finished("1"))) == ["4"], "it fills its slots, so it stays open"
    driver.arrive("5", "a")
    driver.at(driver.scheduler.wake_s).tell(Tick())
    assert started(driver.tell(Finished("2"))) == [], "now it does not"


def test_an_expert_stays_for_the_calls_that_waited_for_it() -> None:
    """5d: however late somebody else is by then, and though that one came first."""
    driver = serving("a", "1", layout=one_slot(concurrency=1))
    driver.arrive("b0", "b")
    driver.tell(Finished("1"))
    driver.tell(Unloaded("a"))
    driver.at(0.5).arrive("c", "c")
    for n in (1, 2):
        driver.at(0.6).arrive(f"b{n}", "b")
    assert started(driver.at(1000).load("b")) == ["b0"]

    assert started(driver.tell(Finished("b0"))) == ["b1"]
    assert started(driver.tell(Finished("b1"))) == ["b2"]
    assert unloaded(driver.tell(Finished("b2"))) == ["b"]


def test_a_cancelled_call_causes_no_load() -> None:
    """5e."""
    driver = serving("a", "1")
    driver.arrive("2", "b")
    driver.tell(Cancel("2"))

    assert driver.tell(Finished("1")) == []


def test_a_drain_that_nobody_waits_for_ends_and_the_expert_opens_again() -> None:
    driver = serving("a", "1")
    driver.arrive("2", "b")
    driver.at(driver.scheduler.wake_s).tell(Tick())
    assert driver.arrive("3", "a") == []

    assert started(driver.tell(Cancel("2"))) == ["3"]


def test_nothing_is_loaded_when_the_last_waiter_leaves_between_unload_and_load() -> None:
    driver = serving("a", "1")
    driver.arrive("2", "b")
    driver.tell(Finished("1"))
    driver.tell(Cancel("2"))

    assert driver.tell(Unloaded("a")) == []


def test_a_load_that_nobody_waits_for_any_more_ends_quietly() -> None:
    driver = Driver(one_slot())
    driver.arrive("1", "a")
    driver.tell(Cancel("1"))

    assert driver.load("a") == []
    assert started(driver.arrive("2", "a")) == ["2"]


def test_cancelling_what_runs_or_is_gone_changes_nothing() -> None:
    driver = serving("a", "1")

    assert driver.tell(Cancel("1")) == []
    assert driver.tell(Cancel("nobody")) == []
    assert driver.scheduler.running == 1


def test_a_failed_load_refuses_everybody_who_waited_and_frees_the_place() -> None:
    driver = Driver(one_slot())
    driver.arrive("1", "a")
    driver.arrive("2", "a")
    driver.arrive("3", "b")

    actions = driver.at(4).tell(LoadFailed("a"))

    assert refused(actions) == {"1": "load-failed", "2": "load-failed"}
    assert loaded(actions) == ["b"]


def test_an_expert_whose_load_failed_is_left_alone_for_longer_each_time() -> None:
    driver = Driver(one_slot())
    for wait_s in (1.0, 2.0, 4.0):
        driver.arrive("1", "a")
        driver.tell(LoadFailed("a"))
        again = driver.at(driver.now_s + wait_s - 0.25).arrive("2", "a")
        assert again == [Refuse("2", "load-failed", 0.25)]
        driver.at(driver.now_s + 0.25)
    assert loaded(driver.arrive("3", "a")) == ["a"]
    driver.load("a")
    driver.tell(Finished("3"))
    driver.arrive("4", "b")
    driver.tell(Unloaded("a"))
    driver.tell(LoadFailed("b"))
    driver.arrive("5", "a")
    driver.tell(LoadFailed("a"))
    assert driver.arrive("6", "a") == [Refuse("6", "load-failed", 1.0)], "a load that worked counts"


def test_a_failed_unload_leaves_the_expert_in_service() -> None:
    driver = serving("a", "1", layout=one_slot(memory=2))
    driver.arrive("2", "b")
    driver.load("b")
    driver.tell(Finished("1"))
    assert unloaded(driver.arrive("3", "c")) == ["a"]

    assert driver.tell(UnloadFailed("a")) == []
    assert started(driver.arrive("4", "a")) == ["4"]
    assert unloaded(driver.tell(Finished("2"))) == ["b"], "somebody else leaves instead"


def test_an_expert_whose_unload_failed_is_asked_again_after_a_while() -> None:
    driver = serving("a", "1")
    driver.arrive("2", "b")
    driver.tell(Finished("1"))
    driver.tell(UnloadFailed("a"))
    assert driver.scheduler.wake_s <= 60

    driver.at(30).tell(Tick())
    assert unloaded(driver.at(driver.scheduler.wake_s).tell(Tick())) == ["a"]


def test_a_base_that_is_lost_while_an_adapter_loads_comes_back_with_it() -> None:
    driver = Driver(ADAPTERS, resident=["base"])
    assert loaded(driver.arrive("1", "lora0")) == ["lora0"]

    assert loaded(driver.tell(Lost("base"))) == ["base"]
    assert driver.tell(LoadFailed("lora0")) == [], "the report of a load that went down with it"
    assert loaded(driver.load("base")) == ["lora0"]


def test_a_lost_expert_is_loaded_again_for_whoever_waits() -> None:
    driver = serving("a", "1", layout=one_slot(concurrency=1))
    driver.arrive("2", "a")

    assert loaded(driver.tell(Lost("a"))) == ["a"]
    assert driver.tell(Finished("1")) == []
    assert started(driver.load("a")) == ["2"]


def test_a_report_about_an_expert_that_was_lost_meanwhile_is_ignored() -> None:
    driver = Driver(one_slot())
    driver.arrive("1", "a")
    assert refused(driver.tell(Lost("a"))) == {"1": "load-failed"}

    assert driver.tell(Loaded("a")) == []
    assert loaded(driver.at(10).arrive("2", "a")) == ["a"]


def test_a_lost_expert_is_not_loaded_before_the_report_that_is_due_has_come() -> None:
    driver = Driver(one_slot())
    driver.arrive("1", "a")
    driver.tell(Lost("a"))

    assert loaded(driver.at(10).arrive("2", "a")) == []
    assert loaded(driver.tell(LoadFailed("a"))) == ["a"]


def test_what_cannot_have_happened_is_an_error() -> None:
    driver = serving("a", "1")
    for event in (
        Finished("2"),
        Loaded("b"),
        LoadFailed("a"),
        Unloaded("a"),
        UnloadFailed("b"),
        Arrive(Ticket(id="1", expert="a")),
        Arrive(Ticket(id="2", expert="nobody")),
    ):
        with pytest.raises(ValueError, match="`"):
            driver.tell(event)


def test_time_never_runs_backwards() -> None:
    driver = Driver(one_slot())
    driver.at(10).arrive("1", "a")

    assert driver.at(5).load("a") == [Start("1", "a", 0.0, 0.0)]


# ---------------------------------------------------------------- refusals


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    driver = Driver(one_slot(), Options(max_queue=2))
    driver.arrive("1", "a")
    driver.arrive("2", "a")

    (refusal,) = driver.arrive("3", "a")

    assert isinstance(refusal, Refuse)
    assert refusal.reason == "queue-full"
    assert 1 <= refusal.retry_after_s <= 60


def test_a_key_has_its_own_limit() -> None:
    driver = Driver(one_slot(), Options(max_queue_per_key=1))
    driver.arrive("1", "a", key="x")

    assert refused(driver.arrive("2", "b", key="x")) == {"2": "key-full"}
    assert refused(driver.arrive("3", "b", key="y")) == {}


def test_a_call_is_refused_when_its_deadline_passes() -> None:
    """2."""
    driver = serving("a", "1", "2")
    driver.arrive("3", "a", deadline_s=5)
    assert driver.scheduler.wake_s <= 5

    assert refused(driver.at(5).tell(Tick())) == {"3": "deadline"}
    assert refused(driver.arrive("4", "a", deadline_s=5)) == {"4": "deadline"}


def test_a_deadline_closes_the_expert_in_memory_in_time_to_load_another() -> None:
    driver = serving("a", "1")
    driver.arrive("2", "b", deadline_s=3)
    assert driver.scheduler.wake_s == 2, "a load takes a second"

    driver.at(2).tell(Tick())

    assert driver.arrive("3", "a") == []
    assert unloaded(driver.tell(Finished("1"))) == ["a"]


def test_a_deadline_goes_before_older_calls_that_have_none() -> None:
    driver = serving("a", "1")
    driver.arrive("2", "b")
    driver.at(1).arrive("3", "c", deadline_s=5)
    driver.at(4).tell(Tick())
    driver.tell(Finished("1"))

    assert loaded(driver.tell(Unloaded("a"))) == ["c"]


def test_an_expert_that_can_never_fit_is_refused() -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=3),),
        experts=(
            Expert(name="pinned", pool="p", memory=1, pinned=True),
            Expert(name="huge", pool="p", memory=3),
        ),
    )

    assert refused(Driver(layout).arrive("1", "huge")) == {"1": "never-fits"}


def test_a_call_beyond_the_promised_wait_is_refused_unless_it_is_next() -> None:
    """6."""
    driver = Driver(one_slot(concurrency=1), Options(max_wait_s=10), resident=["a"])
    driver.arrive("1", "a")
    driver.arrive("2", "b")
    driver.arrive("3", "c")

    actions = driver.at(10).tell(Tick())

    assert refused(actions) == {"3": "late"}, "b is the next one"
    driver.tell(Finished("1"))
    driver.tell(Unloaded("a"))
    assert started(driver.load("b")) == ["2"]


# ---------------------------------------------------------------- lanes and keys


def test_interactive_calls_go_before_bulk() -> None:
    driver = serving("a", "1", layout=one_slot(concurrency=1))
    driver.arrive("2", "a", lane="bulk")
    driver.arrive("3", "a")

    assert started(driver.tell(Finished("1"))) == ["3"]


def test_bulk_leaves_slots_free_while_interactive_calls_wait_elsewhere() -> None:
    layout = one_slot(concurrency=4, memory=2)
    driver = Driver(layout, Options(bulk_share=0.25), resident=["a"])
    driver.arrive("1", "b")  # b is being loaded

    for n in range(4):
        driver.arrive(f"bulk{n}", "a", lane="bulk")

    assert driver.scheduler.running == 1
    assert set(started(driver.load("b"))) == {"1", "bulk1", "bulk2", "bulk3"}


def test_bulk_takes_every_slot_again_when_the_last_interactive_call_is_cancelled() -> None:
    driver = Driver(one_slot(concurrency=4, memory=2), resident=["a"])
    driver.arrive("1", "b")
    for n in range(4):
        driver.arrive(f"bulk{n}", "a", lane="bulk")

    assert started(driver.tell(Cancel("1"))) == ["bulk1", "bulk2", "bulk3"]


def test_an_expert_that_serves_only_bulk_is_closed_at_once_for_an_interactive_call() -> None:
    driver = Driver(one_slot(concurrency=1), resident=["a"])
    driver.arrive("bulk1", "a", lane="bulk")
    driver.arrive("bulk2", "a", lane="bulk")
    driver.arrive("1", "b")

    assert unloaded(driver.tell(Finished("bulk1"))) == ["a"]


def test_bulk_that_waited_for_long_counts_as_interactive() -> None:
    driver = Driver(one_slot(), Options(bulk_max_wait_s=100), resident=["a"])
    driver.arrive("1", "a")
    driver.arrive("bulk", "b", lane="bulk")
    driver.at(100).tell(Tick())

    assert driver.arrive("2", "a") == []
    assert unloaded(driver.tell(Finished("1"))) == ["a"]


def test_keys_take_turns() -> None:
    driver = serving("a", "0", layout=one_slot(concurrency=1))
    for n in range(3):
        driver.arrive(f"greedy{n}", "a", key="greedy")
    driver.arrive("modest", "a", key="modest")
    order: list[str] = []
    last = "0"
    for _ in range(4):
        (last,) = started(driver.tell(Finished(last)))
        order.append(last)

    assert order == ["greedy0", "modest", "greedy1", "greedy2"]


@pytest.mark.parametrize(
    ("fair_share", "order"),
    [
        ("key", ["a1", "b1", "c1", "d1", "a2"]),
        ("team", ["a1", "c1", "d1", "a2", "b1"]),
        ("none", ["a1", "a2", "b1", "c1", "d1"]),
    ],
)
def test_keys_teams_or_nobody_take_turns(
    fair_share: Literal["key", "team", "none"], order: list[str]
) -> None:
    options = Options(fair_share=fair_share)
    driver = Driver(one_slot(concurrency=1), options, resident=["a"])
    driver.arrive("0", "a", key="z")
    teams = {"a": "large", "b": "large", "c": "small", "d": ""}
    for call in ("a1", "a2", "b1", "c1", "d1"):
        ticket = Ticket(id=call, expert="a", key=call[0], team=teams[call[0]])
        driver.tell(Arrive(ticket))
    found: list[str] = []
    last = "0"
    for _ in range(5):
        (last,) = started(driver.tell(Finished(last)))
        found.append(last)

    assert found == order


# ---------------------------------------------------------------- memory


def test_pinned_experts_are_loaded_first_and_never_leave() -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=2),),
        experts=(
            Expert(name="keeper", pool="p", memory=1, pinned=True),
            Expert(name="a", pool="p", memory=1),
            Expert(name="b", pool="p", memory=1),
        ),
    )
    driver = Driver(layout)
    assert loaded(driver.tell(Tick())) == ["keeper"]
    driver.load("keeper")
    driver.arrive("1", "a")
    driver.load("a")
    driver.tell(Finished("1"))

    assert unloaded(driver.arrive("2", "b")) == ["a"]


def test_the_least_that_is_needed_is_unloaded_and_the_plan_says_why() -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=10),),
        experts=(
            Expert(name="small", pool="p", memory=2),
            Expert(name="middle", pool="p", memory=5),
            Expert(name="big", pool="p", memory=8),
            Expert(name="other", pool="p", memory=6),
        ),
    )
    driver = Driver(layout, resident=["small", "middle"])

    (unload,) = driver.at(7).arrive("1", "other")

    assert isinstance(unload, Unload)
    assert unload.expert == "middle"
    assert str(unload.why) == (
        "`other` needs 6 and 3 is free; nobody waits for it, never used, 1.0 s to bring back"
    )


def test_a_measured_size_takes_over() -> None:
    layout = one_slot(memory=3)
    driver = Driver(layout)
    driver.arrive("1", "a")
    driver.tell(Loaded("a", memory=3))
    driver.tell(Finished("1"))

    assert unloaded(driver.arrive("2", "b")) == ["a"], "there is no room beside it after all"


def test_who_nobody_waits_for_leaves_before_who_is_waited_for() -> None:
    driver = Driver(one_slot("a", "b", "c", concurrency=1, memory=2, width=1), resident=["a", "b"])
    driver.arrive("1", "a")
    driver.at(1).arrive("2", "b")
    driver.tell(Finished("1"))  # b has the floor now
    assert unloaded(driver.at(2).arrive("3", "c")) == ["a"]


def test_an_adapter_on_a_resident_base_is_no_swap() -> None:
    driver = Driver(ADAPTERS, resident=["base"])
    driver.arrive("1", "base")

    actions = driver.arrive("2", "lora0")

    assert loaded(actions) == ["lora0"]
    assert unloaded(actions) == []
    assert started(driver.load("lora0")) == ["2"]


def test_an_adapter_follows_its_base() -> None:
    driver = Driver(ADAPTERS)

    assert loaded(driver.arrive("1", "lora0")) == ["base"]
    assert loaded(driver.load("base")) == ["lora0"]
    assert started(driver.load("lora0")) == ["1"]


def test_at_most_max_loras_adapters_are_resident() -> None:
    driver = Driver(ADAPTERS, resident=["base", "lora0", "lora1"])
    driver.arrive("1", "lora0")

    assert unloaded(driver.arrive("2", "lora2")) == ["lora1"]


def test_adapters_share_the_slots_of_their_base() -> None:
    driver = Driver(ADAPTERS, resident=["base", "lora0", "lora1"])
    for n in range(6):
        driver.arrive(str(n), f"lora{n % 2}")

    assert driver.scheduler.running == 4


def test_a_base_leaves_with_its_adapters() -> None:
    driver = Driver(ADAPTERS, resident=["base", "lora0"])
    driver.arrive("1", "lora0")
    driver.arrive("2", "other")

    assert unloaded(driver.tell(Finished("1"))) == ["base"]
    driver.tell(Unloaded("base"))
    driver.load("other")
    driver.tell(Finished("2"))
    assert unloaded(driver.arrive("3", "lora0")) == ["other"]
    assert loaded(driver.tell(Unloaded("other"))) == ["base"]
    assert loaded(driver.load("base")) == ["lora0"]


def test_experts_that_could_not_leave_together_all_take_calls_again() -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=2),),
        experts=(
            *(Expert(name=n, pool="p", memory=1) for n in "ab"),
            Expert(name="large", pool="p", memory=2),
        ),
    )
    driver = Driver(layout, resident=["a", "b"])
    assert unloaded(driver.arrive("1", "large")) == ["a", "b"]

    driver.tell(UnloadFailed("a"))
    driver.tell(UnloadFailed("b"))

    assert started(driver.arrive("2", "a")) == ["2"]
    assert started(driver.arrive("3", "b")) == ["3"]


# ---------------------------------------------------------------- 5f. host memory


def tiers(host: int, memory: int = 1, **sizes: int) -> Layout:
    return Layout(
        pools=(Pool(name="p", memory=memory, host=host),),
        experts=tuple(
            Expert(name=n, pool="p", memory=sizes.get(n, 1), load_s=6, host_s=1) for n in "abcd"
        ),
    )


def swap(driver: Driver, call: str, expert: str) -> tuple[list[Unload], Load | None]:
    """Have a call bring its expert in, if need be, and end it; return what was to be done."""
    actions = driver.at(driver.now_s + 1).arrive(call, expert)
    leaving = [action for action in actions if isinstance(action, Unload)]
    for one in leaving:
        actions = driver.tell(Unloaded(one.expert, parked=one.park, dropped=one.drop))
    loads = [action for action in actions if isinstance(action, Load)]
    for load in loads:
        driver.at(driver.now_s + (6 if load.source == "disk" else 1)).load(expert)
    driver.tell(Finished(call))
    return leaving, loads[0] if loads else None


def test_who_leaves_is_parked_and_comes_back_from_there() -> None:
    driver = Driver(tiers(host=2))

    found = [swap(driver, str(n), expert) for n, expert in enumerate("abac")]

    assert [load and load.source for _, load in found] == ["disk", "disk", "host", "disk"]
    assert [(one.expert, one.park, one.drop) for leaving, _ in found for one in leaving] == [
        ("a", True, ()),
        ("b", True, ()),
        ("a", True, ()),  # b is there too, and two fit
    ]


def test_who_is_needed_less_makes_room_in_host_memory() -> None:
    driver = Driver(tiers(host=1))
    for n in range(3):
        swap(driver, f"a{n}", "a")
    swap(driver, "b", "b")

    (unused,), _ = swap(driver, "c0", "c")
    for n in range(9):
        swap(driver, f"c{n + 1}", "c")
    (used,), _ = swap(driver, "d", "d")

    assert (unused.expert, unused.park, unused.drop) == ("b", False, ()), "a was used more"
    assert (used.expert, used.park, used.drop) == ("c", True, ("a",))


def test_who_is_larger_than_host_memory_is_not_parked() -> None:
    driver = Driver(tiers(host=2, memory=3, a=3))

    found = [swap(driver, str(n), expert) for n, expert in enumerate("aba")]

    assert [one.park for leaving, _ in found for one in leaving] == [False, True]
    assert [load and load.source for _, load in found] == ["disk", "disk", "disk"]


def test_the_one_that_comes_in_is_not_dropped_for_the_one_that_leaves() -> None:
    driver = Driver(tiers(host=1), eviction=LeastRecent())
    for n, expert in enumerate("ab"):
        swap(driver, str(n), expert)

    (leaving,), load = swap(driver, "2", "a")

    assert (leaving.expert, leaving.park, load) == ("b", False, Load("a", "host"))


def test_nobody_who_is_about_to_come_in_is_dropped_for_somebody_elsewhere() -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=4, host=2),),
        experts=(
            Expert(name="base", pool="p", memory=1, max_loras=1, concurrency=4),
            *(Expert(name=f"lora{i}", pool="p", memory=1, base="base") for i in range(2)),
            *(Expert(name=n, pool="p", memory=2) for n in ("one", "two")),
        ),
    )
    driver = Driver(
        layout,
        resident=["base", "lora0", "one"],
        kept=Kept(parked={"lora1": 1}),
        eviction=LeastRecent(),
    )
    swap(driver, "1", "one")
    driver.arrive("2", "lora0")
    driver.arrive("3", "lora1")
    assert driver.at(5000).tell(Tick()) == [], "it waits for the other adapter to be idle"

    (leaving,) = [one for one in driver.arrive("4", "two") if isinstance(one, Unload)]

    assert (leaving.expert, leaving.park, leaving.drop) == ("one", False, ())


def test_who_is_being_dropped_is_not_loaded_before_that_is_done() -> None:
    driver = Driver(tiers(host=1, memory=2))
    for n, expert in enumerate("abc"):
        swap(driver, str(n), expert)  # a is parked, b and c are in
    driver.arrive("3", "c")
    (leaving,) = [one for one in driver.arrive("4", "d") if isinstance(one, Unload)]
    assert (leaving.expert, leaving.drop) == ("b", ("a",))

    driver.tell(Finished("3"))
    assert driver.arrive("5", "a") == []
    assert loaded(driver.tell(Unloaded("b", parked=True, dropped=("a",)))) == ["d"]
    after = driver.load("d")

    assert unloaded(after) == ["c"]
    (load,) = [one for one in driver.tell(Unloaded("c")) if isinstance(one, Load)]
    assert (load.expert, load.source) == ("a", "disk")


def test_what_could_not_be_parked_or_dropped_is_where_the_report_says() -> None:
    driver = Driver(tiers(host=1))
    swap(driver, "0", "a")
    swap(driver, "1", "b")
    driver.at(1000).arrive("2", "c")
    driver.tell(Unloaded("b", parked=False, dropped=()))  # a could not be dropped
    driver.load("c")
    driver.tell(Finished("2"))

    leaving, load = swap(driver, "3", "a")

    assert load == Load("a", "host")
    assert [one.expert for one in leaving] == ["c"]


@pytest.mark.parametrize("event", [Dropped("a"), LoadFailed("a")])
def test_what_host_memory_lost_comes_from_disk(event: Event) -> None:
    driver = Driver(tiers(host=2))
    swap(driver, "0", "a")
    swap(driver, "1", "b")
    if isinstance(event, LoadFailed):
        driver.arrive("2", "a")
        driver.tell(Unloaded("b", parked=True))
    driver.tell(event)

    _, load = swap(driver, "3", "a")

    assert load == Load("a", "disk")


def test_adapters_are_parked_by_their_bytes_and_outlive_their_base_there() -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=10, host=3),),
        experts=(
            Expert(name="base", pool="p", memory=6, max_loras=1, concurrency=4),
            *(Expert(name=f"lora{i}", pool="p", memory=2, base="base") for i in range(3)),
            Expert(name="other", pool="p", memory=9),
        ),
    )
    driver = Driver(layout, resident=["base", "lora0"])

    (first,), _ = swap(driver, "0", "lora1")
    (second,), _ = swap(driver, "1", "lora2")
    (base,), _ = swap(driver, "2", "other")
    driver.at(1000).arrive("3", "lora1")
    driver.tell(Unloaded("other"))
    (load,) = driver.load("base")

    assert (first.expert, first.park) == ("lora0", True)
    assert (second.expert, second.park, second.drop) == ("lora1", True, ("lora0",))
    assert (base.expert, base.park) == ("base", False), "it is larger than host memory"
    assert load == Load("lora1", "host")


def test_loads_are_measured_by_where_they_come_from() -> None:
    times: dict[str, LoadTimes] = {}
    driver = Driver(tiers(host=2), kept=Kept(times=times))
    for call, expert, took_s in (("0", "a", 20.0), ("1", "b", 30.0), ("2", "a", 0.5)):
        driver.at(driver.now_s + 100)
        for action in driver.arrive(call, expert):
            if isinstance(action, Unload):
                driver.tell(Unloaded(action.expert, parked=True))
        driver.at(driver.now_s + took_s).load(expert)
        driver.tell(Finished(call))

    (a, b) = (times["a"], times["b"])
    assert (a.disk_s, a.host_s, a.from_disk, a.from_host) == (20.0, 0.5, 1, 1)
    assert (b.disk_s, b.host_s, b.from_disk, b.from_host) == (30.0, 1.0, 1, 0)

    (seen,) = [one for one in driver.at(999).arrive("3", "b") if isinstance(one, Unload)]
    assert seen.why.reload_s == 20.0, "it is not parked yet when that is asked"
    again = Driver(tiers(host=2), kept=Kept(parked={"a": 1}, times=times), resident=["b"])
    again.arrive("4", "a")
    again.tell(Unloaded("b"))
    assert times["a"].host_s == 0.5, "what was measured outlives the scheduler"


@pytest.mark.parametrize(
    ("parked", "message"),
    [
        ({"x": 1}, "`x` is parked and cannot be"),
        ({"a": 1}, "`a` is parked and cannot be"),
        ({"b": 2, "c": 1}, "`c` is parked and does not fit: 0 is free"),
    ],
)
def test_what_cannot_be_parked_is_refused(parked: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scheduler(tiers(host=2), resident=["a"], kept=Kept(parked=parked))


# ---------------------------------------------------------------- one works at a time


def test_the_next_expert_is_loaded_while_the_present_one_works() -> None:
    driver = Driver(one_slot(memory=2, width=1), resident=["a"])
    driver.arrive("1", "a")

    assert loaded(driver.arrive("2", "b")) == ["b"]
    assert driver.load("b") == [], "it waits for its turn"
    assert started(driver.tell(Finished("1"))) == ["2"]


def test_without_prefetch_nobody_is_loaded_while_another_one_works() -> None:
    layout = one_slot(memory=2, width=1)
    driver = Driver(layout, Options(prefetch=False), resident=["a"])
    driver.arrive("1", "a")

    assert driver.arrive("2", "b") == []
    assert loaded(driver.tell(Finished("1"))) == ["b"]


def test_an_expert_is_not_closed_before_its_least_residency() -> None:
    driver = Driver(one_slot(), Options(min_residency_s=100))
    driver.arrive("1", "a")
    driver.load("a")
    driver.arrive("2", "b")
    driver.at(50).tell(Tick())
    assert started(driver.arrive("3", "a")) == ["3"]

    assert driver.scheduler.wake_s == 100
    driver.at(100).tell(Tick())
    assert driver.arrive("4", "a") == []


def test_a_turn_ends_when_another_resident_expert_is_wanted_more() -> None:
    driver = Driver(one_slot(memory=2, width=1), resident=["a", "b"])
    driver.arrive("1", "a")
    driver.at(1).arrive("2", "b")

    assert driver.at(2).arrive("3", "a") == [], "it is b's turn when 1 has ended"
    assert started(driver.at(3).tell(Finished("1"))) == ["2"]


def test_fifo_serves_in_order_of_arrival() -> None:
    driver = Driver(one_slot(concurrency=2), ordering=Fifo(), resident=["a"])
    driver.arrive("1", "a")
    driver.at(1).arrive("2", "b")

    assert driver.at(2).arrive("3", "a") == []
    assert unloaded(driver.tell(Finished("1"))) == ["a"]


def test_an_idle_scheduler_asks_for_no_tick() -> None:
    driver = serving("a", "1")
    driver.tell(Finished("1"))

    assert math.isinf(driver.scheduler.wake_s)


@pytest.mark.parametrize(
    "wrong", [{"goal": 1.5}, {"bulk_share": -1}, {"max_queue": 0}, {"max_wait_s": 0}]
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)  # type: ignore[arg-type]


def test_the_goal_sets_the_patience() -> None:
    quick, middle, slow = (
        Options(goal=goal).patience_s(p95_wait_s=100, load_s=2, call_s=4) for goal in (0, 0.5, 1)
    )

    assert (quick, middle, slow) == pytest.approx((20, 104, 188))
    assert Options(max_wait_s=20).patience_s(100, 2, 4) == 20
