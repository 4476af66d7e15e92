"""How far two arms are apart, and how certain that is: the one form that every method reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from coe.experiments.summary import Moments

Kind = Literal["share", "mean"]
"""A share is a mean of values in [0, 1]; a mean is of any."""

FEWEST = 100
"""Units of each arm before anything is said of it: below, the variance itself is a guess."""

_ONE_OF_EACH = Moments(n=2, mean=0.5, squares=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An arm's mean less the control's.

    Attributes:
        difference: in the metric's units.
        variance: of the difference. 0 says that the values did not vary at all, and so nothing of
            how much they may: then no method says anything.

    Raises:
        ValueError: one is not finite, or the variance is negative.
    """

    difference: float
    variance: float

    def __post_init__(self) -> None:
        """Refuse what no arms can have."""
        if not (math.isfinite(self.difference) and math.isfinite(self.variance)):
            raise ValueError(f"an effect is made of numbers: {self}")
        if self.variance < 0:
            raise ValueError(f"a variance is negative: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What a difference (or a share, a ratio) may be.

    Attributes:
        estimate: the likeliest.
        low, high: the ends; infinite where nothing can be said.
        confidence: how often such an interval holds the truth, in (0, 1).
    """

    estimate: float
    low: float
    high: float
    confidence: float


def between(control: Moments, arm: Moments, kind: Kind) -> Effect:
    """Return the difference of two arms whose units are not paired.

    The variance is s^2/n of both. That of a share is taken with one 0 and one 1 added to each arm,
    as Agresti and Caffo do for their interval: 0 errors in 200 requests do not prove that there
    never is one.

    Raises:
        ValueError: an arm has no value.

    Reference: Agresti, Caffo (2000), Simple and effective confidence intervals for proportions
        and differences of proportions. The American Statistician 54 (4), eq. 2.
    """
    if not control.n or not arm.n:
        raise ValueError(f"arms of {control.n} and {arm.n} units cannot be compared")
    more = _ONE_OF_EACH if kind == "share" else Moments()
    variance = (control + more).variance_of_mean + (arm + more).variance_of_mean
    return Effect(difference=arm.mean - control.mean, variance=variance)
