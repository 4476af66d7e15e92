from __future__ import annotations

import math

from coe.protocols import Pending, Resident
from coe.scheduler.policies import Affinity, EarliestDeadline, Fifo, LeastRecent, NextUse

NOW_S = 100.0


def pending(
    expert: str,
    *,
    calls: int = 1,
    oldest_s: float = 90.0,
    due_s: float = math.inf,
    load_s: float = 1.0,
    work_s: float = 1.0,
) -> Pending:
    ages_s = calls * (NOW_S - oldest_s)
    return Pending(expert, calls, oldest_s, ages_s, due_s, load_s, work_s)


def resident(
    expert: str,
    *,
    waiting: int = 0,
    oldest_s: float = math.inf,
    used_s: float = 50.0,
    uses: float = 1.0,
    reload_s: float = 1.0,
    size: int = 1,
) -> Resident:
    return Resident(expert, waiting, oldest_s, used_s, uses, reload_s, size)


def picked(policy: Affinity | Fifo | EarliestDeadline, *some: Pending) -> str:
    return policy.pick(some, NOW_S).expert


def order(policy: NextUse | LeastRecent, *some: Resident) -> list[str]:
    return [one.expert for one in policy.order(some, NOW_S)]


def test_fifo_takes_the_oldest() -> None:
    assert picked(Fifo(), pending("a"), pending("b", oldest_s=80, load_s=99)) == "b"


def test_affinity_prefers_many_calls_short_loads_and_long_waits() -> None:
    assert picked(Affinity(), pending("a"), pending("b", calls=2)) == "b"
    assert picked(Affinity(), pending("a", load_s=0), pending("b")) == "a"
    assert picked(Affinity(), pending("a"), pending("b", oldest_s=80)) == "b"


def test_affinity_presses_when_a_deadline_leaves_no_slack() -> None:
    assert Affinity().presses(pending("a", due_s=101, load_s=1), NOW_S, math.inf)
    assert not Affinity().presses(pending("a", due_s=102, load_s=1), NOW_S, math.inf)


def test_edf_takes_the_earliest_deadline_but_counts_the_load() -> None:
    near, far = pending("near", due_s=105, load_s=0), pending("far", due_s=103, load_s=10)

    assert picked(EarliestDeadline(), near, pending("far", due_s=103, load_s=1)) == "far"
    assert picked(EarliestDeadline(), near, far) == "near"


def test_edf_gives_a_call_without_a_deadline_a_minute() -> None:
    old = pending("old", oldest_s=30)

    assert picked(EarliestDeadline(), pending("due", due_s=95), old) == "old"
    assert EarliestDeadline().presses(old, NOW_S, math.inf)


def test_who_is_not_waited_for_leaves_first_then_who_is_needed_last() -> None:
    names = order(
        NextUse(),
        resident("soon", waiting=1, oldest_s=10),
        resident("later", waiting=9, oldest_s=90),
        resident("never"),
    )

    assert names == ["never", "later", "soon"]


def test_among_idle_ones_the_cheapest_to_be_wrong_about_leaves_first() -> None:
    assert order(NextUse(), resident("often", uses=5), resident("seldom")) == ["seldom", "often"]
    assert order(NextUse(), resident("slow", reload_s=9), resident("quick")) == ["quick", "slow"]
    assert order(NextUse(), resident("small"), resident("large", size=9)) == ["large", "small"]


def test_lru_looks_at_nothing_else() -> None:
    old = resident("old", used_s=1, uses=99, waiting=3, oldest_s=0)

    assert order(LeastRecent(), resident("new", used_s=2), old) == ["old", "new"]
