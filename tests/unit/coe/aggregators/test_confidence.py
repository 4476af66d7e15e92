from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.aggregators.confidence import Curve, read
from coe.errors import ConfigError

CURVE = Curve((-2.0, -1.0, -0.5), (0.1, 0.5, 0.9))


@pytest.mark.parametrize(
    ("logprob", "probability"),
    [
        (float("-inf"), 0.1),
        (-3.0, 0.1),
        (-2.0, 0.1),
        (-1.5, 0.3),  # half way from .1 to .5
        (-1.0, 0.5),
        (-0.6, 0.82),  # four fifths of the way from .5 to .9
        (-0.5, 0.9),
        (0.0, 0.9),
    ],
)
def test_a_curve_is_straight_between_knots_and_flat_beyond(
    logprob: float, probability: float
) -> None:
    assert CURVE.at(logprob) == pytest.approx(probability)


@given(st.floats(-5, 0), st.floats(-5, 0))
def test_a_curve_does_not_fall(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert CURVE.at(low) <= CURVE.at(high)


def test_one_knot_holds_everywhere() -> None:
    assert [Curve((-1.0,), (0.6,)).at(logprob) for logprob in (-9.0, -1.0, 0.0)] == [0.6] * 3


def test_curves_are_read_by_expert(tmp_path: Path) -> None:
    path = tmp_path / "curves.json"
    path.write_text('{"small": [[-2, 0.1], [-1, 0.5], [-0.5, 0.9]], "large": [[-1, 1]]}')

    assert read(path) == {"small": CURVE, "large": Curve((-1.0,), (1.0,))}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected an object with the knots of each expert"),
        ("{}", "expected an object with the knots of each expert"),
        ("{oops", "Expecting property name"),
        ('{"small": []}', "`small`: expected at least one knot"),
        ('{"small": 3}', "`small`: .*not iterable"),
        ('{"small": [[1, 2, 3]]}', "`small`: too many values"),
        ('{"small": [[0.5, 0.5]]}', "`small`: a log-probability is a number that is at most 0"),
        ('{"small": [[-Infinity, 0.5]]}', "`small`: a log-probability is a number"),
        ('{"small": [[-1, 1.5]]}', "`small`: a probability lies between 0 and 1"),
        ('{"small": [[-1, NaN]]}', "`small`: a probability lies between 0 and 1"),
        ('{"small": [[-1, 0.5], [-1, 0.6]]}', "`small`: log-probabilities ascend"),
        ('{"small": [[-2, 0.5], [-1, 0.4]]}', "`small`: probabilities do not fall"),
    ],
)
def test_what_holds_no_curves_is_refused_with_its_place(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "curves.json"
    path.write_text(content)

    with pytest.raises(ConfigError, match=rf"curves\.json: {message}"):
        read(path)
