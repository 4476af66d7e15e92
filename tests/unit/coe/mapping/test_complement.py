"""What an expert knows that the others lack."""

from __future__ import annotations

import numpy as np
import pytest

from coe.mapping.complement import best_at, row, rows
from coe.mapping.outcomes import NONE, OutcomeMatrix


def of(scores: list[list[float]], shares: list[float] | None = None) -> OutcomeMatrix:
    """Prompts by experts; each prompt belongs to `code` as much as said, wholly if not."""
    table = np.array(scores)
    unknown = np.full_like(table, np.nan)
    return OutcomeMatrix(
        prompts=tuple(map(str, range(len(table)))),
        experts=tuple("abc"[: table.shape[1]]),
        categories=("code",),
        probabilities=np.array(shares or [1.0] * len(table))[:, None],
        scores=table,
        costs=unknown,
        latencies=unknown,
    )


NAN = float("nan")
TABLE = of([[1, 0, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1], [1, 0, NAN]])


def test_rescues_are_right_where_all_others_are_wrong() -> None:
    first = row(TABLE, "a")

    assert (first.rescues.value, first.rescues.count) == (pytest.approx(2 / 3), 3)
    assert first.unique.value == pytest.approx(2 / 5)
    assert first.gain == pytest.approx(2 / 5)
    assert first.quality.value == pytest.approx(3 / 5)
    assert 0 < first.rescues.low < first.rescues.value < first.rescues.high < 1


def test_who_answers_like_another_one_adds_nothing() -> None:
    second, third = row(TABLE, "b"), row(TABLE, "c")

    assert second.rescues.value == third.rescues.value == 0
    assert second.gain == third.gain == 0


def test_prompts_count_for_categories_as_much_as_they_belong_to_them() -> None:
    only = row(of([[1.0], [0.0], [1.0]], [1.0, 1.0, 0.0]), "a")

    code, none = only.by_category["code"], only.by_category[NONE]
    assert code is not None
    assert none is not None
    assert (code.value, code.count) == (0.5, 2)
    assert (none.value, none.count) == (1.0, 1)


def test_nothing_is_known_without_others_or_without_prompts() -> None:
    alone = row(of([[1.0], [0.0]]), "a")
    empty = row(of([[NAN, 1.0]]), "a")

    assert alone.rescues.count == 0
    assert (alone.rescues.low, alone.rescues.high, alone.gain) == (0, 1, 0)
    assert empty.quality.count == 0
    assert empty.by_category["code"] is None


def test_it_is_best_at_what_few_others_answer() -> None:
    assert best_at(TABLE, "a") == [0, 4]
    assert best_at(TABLE, "b") == [3]
    assert best_at(of([[1.0], [0.0]]), "a") == [0]


def test_every_expert_has_a_row() -> None:
    assert [found.expert for found in rows(TABLE)] == ["a", "b", "c"]
