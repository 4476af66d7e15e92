"""Alarms about experts, each by its formula."""

from __future__ import annotations

import numpy as np
import pytest

from coe.learning.health import Health

PLANNED = {"a": 0.6, "b": 0.3, "c": 0.1}


def asked(shares: dict[str, float], requests: int = 2000, seed: int = 0) -> Health:
    generator = np.random.default_rng(seed)
    health = Health(planned=PLANNED)
    for name in generator.choice(list(shares), size=requests, p=list(shares.values())):
        health = health.asked(str(name))
    return health


def judged(expected: float, reward: float, answers: int, seed: int = 0) -> Health:
    generator = np.random.default_rng(seed)
    health = Health(planned=PLANNED)
    for value in generator.random(answers) < reward:
        health = health.judged("a", expected, float(value))
    return health


def kinds(health: Health) -> list[tuple[str, str]]:
    return [(alarm.expert, alarm.kind) for alarm in health.alarms()]


def test_traffic_as_planned_is_healthy() -> None:
    for seed in range(10):
        assert kinds(asked(PLANNED, seed=seed)) == []


def test_who_takes_more_than_half_of_the_others_captures() -> None:
    """Of .6, the bound is .8."""
    assert kinds(asked({"a": 0.9, "b": 0.07, "c": 0.03})) == [("a", "capture")]
    assert kinds(asked({"a": 0.72, "b": 0.2, "c": 0.08})) == []


def test_who_gets_less_than_a_tenth_of_its_plan_starves() -> None:
    assert kinds(asked({"a": 0.69, "b": 0.01, "c": 0.3})) == [("b", "starvation")]


def test_an_expert_that_nobody_planned_can_capture() -> None:
    assert ("d", "capture") in kinds(asked({"d": 0.9, "a": 0.1}))


def test_answers_worse_than_expected_are_a_collapse() -> None:
    assert kinds(judged(0.9, 0.6, 200)) == [("a", "collapse")]
    assert kinds(judged(0.9, 0.9, 200)) == []


def test_few_answers_are_no_collapse() -> None:
    assert kinds(judged(0.9, 0.0, 20)) == []


def test_a_shortfall_that_may_be_chance_is_no_collapse() -> None:
    """A shortfall of .1 among 40 answers is one standard error and a half."""
    found = [kinds(judged(0.9, 0.8, 40, seed)) for seed in range(30)]

    assert sum(map(bool, found)) <= 2


def test_what_is_long_ago_is_forgotten() -> None:
    health = judged(0.9, 0.3, 300)
    for _ in range(6000):
        health = health.judged("a", 0.9, 0.9)

    assert kinds(health) == []


def test_few_requests_say_nothing() -> None:
    assert kinds(asked({"a": 1.0}, requests=50)) == []


def test_alarms_are_sentences() -> None:
    capture = asked({"a": 1.0}).alarms()[0]
    collapse = judged(0.9, 0.5, 200).alarms()[0]

    assert str(capture) == "`a` takes 100% of the traffic, lately; above 80% is capture"
    assert str(collapse).startswith("`a` answers worse than expected: 0.4")


def test_a_reward_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="both must be numbers"):
        Health(planned=PLANNED).judged("a", 0.5, float("nan"))
