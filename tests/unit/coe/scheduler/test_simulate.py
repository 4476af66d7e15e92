"""The simulator: figures that can be worked out by hand, and a referee that sees fouls."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.scheduler.baselines import FirstCome, LlamaSwap
from coe.scheduler.events import Action, Arrive, Event, Load, Loaded, Start, Unload, Why
from coe.scheduler.measures import best_hit_rates, figures, least_loads
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.policies import Fifo
from coe.scheduler.simulate import Engine, Foul, run
from coe.scheduler.state import Scheduler
from coe.scheduler.traces import Arrival, at_once, bursty, names, panels, poisson, sessions

LAYOUT = Layout(
    pools=(Pool(name="p", memory=1),),
    experts=tuple(Expert(name=n, pool="p", memory=1, concurrency=2, load_s=3) for n in "ab"),
)
WHY = Why(for_expert="b", needs=1, free=0, waiting=0, idle_s=0, reload_s=0)


def calls(*spec: tuple[float, str, float]) -> list[Arrival]:
    return [
        Arrival(id=str(i), at_s=at_s, expert=expert, work_s=work_s)
        for i, (at_s, expert, work_s) in enumerate(spec)
    ]


def test_a_call_waits_for_its_load_and_runs_for_its_work() -> None:
    outcome = run(calls((1, "a", 4)), Scheduler(LAYOUT), LAYOUT)

    assert outcome.waits_s == {"0": 3.0}
    assert outcome.ends_s == {"0": 8.0}
    assert outcome.loads == [(1.0, "a")]


@pytest.mark.parametrize(("joins", "second_s"), [(True, 3 + 1 + 3 * 1.5 + 1), (False, 3 + 4 + 4)])
def test_calls_of_a_batch_slow_each_other_down(joins: bool, second_s: float) -> None:  # noqa: FBT001
    """Two that take 4 s alone; the second comes a second after the first has begun."""
    engine = Engine(slowdown=0.5, joins=joins)

    outcome = run(calls((0, "a", 4), (4, "a", 4)), Scheduler(LAYOUT), LAYOUT, engine)

    assert outcome.ends_s["1"] == pytest.approx(second_s)


def test_a_call_comes_after_those_that_it_waits_for() -> None:
    trace = [
        *calls((0, "a", 4), (0, "a", 6)),
        Arrival(id="merge", at_s=0, expert="a", work_s=1, after=("0", "1")),
    ]

    outcome = run(trace, Scheduler(LAYOUT), LAYOUT)

    assert outcome.waits_s["merge"] == 0
    assert outcome.ends_s["merge"] == 3 + 6 + 1


def test_strict_order_swaps_at_every_change_and_llama_swap_when_idle() -> None:
    trace = calls(*((0.0, "ab"[n % 2], 1.0) for n in range(8)))

    fifo = run(trace, FirstCome(slots=1, batch=2, coalesces=False), LAYOUT)
    coalescing = run(trace, FirstCome(slots=1, batch=2, coalesces=True), LAYOUT)
    llama = run(trace, LlamaSwap(batch=2), LAYOUT)
    ours = run(trace, Scheduler(LAYOUT), LAYOUT)
    ours_strict = run(trace, Scheduler(LAYOUT, ordering=Fifo()), LAYOUT)

    assert [len(o.loads) for o in (fifo, coalescing, llama, ours)] == [8, 4, 2, 2]
    assert [expert for _, expert in ours_strict.loads] == ["a", "b"] * 4


class Script:
    """A rule that does what it is told at the first events, whatever they are."""

    wake_s = math.inf

    def __init__(self, *replies: list[Action]) -> None:
        self.replies = list(replies)

    def handle(self, event: Event, now_s: float) -> list[Action]:
        del event, now_s
        return self.replies.pop(0) if self.replies else []


@pytest.mark.parametrize(
    ("replies", "foul"),
    [
        ([[Start("0", "a", 0, 0)]], "not there"),
        ([[Load("a"), Load("b")]], "holds 2 of 1"),
        ([[Load("a"), Load("a")]], "loaded twice"),
        ([[Load("a")], [Start("0", "b", 0, 0)]], "not there"),
        ([[Load("a")], [Start("0", "a", 0, 0), Start("0", "a", 0, 0)]], "already|after"),
        ([[Load("a")], [Start("0", "a", 0, 0), Unload("a", WHY)]], "while it worked"),
        ([[Unload("a", WHY)]], "not in memory"),
        ([[]], "stuck"),
    ],
)
def test_the_referee_sees_a_foul(replies: list[list[Action]], foul: str) -> None:
    with pytest.raises(Foul, match=foul):
        run(calls((0, "a", 1)), Script(*replies), LAYOUT)


def test_the_referee_counts_slots() -> None:
    class Greedy(Script):
        def handle(self, event: Event, now_s: float) -> list[Action]:
            match event:
                case Arrive(ticket) if ticket.id == "0":
                    return [Load("a")]
                case Loaded():
                    return [Start(str(n), "a", now_s, 0) for n in range(3)]
            return []

    with pytest.raises(Foul, match="no slot"):
        run(calls(*((0.0, "a", 1.0),) * 3), Greedy(), LAYOUT)


def test_the_bound_counts_what_nobody_can_do_without() -> None:
    trace = calls(*((10.0 * n, "ab"[n % 2], 0.0) for n in range(4)))

    assert least_loads(trace, slots=1, worst_s=0.0) == 4
    assert least_loads(trace, slots=1, worst_s=100.0) == 2
    assert least_loads(trace, slots=2, worst_s=0.0) == 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from((0.05, 0.3, 1.0)), st.sampled_from((1, 2)))
def test_nobody_loads_less_than_the_bound(seed: int, rate: float, slots: int) -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=slots),),
        experts=tuple(Expert(name=n, pool="p", memory=1, concurrency=4) for n in names(4)),
    )
    trace = poisson(names(4), rate=rate, calls=60, seed=seed)
    for rule in (
        Scheduler(layout),
        FirstCome(slots=slots, batch=4, coalesces=True),
        FirstCome(slots=slots, batch=4, coalesces=False),
    ):
        found = figures(run(trace, rule, layout), slots=slots)
        assert found.swaps >= found.least_swaps


def test_the_best_hit_rate_is_beladys() -> None:
    trace = calls(*((float(n), expert, 1.0) for n, expert in enumerate("abcabc")))

    assert best_hit_rates(trace, (1, 2, 3)) == {1: 0.0, 2: 2 / 6, 3: 3 / 6}


def test_an_offline_batch_loads_each_expert_once() -> None:
    layout = Layout(
        pools=(Pool(name="p", memory=2, width=1),),
        experts=tuple(Expert(name=n, pool="p", memory=1, concurrency=8) for n in names(6)),
    )

    outcome = run(at_once(names(6), calls=200, seed=1), Scheduler(layout), layout)

    assert sorted(expert for _, expert in outcome.loads) == sorted(names(6))


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_panels_that_are_planned_load_each_expert_once_and_the_merging_one_last(slots: int) -> None:
    *experts, merging = names(9)
    layout = Layout(
        pools=(Pool(name="p", memory=slots),),
        experts=tuple(Expert(name=n, pool="p", memory=1, concurrency=8) for n in names(9)),
    )
    trace = panels(experts, merging, prompts=40, of=3, seed=1, planned=True)

    outcome = run(trace, Scheduler(layout), layout)

    assert len(outcome.loads) == 9
    assert outcome.loads[-1][1] == merging


def test_traces_have_the_rate_that_was_asked_for() -> None:
    for kind in (poisson, bursty, sessions):
        trace = kind(names(8), rate=2.0, calls=4000, seed=3)
        assert len(trace) == 4000
        assert trace == kind(names(8), rate=2.0, calls=4000, seed=3), "seeds fix everything"
        assert 4000 / trace[-1].at_s == pytest.approx(2.0, rel=0.3), "bursts come and go"
        times = [arrival.at_s for arrival in trace]
        assert times == sorted(times)


def test_sessions_repeat_themselves() -> None:
    def changes(trace: list[Arrival]) -> float:
        return sum(a.expert != b.expert for a, b in pairwise(trace)) / len(trace)

    plain = changes(poisson(names(16), rate=1.0, calls=4000, seed=1))
    sticky = changes(sessions(names(16), rate=1.0, calls=4000, seed=1))

    assert sticky < 0.6 * plain


def test_bursts_that_leave_nothing_for_the_rest_are_refused() -> None:
    with pytest.raises(ValueError, match="leave no rate"):
        bursty(names(2), rate=1.0, calls=1, seed=1, burst=20, share=0.1)
