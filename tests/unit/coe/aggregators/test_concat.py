from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coe.aggregators.concat import Concat, build
from coe.drafts import Ask, Conflict, Merge, Pick, Table, Wait
from coe.errors import ConfigError
from coe.protocols import AggregatorSpec

Lay = Callable[..., Table]


def concat(**options: Any) -> Concat:
    return build(AggregatorSpec(name="c", type="concat", options=options))


def test_all_drafts_that_say_something_are_the_answer(lay: Lay) -> None:
    assert concat().next(lay({})) == Ask((0, 1, 2))
    assert concat().next(lay({2: "c"}, pending=(0, 1))) == Wait()
    merged = Merge(members=(0, 2), as_choices=False, why="all 2 drafts")
    assert concat().next(lay({2: "c", 0: "a", 1: None})) == merged
    assert concat().next(lay({2: "c", 0: "a", 1: "<think>"})) == merged


def test_they_may_be_choices(lay: Lay) -> None:
    step = concat(**{"as": "choices", "answer": "number"}).next(lay({0: "1", 1: "2", 2: "2"}))

    assert step == Merge(
        members=(0, 1, 2),
        as_choices=True,
        why="all 3 drafts",
        conflicts=(Conflict(answer="1", members=(0,)), Conflict(answer="2", members=(1, 2))),
    )


def test_one_draft_is_an_answer_as_any_other(lay: Lay) -> None:
    assert concat().next(lay({0: None, 1: "b", 2: None})) == Pick(member=1, why="the only draft")
    assert concat().next(lay({0: None, 1: " ", 2: None})) == Pick(
        member=1, why="no draft says anything"
    )


def test_a_wrong_option_names_its_place() -> None:
    with pytest.raises(ConfigError, match=r"aggregation\.c\.as: expected one of text, choices"):
        concat(**{"as": "choice"})
