"""How right a gateway's answers are."""

from __future__ import annotations

import pytest

from coe.scoring.routed import ALL, Routed, evaluate


def routed(number: int, score: float, expert: str = "one", category: str | None = "sums") -> Routed:
    return Routed(
        digest=str(number),
        category=category,
        expert=expert,
        score=score,
        cost=None if number % 2 else 2.0,
        latency_s=1.0,
    )


def test_parts_are_in_order_and_all_is_last() -> None:
    rows = [routed(1, 1), routed(2, 0, category=None), routed(3, 1, "two", "trips")]

    found = evaluate(rows, categories=("trips", "sums"))

    assert [part.category for part in found.parts] == ["trips", "sums", "(none)", ALL]
    assert found.parts[-1].right[0] == pytest.approx(2 / 3)
    assert found.parts[-1].experts == {"one": 2, "two": 1}
    assert found.cost == 2.0
    assert all(part.gain is None for part in found.parts)


def test_a_gain_is_over_the_prompts_that_are_in_both() -> None:
    rows = [routed(i, 1.0, "two" if i % 2 else "one") for i in range(300)]
    before = {str(i): ("one", float(i % 3 > 0)) for i in range(200)}

    total = evaluate(rows, before).parts[-1]

    assert total.gain is not None
    assert total.gain[0] == pytest.approx(67 / 200)
    assert 0.2 < total.gain[1] < total.gain[0] < total.gain[2] < 0.45
    assert total.moved == 100


def test_nothing_answered_is_nothing_evaluated() -> None:
    with pytest.raises(ValueError, match="no prompt was answered"):
        evaluate([])
