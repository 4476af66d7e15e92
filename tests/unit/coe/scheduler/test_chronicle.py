"""What is recorded of a scheduler is what it did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.scheduler.chronicle import Call, Chronicle, Depth, Mark, Record
from coe.scheduler.events import (
    Arrive,
    Finished,
    Load,
    Loaded,
    LoadFailed,
    Lost,
    Refuse,
    Start,
    Ticket,
    Unload,
    Unloaded,
    UnloadFailed,
    Why,
)
from coe.scheduler.measures import most_at_once
from coe.scheduler.memory import Expert, Layout, Pool, footprint
from coe.scheduler.policies import Affinity, Fifo
from coe.scheduler.simulate import Outcome, Recorded, run
from coe.scheduler.state import Scheduler
from coe.scheduler.stays import Stay, loads, stays
from coe.scheduler.traces import Arrival

WHY = Why(for_expert="b", needs=1, free=0, waiting=0, idle_s=0, reload_s=0)
LAYOUT = Layout(
    pools=(Pool(name="p", memory=12),),
    experts=(
        Expert(name="base", pool="p", memory=6, max_loras=2, concurrency=3, load_s=2),
        *(Expert(name=f"lora{i}", pool="p", memory=i, base="base", load_s=1) for i in (1, 2, 3)),
        Expert(name="other", pool="p", memory=5, concurrency=2, load_s=3),
        Expert(name="third", pool="p", memory=1, concurrency=2, load_s=1),
    ),
)
TRACES = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.1, 1.0, 20.0)),
        st.sampled_from([expert.name for expert in LAYOUT.experts]),
        st.sampled_from((0.2, 1.0, 5.0)),
    ),
    min_size=1,
    max_size=40,
)


def played(trace: Sequence[Arrival], chronicle: Chronicle, *, groups: bool) -> Outcome:
    chronicle.begin(0.0, LAYOUT, ())
    rule = Scheduler(LAYOUT, ordering=Affinity() if groups else Fifo())
    return run(trace, Recorded(rule, chronicle), LAYOUT)


def arrivals(spec: Sequence[tuple[float, str, float]]) -> list[Arrival]:
    found, now_s = [], 0.0
    for number, (pause_s, expert, work_s) in enumerate(spec):
        now_s += pause_s
        found.append(Arrival(id=str(number), at_s=now_s, expert=expert, work_s=work_s))
    return found


@settings(max_examples=60, deadline=None)
@given(spec=TRACES, groups=st.booleans())
def test_what_is_recorded_is_what_happened(
    spec: list[tuple[float, str, float]],
    groups: bool,  # noqa: FBT001
) -> None:
    chronicle = Chronicle(most=None, resolution_s=0.0)

    outcome = played(arrivals(spec), chronicle, groups=groups)

    record = chronicle.record(max(outcome.ends_s.values()))
    found = stays(record)
    assert loads(record) == len(outcome.loads) == len(found)
    assert sum(spell.calls for spell in record.spells) == len(spec)
    waits = sorted(outcome.waits_s.values())
    assert sorted(call.waited_s for call in record.calls) == pytest.approx(waits)
    assert {round(call.at_s + call.waited_s + call.took_s, 6) for call in record.calls} == {
        round(end_s, 6) for end_s in outcome.ends_s.values()
    }
    inside = [sum(o.from_s <= s.from_s < o.until_s for o in found) for s in found]
    assert max(inside) <= most_at_once(LAYOUT)
    for spell in record.spells:  # nobody works but while it is there
        assert any(
            one.expert == spell.expert
            and one.ready_s is not None
            and one.ready_s <= spell.from_s <= spell.until_s <= (one.leaves_s or one.until_s)
            for one in found
        )
    assert record.depths[-1].waiting == 0
    for own in ([one for one in found if one.expert == name] for name in spread(found)):
        assert all(one.until_s <= two.from_s for one, two in pairwise(own))
    for one in found:
        assert taken(found, one.from_s) <= LAYOUT.pools[0].memory


def spread(found: Sequence[Stay]) -> set[str]:
    return {one.expert for one in found}


def taken(found: Sequence[Stay], at_s: float) -> int:
    """Return what is in memory right after a time, with the room for adapters set aside."""
    inside = {one.expert for one in found if one.from_s <= at_s < one.until_s}
    experts = [e for e in LAYOUT.experts if e.name in inside and e.base is None]
    return sum(footprint(e, LAYOUT.adapters(e.name)) for e in experts)


@settings(max_examples=40, deadline=None)
@given(spec=TRACES, most=st.integers(1, 12))
def test_a_small_chronicle_knows_the_end_as_a_large_one_does(
    spec: list[tuple[float, str, float]], most: int
) -> None:
    small, large = Chronicle(most=most, resolution_s=0.0), Chronicle(most=None, resolution_s=0.0)

    ends_s = max(played(arrivals(spec), small, groups=True).ends_s.values())
    played(arrivals(spec), large, groups=True)

    few, everything = small.record(ends_s), large.record(ends_s)
    since_s = few.since_s
    assert len(few.marks) <= most
    assert len(few.depths) <= most
    assert list(few.marks) == list(everything.marks)[len(everything.marks) - len(few.marks) :]
    assert present(few, since_s) == present(everything, since_s)


def present(record: Record, since_s: float) -> set[tuple[str, float, str]]:
    """Return the stays that last beyond a time, and how they end."""
    return {(one.expert, one.until_s, one.end) for one in stays(record) if one.until_s > since_s}


def test_an_adapter_leaves_with_its_base() -> None:
    chronicle = Chronicle()
    chronicle.begin(0.0, LAYOUT, ("base", "lora1"))
    chronicle.take(4.0, Finished("?"), [Unload("base", WHY)])
    chronicle.take(5.0, Unloaded("base"), [Load("other")])
    chronicle.take(8.0, Loaded("other"), [])

    found = {one.expert: one for one in stays(chronicle.record(9.0))}

    assert (found["lora1"].from_s, found["lora1"].until_s, found["lora1"].end) == (0.0, 5.0, "left")
    assert (found["base"].leaves_s, found["base"].for_expert) == (4.0, "b")
    assert (found["other"].ready_s, found["other"].until_s, found["other"].end) == (8.0, 9.0, "")


@pytest.mark.parametrize(
    ("event", "end"), [(LoadFailed("a"), "failed"), (Lost("a"), "lost"), (Unloaded("a"), "left")]
)
def test_how_a_stay_ends_is_told(event: LoadFailed | Lost | Unloaded, end: str) -> None:
    chronicle = Chronicle()
    chronicle.take(1.0, Arrive(Ticket(id="1", expert="a")), [Load("a")])
    chronicle.take(2.0, event, [Refuse("1", "load-failed", 1.0)])

    assert [one.end for one in stays(chronicle.record(3.0))] == [end]
    assert chronicle.record(3.0).depths == (Depth(1.0, 1), Depth(2.0, 0))


def test_who_could_not_be_unloaded_stays() -> None:
    chronicle = Chronicle()
    chronicle.begin(0.0, LAYOUT, ("third",))
    chronicle.take(1.0, Finished("?"), [Unload("third", WHY)])
    chronicle.take(2.0, UnloadFailed("third"), [])

    (stay,) = stays(chronicle.record(3.0))

    assert (stay.leaves_s, stay.until_s, stay.end) == (None, 3.0, "")


def test_another_state_machine_goes_on_with_the_same_chronicle() -> None:
    """Who is in memory may be another one then; calls that run are told again."""
    chronicle = Chronicle()
    chronicle.begin(0.0, LAYOUT, ("third", "other"))
    ticket = Ticket(id="1", expert="third")
    chronicle.take(1.0, Arrive(ticket), [Start("1", "third", 0.0, 0.0)])
    chronicle.take(2.0, Arrive(Ticket(id="2", expert="base")), [Load("base")])

    chronicle.begin(3.0, LAYOUT, ("third", "lora1"))
    chronicle.take(3.0, Arrive(ticket), [Start("1", "third", 0.0, 0.0)])
    record = chronicle.record(5.0)

    ends = {one.expert: (one.until_s, one.end) for one in stays(record)}
    assert ends == {
        "third": (5.0, ""),
        "other": (3.0, "left"),
        "base": (3.0, "failed"),
        "lora1": (5.0, ""),
    }
    chronicle.take(6.0, Finished("1"), [])
    assert chronicle.record(6.0).calls == (Call(1.0, "third", 0.0, 5.0),)
    assert record.depths[-1].waiting == 0
    assert sum(spell.until_s - spell.from_s for spell in record.spells) == pytest.approx(4.0)


def test_short_pauses_do_not_end_a_spell_and_long_ones_do() -> None:
    chronicle = Chronicle(resolution_s=1.0)
    chronicle.begin(0.0, LAYOUT, ("third",))
    for number, at_s in enumerate((0.0, 1.5, 9.0)):
        call = str(number)
        chronicle.take(at_s, Arrive(Ticket(id=call, expert="third")), [Start(call, "third", 0, 0)])
        chronicle.take(at_s + 1.0, Finished(call), [])

    spells = chronicle.record(20.0).spells

    assert [(one.from_s, one.until_s, one.calls) for one in spells] == [
        (0.0, 2.5, 2),
        (9.0, 10.0, 1),
    ]


def test_depths_that_follow_each_other_fast_become_the_last_of_them() -> None:
    chronicle = Chronicle(resolution_s=1.0)
    for number in range(5):
        chronicle.take(number / 10, Arrive(Ticket(id=str(number), expert="a")), [])

    assert chronicle.record(9.0).depths == (Depth(0.0, 5),)
    assert chronicle.record(9.0).marks == ()


def test_a_chronicle_of_nothing_is_empty() -> None:
    record = Chronicle().record(7.0)

    assert (record.since_s, record.until_s, stays(record)) == (7.0, 7.0, [])


def test_a_mark_says_how_many_waited_and_whence_it_comes() -> None:
    chronicle = Chronicle()
    chronicle.take(1.0, Arrive(Ticket(id="1", expert="a")), [Load("a", "host")])

    record = chronicle.record(2.0)

    assert record.marks == (Mark(1.0, "a", "loading", 1, source="host"),)
    assert [stay.source for stay in stays(record)] == ["host"]


def test_a_call_that_waits_while_the_state_machine_is_made_anew_came_when_it_came() -> None:
    chronicle = Chronicle()
    ticket = Ticket(id="1", expert="third")
    chronicle.take(1.0, Arrive(ticket), [])
    chronicle.begin(5.0, LAYOUT, ("third",))
    chronicle.take(5.0, Arrive(ticket), [Start("1", "third", 0.0, 0.0)])
    chronicle.take(7.0, Finished("1"), [])

    assert chronicle.record(7.0).calls == (Call(1.0, "third", 4.0, 2.0),)
