import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from coe.asking import Reply
from coe.errors import BackendProtocolError
from coe.scoring.checks import Judge
from coe.scoring.judge import compared, judge, verdict
from coe.scoring.rows import Row

CHECK = Judge(answer="the reference", expert="big", about="short")
ROW = Row(
    place="file:1",
    digest="d",
    messages=({"role": "user", "content": [{"type": "text", "text": "Why?"}]},),
    check=CHECK,
)


def judged(*verdicts: str) -> tuple[float, list[str]]:
    """Return the score of an answer that a judge gives these verdicts, and what it was shown."""
    left, seen = list(verdicts), []

    async def ask(body: Mapping[str, Any], tokens: int) -> Reply:
        assert tokens > 0
        seen.append(body["messages"][1]["content"])
        return Reply(text=left.pop(0))

    score, replies = asyncio.run(judge(ask, CHECK, ROW, "our answer"))
    assert len(replies) == len(seen) == 2
    return score, seen


@pytest.mark.parametrize(
    ("first", "second", "score"),
    [
        ("A", "B", 1.0),  # ours stands first, then second
        ("B", "A", 0.0),
        ("A", "A", 0.5),  # whatever stands first wins: no preference
        ("B", "B", 0.5),
        ("TIE", "TIE", 0.5),
        ("A", "TIE", 0.5),
        ("TIE", "A", 0.5),
    ],
)
def test_an_answer_wins_only_in_both_orders(first: str, second: str, score: float) -> None:
    found, _ = judged(f"Well. VERDICT: {first}", f"Hm.\n**VERDICT: {second}**")

    assert found == score


def test_the_answers_change_places() -> None:
    _, (first, second) = judged("VERDICT: A", "VERDICT: A")

    assert first.index("our answer") < first.index("the reference")
    assert second.index("our answer") > second.index("the reference")


def test_the_judge_is_told_the_request_and_the_measure() -> None:
    system, user = compared(ROW, CHECK.about, "a", "b")

    assert "more: short." in system["content"]
    assert "[user]\nWhy?" in user["content"]


def test_the_last_verdict_counts() -> None:
    assert verdict("I must end with VERDICT: A or VERDICT: B.\n\nverdict: tie") == "TIE"


def test_a_judge_without_a_verdict_has_failed() -> None:
    with pytest.raises(BackendProtocolError, match="no verdict"):
        judged("The first one, I'd say.", "")
