"""Methods for one look, at an end that was chosen before: nothing here may be peeked at.

Student's distribution and the bootstrap are scipy's: `pip install 'coe-gateway[experiments]'`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.errors import ConfigError
from coe.experiments.effect import Interval
from coe.experiments.summary import Moments
from coe.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 2000


def share(moments: Moments, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of one arm's share.

    Raises:
        ValueError: the arm has no value, or the confidence is not within 0 and 1.

    Reference: Wilson (1927), Probable inference, JASA 22 (158).
    """
    _require(moments.n > 0, "a share of no unit is unknown")
    low, high = wilson(np.asarray(moments.mean), np.asarray(float(moments.n)), _z(confidence))
    return Interval(estimate=moments.mean, low=float(low), high=float(high), confidence=confidence)


def shares(control: Moments, arm: Moments, confidence: float = 0.95) -> Interval:
    """Return the interval of the difference of two shares: Newcombe's, of two score intervals.

        low = d - sqrt((p_b - low_b)^2 + (high_a - p_a)^2), and the other way round

    Unlike d -+ z s it is right for shares near 0 and 1, too.

    Raises:
        ValueError: see `share`.

    Reference: Newcombe (1998), Interval estimation for the difference between independent
        proportions, Statistics in Medicine 17, method 10.
    """
    a, b = share(control, confidence), share(arm, confidence)
    difference = b.estimate - a.estimate
    return Interval(
        estimate=difference,
        low=difference - math.hypot(b.estimate - b.low, a.high - a.estimate),
        high=difference + math.hypot(b.high - b.estimate, a.estimate - a.low),
        confidence=confidence,
    )


def shares_p(control: Moments, arm: Moments) -> float:
    """Return the p of the z test of two shares, with the variance of both together.

    Raises:
        ValueError: an arm has no value.

    Reference: Fleiss, Levin, Paik (2003), Statistical methods for rates and proportions, eq. 3.5
        (without the continuity correction).
    """
    _require(min(control.n, arm.n) > 0, "shares of no unit cannot be compared")
    together = (control.n * control.mean + arm.n * arm.mean) / (control.n + arm.n)
    variance = together * (1.0 - together) * (1.0 / control.n + 1.0 / arm.n)
    if variance <= 0.0:
        return 1.0
    return math.erfc(abs(arm.mean - control.mean) / math.sqrt(2.0 * variance))


def means(control: Moments, arm: Moments, confidence: float = 0.95) -> Interval:
    """Return Welch's interval of the difference of two means; infinite where nothing varies.

    Raises:
        ValueError: an arm has fewer than two values, or the confidence is not within 0 and 1.
        ConfigError: scipy is missing.

    Reference: Welch (1947), The generalization of Student's problem when several different
        population variances are involved, Biometrika 34; degrees of freedom by Satterthwaite
        (1946).
    """
    variance, freedom = _welch(control, arm)
    _z(confidence)
    reach = math.inf
    if variance > 0.0:
        quantile = float(_scipy().special.stdtrit(freedom, 0.5 + confidence / 2.0))
        reach = quantile * math.sqrt(variance)
    difference = arm.mean - control.mean
    return Interval(
        estimate=difference, low=difference - reach, high=difference + reach, confidence=confidence
    )


def means_p(control: Moments, arm: Moments) -> float:
    """Return the p of Welch's t test, on both sides; 1 where nothing varies.

    Raises:
        ValueError: an arm has fewer than two values.
        ConfigError: scipy is missing.
    """
    variance, freedom = _welch(control, arm)
    if variance <= 0.0:
        return 1.0
    t = abs(arm.mean - control.mean) / math.sqrt(variance)
    return float(2.0 * _scipy().special.stdtr(freedom, -t))


def bootstrap(
    control: Floats,
    arm: Floats,
    statistic: Callable[..., Any] = np.mean,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the interval of statistic(arm) - statistic(control): the middle of resampled ones.

    For what has no formula, such as a median. The percentiles are taken as they are: a correction
    for skew rests on leaving out one value at a time, which says nothing of quantiles, and two arms
    are hardly skew against each other.

    Args:
        control: shape (n,), the values of units.
        arm: shape (m,).
        statistic: of an array along an `axis`.
        confidence: within 0 and 1.
        seed: of the resamples.

    Raises:
        ValueError: an arm has fewer than two values, a value is not finite, or the confidence is
            not within 0 and 1.
        ConfigError: scipy is missing.

    Reference: Efron, Tibshirani (1993), An introduction to the bootstrap, chapter 13 (percentile
        intervals) and section 11.6 (where the jackknife fails).
    """
    _z(confidence)
    _require(min(len(control), len(arm)) > 1, "a bootstrap takes two units of each arm")
    _require(np.isfinite(control).all() and np.isfinite(arm).all(), "a value is not a number")

    def difference(a: Floats, b: Floats, axis: int = -1) -> Floats:
        return np.asarray(statistic(b, axis=axis) - statistic(a, axis=axis))

    found = _scipy().stats.bootstrap(
        (control, arm),
        difference,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = found.confidence_interval
    return Interval(
        estimate=float(difference(control, arm)),
        low=float(low),
        high=float(high),
        confidence=confidence,
    )


def _welch(control: Moments, arm: Moments) -> tuple[float, float]:
    """Return the variance of the difference, and its degrees of freedom."""
    _require(min(control.n, arm.n) > 1, "means are compared of two units of each arm, or more")
    a, b = control.variance_of_mean, arm.variance_of_mean
    variance = a + b
    if variance <= 0.0:
        return 0.0, 1.0
    # Of shares of the variance: squares of tiny variances would be 0.
    share_a, share_b = a / variance, b / variance
    return variance, 1.0 / (share_a**2 / (control.n - 1) + share_b**2 / (arm.n - 1))


def _z(confidence: float) -> float:
    _require(0.0 < confidence < 1.0, f"a confidence is within 0 and 1, not {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _scipy() -> Any:
    try:
        import scipy.special
        import scipy.stats
    except ImportError:
        raise ConfigError(
            "this comparison needs scipy: install the extra with "
            "`pip install 'coe-gateway[experiments]'`"
        ) from None
    return scipy
