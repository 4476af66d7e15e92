"""The bandit: what it learns, what it may explore, and that its propensities are true."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.learning.bandit import Bandit
from coe.learning.belief import Belief, Settings
from coe.learning.pacer import Pacer

X = np.array([1.0, 1.0, 0.0])
Y = np.array([1.0, 0.0, 1.0])
FREE = {"a": 0.0, "b": 0.0, "c": 0.0}


def bandit(settings: Settings | None = None, pacer: Pacer | None = None, **levels: float) -> Bandit:
    """Return one that expects a level of each expert everywhere, as sure as 100 answers are."""
    beliefs = {
        name: Belief.of(100 * np.eye(3), np.array([level, 0.0, 0.0]))
        for name, level in (levels or {"a": 0.5, "b": 0.4}).items()
    }
    return Bandit(settings=settings or Settings(), beliefs=beliefs, pacer=pacer)


def test_expects_what_it_was_told_on_prompts_of_that_kind() -> None:
    learnt = bandit(Settings(gamma=1.0))
    for _ in range(500):
        learnt = learnt.learnt(X, {"a": 0.1}).learnt(Y, {"a": 0.9})

    on_x, on_y = (float(learnt.beliefs["a"].theta @ x) for x in (X, Y))

    assert on_x == pytest.approx(0.1, abs=0.1)
    assert on_y == pytest.approx(0.9, abs=0.1)


def test_learns_by_the_normal_equations() -> None:
    generator = np.random.default_rng(0)
    rows, rewards = generator.random((40, 3)), generator.random(40)
    learnt = bandit(Settings(gamma=1.0), a=0.5)
    for x, reward in zip(rows, rewards, strict=True):
        learnt = learnt.update(x, "a", float(reward))

    precision = 100 * np.eye(3) + rows.T @ rows
    wanted = np.linalg.solve(precision, 100 * np.array([0.5, 0, 0]) + rows.T @ rewards)

    np.testing.assert_allclose(learnt.beliefs["a"].theta, wanted, rtol=1e-9)


def test_one_prompt_teaches_every_expert_that_answered_it() -> None:
    before = bandit(a=0.5, b=0.5, c=0.5)

    after = before.learnt(X, {"a": 1.0, "b": 0.0})

    assert after.beliefs["a"].theta @ X > 0.5 > after.beliefs["b"].theta @ X
    assert after.beliefs["c"] is before.beliefs["c"]


def test_an_update_leaves_the_old_state_as_it_was() -> None:
    before = bandit()
    theta = before.beliefs["a"].theta.copy()

    before.update(X, "a", 1.0)

    assert before.clock == 0
    np.testing.assert_array_equal(before.beliefs["a"].theta, theta)


def test_forgets_what_is_long_ago() -> None:
    def after(gamma: float) -> float:
        learnt = bandit(Settings(gamma=gamma), a=0.5)
        for reward in (0.0, 1.0):
            for _ in range(300):
                learnt = learnt.update(X, "a", reward)
        return float(learnt.beliefs["a"].theta @ X)

    assert after(0.98) > 0.98
    assert after(1.0) < 0.7


def test_where_nothing_is_learnt_it_returns_to_the_prior() -> None:
    learnt = bandit(Settings(gamma=0.9), a=0.5)
    learnt = learnt.learnt(Y, {"a": 0.0})
    for _ in range(300):
        learnt = learnt.update(np.array([0.0, 1.0, 0.0]), "a", 1.0)

    assert learnt.beliefs["a"].theta @ Y == pytest.approx(0.5, abs=0.02)
    assert np.linalg.cond(learnt.beliefs["a"].precision) < 1e3


def test_a_burst_of_late_rewards_ages_none_of_itself() -> None:
    settings = Settings(gamma=0.5)
    late = bandit(settings, a=0.5)
    for _ in range(10):
        late = late.asked("a", None)
    late = late.learnt(X, {"a": 1.0})
    once = late.beliefs["a"].precision[0, 0]

    assert late.learnt(X, {"a": 1.0}).beliefs["a"].precision[0, 0] == pytest.approx(once + 1.0)


def test_an_expert_that_was_long_not_asked_is_doubted_more() -> None:
    settings = Settings(share=0.0, alpha=0.05, gamma=0.99)
    fresh = bandit(settings, a=0.50, b=0.495)
    stale = fresh
    for _ in range(600):
        stale = stale.asked("a", None)

    first, later = (
        state.choose(X, FREE, ("a", "b"), may_explore=True, uniform=0.5).expert
        for state in (fresh, stale)
    )

    assert (first, later) == ("a", "b")


def test_doubt_about_a_bad_expert_never_makes_it_the_choice() -> None:
    """However stale it is: its lower bound is too far from the best."""
    stale = bandit(Settings(share=0.2, alpha=0.5, gamma=0.9), a=0.9, b=0.5)
    for _ in range(2000):
        stale = stale.asked("a", None)

    choice = stale.choose(X, FREE, ("a", "b"), may_explore=True, uniform=0.999)

    assert choice.expert == "a"
    assert choice.propensities == {"a": 1.0, "b": 0.0}


def test_explores_the_safe_ones_alone() -> None:
    state = bandit(Settings(share=0.3), a=0.9, b=0.89, c=0.5)

    choice = state.choose(X, FREE, ("a", "b", "c"), may_explore=True, uniform=0.0)

    assert choice.propensities == pytest.approx({"a": 0.85, "b": 0.15, "c": 0.0})


def test_nothing_is_explored_where_it_may_not() -> None:
    state = bandit(Settings(share=0.5, alpha=1.0), a=0.9, b=0.89).joined("new")

    for uniform in (0.0, 0.3, 0.6, 0.999):
        choice = state.choose(X, FREE, ("a", "b", "new"), may_explore=False, uniform=uniform)
        assert (choice.expert, choice.propensities["a"]) == ("a", 1.0)


def test_exploration_spends_at_most_its_share_of_the_budget() -> None:
    pacer = Pacer(ceiling=1.0)
    state = bandit(Settings(share=0.1), pacer, a=0.9, b=0.9)

    choice = state.choose(X, {"a": 1.0, "b": 50.0}, ("a", "b"), may_explore=True, uniform=0.0)

    assert choice.propensities["b"] * 50.0 == pytest.approx(0.05)


def test_a_new_expert_is_owed_its_burn_in_and_then_judged() -> None:
    state = bandit(Settings(burn_in=3), a=0.9).joined("new")
    asked = []
    for _ in range(6):
        choice = state.choose(X, FREE, ("a", "new"), may_explore=True, uniform=0.5)
        asked.append((choice.expert, choice.why))
        state = state.update(X, choice.expert, 0.9 if choice.expert == "a" else 0.1)

    assert asked[:3] == [("new", "new")] * 3
    assert asked[3:] == [("a", "best")] * 3


def test_the_burn_in_of_a_dear_expert_takes_its_time() -> None:
    settings = Settings(share=0.0, alpha=0.0)
    state = bandit(settings, Pacer(ceiling=1.0), a=0.5).joined("new")

    choice = state.choose(X, {"a": 1.0, "new": 20.0}, ("a", "new"), may_explore=True, uniform=0.5)

    assert choice.propensities == pytest.approx({"a": 0.9975, "new": 0.0025})


def test_a_new_expert_is_expected_to_be_like_the_others() -> None:
    state = bandit(a=0.9, b=0.7).joined("new")

    assert state.beliefs["new"].theta @ X == pytest.approx(0.8)


def test_a_budget_makes_the_cheap_expert_the_choice() -> None:
    prices = {"a": 10.0, "b": 0.1}
    rich = bandit(Settings(share=0.0), Pacer(ceiling=10.0), a=0.9, b=0.8)
    poor = replace(rich, pacer=Pacer(ceiling=1.0, weight=0.05))

    chosen = [
        state.choose(X, prices, ("a", "b"), may_explore=True, uniform=0.5).expert
        for state in (rich, poor)
    ]

    assert chosen == ["a", "b"]


@given(
    levels=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5),
    method=st.sampled_from(["ucb", "thompson"]),
    share=st.floats(0.0, 1.0),
    ceiling=st.one_of(st.none(), st.floats(0.01, 10.0)),
    is_new=st.booleans(),
    may_explore=st.booleans(),
    uniform=st.floats(0.0, 1.0, exclude_max=True),
)
def test_propensities_sum_to_one_and_the_chosen_has_one(  # noqa: PLR0917
    levels: list[float],
    method: str,
    share: float,
    ceiling: float | None,
    is_new: bool,  # noqa: FBT001
    may_explore: bool,  # noqa: FBT001
    uniform: float,
) -> None:
    state = bandit(
        Settings(method=method, share=share),  # type: ignore[arg-type]
        None if ceiling is None else Pacer(ceiling=ceiling, weight=0.1),
        **{f"e{i}": level for i, level in enumerate(levels)},
    )
    if is_new:
        state = state.joined("new")
    names = tuple(state.beliefs)
    prices = {name: float(i) for i, name in enumerate(names)}

    choice = state.choose(X, prices, names, may_explore=may_explore, uniform=uniform)

    assert sum(choice.propensities.values()) == pytest.approx(1.0)
    assert min(choice.propensities.values()) >= 0.0
    assert choice.propensities[choice.expert] > 0.0


@pytest.mark.parametrize("method", ["ucb", "thompson"])
def test_experts_are_drawn_as_often_as_the_log_says(method: str) -> None:
    state = bandit(Settings(method=method, share=0.2, margin=0.1), a=0.5, b=0.49, c=0.47)  # type: ignore[arg-type]
    names = ("a", "b", "c")
    generator = np.random.default_rng(1)
    said = state.choose(X, FREE, names, may_explore=True, uniform=0.0).propensities
    draws = 20_000

    drawn = Counter(
        state.choose(X, FREE, names, may_explore=True, uniform=float(uniform)).expert
        for uniform in generator.random(draws)
    )

    for name in names:
        error = 4 * np.sqrt(said[name] * (1 - said[name]) / draws)
        assert drawn[name] / draws == pytest.approx(said[name], abs=error + 1e-12)
    assert min(said.values()) > 0.01


def test_finds_the_better_expert_of_each_kind_of_prompt() -> None:
    generator = np.random.default_rng(2)
    state = Bandit(
        settings=Settings(),
        beliefs={name: Belief.of(np.eye(3), np.array([0.5, 0, 0])) for name in ("a", "b")},
    )
    worth = {"a": (0.9, 0.3), "b": (0.4, 0.8)}
    right = []
    for step in range(600):
        kind = int(generator.integers(2))
        x = (X, Y)[kind]
        choice = state.choose(x, FREE, ("a", "b"), may_explore=True, uniform=generator.random())
        reward = float(generator.random() < worth[choice.expert][kind])
        state = state.update(x, choice.expert, reward)
        right.append(step >= 300 and choice.expert == ("a", "b")[kind])

    assert sum(right) / 300 > 0.9


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"alpha": -1.0}, "alpha is -1.0, it must be 0 or more"),
        ({"gamma": 0.0}, "gamma is 0.0, it must be above 0 and at most 1"),
        ({"ridge": 0.0}, "ridge is 0.0"),
        ({"inflation": 0.5}, "inflation is 0.5"),
        ({"margin": -0.1}, "margin is -0.1"),
        ({"share": 1.5}, "share is 1.5"),
        ({"burn_in": -1}, "burn_in is -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(broken: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(**broken)  # type: ignore[arg-type]


def test_what_is_wrong_is_named() -> None:
    state = bandit(pacer=Pacer(ceiling=1.0))
    choose = {"may_explore": True, "uniform": 0.5}

    with pytest.raises(ValueError, match="no expert to choose from"):
        state.choose(X, FREE, (), **choose)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`z` has not joined; there are `a`, `b`"):
        state.choose(X, FREE, ("z",), **choose)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`b` has no price"):
        state.choose(X, {"a": 1.0}, ("a", "b"), **choose)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a prompt has 3 features here"):
        state.choose(np.ones(2), FREE, ("a",), **choose)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the reward of `a` is nan"):
        state.learnt(X, {"a": float("nan")})
    with pytest.raises(ValueError, match="the cost is -1"):
        state.asked("a", -1.0)
    with pytest.raises(ValueError, match="`new` has 2 features, the others have 3"):
        state.joined("new", Belief.of(np.eye(2), np.zeros(2)))
    with pytest.raises(ValueError, match="`new` is the first expert"):
        Bandit(beliefs={}).joined("new")


def test_an_expert_that_left_is_chosen_no_more() -> None:
    state = bandit().left("a").left("never there")

    assert tuple(state.beliefs) == ("b",)
