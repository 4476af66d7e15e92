from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coe.aggregators.first_good import FirstGood, build
from coe.drafts import Ask, Consult, Pick, Relay, Remark, Table, Wait
from coe.errors import ConfigError
from coe.protocols import AggregatorSpec

Lay = Callable[..., Table]
NUMBER = {"check": {"type": "numeric"}}


def cascade(good_when: Any = NUMBER, **rest: Any) -> FirstGood:
    judge = rest.pop("judge", None)
    folder = rest.pop("folder", ".")
    options = {"good_when": good_when, **rest}
    return build(
        AggregatorSpec(name="c", type="first_good", judge=judge, folder=folder, options=options)
    )


def test_the_first_is_asked_alone(lay: Lay) -> None:
    assert cascade().next(lay({})) == Ask((0,))
    assert cascade().next(lay({}, pending=(0,))) == Wait()


def test_a_draft_that_is_good_enough_is_the_answer(lay: Lay) -> None:
    assert cascade().next(lay({0: "it is 42"})) == Pick(member=0, why="good enough")


def test_the_next_one_is_asked_where_it_is_not(lay: Lay) -> None:
    assert cascade().next(lay({0: "no idea"})) == Ask((1,))
    assert cascade().next(lay({0: None})) == Ask((1,))
    assert cascade().next(lay({0: "<think>42, or 43"})) == Ask((1,))


def test_the_last_one_is_relayed(lay: Lay) -> None:
    assert cascade().next(lay({0: "no idea", 1: "nor I"})) == Relay(member=2, why="the last one")
    assert cascade().next(lay({}, weights=(0.5,))) == Relay(member=0, why="the last one")


def test_where_the_last_one_fails_the_one_before_it_stands(lay: Lay) -> None:
    drafts = {0: "no idea", 1: "nor I", 2: None}

    assert cascade().next(lay(drafts)) == Pick(member=1, why="the last one that gave any")
    drafts = {0: "no idea", 1: "<think>", 2: None}
    assert cascade().next(lay(drafts)) == Pick(member=0, why="the last one that gave any")


def test_where_time_is_up_the_last_draft_stands(lay: Lay) -> None:
    table = lay({0: "no idea", 1: "nor I"}, is_closing=True)

    assert cascade().next(table) == Pick(member=1, why="nobody else could be asked")
    table = lay({0: "it is 42", 1: "nor I"}, is_closing=True)
    assert cascade().next(table) == Pick(member=0, why="good enough")


def test_log_probabilities_are_asked_for_and_compared(lay: Lay) -> None:
    method = cascade({"logprob_over": -0.2})

    assert method.next(lay({})) == Ask((0,), logprobs=True)
    assert isinstance(method.next(lay({0: "42"}, logprobs={0: -0.1})), Pick)
    assert isinstance(method.next(lay({0: "42"}, logprobs={0: -0.2})), Ask)
    assert isinstance(method.next(lay({0: "42"})), Ask)


def test_a_curve_tells_the_probability(lay: Lay, tmp_path: Path) -> None:
    """Half way between -1 and 0 it is .7: over .6 and not over .7."""
    curves = {"e0": [[-1, 0.4], [0, 1]], "e2": [[-1, 0.9]]}
    tmp_path.joinpath("curves.json").write_text(json.dumps(curves))

    def sure(least: float) -> FirstGood:
        good_when = {"probability_over": least, "map": "curves.json"}
        return cascade(good_when, folder=str(tmp_path))

    table = lay({0: "42"}, logprobs={0: -0.5})
    assert isinstance(sure(0.6).next(table), Pick)
    assert isinstance(sure(0.7).next(table), Ask)
    unknown = lay({0: None, 1: "42"}, logprobs={1: 0.0})
    assert isinstance(sure(0.1).next(unknown), Relay)


def test_a_judge_is_asked_and_its_number_counts(lay: Lay) -> None:
    method = cascade({"judge_over": 0.7}, judge_tokens=50)

    step = method.next(lay({0: "it is 42"}))

    assert isinstance(step, Consult)
    (question,) = step.questions
    assert (question.key, question.expert, question.max_tokens) == ("right-0", "e2", 50)
    assert "it is 42" in question.messages[1]["content"]
    asked = frozenset({"right-0"})
    assert method.next(lay({0: "it is 42"}, consulted=asked)) == Wait()
    said = {"80": True, "70": False, "sure: 100": True, "surely": False, "700": False}
    for text, is_enough in said.items():
        table = lay({0: "it is 42"}, consulted=asked, remarks={"right-0": Remark(text=text)})
        assert isinstance(method.next(table), Pick) == is_enough, text
    table = lay({0: "42"}, consulted=asked, remarks={"right-0": Remark(text="80", error="late")})
    assert isinstance(method.next(table), Ask)


def test_the_judge_may_be_named_and_is_not_asked_where_time_is_up(lay: Lay) -> None:
    method = cascade({"judge_over": 0.7}, judge="wise")

    step = method.next(lay({0: "42"}))
    assert isinstance(step, Consult)
    assert step.questions[0].expert == "wise"
    assert isinstance(method.next(lay({0: "42"}, is_closing=True)), Pick)


@pytest.mark.parametrize(
    ("good_when", "message"),
    [
        (None, r"aggregation\.c\.good_when: expected a mapping with one of probability_over, "),
        ({}, r"c\.good_when: expected a mapping with one of"),
        ({"judge_over": 0.5, "logprob_over": -1}, r"c\.good_when: expected a mapping with one of"),
        ({"judge_over": 2}, r"c\.good_when\.judge_over: expected a number from 0 to 1"),
        ({"logprob_over": 0.1}, r"c\.good_when\.logprob_over: expected a number from -1000 to 0"),
        ({"judge_over": 0.5, "map": "x"}, r"c\.good_when\.map: unknown option"),
        ({"probability_over": 0.5}, r"c\.good_when\.map: is missing; expected a text"),
        ({"probability_over": 0.5, "map": "none.json"}, r"none\.json: cannot be read: No such"),
        ({"check": {"type": "vibe"}}, r"c\.good_when\.check\.type: expected one of numeric, "),
        ({"check": "json"}, r"c\.good_when\.check: expected a check such as"),
    ],
)
def test_a_wrong_condition_names_its_place(good_when: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cascade(good_when)
