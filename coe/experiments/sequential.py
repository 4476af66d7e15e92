"""Methods that may be looked at whenever one likes: always-valid evidence and its intervals.

A fixed test promises 5 % false alarms at one look that was planned. Whoever looks every day and
stops at the first z above 1.96 has many times as many. What stands here keeps its promise for all
looks together, from the first to the last, planned or not, so that an experiment can be stopped
when it has said enough.

The evidence against "no difference" is a likelihood ratio, between differences that are drawn from
N(0, scale^2) and none (mixture sequential probability ratio test):

    E = sqrt(V / (V + t^2)) exp(t^2 d^2 / (2 V (V + t^2)))        d: difference, V: its variance

Without a difference E is a martingale that begins at 1, and it ever reaches 1 / alpha with
probability alpha at most (Ville 1939). The confidence sequence is the differences that are not
rejected. V is estimated, so for means this holds as units grow many: from about a hundred per arm
on; the rule waits for them (see `benches.experiments`).

Reference: Robbins (1970), Statistical methods related to the law of the iterated logarithm;
    Johari, Pekelis, Walsh (2015), Always valid inference, arXiv 1512.04922, eq. 6 and section 4;
    Waudby-Smith et al. (2021), Time-uniform central limit theory, arXiv 2103.06476, section 2.2
    (with an estimated variance). That arms of unequal and changing size are covered, too: the
    covariance of the differences at two looks is V of the later one, which is a Brownian motion in
    the time 1 / V.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from coe.experiments.effect import Effect, Interval

_STEPS = 60  # of a bisection: to the last bit of a float within [0, 1]


def log_evidence(effect: Effect, scale: float) -> float:
    """Return ln E: 3 is at 20 to 1 against "no difference"; 0 where the variance is 0.

    Args:
        effect: see `Effect`.
        scale: t above 0, in the metric's units: the smallest difference worth finding. A wrong one
            costs time, but no false alarms.

    Raises:
        ValueError: the scale is not above 0.
    """
    v, t2 = effect.variance, _square(scale)
    if v <= 0.0:
        return 0.0
    return 0.5 * math.log(v / (v + t2)) + t2 * effect.difference**2 / (2.0 * v * (v + t2))


def p_value(effect: Effect, scale: float) -> float:
    """Return the always-valid p, min(1, 1 / E): it is ever below alpha with probability alpha.

    Raises:
        ValueError: see `log_evidence`.
    """
    return math.exp(-max(0.0, log_evidence(effect, scale)))


def radius(variance: float, scale: float, confidence: float = 0.95) -> float:
    """Return how far the confidence sequence reaches to each side of the difference.

        sqrt(2 V (V + t^2) / t^2  ln(sqrt((V + t^2) / V) / alpha))

    Infinite where the variance is 0.

    Raises:
        ValueError: the scale is not above 0, or the confidence not within 0 and 1.
    """
    alpha, t2 = _alpha(confidence), _square(scale)
    if variance <= 0.0:
        return math.inf
    more = (variance + t2) / variance
    return math.sqrt(2.0 * variance**2 * more / t2 * math.log(math.sqrt(more) / alpha))


def interval(effect: Effect, scale: float, confidence: float = 0.95) -> Interval:
    """Return the confidence sequence's interval at this look.

    With the given probability all intervals, of all looks, hold the true difference.

    Raises:
        ValueError: see `radius`.
    """
    reach = radius(effect.variance, scale, confidence)
    return Interval(
        estimate=effect.difference,
        low=effect.difference - reach,
        high=effect.difference + reach,
        confidence=confidence,
    )


def share(total: float, n: int, scale: float = 0.05, confidence: float = 0.95) -> Interval:
    """Return the confidence sequence of one arm's share at this look. Exact for every n.

    The evidence against a share p is the same ratio, with shares drawn around it:

        E(p) = B(c p + s, c (1 - p) + n - s) / B(c p, c (1 - p)) / (p^s (1 - p)^(n - s))

    with c = 1 / (4 scale^2). Values between 0 and 1 may be summed, too: a likelihood ratio of
    zeros and ones is convex in the value, so its expectation is no greater.

    Args:
        total: s, the sum of n values in [0, 1]; of zeros and ones, the number of ones.
        n: how many.
        scale: above 0: how far from 50 % a share is thought to be (from others, less).
        confidence: of all looks together.

    Raises:
        ValueError: the total is not within 0 and n, the scale not above 0, or the confidence not
            within 0 and 1.

    Reference: Robbins (1970), example 3; Howard, Ramdas, McAuliffe, Sekhon (2021), Time-uniform,
        nonparametric, nonasymptotic confidence sequences, arXiv 1810.08240, section 3 (beta-
        binomial mixture, centred at p).
    """
    most, concentration = -math.log(_alpha(confidence)), 0.25 / _square(scale)
    if not 0.0 <= total <= n:
        raise ValueError(f"the sum of {n} values in [0, 1] is not {total}")

    def is_rejected(p: float) -> bool:
        if p in {0.0, 1.0}:
            return total != n * p
        a, b = concentration * p, concentration * (1.0 - p)
        mixed = _log_beta(a + total, b + n - total) - _log_beta(a, b)
        return mixed - total * math.log(p) - (n - total) * math.log1p(-p) >= most

    mean = total / n if n else 0.5
    return Interval(
        estimate=mean,
        low=_end(is_rejected, 0.0, mean),
        high=_end(is_rejected, 1.0, mean),
        confidence=confidence,
    )


def _end(is_rejected: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return the last share on the way outside that is not rejected."""
    if not is_rejected(outside):
        return outside
    for _ in range(_STEPS):
        middle = (outside + inside) / 2.0
        outside, inside = (middle, inside) if is_rejected(middle) else (outside, middle)
    return inside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _square(scale: float) -> float:
    if not 0.0 < scale < math.inf:
        raise ValueError(f"the smallest difference worth finding is above 0, not {scale}")
    return scale * scale


def _alpha(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence is within 0 and 1, as 0.95 is, not {confidence}")
    return 1.0 - confidence
