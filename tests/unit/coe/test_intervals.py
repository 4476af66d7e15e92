import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe import intervals

shares = st.floats(0, 1)
counts = st.floats(0.01, 1e6)


def test_wilson_of_nine_of_ten_is_the_textbooks() -> None:
    low, high = intervals.wilson(np.array(0.9), np.array(10.0))

    assert (float(low), float(high)) == pytest.approx((0.5958, 0.9821), abs=1e-4)


@given(shares, counts)
def test_wilson_holds_the_share_and_has_a_width(share: float, count: float) -> None:
    low, high = intervals.wilson(np.array(share), np.array(count))

    assert 0 <= low <= share <= high <= 1
    assert high > low


@given(shares, counts, st.floats(1.01, 100))
def test_wilson_is_no_wider_with_more(share: float, count: float, times: float) -> None:
    few = intervals.wilson(np.array(share), np.array(count))
    many = intervals.wilson(np.array(share), np.array(count * times))

    assert many[1] - many[0] <= few[1] - few[0] + 1e-12


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        (1, 1, 0.025, 0.975),
        (1, 3, 1 - 0.975 ** (1 / 3), 1 - 0.025 ** (1 / 3)),
        (0.1, 1, 0.025**10, 0.975**10),
        (20, 1, 0.025 ** (1 / 20), 0.975 ** (1 / 20)),
        (400, 0.05, 0.99858, 1.0),
        (12, 12, 0.30588, 0.69412),
    ],
)
def test_ends_of_a_beta_distribution(a: float, b: float, low: float, high: float) -> None:
    """Where one of the two is 1 they have a formula; the others are tabled."""
    found = intervals.beta(np.array([a / (a + b)]), np.array([a + b]))

    assert (float(found[0][0]), float(found[1][0])) == pytest.approx((low, high), abs=1e-3)


@given(st.floats(1e-4, 1 - 1e-4), st.floats(0.5, 1e5))
def test_a_beta_interval_holds_the_mean(mean: float, count: float) -> None:
    low, high = intervals.beta(np.array([mean]), np.array([count]))

    assert 0 <= low[0] <= mean <= high[0] <= 1
    assert high[0] > low[0]


def test_a_gain_is_paired() -> None:
    """The prompts differ by far more than the two do; only the pairs show it."""
    hard = np.random.default_rng(0).random(500) * 0.9
    a, b = hard + 0.05 + 0.01 * np.sin(np.arange(500)), hard

    mean, low, high = intervals.paired_gain(a, b)

    assert mean == pytest.approx(0.05, abs=0.001)
    assert 0.03 < low < mean < high < 0.07


def test_a_bootstrap_of_many_is_the_normal_interval() -> None:
    generator = np.random.default_rng(1)
    a, b = (generator.random(4000) < rate for rate in (0.7, 0.65))

    mean, low, high = intervals.paired_gain(a.astype(float), b.astype(float))

    half = 1.96 * (a.astype(float) - b).std() / np.sqrt(4000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)
    assert (high + low) / 2 == pytest.approx(mean, abs=0.002)


@pytest.mark.parametrize(("prompts", "low"), [(1, -0.95), (2, -0.684), (10, 0.383), (500, 0.985)])
def test_prompts_that_were_all_won_are_no_certainty(prompts: int, low: float) -> None:
    found = intervals.paired_gain(np.ones(prompts), np.zeros(prompts))

    assert found == (1.0, pytest.approx(low, abs=0.001), 1.0)


def test_prompts_without_both_scores_are_left_out() -> None:
    a = np.array([1.0, np.nan, 0.0, 1.0] * 50)
    b = np.array([0.0, 0.0, np.nan, 1.0] * 50)
    both = np.tile([True, False, False, True], 50)

    mean, low, high = intervals.paired_gain(a, b)

    assert mean == intervals.paired_gain(a[both], b[both])[0] == 0.5
    assert low < 0.5 < high


def test_nothing_is_known_where_nothing_was_measured() -> None:
    unknown = np.full(3, np.nan)

    assert intervals.paired_gain(unknown, np.ones(3)) == (0.0, -1.0, 1.0)
    assert intervals.paired_gain(np.empty(0), np.empty(0)) == (0.0, -1.0, 1.0)


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=30))
def test_a_gain_turned_round_is_a_loss(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T

    mean, low, high = intervals.paired_gain(a, b)
    lost, lost_low, lost_high = intervals.paired_gain(b, a)

    assert -1 <= low <= mean <= high <= 1
    assert (lost, lost_low, lost_high) == pytest.approx((-mean, -high, -low), abs=1e-9)


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = np.random.default_rng(2).random((2, 200))

    assert intervals.paired_gain(a, b, 7) == intervals.paired_gain(a, b, 7)
    assert intervals.paired_gain(a, b, 7) != intervals.paired_gain(a, b, 8)
