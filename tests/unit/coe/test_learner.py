"""What feedback is worth to whom."""

from __future__ import annotations

from typing import Any

import pytest

from coe.learner import rewards_of
from coe.stores.decisions import Feedback, Record


def record(**provenance: Any) -> Record:
    detail = {"provenance": provenance} if provenance else {}
    return Record(id="d", at=0.0, expert="a", detail=detail)


def said(value: float | None, **correct: float) -> Feedback:
    return Feedback(decision="d", at=0.0, value=value, correct=correct)


def draft(expert: str, status: str) -> dict[str, str]:
    return {"expert": expert, "role": "draft", "status": status}


VOTED = {
    "method": "vote",
    "conflicts": [
        {"answer": "4", "experts": ["a", "b"]},
        {"answer": "5", "experts": ["c"]},
    ],
}
ALIKE = {
    "method": "vote",
    "calls": [draft("a", "answer"), draft("b", "used"), draft("c", "late")],
}


@pytest.mark.parametrize(
    ("told", "feedback", "rewards"),
    [
        ({}, said(1.0), {"a": 1.0}),
        ({}, said(0.25, b=1.0), {"a": 0.25, "b": 1.0}),
        ({}, said(None, b=1.0), {"b": 1.0}),
        (VOTED, said(1.0), {"a": 1.0, "b": 1.0, "c": 0.0}),
        (VOTED, said(0.0), {"a": 0.0, "b": 0.0}),  # c may be wrong, too
        (VOTED, said(0.0, c=1.0), {"a": 0.0, "b": 0.0, "c": 1.0}),
        (ALIKE, said(1.0), {"a": 1.0, "b": 1.0}),
        ({**VOTED, "method": "synthesize"}, said(1.0), {"a": 1.0}),
    ],
)
def test_who_is_credited(
    told: dict[str, Any], feedback: Feedback, rewards: dict[str, float]
) -> None:
    assert rewards_of(record(**told), feedback) == rewards
