from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import ConfigError
from coe.protocols import RouterSpec
from coe.testing.routers import GivenParts
from coe.types import Category
from routers.calibration import Calibration
from routers.encoders.hashed import HashedEncoder
from routers.ridge import RidgeRouter, build, solve

ENCODER = HashedEncoder(name="small", dim=512)
CATEGORIES = (
    Category(
        name="arithmetic",
        utterances=tuple(f"what is {n} times {n * 7}" for n in range(3, 15)),
        negatives=("what is the time in Bern", "times square"),
    ),
    Category(name="units", utterances=tuple(f"how many feet are {n} metres" for n in range(3, 15))),
    Category(
        name="phrases",
        utterances=tuple(
            f"how do you say {word} in French"
            for word in ("yes", "no", "thanks", "hello", "goodbye", "please", "water", "bread")
        ),
    ),
)


def router(categories: Any = CATEGORIES, dim: int = 512) -> RidgeRouter:
    encoder = HashedEncoder(name="small", dim=dim)
    return RidgeRouter(name="spelling", categories=categories, encoder=encoder)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(1, 30), st.floats(0.05, 5.0), st.integers(0, 2**32 - 1))
def test_a_row_left_out_in_closed_form_is_a_fit_without_it(
    count: int, dim: int, strength: float, seed: int
) -> None:
    """Both forms of the solution: more rows than dimensions, and fewer."""
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((count, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    targets = np.eye(3, dtype=np.float32)[generator.integers(3, size=count)]
    everything = np.arange(count)

    solution = solve(rows, targets, strength=strength, asked=everything)

    for row in (0, count - 1):
        others = np.delete(everything, row)
        ridge = strength * np.eye(dim)
        without = np.linalg.solve(
            rows[others].T.astype(np.float64) @ rows[others] + ridge,
            rows[others].T.astype(np.float64) @ targets[others],
        )
        own = solution.leverages[row]
        left_out = (rows[row] @ solution.weights - own * targets[row]) / (1 - own)
        assert left_out == pytest.approx(rows[row] @ without, abs=2e-3)


@pytest.mark.parametrize("dim", [16, 512])
def test_a_new_wording_goes_to_its_category(dim: int) -> None:
    texts = ["what is 21 times 3", "how many feet are 99 metres", "how do you say milk in French"]

    values = router(dim=dim).score(texts).values

    assert values.argmax(axis=1).tolist() == [0, 1, 2]


def test_a_text_about_nothing_here_is_none_of_these() -> None:
    values = router().score(["the moon is bright above quiet hills", "xyzzy"]).values

    assert (values.max(axis=1) < 0.4).all()


def test_a_near_miss_lowers_what_it_resembles() -> None:
    bare = tuple(Category(name=c.name, utterances=c.utterances) for c in CATEGORIES)
    text = "what is the time in Bern"

    before, after = (router(c).score([text]).values[0, 0] for c in (bare, CATEGORIES))

    assert after < before / 2


def test_what_it_rehearses_is_worse_than_what_it_knows_by_heart() -> None:
    fitted = router()
    rehearsal = fitted.rehearse()

    known = fitted.score(rehearsal.texts).values

    own = np.arange(len(rehearsal.texts)), rehearsal.labels
    assert (known.argmax(axis=1) == rehearsal.labels).all()
    assert rehearsal.values[own].mean() < known[own].mean()
    assert rehearsal.right.mean() > 0.9


def test_too_few_utterances_take_the_defaults_and_say_so() -> None:
    few = [Category(name="a", utterances=("one", "two")), Category(name="b"), Category(name="c")]

    fitted = router(few)

    assert not fitted.calibrated
    assert fitted.calibration == Calibration()
    assert (fitted.score(["one", "three"]).values[:, 1:] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"routers\.spelling\.encoder: is missing"),
        ({"encoder": "small", "strength": 0}, r"spelling\.strength: expected a number"),
        ({"encoder": "small", "strenght": 1}, "did you mean 'strength'"),
    ],
)
def test_a_wrong_option_names_its_place(options: dict[str, Any], message: str) -> None:
    spec = RouterSpec(name="spelling", type="ridge", options=options, categories=CATEGORIES)

    with pytest.raises(ConfigError, match=message):
        build(spec, GivenParts(encoders={"small": ENCODER}))


def test_a_router_without_any_utterance_is_refused() -> None:
    spec = RouterSpec(
        name="spelling",
        type="ridge",
        options={"encoder": "small"},
        categories=(Category(name="a"),),
    )

    with pytest.raises(ConfigError, match=r"routers\.spelling: .*needs utterances"):
        build(spec, GivenParts(encoders={"small": ENCODER}))
