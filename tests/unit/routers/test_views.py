from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routers.encoders.hashed import HashedEncoder
from routers.training import train
from routers.views import SPELLING_DIM, views_of

ENCODER = HashedEncoder(name="small", dim=32)


class Blind:
    """An encoder to which all texts mean the same."""

    name, dim, fingerprint = "blind", 8, "blind"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.full((len(texts), 8), 8**-0.5, dtype=np.float32)


def test_a_text_is_read_in_two_ways() -> None:
    views = views_of(ENCODER, ["one", "two", "three"])

    assert len(views) == 3
    np.testing.assert_array_equal(views.meaning, ENCODER.encode(["one", "two", "three"]))
    assert views.spelling.shape == (3, SPELLING_DIM)
    np.testing.assert_allclose(np.linalg.norm(views.spelling, axis=1), 1, rtol=1e-5)


def test_rows_are_taken_and_put_together() -> None:
    one, two = views_of(ENCODER, ["a", "b"]), views_of(ENCODER, ["c"])

    both = one.and_(two)[np.array([2, 0])]

    expected = views_of(ENCODER, ["c", "a"])
    np.testing.assert_array_equal(both.meaning, expected.meaning)
    np.testing.assert_array_equal(both.spelling, expected.spelling)


def test_nothing_is_read_of_no_text() -> None:
    assert len(views_of(ENCODER, [])) == 0


def test_spelling_tells_apart_what_the_encoder_does_not() -> None:
    rows = [(f"{verb} {n}", verb) for verb in ("ERR-4711", "ticket") for n in range(6)]

    trained = train(rows, Blind())

    shares = trained.model.given_inside(views_of(Blind(), ["ERR-4712", "tickets"]))
    assert [trained.categories[column] for column in shares.argmax(axis=1)] == [
        "ERR-4711",
        "ticket",
    ]
