"""Off-policy evaluation: unbiased, covered, and refused where the log cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.learning import ope
from coe.learning.ope import Log, TooLittleSupport

Floats = np.ndarray


def simulated(seed: int, *, share: float = 0.3, count: int = 2000) -> tuple[Log, Floats, float]:
    """Return a log, another policy, and what that one is worth on the log's prompts."""
    generator = np.random.default_rng(seed)
    x = np.column_stack([np.ones(count), generator.random((count, 2))])
    worth = np.clip(x @ np.array([[0.5, 0.6, 0.4], [0.3, -0.2, 0.2], [-0.2, 0.1, 0.2]]), 0.02, 0.98)
    places = np.arange(count)
    propensities = np.full((count, 3), share / 3)
    propensities[places, (worth + np.array([0.1, 0.0, 0.05])).argmax(axis=1)] += 1 - share
    chosen = (propensities.cumsum(axis=1) < generator.random(count)[:, None]).sum(axis=1)
    rewards = (generator.random(count) < worth[places, chosen]).astype(np.float64)
    target = np.zeros((count, 3))
    target[places, worth.argmax(axis=1)] = 1.0
    log = Log(x=x, chosen=chosen, propensities=propensities, rewards=rewards)
    return log, target, float((target * worth).sum(axis=1).mean())


@pytest.mark.parametrize("method", ["ips", "snips", "dr"])
def test_is_right_on_average_and_within_its_interval(method: ope.Method) -> None:
    """Of 300 logs: the mean error within 4 of its standard errors, coverage as stated."""
    errors, covered = [], []
    for seed in range(300):
        log, target, truth = simulated(seed)
        found = ope.evaluate(log, target, method=method)
        errors.append(found.value - truth)
        covered.append(found.low <= truth <= found.high)

    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(300)
    assert np.mean(covered) > 0.91


def test_doubly_robust_is_narrower_than_ips() -> None:
    log, target, _ = simulated(0)
    widths = {
        method: (found := ope.evaluate(log, target, method=method)).high - found.low
        for method in ("ips", "dr")
    }

    assert widths["dr"] < 0.8 * widths["ips"]


def test_the_log_s_own_policy_is_worth_what_it_earned() -> None:
    log, _, _ = simulated(1)

    for method in ("ips", "snips"):
        found = ope.evaluate(log, log.propensities, method=method)
        assert found.value == pytest.approx(log.rewards.mean())
        assert found.effective == pytest.approx(found.count)


def test_a_gain_is_the_difference_to_the_log() -> None:
    log, target, _ = simulated(2)

    gained, worth = ope.gain(log, target), ope.evaluate(log, target)

    assert gained.value == pytest.approx(worth.value - log.rewards.mean())
    assert gained.high - gained.low > 0
    assert ope.gain(log, log.propensities).value == pytest.approx(0.0, abs=0.02)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), shift=st.floats(-2, 2), scale=st.floats(0.1, 3))
def test_snips_and_dr_move_with_the_rewards(seed: int, shift: float, scale: float) -> None:
    log, target, _ = simulated(seed, share=0.6, count=600)
    moved = replace(log, rewards=shift + scale * log.rewards)

    for method in ("snips", "dr"):
        before = ope.evaluate(log, target, method=method)
        after = ope.evaluate(moved, target, method=method)
        assert after.value == pytest.approx(shift + scale * before.value, abs=1e-9)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_order_and_names_are_no_matter_to_ips_and_snips(seed: int) -> None:
    log, target, _ = simulated(seed, share=0.6, count=600)
    order = np.random.default_rng(seed).permutation(600)
    names = np.array([2, 0, 1])
    shuffled = Log(
        x=log.x[order],
        chosen=np.argsort(names)[log.chosen[order]],
        propensities=log.propensities[order][:, names],
        rewards=log.rewards[order],
    )

    for method in ("ips", "snips"):
        one = ope.evaluate(log, target, method=method)
        other = ope.evaluate(shuffled, target[order][:, names], method=method)
        assert other.value == pytest.approx(one.value)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 1.0))
def test_an_effective_sample_is_at_most_the_sample(seed: int, share: float) -> None:
    log, target, _ = simulated(seed, share=share, count=300)

    assert 0 < ope.effective_size(log, target) <= 300 * (1 + 1e-9)
    assert ope.effective_size(log, log.propensities) == pytest.approx(300)


def test_great_weights_that_the_log_happens_to_miss_count() -> None:
    """One in 10,000 decisions goes to the third expert, and none of these 2,000."""
    propensities = np.tile([0.4999, 0.5, 0.0001], (2000, 1))
    log = Log(
        x=np.ones((2000, 1)),
        chosen=np.arange(2000) % 2,
        propensities=propensities,
        rewards=np.ones(2000),
    )
    target = np.tile([0.45, 0.45, 0.1], (2000, 1))

    assert ope.effective_size(log, target) < 25


def test_is_refused_where_the_log_is_worth_too_little() -> None:
    log, _, _ = simulated(3, share=0.03)
    worst = np.zeros_like(log.propensities)
    worst[np.arange(2000), log.propensities.argmin(axis=1)] = 1.0

    with pytest.raises(TooLittleSupport, match=r"the 2,000 decisions of the log are worth \d+ of"):
        ope.evaluate(log, worst)


def test_is_refused_where_the_log_never_could() -> None:
    log, target, _ = simulated(4, share=0.0)

    with pytest.raises(TooLittleSupport, match="was never possible in the log"):
        ope.evaluate(log, target)


def test_is_refused_where_the_log_happens_to_miss_it() -> None:
    log = Log(
        x=np.ones((500, 1)),
        chosen=np.zeros(500, dtype=np.intp),
        propensities=np.tile([0.999, 0.001], (500, 1)),
        rewards=np.ones(500),
    )

    with pytest.raises(TooLittleSupport, match="the 500 decisions of the log are worth 0 of"):
        ope.evaluate(log, np.tile([0.0, 1.0], (500, 1)))


def test_five_percent_of_a_large_log_are_wanted() -> None:
    log, _, _ = simulated(5, share=0.03, count=20_000)
    worst = np.zeros_like(log.propensities)
    worst[np.arange(20_000), log.propensities.argmin(axis=1)] = 1.0

    with pytest.raises(TooLittleSupport, match="it takes 1,000"):
        ope.evaluate(log, worst)


def test_rewards_that_are_all_alike_have_an_interval_of_no_width() -> None:
    log, target, _ = simulated(6)
    found = ope.evaluate(replace(log, rewards=np.full(2000, 0.5)), target, method="snips")

    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rewards": np.zeros(3)}, "different lengths"),
        ({"rewards": np.array([np.nan, 1.0])}, "leave out decisions without feedback"),
        ({"propensities": np.array([[0.5, 0.4], [0.5, 0.5]])}, "do not sum to 1"),
        ({"propensities": np.array([[0.0, 1.0], [0.5, 0.5]])}, "whose propensity is 0"),
        (
            {
                "x": np.zeros((0, 1)),
                "chosen": np.zeros(0, int),
                "propensities": np.zeros((0, 2)),
                "rewards": np.zeros(0),
            },
            "the log is empty",
        ),
    ],
)
def test_a_log_that_cannot_be_true_is_refused(change: dict[str, Floats], said: str) -> None:
    whole: dict[str, Floats] = {
        "x": np.ones((2, 1)),
        "chosen": np.array([0, 1]),
        "propensities": np.full((2, 2), 0.5),
        "rewards": np.ones(2),
    }

    with pytest.raises(ValueError, match=said):
        Log(**{**whole, **change})


def test_a_policy_that_does_not_fit_is_refused() -> None:
    log, target, _ = simulated(7)

    with pytest.raises(ValueError, match=r"the policy is of shape \(2000, 2\)"):
        ope.evaluate(log, target[:, :2])
    with pytest.raises(ValueError, match="do not sum to 1"):
        ope.evaluate(log, target * 0.5)
