from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from coe.mapping import OutcomeMatrix, Residual
from coe.mapping.estimates import estimate, values
from coe.mapping.residual import correct, fit

Floats = NDArray[np.float64]


def world(prompts: int, *, hidden: bool, seed: int = 0) -> OutcomeMatrix:
    """One category; on the left of it the first expert is good, on the right the second.

    The embeddings say on which side a prompt is; `hidden`: they do not.
    """
    generator = np.random.default_rng(seed)
    is_left = generator.random(prompts) < 0.5
    sides = np.where(generator.permutation(is_left) if hidden else is_left, 1.0, -1.0)
    vectors = np.column_stack([sides, 0.7 * generator.standard_normal((prompts, 3))])
    rates = np.where(is_left[:, None], [0.8, 0.5], [0.5, 0.78])
    return OutcomeMatrix(
        prompts=tuple(map(str, range(prompts))),
        experts=("left", "right"),
        categories=("all",),
        probabilities=np.ones((prompts, 1)),
        scores=(generator.random((prompts, 2)) < rates).astype(float),
        costs=np.full((prompts, 2), np.nan),
        latencies=np.full((prompts, 2), np.nan),
        embeddings=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )


def quality(matrix: OutcomeMatrix, expected: Floats) -> float:
    return float(matrix.scores[np.arange(len(matrix.prompts)), expected.argmax(axis=1)].mean())


def test_neighbours_say_what_the_categories_do_not() -> None:
    measured, unseen = world(600, hidden=False), world(600, hidden=False, seed=1)
    cells = estimate(measured)
    expected = values(cells.mean, unseen.memberships)

    residual = fit(measured, cells, "encoder")

    assert residual is not None
    assert residual.encoder == "encoder"
    corrected = correct(residual, expected, unseen.embeddings)
    assert quality(unseen, corrected) > quality(unseen, expected) + 0.08


@pytest.mark.parametrize("seed", range(4))
def test_embeddings_that_say_nothing_make_no_residual(seed: int) -> None:
    measured = world(600, hidden=True, seed=seed)

    assert fit(measured, estimate(measured), "encoder") is None


def test_few_prompts_prove_nothing() -> None:
    few = world(30, hidden=False)

    assert fit(few, estimate(few), "encoder") is None
    assert fit(few.rows(np.arange(3)), estimate(few), "encoder") is None


def test_there_is_none_without_embeddings() -> None:
    blind = replace(world(600, hidden=False), embeddings=None)

    assert fit(blind, estimate(blind), "encoder") is None


def test_what_was_not_measured_says_what_the_cells_say() -> None:
    measured = world(600, hidden=False)
    scores = measured.scores.copy()
    scores[::2, 1] = np.nan
    holes = replace(measured, scores=scores)
    cells = estimate(holes)

    residual = fit(holes, cells, "encoder")

    assert residual is not None
    assert (residual.scores[::2, 1] == 0).all()
    assert residual.scores[:, 0] == pytest.approx(
        scores[:, 0] - values(cells.mean, holes.memberships)[:, 0], abs=1e-6
    )


EAST, NORTH = np.array([1.0, 0.0]), np.array([0.0, 1.0])
TWO = Residual(
    embeddings=np.array([EAST, NORTH], dtype=np.float32),
    scores=np.array([[0.5, 0.0], [-0.3, 0.2]], dtype=np.float32),
    k=1,
    weight=0.5,
    encoder="encoder",
)


def test_the_nearest_prompt_alone_corrects_where_k_is_one() -> None:
    found = correct(TWO, np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([EAST, NORTH]))

    assert found[0] == pytest.approx([0.75, 0.5])
    assert found[1] == pytest.approx([0.35, 0.6])


def test_nearer_prompts_count_more_by_the_temperature() -> None:
    two = replace(TWO, k=2, weight=1.0, temperature=0.5)

    (found,) = correct(two, np.zeros((1, 2)), EAST[None])

    far = np.exp(-1 / 0.5)
    assert found == pytest.approx([(0.5 - 0.3 * far) / (1 + far), 0.2 * far / (1 + far)])


def test_more_neighbours_than_prompts_are_all_of_them() -> None:
    at = np.array([[0.6, 0.8]])

    all_of_them = correct(replace(TWO, k=2), np.zeros((1, 2)), at)

    assert np.array_equal(correct(replace(TWO, k=640), np.zeros((1, 2)), at), all_of_them)


def test_however_far_its_neighbours_a_prompt_is_corrected_by_numbers() -> None:
    cold = replace(TWO, k=2, temperature=1e-3)

    found = correct(cold, np.zeros((1, 2)), -(EAST + NORTH)[None] / np.sqrt(2))

    assert found[0] == pytest.approx([0.05, 0.05])


def test_no_prompts_need_no_correction() -> None:
    assert correct(TWO, np.empty((0, 2)), np.empty((0, 2))).shape == (0, 2)


def test_prompts_are_corrected_one_by_one_as_together() -> None:
    measured = world(200, hidden=False)
    cells = estimate(measured)
    residual = replace(
        TWO,
        embeddings=measured.embeddings.astype(np.float32),
        scores=(measured.scores - cells.mean[0]).astype(np.float32),
        k=50,
    )
    expected = values(cells.mean, measured.memberships)

    together = correct(residual, expected, measured.embeddings)
    one = correct(residual, expected[7:8], measured.embeddings[7:8])

    assert one[0] == pytest.approx(together[7], abs=1e-6)
