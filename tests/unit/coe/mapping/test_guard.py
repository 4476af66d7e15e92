import numpy as np
import pytest
from numpy.typing import ArrayLike

from coe.mapping import GuardRow, OutcomeMatrix
from coe.mapping.guard import best_single, cheapest_good, compare

NAMES = ("good", "other", "cheap")


def panel(
    scores: ArrayLike,
    labels: ArrayLike | None = None,
    costs: tuple[float, ...] = (3.0, 2.0, 1.0),
) -> OutcomeMatrix:
    """Prompts with the scores of `NAMES`; costs by expert."""
    scores = np.asarray(scores, dtype=float)
    labels = [0] * len(scores) if labels is None else labels
    return OutcomeMatrix(
        prompts=tuple(str(row) for row in range(len(scores))),
        experts=NAMES[: scores.shape[1]],
        categories=("a", "b"),
        probabilities=np.eye(2)[labels],
        scores=scores,
        costs=np.tile(np.array(costs, dtype=float)[: scores.shape[1]], (len(scores), 1)),
        latencies=np.full(scores.shape, np.nan),
    )


def by_policy(rows: tuple[GuardRow, ...]) -> dict[str, GuardRow]:
    return {row.policy: row for row in rows}


# `good` knows a, `other` knows b; `cheap` knows a little of both.
SPLIT = panel([[1, 0, 1], [1, 0, 0]] * 200 + [[0, 1, 0], [1, 1, 1]] * 200, [0] * 400 + [1] * 400)
BY_CATEGORY = np.repeat(np.array([0, 1]), 400)


def test_every_policy_is_beside_the_map() -> None:
    rows, verdict = compare(SPLIT, BY_CATEGORY, incumbent=np.zeros(800, dtype=int))
    found = by_policy(rows)

    assert verdict == "better"
    assert [row.policy for row in rows] == [
        "map",
        "incumbent",
        "random",
        "best single",
        "cheapest good single",
        "category oracle",
        "oracle",
    ]
    assert found["map"].quality == 1.0
    assert found["map"].cost == pytest.approx(2.5)
    assert found["incumbent"].quality == found["best single"].quality == 0.75
    assert found["random"].quality == pytest.approx((2 + 1 + 1 + 3) / 12)
    assert found["random"].cost == pytest.approx(2.0)
    assert found["best single"].expert == "good"
    assert found["cheapest good single"].expert == "good"
    assert found["category oracle"].quality == 1.0
    assert found["oracle"].quality == 1.0


def test_gains_are_the_maps_with_their_intervals() -> None:
    rows, _ = compare(SPLIT, BY_CATEGORY)
    found = by_policy(rows)

    assert found["best single"].gain == pytest.approx(0.25)
    assert 0.2 < found["best single"].gain_low < 0.25 < found["best single"].gain_high < 0.3
    assert (found["map"].gain, found["map"].gain_low, found["map"].gain_high) == (0, 0, 0)
    assert found["oracle"].gain == 0


def test_an_oracle_takes_the_cheapest_of_the_best() -> None:
    rows, _ = compare(SPLIT, BY_CATEGORY)

    # cheap, good | other, cheap
    assert by_policy(rows)["oracle"].cost == pytest.approx((1 + 3 + 2 + 1) / 4)


def test_singles_are_chosen_where_the_map_was_fitted() -> None:
    fitted_on = panel([[0, 1, 0]] * 100)

    rows, _ = compare(SPLIT, BY_CATEGORY, cells_from=fitted_on)

    assert by_policy(rows)["best single"].expert == "other"


def test_two_prompts_answered_well_make_no_best_expert() -> None:
    scores = np.full((300, 3), np.nan)
    scores[:, 0] = np.tile([1, 1, 0], 100)
    scores[:2, 1] = 1

    assert best_single(panel(scores)) == 0
    assert cheapest_good(panel(scores)) == 0


def test_the_cheapest_good_expert_is_not_shown_to_be_a_point_behind() -> None:
    scores = np.zeros((1000, 3))
    scores[:700, 0] = scores[:688, 1] = scores[:660, 2] = 1

    assert NAMES[cheapest_good(panel(scores))] == "other"
    assert NAMES[cheapest_good(panel(scores[::20]))] == "cheap"
    assert cheapest_good(panel(scores, costs=(1.0, 2.0, 3.0))) == 0
    assert cheapest_good(panel(scores, costs=(np.nan, 2.0, 3.0))) is None


def test_an_expert_of_unknown_cost_is_not_the_cheapest() -> None:
    scores = np.ones((10, 3))

    assert NAMES[cheapest_good(panel(scores, costs=(3.0, np.nan, 2.0)))] == "cheap"


def test_a_map_that_asks_one_expert_is_not_better() -> None:
    _, verdict = compare(SPLIT, np.zeros(800, dtype=int))

    assert verdict == "not better"


def test_a_map_that_loses_is_not_better_however_cheap() -> None:
    _, verdict = compare(SPLIT, np.full(800, 2))

    assert verdict == "not better"


def test_the_same_quality_for_less_is_cheaper() -> None:
    scores = np.tile([1.0, 1.0, 0.5], (2000, 1))
    chosen = np.repeat(np.array([0, 1]), 1000)

    # Nobody else is good: `other` is a little worse where it is not asked.
    scores[:500, 1] = 0.9
    _, verdict = compare(panel(scores), chosen)

    assert verdict == "cheaper"


def test_the_same_quality_for_more_is_dearer() -> None:
    scores = np.tile([1.0, 1.0, 0.5], (2000, 1))

    _, verdict = compare(panel(scores), np.repeat(np.array([0, 1]), 1000))

    assert verdict == "dearer"


def test_without_prices_a_map_is_better_or_not() -> None:
    costs = (np.nan,) * 3
    priceless = panel(SPLIT.scores, np.repeat([0, 1], 400), costs=costs)

    rows, verdict = compare(priceless, BY_CATEGORY)
    _, of_one = compare(priceless, np.zeros(800, dtype=int))

    assert (verdict, of_one) == ("better", "not better")
    assert all(row.cost is None for row in rows)
    assert "cheapest good single" not in by_policy(rows)


def test_few_prompts_prove_nothing() -> None:
    rows, verdict = compare(panel([[1, 0, 0], [0, 1, 0]], [0, 1]), np.array([0, 1]))

    assert by_policy(rows)["best single"].gain == 0.5
    assert verdict == "not better"


def test_prompts_that_an_expert_did_not_see_are_not_held_against_it() -> None:
    scores = SPLIT.scores.copy()
    scores[::4, 1] = np.nan
    holes = panel(scores, np.repeat([0, 1], 400))

    rows, verdict = compare(holes, BY_CATEGORY)

    assert verdict == "better"
    assert by_policy(rows)["map"].quality == 1.0
    # The pairs that are left of b: every second prompt of one kind, all of the other.
    assert by_policy(rows)["best single"].gain == pytest.approx(100 / 700)


def test_says_what_cannot_be_compared() -> None:
    nobody = panel([[1.0, np.nan, 0.0]] * 5)

    with pytest.raises(ValueError, match="no outcomes to compare on"):
        compare(panel(np.empty((0, 3))), np.empty(0, dtype=int))
    with pytest.raises(ValueError, match="`map` chooses was measured"):
        compare(nobody, np.ones(5, dtype=int))
    with pytest.raises(ValueError, match=r"`best single \(other\)` chooses was measured"):
        compare(nobody, np.zeros(5, dtype=int), cells_from=panel([[0, 1, 0]] * 30))
