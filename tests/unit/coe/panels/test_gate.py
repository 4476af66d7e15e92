"""Whether a gain is shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.panels.gate import gain, shared


def test_a_gain_on_every_prompt_is_shown() -> None:
    found = gain(np.ones(200), np.zeros(200))

    assert found.mean == 1.0
    assert 0.9 < found.low < 1.0


def test_few_prompts_show_little_however_well_they_go() -> None:
    assert gain(np.ones(2), np.zeros(2)).low < 0


def test_nothing_is_known_of_no_prompts() -> None:
    found = gain(np.zeros(0), np.zeros(0))

    assert (found.mean, found.low, found.high) == (0.0, -1.0, 1.0)


def test_more_comparisons_make_a_wider_interval() -> None:
    random = np.random.default_rng(0)
    ours, theirs = (random.integers(0, 2, 300).astype(float) for _ in range(2))

    one, many = (gain(ours, theirs, outside=shared(number)) for number in (1, 50))

    assert many.low < one.low < one.mean < one.high < many.high


def test_the_error_is_shared_by_all() -> None:
    assert shared(1) == pytest.approx(0.025)
    assert shared(10) == pytest.approx(0.0025)
    assert shared(0) == shared(1)


def test_panels_that_are_worth_nothing_are_seldom_switched_on() -> None:
    """Fifteen rounds of ten panels, none better than what it has to beat: one in forty rounds."""
    random = np.random.default_rng(0)
    outside = shared(10)

    alarms = 0
    for _ in range(15):
        pairs = random.integers(0, 2, (10, 2, 80)).astype(float)
        alarms += any(gain(*pair, outside=outside).low > 0 for pair in pairs)

    assert alarms <= 2


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_the_mean_is_in_its_interval(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(pairs).T

    found = gain(ours, theirs)

    assert -1.0 <= found.low <= found.mean <= found.high <= 1.0
