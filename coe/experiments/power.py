"""How many units an experiment takes, and what a given number would find.

A comparison is described by the difference to find and by the variance of a unit: V / n is the
variance of the difference after n units. Everything else follows from these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from coe.experiments import sequential
from coe.experiments.crossing import start

_NORMAL = NormalDist()
LOOKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is to be found.

    Attributes:
        difference: not 0.
        if_none: n times the variance of the observed difference, were there none.
        if_so: the same, if it is as great as that.
    """

    difference: float
    if_none: float
    if_so: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a sequential test may be expected to do.

    Attributes:
        power: how likely it finds the difference by the end.
        units: how many it takes on average until it stops, or ends.
    """

    power: float
    units: float


def shares(base: float, difference: float, *, part: float = 0.5) -> Comparison:
    """Return the comparison of two shares.

    Args:
        base: the control's share, within 0 and 1.
        difference: 0.05 is 5 points.
        part: of the units that the arm gets.

    Raises:
        ValueError: a share is outside [0, 1], the difference is 0, or the part not within 0 and 1.

    Reference: Fleiss, Levin, Paik (2003), Statistical methods for rates and proportions, eq. 4.14
        and 4.19 (unequal arms), without the continuity correction.
    """
    arm = base + difference
    if not (0.0 <= base <= 1.0 and 0.0 <= arm <= 1.0):
        raise ValueError(f"a share is within 0 and 1, not {base:g} or {arm:g}")
    weight = _weight(part)
    together = (1.0 - part) * base + part * arm
    return Comparison(
        difference=_not_none(difference),
        if_none=together * (1.0 - together) * weight,
        if_so=base * (1.0 - base) / (1.0 - part) + arm * (1.0 - arm) / part,
    )


def means(deviation: float, difference: float, *, part: float = 0.5) -> Comparison:
    """Return the comparison of two means.

    Args:
        deviation: the standard deviation of a unit's value, above 0. With a covariate of
            correlation r, it is sqrt(1 - r^2) of what it was.
        difference: in the same units.
        part: of the units that the arm gets.

    Raises:
        ValueError: the deviation is not above 0, the difference is 0, or the part not within 0 and
            1.

    Reference: Chow, Shao, Wang (2008), Sample size calculations in clinical research, eq. 3.2.2.
    """
    if not 0.0 < deviation < math.inf:
        raise ValueError(f"a standard deviation is above 0, not {deviation}")
    variance = deviation**2 * _weight(part)
    return Comparison(difference=_not_none(difference), if_none=variance, if_so=variance)


def pairs(differ: float, difference: float) -> Comparison:
    """Return the comparison of two arms that both answer every prompt.

    Args:
        differ: the share of prompts of which one is right and the other is not.
        difference: of the shares that are right; less than `differ`.

    Raises:
        ValueError: it is 0 or more than `differ`, or that is more than 1.

    Reference: Miettinen (1968), The matched pairs design in the case of all-or-none responses,
        Biometrics 24; Connor (1987), Sample size for testing differences in proportions for the
        paired-sample design, Biometrics 43.
    """
    if not abs(_not_none(difference)) <= differ <= 1.0:
        raise ValueError(f"of {differ:.1%} that differ, a difference of {difference:.1%} cannot be")
    return Comparison(difference=difference, if_none=differ, if_so=differ - difference**2)


def size(comparison: Comparison, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many units (of all arms together, or pairs) one look at the end takes.

        n = ((z_alpha/2 sqrt(if_none) + z_power sqrt(if_so)) / difference)^2

    Raises:
        ValueError: power or alpha are not within 0 and 1.
    """
    z = _z(alpha) * math.sqrt(comparison.if_none)
    z += _NORMAL.inv_cdf(_within(power)) * math.sqrt(comparison.if_so)
    return math.ceil((max(z, 0.0) / comparison.difference) ** 2)


def power_of(comparison: Comparison, units: int, *, alpha: float = 0.05) -> float:
    """Return how likely one look after so many units finds the difference.

    Raises:
        ValueError: there is no unit, or alpha is not within 0 and 1.
    """
    if units < 1:
        raise ValueError(f"{units} units find nothing")
    shift = abs(comparison.difference) * math.sqrt(units)
    bound = _z(alpha) * math.sqrt(comparison.if_none)
    if comparison.if_so <= 0.0:
        return float(shift > bound)
    deviation = math.sqrt(comparison.if_so)
    return _NORMAL.cdf((shift - bound) / deviation) + _NORMAL.cdf((-shift - bound) / deviation)


def sequential_course(
    comparison: Comparison, units: int, scale: float, *, alpha: float = 0.05, looks: int = LOOKS
) -> Course:
    """Return what the sequential test does within so many units, looked at so many times.

    By quadrature (see `crossing`). More looks find a little more, and a little earlier.

    Args:
        comparison: see `Comparison`.
        units: of all arms together, 1 or more.
        scale: see `sequential.log_evidence`.
        alpha: within 0 and 1.
        looks: evenly spaced, the last at the end.

    Raises:
        ValueError: there is no unit or look, the scale is not above 0, or alpha not within 0 and 1.
    """
    if units < 1 or looks < 1:
        raise ValueError(f"{units} units and {looks} looks find nothing")
    if comparison.if_so <= 0.0:
        raise ValueError("a comparison whose outcome is certain takes no test")
    last = comparison.if_so / units
    inside, found, waited = start(comparison.difference / math.sqrt(last)), 0.0, 0.0
    for look in range(1, looks + 1):
        time = look / looks
        waited += (1.0 - found) / looks
        bound = sequential.radius(last / time, scale, 1.0 - alpha) / math.sqrt(last) * time
        found += inside.leaving(time, bound)
        inside = inside.stay(time, bound)
    return Course(power=min(1.0, found), units=waited * units)


def sequential_size(
    comparison: Comparison, scale: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Return after how many units the sequential test has found the difference that likely.

    To 1 %. It is more than `size`; but most experiments stop long before.

    Raises:
        ValueError: power or alpha are not within 0 and 1, or the scale is not above 0.
    """
    low = max(1, size(comparison, power=power, alpha=alpha))
    high = 2 * low
    while sequential_course(comparison, high, scale, alpha=alpha).power < power:
        low, high = high, 2 * high
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        enough = sequential_course(comparison, middle, scale, alpha=alpha).power >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def _z(alpha: float) -> float:
    return -_NORMAL.inv_cdf(_within(alpha) / 2.0)


def _within(probability: float) -> float:
    if not 0.0 < probability < 1.0:
        raise ValueError(f"a probability is within 0 and 1, not {probability}")
    return probability


def _weight(part: float) -> float:
    return 1.0 / _within(part) + 1.0 / (1.0 - part)


def _not_none(difference: float) -> float:
    if not (math.isfinite(difference) and difference):
        raise ValueError(f"a difference of {difference} is not to be found")
    return difference
