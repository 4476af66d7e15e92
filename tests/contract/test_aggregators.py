"""Every aggregator that is registered keeps its contract, third-party ones included."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pytest

from coe.errors import ConfigError
from coe.protocols import Aggregator, AggregatorSpec
from coe.testing.aggregators import check_aggregator

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "vote": [
        {},
        {"answer": "number", "wave": 2, "agree": 2},
        {"answer": "choice", "weighted": False, "wave": 1},
        {"answer": "json", "agree": 2},
        {"answer": "text", "after": "is"},
    ],
    "synthesize": [{}, {"answer": "number", "draft_chars": 100}],
    "first_good": [
        {"good_when": {"check": {"type": "numeric"}}},
        {"good_when": {"logprob_over": -0.1}},
        {"good_when": {"judge_over": 0.5}, "judge_tokens": 200},
    ],
    "best_of": [{}, {"answer": "choice"}, {"check": {"type": "json"}}],
    "draft_refine": [{}, {"rounds": 3}],
    "concat": [{}, {"as": "choices", "answer": "number"}],
}


def shipped() -> list[Any]:
    return [
        pytest.param(point, options, id=f"{point.name}-{place}")
        for point in entry_points(group="coe.aggregators")
        for place, options in enumerate(OPTIONS.get(point.name, [{}]))
    ]


def named() -> list[Any]:
    return [pytest.param(point, id=point.name) for point in entry_points(group="coe.aggregators")]


@pytest.mark.parametrize("experts", [{}, {"judge": "wise", "writer": "eloquent"}])
@pytest.mark.parametrize(("point", "options"), shipped())
def test_aggregator_keeps_the_contract(
    point: EntryPoint, options: dict[str, Any], experts: dict[str, str]
) -> None:
    spec = AggregatorSpec(name="mine", type=point.name, options=options, **experts)

    def make() -> Aggregator:
        made: Aggregator = point.load()(spec)
        return made

    assert make().name == "mine"
    check_aggregator(make)


@pytest.mark.parametrize("point", named())
def test_aggregator_rejects_an_option_it_does_not_know(point: EntryPoint) -> None:
    first = OPTIONS.get(point.name, [{}])[0]
    spec = AggregatorSpec(name="mine", type=point.name, options={**first, "no_such_option": 1})

    with pytest.raises(ConfigError, match=r"aggregation\.mine\.no_such_option"):
        point.load()(spec)
