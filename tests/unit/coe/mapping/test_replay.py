"""Two ways to answer the same requests."""

from __future__ import annotations

import numpy as np
import pytest

from coe.mapping.outcomes import OutcomeMatrix
from coe.mapping.replay import NOBODY, Answers, Moved, compare

NAN = float("nan")


def answers(
    experts: str, scores: list[float], expected: list[float] | None = None, bases: str = ""
) -> Answers:
    names = tuple(NOBODY if name == "-" else name for name in experts)
    return Answers(
        experts=names,
        bases=tuple(NOBODY if name == "-" else name for name in bases) or names,
        scores=np.array(scores),
        expected=np.array(expected or [NAN] * len(scores)),
        costs=np.full(len(scores), NAN),
    )


def test_who_moves_is_counted_by_category_and_by_whom() -> None:
    found = compare("xxxy", answers("aaab", [1, 1, 1, 1]), answers("abb-", [1, 1, 0, NAN]))

    assert found.moved == (
        Moved(category="x", old="a", new="b", count=2),
        Moved(category="y", old="b", new=NOBODY, count=1),
    )
    assert [(row.category, row.count, row.moved) for row in found.shares] == [
        ("x", 3, 2),
        ("y", 1, 1),
    ]
    assert found.after.refused == 1


def test_what_is_measured_and_what_is_only_expected_are_counted_apart() -> None:
    before = answers("aaa", [1, 0, NAN], [0.5, 0.5, 0.5])
    after = answers("bba", [1, NAN, NAN], [0.9, 0.8, NAN])

    found = compare("xxx", before, after)

    assert found.before is not None
    assert (found.before.measured, found.before.expected) == (2, 0)
    assert (found.after.measured, found.after.expected) == (1, 1)
    assert found.after.quality == pytest.approx((1 + 0.8) / 2)
    assert found.total.expected_gain == pytest.approx((0 + 0.8) / 2)


def test_a_gain_needs_scores_of_what_moves() -> None:
    stays = answers("ab", [1, NAN], [NAN, 0.5])

    found = compare("xx", stays, answers("ac", [1, NAN], [NAN, 0.7]))

    assert found.total.gain is None
    assert found.total.expected_gain == pytest.approx(0.1)


def test_a_gain_has_a_paired_interval() -> None:
    before, after = answers("a" * 400, [0.0] * 400), answers("b" * 400, [1.0, 0.0] * 200)

    gain = compare("x" * 400, before, after).total.gain

    assert gain is not None
    assert gain[0] == pytest.approx(0.5)
    assert 0.44 < gain[1] < 0.5 < gain[2] < 0.56


def test_swaps_are_changes_in_order_and_a_refusal_is_none() -> None:
    way = answers("aba-ac", [1] * 6, bases="xxx-xy")

    found = compare("......", None, way)

    assert found.before is None
    assert found.after.swaps == 3
    assert found.after.base_swaps == 1


def test_the_guard_sets_the_change_beside_single_experts_and_oracles() -> None:
    draw = np.random.default_rng(0)
    topic = draw.integers(2, size=300)
    scores = np.array([[t == 0, t == 1] for t in topic], dtype=float)
    matrix = OutcomeMatrix(
        prompts=tuple(map(str, range(300))),
        experts=("a", "b"),
        categories=("x", "y"),
        probabilities=np.array([[t == 0, t == 1] for t in topic], dtype=float),
        scores=scores,
        costs=np.full((300, 2), NAN),
        latencies=np.full((300, 2), NAN),
    )
    right = "".join("ab"[t] for t in topic)

    found = compare(
        ["xy"[t] for t in topic],
        answers("a" * 300, [float(t == 0) for t in topic]),
        answers(right, [1.0] * 300),
        matrix,
    )

    rows = {row.policy: row for row in found.guard}
    assert list(rows) == [
        *("after", "before", "random", "best single", "category oracle", "oracle"),
    ]
    assert rows["after"].quality == rows["oracle"].quality == 1.0
    assert rows["before"].gain_low > 0.4
    assert found.verdict == "better"
