import math

import numpy as np
import pytest

from coe.experiments.guardrails import Guardrail, Harm, watch
from coe.experiments.quantiles import Sketch
from coe.experiments.summary import Moments

ERRORS = Guardrail(metric="error_rate", kind="share", allowed=0.005)
COST = Guardrail(metric="cost_per_request", kind="mean", allowed=0.10)
P95 = Guardrail(metric="p95_ms", kind="quantile", allowed=0.15)


def found(
    guardrail: Guardrail, control: Moments | Sketch, arm: Moments | Sketch, alpha: float = 0.05
) -> Harm:
    (harm,) = watch([guardrail], {guardrail.metric: control}, {guardrail.metric: arm}, alpha=alpha)
    return harm


def latencies(median: float, n: int, seed: int) -> Sketch:
    return Sketch.of(np.random.default_rng(seed).lognormal(math.log(median), 0.5, n))


def costs(mean: float, n: int, seed: int) -> Moments:
    return Moments.of(np.random.default_rng(seed).exponential(mean, n))


def test_an_arm_that_fails_pauses_among_the_first_hundred() -> None:
    harm = found(ERRORS, Moments.counted(100, 1), Moments.counted(100, 40))

    assert harm.verdict == "pause"
    assert "error_rate of `b`: +39.0 points against `a`" in harm.sentence("b", "a")
    assert "+0.5 points is allowed" in harm.sentence("b", "a")


def test_an_arm_that_is_slower_than_allowed_pauses() -> None:
    harm = found(P95, latencies(500, 2000, 1), latencies(800, 2000, 2))

    assert harm.verdict == "pause"
    assert harm.interval is not None
    assert harm.interval.low < 0.6 < harm.interval.high
    assert "+15 % is allowed" in harm.sentence("b", "a")


def test_an_arm_that_is_dearer_than_allowed_pauses() -> None:
    harm = found(COST, costs(1.0, 1000, 1), costs(1.6, 1000, 2))

    assert harm.verdict == "pause"
    assert harm.interval is not None
    assert harm.interval.low < 0.6 < harm.interval.high


@pytest.mark.parametrize(
    ("guardrail", "control", "arm"),
    [
        (ERRORS, Moments.counted(5000, 50), Moments.counted(5000, 60)),
        (ERRORS, Moments.counted(5000, 500), Moments.counted(5000, 50)),
        (P95, latencies(500, 5000, 3), latencies(540, 5000, 4)),
        (COST, costs(1.0, 5000, 5), costs(1.05, 5000, 6)),
        (COST, costs(1.0, 5000, 5), Moments.of([0.0] * 5000)),
        (COST, Moments.of([0.0] * 500), Moments.of([0.0] * 500)),
    ],
)
def test_what_is_allowed_goes_on(
    guardrail: Guardrail, control: Moments | Sketch, arm: Moments | Sketch
) -> None:
    assert found(guardrail, control, arm).verdict == "go on"


def test_a_cost_where_there_was_none_pauses() -> None:
    harm = found(COST, Moments.of([0.0] * 500), costs(0.001, 500, 1))

    assert harm.verdict == "pause"
    assert harm.sentence("b", "a") == (
        "cost_per_request of `b`: more than nothing, which is what `a` has."
    )


def test_too_few_units_are_not_judged() -> None:
    assert found(ERRORS, Moments.counted(99, 0), Moments.counted(500, 500)).verdict == "too few"
    assert found(P95, latencies(1, 399, 1), latencies(9, 4000, 2)).verdict == "too few"
    (unmeasured,) = watch([ERRORS], {}, {})
    assert unmeasured.verdict == "too few"
    assert unmeasured.sentence("b", "a") == "error_rate: too few units to say anything yet."


def test_of_many_guardrails_each_needs_more() -> None:
    control, arm = Moments.counted(1000, 10), Moments.counted(1000, 50)
    names = [Guardrail(metric=f"m{n}", kind="share", allowed=0.005) for n in range(10)]

    alone = found(names[0], control, arm)
    among = watch(names, dict.fromkeys((g.metric for g in names), control), {"m0": arm})[0]

    assert alone.interval is not None
    assert among.interval is not None
    assert among.interval.low < alone.interval.low


def test_equal_arms_hardly_ever_pause_however_often_they_are_asked() -> None:
    generator = np.random.default_rng(7)
    paused = 0
    for _ in range(150):
        a, b = (generator.random(3000) < 0.03 for _ in range(2))
        zero = Guardrail(metric="error_rate", kind="share", allowed=0.0)
        paused += any(
            found(
                zero,
                Moments.counted(n, int(a[:n].sum())),
                Moments.counted(n, int(b[:n].sum())),
            ).verdict
            == "pause"
            for n in range(100, 3001, 50)
        )

    assert paused <= 0.05 * 150


def test_a_guardrail_that_cannot_be_watched_is_refused() -> None:
    for allowed in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="must be 0 or more"):
            Guardrail(metric="m", kind="share", allowed=allowed)
    with pytest.raises(ValueError, match="not 95"):
        Guardrail(metric="m", kind="quantile", allowed=0.1, quantile=95)
    with pytest.raises(TypeError, match="give sketches"):
        found(P95, Moments.counted(5, 1), Moments.counted(5, 1))
    with pytest.raises(TypeError, match="give moments"):
        found(ERRORS, latencies(1, 500, 1), latencies(1, 500, 1))
    with pytest.raises(ValueError, match="a mean is negative"):
        found(COST, Moments.of([-1.0] * 100), costs(1, 100, 1))
