import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from coe.experiments import sequential
from coe.experiments.effect import Effect, between
from coe.experiments.summary import Moments

variances = st.floats(1e-8, 1e4)
scales = st.floats(1e-3, 1e2)
differences = st.floats(-50, 50)


@pytest.mark.parametrize(
    ("difference", "variance", "scale"), [(0.03, 1e-4, 0.03), (-2.0, 0.5, 1.0), (0.0, 1.0, 0.2)]
)
def test_evidence_is_the_likelihood_ratio_of_a_normal_mixture(
    difference: float, variance: float, scale: float
) -> None:
    deviation = math.sqrt(variance)
    mixed, _ = integrate.quad(
        lambda true: stats.norm.pdf(difference, true, deviation) * stats.norm.pdf(true, 0.0, scale),
        difference - 12 * deviation - scale,
        difference + 12 * deviation + scale,
        points=[0.0, difference],
    )

    found = math.exp(
        sequential.log_evidence(Effect(difference=difference, variance=variance), scale)
    )

    assert found == pytest.approx(mixed / stats.norm.pdf(difference, 0.0, deviation), rel=1e-6)


@given(differences, variances, scales, st.floats(0.01, 0.99))
def test_the_interval_is_what_the_evidence_does_not_reject(
    difference: float, variance: float, scale: float, confidence: float
) -> None:
    effect = Effect(difference=difference, variance=variance)
    found = sequential.interval(effect, scale, confidence)

    p = sequential.p_value(effect, scale)
    if not math.isclose(p, 1.0 - confidence, rel_tol=1e-6):
        assert (found.low <= 0.0 <= found.high) == (p > 1.0 - confidence)
    assert found.low < difference < found.high


@given(variances, scales)
def test_no_single_look_needs_less_than_a_fixed_test(variance: float, scale: float) -> None:
    assert sequential.radius(variance, scale) > 1.96 * math.sqrt(variance)


@given(variances, scales, st.floats(0.01, 0.98), st.floats(0.001, 0.01))
def test_more_confidence_is_wider(
    variance: float, scale: float, confidence: float, more: float
) -> None:
    assert sequential.radius(variance, scale, confidence) < sequential.radius(
        variance, scale, confidence + more
    )


def test_looks_at_every_pair_raise_few_false_alarms() -> None:
    generator = np.random.default_rng(1)
    n = np.arange(1, 1001)
    alarms = 0
    for _ in range(400):
        a, b = (generator.random(1000) < 0.4 for _ in range(2))
        sums = np.cumsum(b.astype(int)) - np.cumsum(a.astype(int))
        shares = [np.cumsum(side) / n for side in (a, b)]
        variance = sum(share * (1 - share) for share in shares) / n
        reach = [sequential.radius(float(v), 0.05) for v in variance[99:]]
        alarms += bool((np.abs(sums / n)[99:] > reach).any())

    assert alarms <= 0.05 * 400


def test_values_that_do_not_vary_say_nothing() -> None:
    same = Effect(difference=1.0, variance=0.0)

    assert sequential.p_value(same, 0.1) == 1.0
    assert sequential.interval(same, 0.1).low == -math.inf


@given(st.integers(1, 3000), st.data(), st.floats(0.5, 0.999), st.floats(0.01, 0.3))
def test_a_share_has_all_that_its_evidence_does_not_reject(
    n: int, data: st.DataObject, confidence: float, scale: float
) -> None:
    total = data.draw(st.integers(0, n))
    found = sequential.share(total, n, scale, confidence)

    p = np.linspace(0.0005, 0.9995, 500)
    a, b = p / (4 * scale**2), (1 - p) / (4 * scale**2)
    mixed = stats.betabinom.logpmf(total, n, a, b)
    evidence = mixed - stats.binom.logpmf(total, n, p)
    inside = (p >= found.low) & (p <= found.high)
    near = np.abs(evidence + math.log(1.0 - confidence)) < 1e-3
    assert 0.0 <= found.low <= found.estimate <= found.high <= 1.0
    assert ((evidence < -math.log(1.0 - confidence)) == inside)[~near].all()


def test_a_share_of_nothing_is_anything() -> None:
    found = sequential.share(0, 0)

    assert (found.low, found.high) == (0.0, 1.0)


def test_a_share_is_at_no_look_as_narrow_as_wilsons() -> None:
    assert sequential.share(30, 100).high > 0.3958  # Wilson's upper end
    assert sequential.share(30, 100).low < 0.2189


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_must_be_above_0(scale: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        sequential.radius(1.0, scale)
    with pytest.raises(ValueError, match="above 0"):
        sequential.share(1, 2, scale)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"as 0\.95 is"):
        sequential.radius(1.0, 1.0, confidence)
    with pytest.raises(ValueError, match=r"as 0\.95 is"):
        sequential.share(1, 2, confidence=confidence)


def test_a_share_of_more_than_all_is_refused() -> None:
    with pytest.raises(ValueError, match="sum of 3 values"):
        sequential.share(3.5, 3)


@given(st.integers(1, 500), st.integers(1, 500))
def test_no_success_at_all_still_leaves_room(n: int, m: int) -> None:
    effect = between(Moments.counted(n, 0), Moments.counted(m, 0), "share")

    assert effect.difference == 0.0
    assert effect.variance > 0.0


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_an_effect_is_made_of_numbers(broken: float) -> None:
    with pytest.raises(ValueError, match="made of numbers"):
        Effect(difference=broken, variance=1.0)
    with pytest.raises(ValueError, match="made of numbers"):
        Effect(difference=1.0, variance=broken)
    with pytest.raises(ValueError, match="negative"):
        Effect(difference=1.0, variance=-1.0)


def test_arms_without_units_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="0 and 1 units"):
        between(Moments(), Moments.of([1.0]), "mean")
