"""Unknown clusters: what belongs together is found, and the rest is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.learning.clusters import EXAMPLES, MOST_PROMPTS, propose


def around(seed: int, sizes: tuple[int, ...], alone: int, spread: float = 0.5) -> np.ndarray:
    """Return unit vectors in 64 dimensions: some groups, and prompts like nothing else."""
    generator = np.random.default_rng(seed)
    centres = np.linalg.qr(generator.standard_normal((64, len(sizes))))[0].T
    noise = generator.standard_normal((sum(sizes), 64)) * spread / 8.0
    rows = np.repeat(centres, sizes, axis=0) + noise
    found = np.vstack([rows, generator.standard_normal((alone, 64))])
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def test_finds_the_groups_and_leaves_the_rest() -> None:
    groups = propose(around(0, (60, 30, 15), alone=200))

    assert [set(group.members) for group in groups] == [
        set(range(60)),
        set(range(60, 90)),
        set(range(90, 105)),
    ]


def test_small_groups_are_none() -> None:
    assert propose(around(1, (9,), alone=50)) == ()
    assert len(propose(around(1, (9,), alone=50), least=5)) == 1


def test_cohesion_is_the_mean_cosine_of_pairs() -> None:
    vectors = around(2, (30,), alone=0)

    group = propose(vectors)[0]

    pairs = (vectors @ vectors.T)[np.triu_indices(30, 1)]
    assert group.cohesion == pytest.approx(float(pairs.mean()), abs=1e-5)
    assert np.linalg.norm(group.centre) == pytest.approx(1.0, abs=1e-5)


def test_the_most_typical_come_first() -> None:
    vectors = around(3, (40,), alone=10)

    group = propose(vectors)[0]

    near = vectors[list(group.members)] @ group.centre
    assert (np.diff(near) <= 1e-6).all()
    assert group.examples == group.members[:EXAMPLES]


def test_a_prompt_between_two_groups_does_not_make_one_of_them() -> None:
    """At 59 degrees are nine on one side and one on the other; the nine have ten neighbours."""
    angles = np.radians([0.0, *[59.0] * 9, -59.0])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)

    assert propose(vectors, least=11) == ()
    assert set(propose(vectors, least=10)[0].members) == set(range(10))


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), first=st.integers(5, 40), second=st.integers(5, 40))
def test_nobody_is_in_two_groups_and_all_are_alike(seed: int, first: int, second: int) -> None:
    vectors = around(seed, (first, second), alone=20, spread=0.9)

    groups = propose(vectors)

    members = [place for group in groups for place in group.members]
    assert len(members) == len(set(members))
    for group in groups:
        assert len(group.members) >= 10
        assert 0 < group.cohesion <= 1


def test_no_prompts_are_no_groups() -> None:
    assert propose(np.zeros((0, 64), dtype=np.float32)) == ()


def test_what_cannot_be_grouped_is_refused() -> None:
    with pytest.raises(ValueError, match="not of length 1"):
        propose(np.ones((3, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="4,001 prompts are too many, take 4,000 of them"):
        propose(np.ones((MOST_PROMPTS + 1, 1), dtype=np.float32))
