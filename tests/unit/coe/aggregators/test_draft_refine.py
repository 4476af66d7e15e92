from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coe.aggregators.draft_refine import DraftRefine, build
from coe.drafts import Ask, Consult, Pick, Remark, Table, Wait, Write
from coe.errors import ConfigError
from coe.protocols import AggregatorSpec

Lay = Callable[..., Table]


def refine(writer: str | None = None, **options: Any) -> DraftRefine:
    return build(AggregatorSpec(name="r", type="draft_refine", writer=writer, options=options))


def test_one_drafts_and_the_next_one_writes(lay: Lay) -> None:
    assert refine().next(lay({})) == Ask((0,))
    assert refine().next(lay({}, pending=(0,))) == Wait()

    step = refine().next(lay({0: "<think>hm</think>a draft"}))

    assert isinstance(step, Write)
    assert (step.expert, step.used, step.why) == ("e1", (0,), "a draft, refined")
    assert ">\na draft\n</draft " in step.messages[0]["content"]
    assert "hm" not in step.messages[0]["content"]
    assert step.messages[1:] == ({"role": "user", "content": "what is 6 * 7?"},)


def test_who_fails_is_passed_over(lay: Lay) -> None:
    assert refine().next(lay({0: None})) == Ask((1,))
    assert refine().next(lay({0: "<think>"})) == Ask((1,))
    step = refine(rounds=1).next(lay({0: None, 1: None, 2: "a draft"}))
    assert isinstance(step, Write)
    assert step.expert == "e2"


def test_a_chain_goes_round(lay: Lay) -> None:
    method, drafts = refine(rounds=3), {0: "one"}

    first = method.next(lay(drafts))
    assert isinstance(first, Consult)
    assert (first.questions[0].key, first.questions[0].expert) == ("refine-1", "e1")
    assert first.questions[0].max_tokens is None
    assert "\none\n" in first.questions[0].messages[0]["content"]

    asked = frozenset({"refine-1"})
    assert method.next(lay(drafts, consulted=asked)) == Wait()

    remarks = {"refine-1": Remark(text="<think>hm</think>two")}
    second = method.next(lay(drafts, consulted=asked, remarks=remarks))
    assert isinstance(second, Consult)
    assert (second.questions[0].key, second.questions[0].expert) == ("refine-2", "e2")
    assert "\ntwo\n" in second.questions[0].messages[0]["content"]

    remarks["refine-2"] = Remark(error="it broke")
    last = method.next(lay(drafts, consulted=frozenset(remarks), remarks=remarks))
    assert isinstance(last, Write)
    assert (last.expert, last.why) == ("e0", "a draft, refined 3 times")
    assert "\ntwo\n" in last.messages[0]["content"]


def test_the_last_one_may_be_named(lay: Lay) -> None:
    step = refine("eloquent").next(lay({0: "a draft"}))

    assert isinstance(step, Write)
    assert step.expert == "eloquent"


def test_where_time_is_up_the_draft_stands(lay: Lay) -> None:
    assert refine().next(lay({0: "a draft"}, is_closing=True)) == Pick(
        member=0, why="as it was drafted"
    )
    assert refine().next(lay({0: "<think>", 1: "b"}, is_closing=True)) == Pick(
        member=1, why="as it was drafted"
    )
    assert refine().next(lay({1: " "}, is_closing=True)) == Pick(member=1, why="as it was drafted")


def test_drafts_that_say_nothing_are_not_refined(lay: Lay) -> None:
    assert refine().next(lay({0: "<think>", 1: None, 2: " "})) == Pick(
        member=0, why="no draft says anything"
    )


def test_one_expert_refines_its_own_draft(lay: Lay) -> None:
    step = refine().next(lay({0: "a draft"}, weights=(0.5,)))

    assert isinstance(step, Write)
    assert step.expert == "e0"


@pytest.mark.parametrize("options", [{"rounds": 0}, {"rounds": 6}, {"draft_chars": 1}])
def test_a_wrong_option_names_its_place(options: dict[str, int]) -> None:
    (key,) = options
    with pytest.raises(ConfigError, match=rf"aggregation\.r\.{key}: expected a whole number"):
        refine(**options)
