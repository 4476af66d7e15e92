"""From log-probabilities to how often a draft is right."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coe.aggregators.confidence import Curve
from coe.panels.curves import curves, isotonic
from coe.panels.games import Recording
from coe.panels.play import Sample


def drafts(count: int, *, logprob: float | None) -> list[Recording]:
    return [
        Recording(
            prompt=str(i),
            category="x",
            samples={
                "a": (Sample(text="", score=float(i % 2), logprob=logprob),),
                "b": (Sample(text="", score=1.0),),
            },
        )
        for i in range(count)
    ]


def test_only_who_tells_and_was_asked_often_enough_has_a_curve() -> None:
    assert curves(drafts(60, logprob=-0.5)) == {"a": ((-0.5, 0.5),)}
    assert curves(drafts(40, logprob=-0.5)) == {}
    assert curves(drafts(60, logprob=None)) == {}


def test_who_is_surer_is_right_more_often() -> None:
    knots = isotonic([(-2.0, 0.0), (-1.5, 0.0), (-1.0, 1.0), (-0.9, 0.0), (-0.1, 1.0), (-0.1, 1.0)])

    assert [x for x, _ in knots] == sorted(x for x, _ in knots)
    assert knots[0][1] < knots[-1][1]


def test_a_few_right_answers_are_no_certainty() -> None:
    assert isotonic([(-0.1, 1.0)] * 3) == ((-0.1, 0.8),)


@given(
    st.lists(
        st.tuples(st.floats(-20, 0), st.floats(0, 1)),
        min_size=1,
        max_size=60,
    )
)
def test_a_curve_is_one_that_a_cascade_reads(pairs: list[tuple[float, float]]) -> None:
    knots = json.loads(json.dumps(isotonic(pairs)))

    curve = Curve(tuple(x for x, _ in knots), tuple(y for _, y in knots))
    assert all(curve.at(low) <= curve.at(high) for low, high in pairwise(sorted(curve.logprobs)))
