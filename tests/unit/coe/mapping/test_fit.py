"""From outcomes to a proposal, and when it may not replace what is there."""

from dataclasses import replace

import numpy as np
import pytest

from coe.errors import Infeasible
from coe.mapping.budget import PER, Block, Constraints
from coe.mapping.fit import LABELS_PER_CATEGORY, Proposal, fit
from coe.mapping.outcomes import NONE, OutcomeMatrix
from coe.mapping.policy import NOBODY, Standing, routed, weights
from coe.mapping.proof import ruling
from coe.mapping.task import Task

CATEGORIES = ("code", "law")
EXPERTS = ("coder", "lawyer", "general")
# Chances of a right answer: rows are code, law; columns are the experts.
SKILL = np.array([[0.9, 0.2, 0.6], [0.2, 0.9, 0.6]])
COST = np.array([[0.004, 0.004, 0.001]] * 2)


def _matrix(count: int = 300, *, seed: int = 0, skill: np.ndarray = SKILL) -> OutcomeMatrix:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, count)
    probabilities = np.where(np.eye(2)[truth] > 0, 0.9, 0.04)
    return OutcomeMatrix(
        prompts=tuple(f"p{i}" for i in range(count)),
        experts=EXPERTS,
        categories=CATEGORIES,
        probabilities=probabilities,
        scores=(random.random((count, 3)) < skill[truth]).astype(np.float64),
        costs=COST[truth] * random.uniform(0.5, 1.5, (count, 3)),
        latencies=np.tile([2.0, 1.0, 0.5], (count, 1)),
    )


GENERAL = Standing(first={NONE: "general"}, thresholds={"code": 0.5, "law": 0.5})
BY_LIST = Standing(first={"code": "coder", "law": "lawyer", NONE: "general"})


def _fit(matrix: OutcomeMatrix, standing: Standing = GENERAL, **changes: object) -> Proposal:
    return fit(Task(matrix=matrix, standing=standing, resamples=20, **changes))  # type: ignore[arg-type]


def test_a_map_that_is_better_replaces_the_incumbent() -> None:
    found = _fit(_matrix())

    assert found.fitted.assignment[:2] == ("coder", "lawyer")
    assert found.is_accepted
    assert found.gain is not None
    assert found.gain[1] > 0.1
    assert "better than the incumbent" in found.reason
    assert found.method == "exact"
    assert [(row.old, row.new) for row in found.changes[:2]] == [
        ("general", "coder"),
        ("general", "lawyer"),
    ]
    assert found.changes[0].same > 0.9
    assert found.changes[0].regret == pytest.approx(0, abs=0.01)
    assert {row.policy for row in found.fitted.guard} >= {"map", "incumbent", "oracle", "random"}


def test_the_same_map_does_not_replace_its_equal() -> None:
    found = _fit(_matrix(), BY_LIST)

    assert found.fitted.assignment[:2] == ("coder", "lawyer")
    assert not found.is_accepted
    assert "not shown to be better" in found.reason


def test_noise_does_not_pass_for_a_gain() -> None:
    """In fold, a map over equal experts always looks better than any of them."""
    equal = np.full((2, 3), 0.5)
    accepted = [_fit(_matrix(200, seed=seed, skill=equal)).is_accepted for seed in range(12)]

    assert sum(accepted) <= 1


def test_a_cheaper_map_that_is_not_worse_replaces_the_incumbent_under_a_money_budget() -> None:
    matrix = _matrix(1000)
    is_code = matrix.probabilities[:, [0]] > 0.5
    scores = np.where(is_code, matrix.scores[:, [0, 1, 0]], matrix.scores)
    constraints = Constraints(money=3.2)

    found = _fit(replace(matrix, scores=scores), BY_LIST, constraints=constraints)

    chosen = routed(found.fitted, matrix, BY_LIST)
    assert (chosen == np.where(is_code[:, 0], 2, 1)).all()
    assert found.saving is not None
    assert found.saving[1] > 0
    assert found.gain is not None
    assert found.gain[1] <= 0
    assert found.is_accepted, found.reason
    assert "cheaper" in found.reason


def test_prompts_are_answered_within_the_money_budget() -> None:
    matrix = _matrix(600)
    constraints = Constraints(money=2.8)

    found = _fit(matrix, constraints=constraints)

    fitted = found.fitted
    chosen = routed(fitted, matrix, GENERAL)
    spent = matrix.costs[np.arange(600), chosen].mean() * PER
    assert fitted.price_weight > 0
    assert spent == pytest.approx(2.5, rel=0.1)
    dear = _fit(matrix, constraints=Constraints(money=100.0)).fitted
    assert dear.price_weight == 0


def test_a_memory_budget_leaves_some_experts_out_of_use() -> None:
    blocks = {name: Block(pool="gpu", size=4) for name in EXPERTS}
    needs = {name: (name,) for name in EXPERTS}
    constraints = Constraints(pools={"gpu": 8}, blocks=blocks, needs=needs)

    found = _fit(_matrix(), constraints=constraints)

    assert found.fitted.used == ("coder", "lawyer")
    assert set(found.fitted.assignment) == {"coder", "lawyer"}


def test_an_infeasible_budget_is_named() -> None:
    with pytest.raises(Infeasible, match=r"cheapest map costs .* the budget is 0.1 USD"):
        _fit(_matrix(), constraints=Constraints(money=0.1))


def test_a_category_that_is_kept_by_hand_keeps_its_expert() -> None:
    standing = replace(BY_LIST, first={**BY_LIST.first, "law": "coder"}, by_hand=frozenset({"law"}))
    matrix = _matrix()

    found = _fit(matrix, standing)

    assert found.fitted.assignment[:2] == ("coder", "coder")
    law = matrix.probabilities[:, 1] > 0.5
    assert (routed(found.fitted, matrix, standing)[law] == 0).all()


def test_a_new_expert_counts_with_its_lower_bound() -> None:
    """Three prompts answered well by chance make nobody the best."""
    matrix = _matrix(400)
    scores = matrix.scores.copy()
    scores[:, 2] = np.nan
    scores[:3, 2] = 1.0

    found = _fit(replace(matrix, scores=scores), BY_LIST)

    assert found.new == ("general",)
    assert "general" not in found.fitted.used
    assert (found.fitted.quality[:, 2] == found.fitted.lower[:, 2]).all()


def test_an_incumbent_that_nobody_scored_cannot_be_compared_with() -> None:
    standing = Standing(first={NONE: "somebody"})

    found = _fit(_matrix(), standing)

    assert found.gain is None
    assert not found.is_accepted
    assert "was not measured" in found.reason
    assert "incumbent" not in {row.policy for row in found.fitted.guard}


def test_an_incumbent_that_was_scored_in_part_is_compared_on_that_part() -> None:
    standing = Standing(first={"code": "somebody", "law": "general", NONE: "general"})
    matrix = _matrix()

    found = _fit(matrix, standing)

    assert (standing.written(matrix) == NOBODY).sum() == (matrix.probabilities[:, 0] > 0.5).sum()
    assert found.gain is not None
    assert found.gain[0] == pytest.approx(0.3, abs=0.1)


def test_a_fitted_incumbent_is_compared_with() -> None:
    first = _fit(_matrix())

    again = _fit(_matrix(), incumbent=first.fitted)

    assert [row.old for row in again.changes[:2]] == ["coder", "lawyer"]
    assert not again.is_accepted


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"experts": ("a", "b", "c"), "scores": np.full((300, 3), np.nan)}, "experts a, b, c"),
        ({"probabilities": np.tile([1.0, 0.0], (300, 1))}, "of the categories law"),
        ({"prompts": ("p",)}, "1 scored prompts are too few"),
    ],
)
def test_what_nothing_is_known_of_is_named(change: dict[str, object], expected: str) -> None:
    matrix = replace(_matrix(), **change)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=expected):
        _fit(matrix)


def test_few_labels_are_warned_about() -> None:
    enough = 2 * LABELS_PER_CATEGORY

    assert "399 scores of" in "".join(_fit(_matrix(399)).warnings)
    assert _fit(_matrix(enough)).warnings == ()


@pytest.mark.parametrize(
    ("gain", "saving", "broken", "accepted"),
    [
        ((0.02, 0.001, 0.04), None, (), True),
        ((0.02, 0.0, 0.04), None, (), False),
        ((-0.001, -0.009, 0.007), (0.1, 0.01, 0.2), (), True),
        ((-0.001, -0.011, 0.007), (0.1, 0.01, 0.2), (), False),
        ((-0.001, -0.009, 0.007), (0.1, 0.0, 0.2), (), False),
        ((-0.001, -0.009, 0.007), None, ("the memory of gpu",), True),
        ((-0.001, -0.02, 0.007), None, ("the memory of gpu",), False),
        (None, None, ("the memory of gpu",), False),
    ],
)
def test_a_map_must_be_better_or_no_worse_and_cheaper_or_within_the_budget(
    gain: tuple[float, float, float] | None,
    saving: tuple[float, float, float] | None,
    broken: tuple[str, ...],
    accepted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert ruling(gain, saving, broken=broken)[0] is accepted


def test_a_budget_of_time_is_met_by_a_weight_of_time() -> None:
    fitted = _fit(_matrix()).fitted
    memberships = _matrix().memberships
    used = np.ones(3, dtype=bool)

    (price, wait), is_met = weights(fitted, memberships, used, Constraints(latency_s=1.0))

    assert is_met
    assert price == 0
    assert wait > 0


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([0.9, 0.04], 0), ([0.4, 0.2], 2), ([0.52, 0.47], 2), ([0.0, 0.0], 2), ([0.1, 0.7], 1)],
)
def test_an_unsure_prompt_is_of_no_category(shares: list[float], expected: int) -> None:
    standing = replace(GENERAL, margin=0.1)
    matrix = replace(_matrix(1), probabilities=np.array([shares]))

    assert standing.decided(matrix).tolist() == [expected]
