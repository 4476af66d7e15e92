from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.aggregators.best_of import MOST, BestOf, build, copeland
from coe.drafts import Ask, Conflict, Consult, Pick, Question, Remark, Step, Table, Wait
from coe.protocols import AggregatorSpec

Lay = Callable[..., Table]
DRAFTS = {0: "first text", 1: "second text", 2: "third text"}


def best_of(judge: str | None = None, **options: Any) -> BestOf:
    return build(AggregatorSpec(name="b", type="best_of", judge=judge, options=options))


def questions(step: Step) -> dict[str, Question]:
    assert isinstance(step, Consult)
    return {question.key: question for question in step.questions}


def prefers(question: Question, wanted: Callable[[list[str]], str | None]) -> Remark:
    """Say the name of the answer whose text is wanted, of the two in the order shown."""
    shown = dict(re.findall(r"<answer (\w) \w{8}>\n(.*)\n</answer", _content(question)))
    text = wanted(list(shown.values()))
    return Remark(text=next((name for name, each in shown.items() if each == text), "TIE"))


def _content(question: Question) -> str:
    content = question.messages[1]["content"]
    assert isinstance(content, str)
    return content


def judged(
    lay: Lay,
    method: BestOf,
    wanted: Callable[[list[str]], str | None],
    drafts: Mapping[int, str | None] = DRAFTS,
    **rest: Any,
) -> Step:
    asked = questions(method.next(lay(drafts, **rest)))
    remarks = {key: prefers(question, wanted) for key, question in asked.items()}
    return method.next(lay(drafts, consulted=frozenset(asked), remarks=remarks, **rest))


def test_drafts_come_first(lay: Lay) -> None:
    assert best_of().next(lay({})) == Ask((0, 1, 2))
    assert best_of().next(lay({0: "a"}, pending=(1, 2))) == Wait()


def test_every_pair_is_asked_about_in_both_orders(lay: Lay) -> None:
    found = questions(best_of().next(lay(DRAFTS)))

    assert set(found) == {"0>1", "1>0", "0>2", "2>0", "1>2", "2>1"}
    text = found["2>0"].messages[1]["content"]
    assert text.index("third text") < text.index("first text")
    assert {question.expert for question in found.values()} == {"e0"}
    assert {question.max_tokens for question in found.values()} == {16}


def test_the_judge_may_be_named(lay: Lay) -> None:
    found = questions(best_of("wise", judge_tokens=300).next(lay(DRAFTS)))

    assert {(question.expert, question.max_tokens) for question in found.values()} == {
        ("wise", 300)
    }


def test_it_waits_for_all_verdicts(lay: Lay) -> None:
    asked = frozenset(questions(best_of().next(lay(DRAFTS))))

    assert best_of().next(lay(DRAFTS, consulted=asked)) == Wait()


def test_who_wins_most_is_the_answer(lay: Lay) -> None:
    def longest(texts: list[str]) -> str:
        return max(texts, key=len)

    # The first and the third one are as long as each other, so that pair has no winner.
    assert judged(lay, best_of(), longest) == Pick(member=1, why="by 2 of 3 comparisons")


def test_a_judge_that_likes_what_stands_first_decides_nothing(lay: Lay) -> None:
    step = judged(lay, best_of(), lambda texts: texts[0])

    assert step == Pick(member=0, why="by 0 of 3 comparisons")


def test_a_judge_that_says_nothing_of_use_decides_nothing(lay: Lay) -> None:
    step = judged(lay, best_of(), lambda _: None)

    assert step == Pick(member=0, why="by 0 of 3 comparisons")


def test_one_consistent_win_is_enough(lay: Lay) -> None:
    def knows_the_third(texts: list[str]) -> str | None:
        return "third text" if set(texts) == {"second text", "third text"} else None

    assert judged(lay, best_of(), knows_the_third) == Pick(member=2, why="by 1 of 3 comparisons")


def test_drafts_that_say_the_same_are_one(lay: Lay) -> None:
    found = questions(best_of().next(lay({0: "York", 1: " york.", 2: "Kent"})))

    assert set(found) == {"0>2", "2>0"}
    step = best_of().next(lay({0: "York", 1: "york", 2: None}))
    assert step == Pick(member=0, why="there is nothing to compare it with")


def test_with_answers_the_best_member_of_each_is_compared(lay: Lay) -> None:
    method, drafts = best_of(answer="number"), {0: "it is 41", 1: "42", 2: "so 42."}

    assert set(questions(method.next(lay(drafts)))) == {"0>1", "1>0"}
    assert judged(lay, method, lambda _: "42", drafts) == Pick(
        member=1,
        why="by 1 of 1 comparisons",
        conflicts=(Conflict(answer="41", members=(0,)), Conflict(answer="42", members=(1, 2))),
    )


def test_drafts_without_an_answer_are_compared_each(lay: Lay) -> None:
    found = questions(best_of(answer="number").next(lay({0: "x", 1: "y", 2: "42"})))

    assert len(found) == 6


def test_who_comes_after_the_questions_is_not_compared(lay: Lay) -> None:
    quorum = {"quorum": 2}
    asked = questions(best_of().next(lay({1: "b", 2: "cc"}, pending=(0,), **quorum)))
    remarks = {
        key: prefers(question, lambda texts: max(texts, key=len)) for key, question in asked.items()
    }

    late = lay({1: "b", 2: "cc", 0: "a"}, consulted=frozenset(asked), remarks=remarks, **quorum)

    assert best_of().next(late) == Pick(member=2, why="by 1 of 1 comparisons")


def test_where_time_is_up_what_was_said_counts(lay: Lay) -> None:
    asked = questions(best_of().next(lay(DRAFTS)))
    remarks = {key: prefers(asked[key], lambda _: "third text") for key in ("0>2", "2>0")}
    table = lay(DRAFTS, consulted=frozenset(asked), remarks=remarks, is_closing=True)

    assert best_of().next(table) == Pick(member=2, why="by 1 of 3 comparisons")
    assert best_of().next(lay(DRAFTS, is_closing=True)) == Pick(
        member=0, why="by 0 of 3 comparisons"
    )


def test_only_so_many_are_compared(lay: Lay) -> None:
    drafts = {member: f"text {member}" for member in range(9)}

    found = questions(best_of().next(lay(drafts, weights=(0.5,) * 9)))

    assert len(found) == MOST * (MOST - 1) == 30
    assert not any("6" in key for key in found)


def test_a_check_picks_the_best_member_that_passes(lay: Lay) -> None:
    method = best_of(check={"type": "json"})
    passes = Pick(member=1, why="passes the check")

    assert method.next(lay({0: "x", 1: "[1]", 2: "[2]"})) == passes
    assert method.next(lay({0: "x", 1: "[1]"}, pending=(2,))) == passes
    assert method.next(lay({1: "[1]"}, pending=(0, 2))) == Wait()
    assert method.next(lay({1: "[1]"}, pending=(0, 2), is_closing=True)) == passes
    assert method.next(lay({1: "[1]"}, pending=(0, 2), quorum=1)) == passes
    assert method.next(lay({2: "z", 1: "y", 0: None})) == Pick(
        member=1, why="no draft passes the check"
    )


def test_drafts_that_say_nothing_leave_it_to_the_best_member(lay: Lay) -> None:
    step = best_of().next(lay({0: None, 1: "<think>", 2: " "}))

    assert step == Pick(member=1, why="no draft says anything")


@pytest.mark.parametrize(
    ("wins", "best"),
    [
        ([], 3),
        ([(1, 3)], 1),
        ([(3, 1), (1, 2), (2, 3)], 3),  # a circle: each has one win and one loss
        ([(2, 3), (2, 1), (1, 3)], 2),
        ([(1, 2), (3, 2)], 3),  # 1 and 3 have won once
    ],
)
def test_copeland_counts_wins_less_losses(wins: list[tuple[int, int]], best: int) -> None:
    assert copeland(wins, (3, 1, 2)) == best


@given(st.permutations([0, 1, 2, 3]))
def test_who_beats_all_others_is_the_answer(lay: Lay, order: list[int]) -> None:
    drafts = {member: f"text {member}" for member in range(4)}
    ranks = {f"text {member}": rank for rank, member in enumerate(order)}

    def better(texts: list[str]) -> str:
        return min(texts, key=ranks.__getitem__)

    step = judged(lay, best_of(), better, drafts, weights=(0.5,) * 4)

    assert step == Pick(member=order[0], why="by 6 of 6 comparisons")
    assert len(list(permutations(range(4), 2))) == 12
