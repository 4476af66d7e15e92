import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray

from coe.mapping import NONE, OutcomeMatrix
from coe.mapping.estimates import Cells, estimate, values

Floats = NDArray[np.float64]


def outcomes(
    scores: ArrayLike,
    probabilities: ArrayLike,
    costs: ArrayLike | None = None,
    latencies: ArrayLike | None = None,
) -> OutcomeMatrix:
    scores = np.asarray(scores, dtype=float)
    probabilities = np.asarray(probabilities, dtype=float)
    unknown = np.full(scores.shape, np.nan)
    return OutcomeMatrix(
        prompts=tuple(str(row) for row in range(len(scores))),
        experts=tuple(f"e{column}" for column in range(scores.shape[1])),
        categories=tuple(f"c{column}" for column in range(probabilities.shape[1])),
        probabilities=probabilities,
        scores=scores,
        costs=unknown if costs is None else np.asarray(costs, dtype=float),
        latencies=unknown if latencies is None else np.asarray(latencies, dtype=float),
    )


def of_categories(
    scores: ArrayLike, labels: ArrayLike, costs: ArrayLike | None = None
) -> OutcomeMatrix:
    """Prompts of known categories, by number; what an answer costs it also takes, in seconds."""
    return outcomes(scores, np.eye(np.max(labels) + 1)[labels], costs, costs)


def test_a_cell_is_between_its_own_mean_and_the_experts() -> None:
    right = np.repeat([1.0, 0.0, 1.0], [80, 20, 100])[:, None]
    labels = np.repeat([0, 1], [100, 100])

    cells = estimate(of_categories(right, labels))

    assert cells.categories == ("c0", "c1", NONE)
    # (80 + 20 * .9) / 120, but for the two prompts that the pool's mean counts.
    assert cells.mean[0, 0] == pytest.approx(98 / 120, abs=1e-3)
    assert cells.mean[1, 0] == pytest.approx(118 / 120, abs=1e-3)
    assert cells.counts[:, 0].tolist() == [100, 100, 0]
    assert cells.traffic.tolist() == [0.5, 0.5, 0]


def test_none_of_the_categories_is_what_the_expert_does_overall() -> None:
    cells = estimate(of_categories([[1.0, 0.0]] * 50 + [[0.0, 0.0]] * 50, [0] * 50 + [1] * 50))

    assert cells.mean[-1].tolist() == pytest.approx([0.5, 0.0], abs=0.01)


def test_a_probability_is_a_part_of_a_prompt() -> None:
    soft = outcomes([[1.0], [0.0]] * 30, [[0.9], [0.2]] * 30)

    cells = estimate(soft)

    assert cells.counts[:, 0].tolist() == pytest.approx([33.0, 27.0])
    assert cells.mean[0, 0] > 0.6
    assert cells.mean[1, 0] < 0.4


def test_a_router_that_errs_does_not_blur_the_cells() -> None:
    """A mean weighted with the probabilities would say .8 x .9 + .2 x .1 of the first cell."""
    generator = np.random.default_rng(3)
    first = generator.random(6000) < 0.5
    share = np.where(generator.random(6000) < 0.8, 0.8, 0.2)
    probabilities = np.where(first, share, 1 - share)
    right = generator.random(6000) < np.where(first, 0.9, 0.1)

    cells = estimate(outcomes(right[:, None], np.column_stack([probabilities, 1 - probabilities])))

    assert cells.mean[:2, 0] == pytest.approx([0.9, 0.1], abs=0.04)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_with_certain_categories_least_squares_are_counting(seed: int, strength: float) -> None:
    generator = np.random.default_rng(seed)
    labels, right = generator.integers(0, 4, 60), generator.random((60, 3)).round()
    right[generator.random((60, 3)) < 0.2] = np.nan

    cells = estimate(of_categories(right, [*labels[:-1], 3]), strength=strength)

    rate = cells.mean[-1]  # nobody is in none of the categories
    labels[-1] = 3
    sums = np.array([np.nansum(right[labels == category], axis=0) for category in range(4)])
    expected = (sums + strength * rate) / (cells.counts[:4] + strength)
    assert cells.mean[:4] == pytest.approx(np.clip(expected, 1e-6, 1 - 1e-6))


def test_what_nobody_measured_counts_for_nothing() -> None:
    measured = of_categories([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0, 0, 1])
    holes = of_categories([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [np.nan, np.nan]], [0, 0, 1, 1])

    assert np.array_equal(estimate(measured).mean, estimate(holes).mean)
    assert np.array_equal(estimate(measured).counts, estimate(holes).counts)


def test_an_expert_that_nobody_measured_is_the_pools_with_hardly_a_bound() -> None:
    scores = np.column_stack([np.tile([1.0, 1.0, 0.0], 100), np.full(300, np.nan)])

    cells = estimate(of_categories(scores, [0] * 300))

    assert cells.mean[0, 1] == pytest.approx(2 / 3, abs=0.01)
    assert cells.lower[0, 1] < 0.2
    assert cells.upper[0, 1] > 0.93
    assert np.isnan(cells.cost[:, 1]).all()


def test_three_prompts_answered_well_make_no_certainty() -> None:
    cells = estimate(of_categories([[1.0]] * 3, [0] * 3))

    assert cells.mean[0, 0] < 0.95
    assert cells.lower[0, 0] < 0.7


@pytest.mark.parametrize("prompts", [3, 30, 300])
def test_intervals_hold_what_they_are_to_hold(prompts: int) -> None:
    """Rates drawn as the estimate supposes: about 95 % of the intervals hold them."""
    generator = np.random.default_rng(prompts)
    labels = np.repeat(np.arange(10), prompts)
    held = []
    for _ in range(40):
        overall = generator.uniform(0.2, 0.95, size=12)
        rates = generator.beta(20 * overall, 20 * (1 - overall), size=(10, 12))
        right = (generator.random((len(labels), 12)) < rates[labels]).astype(float)
        cells = estimate(of_categories(right, labels))
        held.append((cells.lower[:10] <= rates) & (rates <= cells.upper[:10]))

    assert 0.935 <= np.mean(held) <= 0.985


def test_money_and_seconds_are_shrunk_alike() -> None:
    costs = [[1.0, np.nan]] * 20 + [[3.0, np.nan]] * 20

    cells = estimate(of_categories([[1.0, 1.0]] * 40, [0] * 20 + [1] * 20, costs))

    assert cells.cost[:, 0].tolist() == pytest.approx([1.5, 2.5, 2.0])
    assert np.array_equal(cells.cost, cells.latency_s, equal_nan=True)
    assert np.isnan(cells.cost[:, 1]).all()


def test_expectations_mix_the_cells() -> None:
    quality = np.array([[0.9, 0.1], [0.5, 0.7], [0.6, 0.6]])

    expected = values(quality, np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]]))

    assert expected.tolist() == [pytest.approx([0.9, 0.1]), pytest.approx([0.725, 0.375])]


def test_shrinkage_is_closer_to_the_truth_than_the_cells_own_means() -> None:
    generator = np.random.default_rng(0)
    rates = np.clip(0.6 + 0.1 * generator.standard_normal((20, 15)), 0.05, 0.95)
    labels = np.repeat(np.arange(20), 15)
    right = (generator.random((300, 15)) < rates[labels]).astype(float)

    shrunk = estimate(of_categories(right, labels)).mean[:20]
    raw = np.array([right[labels == category].mean(axis=0) for category in range(20)])

    assert ((shrunk - rates) ** 2).mean() < 0.7 * ((raw - rates) ** 2).mean()


scores_with_holes = arrays(
    float, (12, 3), elements=st.one_of(st.floats(0, 1), st.just(float("nan")))
)
rows_of_shares = arrays(float, (12, 4), elements=st.floats(0.01, 1)).map(
    lambda raw: (raw / raw.sum(axis=1, keepdims=True))[:, :3]
)


@given(scores_with_holes, rows_of_shares, st.floats(0.1, 1000))
def test_whatever_was_measured_the_cells_are_sound(
    scores: Floats, shares: Floats, strength: float
) -> None:
    cells = estimate(outcomes(scores, shares), strength=strength)

    assert ((cells.lower >= 0) & (cells.upper <= 1)).all()
    assert ((cells.lower <= cells.mean) & (cells.mean <= cells.upper)).all()
    assert ((cells.mean > 0) & (cells.mean < 1)).all()
    assert cells.counts.sum(axis=0) == pytest.approx((~np.isnan(scores)).sum(axis=0))
    assert cells.traffic.sum() == pytest.approx(1)


@given(scores_with_holes, rows_of_shares, st.permutations(range(12)))
def test_the_order_of_the_prompts_is_of_no_matter(
    scores: Floats, shares: Floats, order: list[int]
) -> None:
    one, other = outcomes(scores, shares), outcomes(scores[order], shares[order])

    assert estimate(other).mean == pytest.approx(estimate(one).mean)


@given(scores_with_holes, rows_of_shares)
def test_an_expert_more_changes_no_other_by_much(scores: Floats, shares: Floats) -> None:
    """It is one more column: through the pool's mean it moves the others by two prompts."""
    two: Cells = estimate(outcomes(scores[:, :2], shares))
    three: Cells = estimate(outcomes(scores, shares))

    assert np.array_equal(three.counts[:, :2], two.counts)
    measured = (~np.isnan(scores[:, :2])).sum(axis=0)
    assert (np.abs(three.mean[:, :2] - two.mean) <= 3 / (measured + 2)).all()


def test_says_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="no outcomes"):
        estimate(outcomes(np.empty((0, 2)), np.empty((0, 3))))
    with pytest.raises(ValueError, match="strength is 0"):
        estimate(of_categories([[1.0]], [0]), strength=0)
