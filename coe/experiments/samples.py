"""Have the arms as many units as their shares say? Where not, nothing else can be believed.

A split that was 50 to 50 and came out 50 to 48 has lost units, and not by chance: those of an arm
that crashed, that was too slow to be logged, or that was left on purpose. What remains cannot be
compared. So the alarm comes before every other verdict, and at p < 0.001, because it is looked at
often and must not be ignored.

Reference: Fabijan et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments,
    KDD.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ALARM = 0.001
CONCENTRATION = 200.0
"""Of the shares that a broken split is thought to have: within some 3.5 points of 50 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """What the counts say of the shares.

    Attributes:
        expected: units that each arm should have, in the order of the counts.
        p_once: of the chi-square test: how likely so much is on a fair split, at one single look.
        p_always: below alpha at any of all looks with probability alpha at most.
    """

    expected: tuple[float, ...]
    p_once: float
    p_always: float

    @property
    def is_broken(self) -> bool:
        """Whether the alarm is raised, however often it is looked at."""
        return self.p_always < ALARM


def check(counts: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """Return what the counts of units say of the shares.

    The chi-square statistic is the sum of (seen - expected)^2 / expected (Pearson 1900), with one
    degree of freedom fewer than there are arms. Looked at every day it raises more false alarms
    than it says; the alarm is therefore by the evidence of a Dirichlet mixture,

        E = B(a + counts) / B(a) / product of share^count,    a = `CONCENTRATION` * shares

    which is a martingale on a fair split (Lindon, Malek 2022, Anytime-valid inference for
    multinomial count data, arXiv 2011.03567, eq. 6).

    Args:
        counts: units per arm, 0 or more.
        shares: of the same arms; they sum to 1. An arm of share 0 must not have units.

    Raises:
        ValueError: there are not as many counts as shares, a count is negative, or the shares do
            not sum to 1.
    """
    if len(counts) != len(shares):
        raise ValueError(f"there are {len(counts)} counts and {len(shares)} shares")
    if min(counts, default=0) < 0 or min(shares, default=0.0) < 0:
        raise ValueError(f"a count or a share is negative: {counts}, {shares}")
    if not math.isclose(sum(shares), 1.0, abs_tol=1e-9):
        raise ValueError(f"the shares sum to {sum(shares):.2%}, not 100 %")
    total = sum(counts)
    expected = tuple(total * share for share in shares)
    open_ = [(seen, share) for seen, share in zip(counts, shares, strict=True) if share > 0]
    if sum(seen for seen, _ in open_) < total:
        return SampleRatio(expected=expected, p_once=0.0, p_always=0.0)
    statistic = sum((seen - total * share) ** 2 / (total * share) for seen, share in open_ if total)
    return SampleRatio(
        expected=expected,
        p_once=chi_square_tail(statistic, len(open_) - 1),
        p_always=math.exp(-max(0.0, _log_evidence(open_))),
    )


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Return how likely a chi-square variable of so many degrees of freedom is to be greater.

    A finite sum: Q(1/2, x) = erfc(sqrt x), Q(1, x) = e^-x, Q(a + 1, x) = Q(a, x) + x^a e^-x /
    Gamma(a + 1), with x half the statistic and a half the degrees (Abramowitz, Stegun 1964, 26.4.4,
    26.4.5 and 6.5.21). It is here because the gateway checks its splits, and runs without scipy.
    """
    x = statistic / 2.0
    if x <= 0.0 or not freedom:
        return 1.0
    a = 0.5 if freedom % 2 else 1.0
    tail = math.erfc(math.sqrt(x)) if freedom % 2 else math.exp(-x)
    while a < freedom / 2.0:
        tail += math.exp(a * math.log(x) - x - math.lgamma(a + 1.0))
        a += 1.0
    return min(1.0, tail)


def _log_evidence(arms: Sequence[tuple[int, float]]) -> float:
    total = sum(seen for seen, _ in arms)
    mixed = math.lgamma(CONCENTRATION) - math.lgamma(CONCENTRATION + total)
    for seen, share in arms:
        prior = CONCENTRATION * share
        mixed += math.lgamma(prior + seen) - math.lgamma(prior) - seen * math.log(share)
    return mixed
