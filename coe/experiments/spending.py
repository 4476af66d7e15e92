"""Looks before a known end: O'Brien-Fleming boundaries by Lan and DeMets' alpha spending.

Where it is known how many units there will be, a few looks on the way cost next to nothing: early
ones ask for overwhelming evidence, and the last one for hardly more than a single look would. The
looks need not be planned; what is spent depends on how much has been seen alone.

Reference: O'Brien, Fleming (1979), A multiple testing procedure for clinical trials, Biometrics 35;
    Lan, DeMets (1983), Discrete sequential boundaries for clinical trials, Biometrika 70 (3), eq. 2
    (alpha_1*), for each of the two sides; Jennison, Turnbull (2000), chapter 9 (intervals).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from coe.experiments.crossing import start
from coe.experiments.effect import Effect, Interval

_NORMAL = NormalDist()
_HIGHEST = 40.0  # a z that is never reached
_STEPS = 60


def spent(fraction: float, alpha: float = 0.05) -> float:
    """Return how much of alpha may be spent, on both sides, when that share has been seen.

        2 (2 - 2 Phi(z / sqrt(fraction))),   z: of alpha / 4 above it

    Raises:
        ValueError: the fraction is not above 0, or alpha not within 0 and 1.
    """
    if not fraction > 0.0:
        raise ValueError(f"a look comes after something was seen, not at {fraction}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is within 0 and 1, not {alpha}")
    z = -_NORMAL.inv_cdf(alpha / 4.0) / math.sqrt(min(fraction, 1.0))
    return 2.0 * math.erfc(z / math.sqrt(2.0))


def boundaries(
    fractions: Sequence[float], alpha: float = 0.05, *, ended: bool = False
) -> tuple[float, ...]:
    """Return the |z| at which each look stops: together they raise alpha false alarms.

    Args:
        fractions: of the planned units that were seen at each look, rising, above 0. What is seen
            beyond the plan counts as certainty, but nothing more is spent on it.
        alpha: of both sides.
        ended: the last look is the last one, however much was seen: it spends what is left.

    Raises:
        ValueError: the fractions do not rise from above 0.
    """
    if any(b <= a for a, b in zip((0.0, *fractions), fractions, strict=False)):
        raise ValueError(f"looks come one after the other, not at {list(fractions)}")
    found: list[float] = []
    inside, before = start(), 0.0
    for number, fraction in enumerate(fractions, 1):
        total = alpha if ended and number == len(fractions) else spent(fraction, alpha)
        root = math.sqrt(fraction)
        low, high = 0.0, _HIGHEST
        for _ in range(_STEPS):
            middle = (low + high) / 2.0
            too_often = inside.leaving(fraction, middle * root) > total - before
            low, high = (middle, high) if too_often else (low, middle)
        found.append(high)
        inside, before = inside.stay(fraction, high * root), total
    return tuple(found)


def interval(
    effect: Effect, fractions: Sequence[float], confidence: float = 0.95, *, ended: bool = False
) -> Interval:
    """Return the interval at the last of the looks: difference -+ boundary * standard error.

    With the given probability the intervals of all looks hold the true difference. Infinite where
    the variance is 0.

    Args:
        effect: at the last look.
        fractions: see `boundaries`; with all looks before this one.
        confidence: of all looks together.
        ended: see `boundaries`.

    Raises:
        ValueError: see `boundaries`.
    """
    bound = boundaries(fractions, 1.0 - confidence, ended=ended)[-1]
    reach = bound * math.sqrt(effect.variance) if effect.variance > 0.0 else math.inf
    return Interval(
        estimate=effect.difference,
        low=effect.difference - reach,
        high=effect.difference + reach,
        confidence=confidence,
    )
