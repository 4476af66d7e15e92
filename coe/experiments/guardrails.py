"""Guardrails: what an arm must not cost, watched from the first hundred units on.

An arm may be better and still too slow, too dear or too often broken. Each guardrail asks one
question, however often: is it shown that the arm is worse than the control by more than is allowed?
The answer is one side of a confidence sequence, so it can be asked after every request. Where
several are watched, the false alarms are shared among them: together they stay at `alpha`.

    share      errors: arm's share - control's share, in points
    mean       cost: arm's mean / control's mean
    quantile   p95: arm's quantile / control's quantile

Ratios are compared by their logarithm, whose variance is V / mean^2 (delta method: Casella, Berger
2002, section 5.5.4), or as `quantiles` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coe.experiments import sequential
from coe.experiments.effect import FEWEST, Effect, Interval, between
from coe.experiments.quantiles import Sketch, fewest
from coe.experiments.summary import Moments

POINTS, RATIO = 0.05, 0.2
"""The harm that is looked for, if no more is allowed. A great one has to be found among few units,
and a small one is then found among many hardly later: the scale is in the logarithm alone."""

Verdict = Literal["go on", "pause", "too few"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """What is watched.

    Attributes:
        metric: its name; of a greater value it is sure that it is worse.
        kind: see above.
        allowed: how much worse is borne: 0.005 is half a point of a share, 0.15 is 15 % of a mean
            or a quantile. 0 or more.
        quantile: which one, where the kind is that.

    Raises:
        ValueError: what is allowed is negative or not a number, or the quantile not within 0 and 1.
    """

    metric: str
    kind: Literal["share", "mean", "quantile"]
    allowed: float
    quantile: float = 0.95

    def __post_init__(self) -> None:
        """Refuse what cannot be watched."""
        if not 0.0 <= self.allowed < math.inf:
            raise ValueError(
                f"guardrail `{self.metric}` allows {self.allowed}; it must be 0 or more"
            )
        fewest(self.quantile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What was found.

    Attributes:
        guardrail: what was watched.
        interval: of how much worse the arm is, in the units of `allowed`; below its `low` the truth
            is half as seldom as it is outside. None where there are too few units.
        verdict: `pause` when `low` is above what is allowed.
    """

    guardrail: Guardrail
    interval: Interval | None
    verdict: Verdict

    def sentence(self, arm: str, control: str) -> str:
        """Return what was found, for a person."""
        name, found = self.guardrail.metric, self.interval
        if found is None:
            return f"{name}: too few units to say anything yet."
        if math.isinf(found.estimate):
            return f"{name} of `{arm}`: more than nothing, which is what `{control}` has."
        points = self.guardrail.kind == "share"
        more, low, allowed = (
            f"{100 * value:+.1f} points" if points else f"{100 * value:+.0f} %"
            for value in (found.estimate, found.low, self.guardrail.allowed)
        )
        return (
            f"{name} of `{arm}`: {more} against `{control}`, {low} at the least; "
            f"{allowed} is allowed."
        )


def watch(
    guardrails: Sequence[Guardrail],
    control: Mapping[str, Moments | Sketch],
    arm: Mapping[str, Moments | Sketch],
    *,
    alpha: float = 0.05,
) -> tuple[Harm, ...]:
    """Return what is found of each guardrail at this look.

    Args:
        guardrails: the same ones at every look.
        control: metric -> what was measured: moments of shares and means, a sketch of quantiles. A
            metric that is absent was not measured yet.
        arm: likewise.
        alpha: how likely a false pause is, ever, of all guardrails together. (Of several arms, of
            one: divide it among them.)

    Raises:
        TypeError: a metric is not of the kind that its guardrail says.
        ValueError: a mean of which a ratio is to be made is negative.
    """
    confidence = 1.0 - 2.0 * alpha / max(1, len(guardrails))  # one side of two is looked at
    return tuple(
        _watched(each, control.get(each.metric), arm.get(each.metric), confidence)
        for each in guardrails
    )


def _watched(
    guardrail: Guardrail,
    control: Moments | Sketch | None,
    arm: Moments | Sketch | None,
    confidence: float,
) -> Harm:
    if control is None or arm is None:
        return Harm(guardrail=guardrail, interval=None, verdict="too few")
    if guardrail.kind == "quantile":
        found = _quantiles(guardrail, control, arm, confidence)
    elif not isinstance(control, Moments) or not isinstance(arm, Moments):
        raise TypeError(f"guardrail `{guardrail.metric}` watches a {guardrail.kind}: give moments")
    elif min(control.n, arm.n) < FEWEST:
        found = None
    elif guardrail.kind == "share":
        scale = max(guardrail.allowed, POINTS)
        found = sequential.interval(between(control, arm, "share"), scale, confidence)
    else:
        found = _means(guardrail, control, arm, confidence)
    if found is None:
        return Harm(guardrail=guardrail, interval=None, verdict="too few")
    verdict: Verdict = "pause" if found.low > guardrail.allowed else "go on"
    return Harm(guardrail=guardrail, interval=found, verdict=verdict)


def _means(
    guardrail: Guardrail, control: Moments, arm: Moments, confidence: float
) -> Interval | None:
    if min(control.mean, arm.mean) < 0.0:
        raise ValueError(f"guardrail `{guardrail.metric}` is a ratio, and a mean is negative")
    if not arm.mean:
        return Interval(estimate=0.0, low=-1.0, high=0.0, confidence=confidence)
    if not control.mean:  # nothing: any cost is endlessly more
        return Interval(estimate=math.inf, low=math.inf, high=math.inf, confidence=confidence)
    variance = control.variance_of_mean / control.mean**2 + arm.variance_of_mean / arm.mean**2
    return _ratio(guardrail, math.log(arm.mean / control.mean), variance, confidence)


def _quantiles(
    guardrail: Guardrail,
    control: Moments | Sketch,
    arm: Moments | Sketch,
    confidence: float,
) -> Interval | None:
    if not isinstance(control, Sketch) or not isinstance(arm, Sketch):
        raise TypeError(f"guardrail `{guardrail.metric}` watches a quantile: give sketches")
    if min(control.n, arm.n) < fewest(guardrail.quantile):
        return None
    (a, variance_a), (b, variance_b) = (
        each.log_quantile(guardrail.quantile) for each in (control, arm)
    )
    return _ratio(guardrail, b - a, variance_a + variance_b, confidence)


def _ratio(guardrail: Guardrail, logarithm: float, variance: float, confidence: float) -> Interval:
    scale = math.log1p(max(guardrail.allowed, RATIO))
    found = sequential.interval(Effect(difference=logarithm, variance=variance), scale, confidence)
    low, high = (math.expm1(min(end, 700.0)) for end in (found.low, found.high))
    return Interval(estimate=math.expm1(logarithm), low=low, high=high, confidence=confidence)
