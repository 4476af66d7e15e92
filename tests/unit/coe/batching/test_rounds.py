"""Whatever calls come to: each is made once, each expert has its turn once a round, all ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe import planner
from coe.aggregators import best_of, first_good, synthesize, vote
from coe.batching.kept import read, spelt
from coe.batching.plan import lanes
from coe.batching.rounds import Need, Said, stand
from coe.composition import Composition, load
from coe.drafting.case import Case, Result
from coe.errors import (
    BackendProtocolError,
    BackendRejected,
    BackendTimeout,
    CoEError,
    ContextTooLong,
)
from coe.protocols import Aggregator, AggregatorSpec
from coe.stores.records import Group
from coe.types import PanelPlan, Query

FILE = """
version: 1
backends: {one: "http://127.0.0.1:9", two: "http://127.0.0.1:9"}
experts:
  a: {backend: one, model: a, cost: {input: 1 USD/M, output: 1 USD/M}}
  b: {backend: one, model: b, cost: {input: 1 USD/M, output: 1 USD/M}}
  c: {backend: two, model: c, cost: {input: 1 USD/M, output: 1 USD/M}}
  d: {backend: two, model: d, cost: {input: 1 USD/M, output: 1 USD/M}}
aggregation:
  free: {method: vote, answer: number, experts: [a, b]}
  capped: {method: vote, answer: number, experts: [a, b], max_cost: 0.0002 USD}
default: a
"""
METHODS: dict[str, Callable[[], Aggregator]] = {
    "vote": lambda: vote.build(_spec(answer="number")),
    "waves": lambda: vote.build(_spec(answer="number", wave=1)),
    "synthesize": lambda: synthesize.build(_spec(writer="d")),
    "best_of": lambda: best_of.build(_spec(judge="c")),
    "first_good": lambda: first_good.build(_spec(good_when={"check": {"type": "json"}})),
    "judged": lambda: first_good.build(_spec(judge="b", good_when={"judge_over": 0.7})),
}


def _spec(judge: str | None = None, writer: str | None = None, **options: object) -> AggregatorSpec:
    return AggregatorSpec(name="free", type="any", judge=judge, writer=writer, options=options)


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Composition:
    file = tmp_path_factory.mktemp("rounds") / "experts.yaml"
    file.write_text(FILE)
    return load(file)


def said(text: str | None) -> Result:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return Result(completion={"id": "x", "choices": [choice], "usage": usage}, seconds=0.5)


def failed(error: CoEError) -> Result:
    return Result(error=error.message, failure=error, seconds=0.5)


RESULTS = (
    *map(said, ("42", "it is 41", '{"a": 1}', "A", "B", "95", "5", "no idea", "", None)),
    failed(BackendTimeout("late")),
    failed(BackendRejected("no", backend_status=400)),
    Result(completion={"choices": []}, seconds=0.1),
)


@dataclass
class Line:
    """A line of a panel, and what its calls came to."""

    method: str
    panel: str
    members: tuple[str, ...]
    results: dict[str, Result] = field(default_factory=dict)

    def stand(self, composition: Composition) -> tuple[Need, ...] | Said | CoEError:
        body = {"model": "m", "messages": [{"role": "user", "content": "what is 6 * 7?"}]}
        query = Query(id="q", model="m", body=body)
        experts = composition.experts
        calls = tuple(planner.call_of(composition, n, experts[n], query) for n in self.members)
        weights = (0.5,) * len(calls)
        plan = PanelPlan(panel=self.panel, calls=calls, weights=weights)
        return stand(Case(composition, METHODS[self.method](), query, plan), self.results)


a_line = st.builds(
    Line,
    method=st.sampled_from(sorted(METHODS)),
    panel=st.sampled_from(["free", "capped"]),
    members=st.lists(st.sampled_from("abcd"), min_size=2, max_size=4).map(tuple),
)


def wanted(composition: Composition, lines: Sequence[Line]) -> list[tuple[int, Need]]:
    """Return what lines that are not done want, as a batch would look for it."""
    found = ((place, line.stand(composition)) for place, line in enumerate(lines))
    return [(place, need) for place, needs in found if isinstance(needs, tuple) for need in needs]


def groups(composition: Composition, needs: Sequence[tuple[int, Need]]) -> list[Group]:
    counts = Counter(need.call.expert for _, need in needs)
    return [
        Group(expert=name, backend=composition.experts[name].backend, base=name, lines=count)
        for name, count in counts.items()
    ]


def ending(found: tuple[Need, ...] | Said | CoEError) -> object:
    return found if isinstance(found, tuple | Said) else (type(found), found.message)


@given(lines=st.lists(a_line, min_size=1, max_size=5), data=st.data())
@settings(max_examples=150, deadline=None)
def test_every_call_is_made_once_and_each_expert_has_its_turn_once_a_round(
    composition: Composition, lines: list[Line], data: st.DataObject
) -> None:
    made: set[tuple[int, str]] = set()
    rounds = 0
    while needs := wanted(composition, lines):
        rounds += 1
        assert rounds < 20
        turns = [
            group.expert
            for lane in lanes(groups(composition, needs))
            for visit in lane
            for group in visit
        ]
        assert len(turns) == len(set(turns))
        assert {need.call.expert for _, need in needs} == set(turns)
        for turn in turns:
            for place, need in needs:
                if need.call.expert == turn:
                    assert (place, need.key) not in made
                    made.add((place, need.key))
                    lines[place].results[need.key] = data.draw(st.sampled_from(RESULTS))

    for place, line in enumerate(lines):
        found = line.stand(composition)
        assert not isinstance(found, tuple)
        assert line.results.keys() == {key for at, key in made if at == place}
        if isinstance(found, Said):
            told = orjson.loads(found.body)
            calls = told["coe"]["provenance"]["calls"]
            paid = [call for call in calls if "max_cost" not in call.get("reason", "")]
            assert len(paid) == len(line.results)
            asked = [call for call in calls if call["prompt_tokens"] is not None]
            assert (told["usage"] or {}).get("prompt_tokens", 0) == 3 * len(asked)
        if line.panel == "capped" and isinstance(found, Said):
            assert (told["coe"]["provenance"]["cost"] or 0) <= 0.0002


@given(line=a_line, data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_death_between_two_calls_changes_nothing(
    composition: Composition, line: Line, data: st.DataObject
) -> None:
    while isinstance(needs := line.stand(composition), tuple):
        come = {need.key: data.draw(st.sampled_from(RESULTS)) for need in needs}
        order = data.draw(st.permutations(sorted(come)))
        for count, key in enumerate(order, start=1):
            line.results[key] = come[key]
            if count < len(order):  # who goes on now wants what is missing, and nothing else
                left = line.stand(composition)
                assert isinstance(left, tuple)
                assert {need.key for need in left} == set(order[count:])
    again = Line(line.method, line.panel, line.members, dict(sorted(line.results.items())))
    assert ending(again.stand(composition)) == ending(needs)


@pytest.mark.parametrize(
    "error",
    [
        BackendRejected("busy", backend_status=429, code="slow_down", param="n"),
        BackendTimeout("late"),
        BackendProtocolError("garbage"),
        ContextTooLong("too long", param="messages"),
    ],
)
def test_an_error_is_kept_as_it_is_shown(error: CoEError) -> None:
    again = read(spelt(error))

    assert type(again) is type(error)
    assert str(again) == str(error)
    for name in ("status", "code", "type", "param", "message", "retryable", "origin"):
        assert getattr(again, name) == getattr(error, name)


def test_an_error_of_a_plugin_is_kept_as_the_kind_that_it_is() -> None:
    class Own(BackendTimeout):
        code = "own"

    again = read(spelt(Own("late")))

    assert type(again) is BackendTimeout
    assert again.code == "own"
