"""Drift: changes are seen, and streams that stay are left in peace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.learning.drift import WARM_UP, Mix, PageHinkley

SHARES = {"code": 0.5, "law": 0.3, "chat": 0.2}


def watched(share: float, after: float, seed: int = 0, requests: int = 4000) -> int | None:
    """Return the request at which the alarm rose; the share changes half way."""
    generator = np.random.default_rng(seed)
    detector = PageHinkley()
    for step in range(requests):
        value = float(generator.random() < (share if step < requests // 2 else after))
        detector = detector.seen(value)
        if detector.has_risen:
            return step
    return None


def test_a_share_that_rises_is_seen_soon() -> None:
    found = [watched(0.1, 0.25, seed) for seed in range(10)]

    assert all(step is not None and 2000 <= step < 2500 for step in found)


def test_a_share_that_stays_or_falls_is_left_in_peace() -> None:
    assert [watched(0.1, 0.1, seed) for seed in range(10)] == [None] * 10
    assert [watched(0.3, 0.1, seed) for seed in range(5)] == [None] * 5


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_units_are_no_matter(scale: float, shift: float) -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.random(400), generator.random(400) + 0.5])
    plain, scaled = PageHinkley(), PageHinkley()
    for value in values:
        plain, scaled = plain.seen(float(value)), scaled.seen(float(scale * value + shift))

    assert scaled.level == pytest.approx(plain.level, rel=1e-3)
    assert plain.has_risen


def test_nothing_is_said_before_it_is_warm() -> None:
    detector = PageHinkley()
    for value in [0.0] * (WARM_UP // 2) + [1.0] * (WARM_UP // 2):
        detector = detector.seen(value)

    assert detector.level == 0.0


def test_an_alarm_stays_and_keeps_the_mean_that_was() -> None:
    detector = PageHinkley(threshold=5.0)
    for value in [0.4, 0.6] * 200 + [5.0] * 10:
        detector = detector.seen(value)

    assert detector.has_risen
    assert detector.seen(0.0) is detector
    assert detector.mean < 0.7


def test_an_observation_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="an observation is nan"):
        PageHinkley().seen(float("nan"))


def mixed(shares: dict[str, float], requests: int = 1500, seed: int = 0) -> Mix:
    generator = np.random.default_rng(seed)
    mix = Mix(reference=SHARES, measured=2000)
    for name in generator.choice(list(shares), size=requests, p=list(shares.values())):
        mix = mix.seen(str(name))
    return mix


def test_the_index_is_that_of_its_definition() -> None:
    mix = Mix(reference={"a": 0.5, "b": 0.5}, measured=1e9, counts={"a": 8e8, "b": 2e8})

    wanted = 0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5)

    assert mix.psi == pytest.approx(wanted, rel=1e-6)


def test_a_mix_that_stays_has_not_shifted() -> None:
    for seed in range(20):
        mix = mixed(SHARES, seed=seed)
        assert not mix.has_shifted
        assert mix.psi < 0.03


def test_a_mix_that_shifts_is_seen_even_by_a_new_category() -> None:
    assert mixed({"code": 0.2, "law": 0.6, "chat": 0.2}).has_shifted
    assert mixed({"code": 0.4, "law": 0.2, "chat": 0.2, "poems": 0.2}).has_shifted


def test_few_requests_are_no_shift() -> None:
    mix = Mix(reference=SHARES, measured=2000)

    assert not mix.has_shifted
    assert not mix.seen("law").seen("law").has_shifted


@given(counts=st.lists(st.floats(0, 1000), min_size=2, max_size=6), seed=st.integers(0, 100))
def test_the_index_is_never_negative(counts: list[float], seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.ones(len(counts)))
    names = [f"c{i}" for i in range(len(counts))]
    mix = Mix(
        reference=dict(zip(names, shares.tolist(), strict=True)),
        measured=500,
        counts=dict(zip(names, counts, strict=True)),
    )

    assert mix.psi >= 0
    assert mix.total == pytest.approx(sum(counts))
