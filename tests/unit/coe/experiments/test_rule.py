import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.experiments import fixed, spending
from coe.experiments.effect import between
from coe.experiments.guardrails import Guardrail
from coe.experiments.plan import Arm, Plan
from coe.experiments.rule import decide, seen
from coe.experiments.summary import Moments, Summary

PLAN = Plan(metric="feedback_rate", kind="share", worth=0.03)
GUARDED = Plan(
    metric="feedback_rate",
    kind="share",
    worth=0.03,
    guardrails=(Guardrail(metric="error_rate", kind="share", allowed=0.005),),
)


def arm(name: str, n: int, successes: int, share: float = 0.5, errors: int = 0) -> Arm:
    return Arm(
        name=name,
        share=share,
        assigned=n,
        primary=Summary(whole=Moments.counted(n, successes)),
        watched={"error_rate": Moments.counted(n, errors)},
    )


def test_an_arm_that_is_better_stops() -> None:
    found = decide(PLAN, arm("a", 1000, 500), [arm("b", 1000, 600)])

    assert (found.value, found.arm, found.is_stop) == ("arm better", "b", True)
    assert found.sentence == (
        "Stop: `b` is better than `a`. "
        "feedback_rate of `b`: +10.0 points, and with 95 % certainty +2.7 points to +17.3 points."
    )


def test_an_arm_that_is_worse_stops_in_the_controls_favour() -> None:
    found = decide(PLAN, arm("a", 1000, 500), [arm("b", 1000, 400)])

    assert (found.value, found.arm) == ("control better", None)
    assert found.sentence.startswith("Stop, and keep `a`: it is better than `b`.")


def test_where_less_is_better_the_two_change_places() -> None:
    plan = Plan(metric="complaints", kind="share", worth=0.03, higher_is_better=False)

    assert decide(plan, arm("a", 1000, 500), [arm("b", 1000, 600)]).value == "control better"
    assert decide(plan, arm("a", 1000, 500), [arm("b", 1000, 400)]).value == "arm better"


def test_arms_closer_than_is_worth_having_stop() -> None:
    found = decide(PLAN, arm("a", 40_000, 20_000), [arm("b", 40_000, 20_600)])

    assert found.value == "no difference"
    assert "no arm is better than `a` by 3.0 points" in found.sentence


def test_an_open_question_goes_on() -> None:
    found = decide(PLAN, arm("a", 1000, 500), [arm("b", 1000, 520)])

    assert (found.value, found.is_stop) == ("keep going", False)
    assert found.sentence.startswith("Keep going. feedback_rate of `b`: +2.0 points")


def test_an_open_question_at_the_end_is_undecided() -> None:
    found = decide(PLAN, arm("a", 1000, 500), [arm("b", 1000, 520)], ended=True)

    assert found.value == "undecided"
    assert found.sentence.startswith("The end has come, and the arms could not be told apart.")


def test_too_few_units_are_not_judged() -> None:
    found = decide(PLAN, arm("a", 99, 0), [arm("b", 99, 99)])

    assert found.value == "keep going"
    assert found.sentence == (
        "Keep going: it is too soon to say anything. "
        "The smallest arm has 99 of 100 units with a feedback_rate."
    )


def test_a_broken_split_comes_before_everything() -> None:
    found = decide(GUARDED, arm("a", 1000, 500), [arm("b", 700, 500, errors=300)])

    assert (found.value, found.arm) == ("broken split", None)
    assert "`b` has 700 units and should have 850" in found.sentence


def test_units_count_for_the_split_whether_or_not_they_were_rated() -> None:
    rated = [
        Arm(name=name, share=0.5, assigned=5000, primary=Summary(whole=Moments.counted(n, n // 2)))
        for name, n in (("a", 500), ("b", 200))
    ]

    assert decide(PLAN, rated[0], rated[1:]).value == "keep going"


def test_a_broken_guardrail_comes_before_a_better_arm() -> None:
    found = decide(GUARDED, arm("a", 1000, 500), [arm("b", 1000, 600, errors=100)])

    assert (found.value, found.arm) == ("guardrail", "b")
    assert found.sentence.startswith("Pause: `b` does harm. error_rate of `b`: +10.0 points")


def test_of_several_arms_the_best_is_named() -> None:
    control, third = arm("a", 2000, 1000, 1 / 3), arm("c", 2000, 1300, 1 / 3)

    found = decide(PLAN, control, [arm("b", 2000, 1200, 1 / 3), third])

    assert (found.value, found.arm) == ("arm better", "c")
    assert [each.standing for each in found.compared] == ["better", "better"]
    assert found.compared[0].interval is not None
    assert found.compared[0].interval.confidence == pytest.approx(0.975)


def test_several_arms_are_all_named_where_none_is_better() -> None:
    control = arm("a", 2000, 1000, 0.25)
    others = [arm(name, 2000, 700, 0.25) for name in ("b", "c", "d")]

    found = decide(PLAN, control, others)

    assert found.value == "control better"
    assert "better than `b`, `c` and `d`" in found.sentence


def test_a_worse_arm_does_not_end_what_another_has_open() -> None:
    control = arm("a", 2000, 1000, 1 / 3)
    others = [arm("b", 2000, 700, 1 / 3), arm("c", 2000, 1020, 1 / 3)]

    assert decide(PLAN, control, others).value == "keep going"


def fixed_interval(a: Moments, b: Moments, _: float) -> tuple[float, float]:
    found = fixed.shares(a, b)
    return found.low, found.high


def spent_interval(a: Moments, b: Moments, now: float) -> tuple[float, float]:
    found = spending.interval(between(a, b, "share"), [0.25, now])
    return found.low, found.high


@pytest.mark.parametrize(
    ("method", "n", "expected"),
    [
        ("fixed", 1000, fixed_interval),
        ("obrien_fleming", 500, spent_interval),
        ("obrien_fleming", 1000, spent_interval),
    ],
)
def test_other_methods_have_their_own_intervals(
    method: str, n: int, expected: Callable[[Moments, Moments, float], tuple[float, float]]
) -> None:
    plan = Plan(metric="m", kind="share", worth=0.03, method=method, per_arm=1000)  # type: ignore[arg-type]
    a, b = arm("a", n, n // 2), arm("b", n, n // 2 + 20)

    found = decide(plan, a, [b], looks=[0.25]).compared[0].interval

    assert found is not None
    assert (found.low, found.high) == pytest.approx(
        expected(a.primary.whole, b.primary.whole, n / 1000)
    )


def test_a_fixed_test_says_nothing_before_its_end() -> None:
    plan = Plan(metric="m", kind="share", worth=0.03, method="fixed", per_arm=1000)
    half = decide(plan, arm("a", 500, 100), [arm("b", 500, 400)])

    assert half.value == "keep going"
    assert "500 of 1,000 units" in half.sentence
    assert decide(plan, arm("a", 500, 100), [arm("b", 500, 400)], ended=True).value == "arm better"
    assert decide(plan, arm("a", 1000, 100), [arm("b", 1000, 400)]).value == "arm better"
    assert decide(plan, arm("a", 1000, 500), [arm("b", 1000, 510)]).value == "undecided"


def test_a_mean_is_compared_at_the_end_as_well() -> None:
    plan = Plan(metric="score", kind="mean", worth=0.1, method="fixed", per_arm=200)
    generator = np.random.default_rng(9)
    arms = [
        Arm(
            name=name,
            share=0.5,
            assigned=200,
            primary=Summary(whole=Moments.of(generator.normal(mean, 1, 200))),
        )
        for name, mean in (("a", 0.0), ("b", 1.0))
    ]

    found = decide(plan, arms[0], arms[1:])

    assert found.value == "arm better"
    assert "score of `b`: +" in found.sentence


def test_a_covariate_sharpens_the_comparison() -> None:
    generator = np.random.default_rng(11)
    x = generator.normal(0, 1, (2, 300))
    y = x + 0.3 * generator.normal(0, 1, (2, 300)) + [[0.0], [0.15]]

    def arms(*, covariate: bool) -> list[Arm]:
        return [
            Arm(
                name=name,
                share=0.5,
                assigned=300,
                primary=Summary(whole=Moments.of(y[side], x[side] if covariate else None)),
            )
            for side, name in enumerate("ab")
        ]

    plan = Plan(metric="m", kind="mean", worth=0.1)
    blind, knowing = arms(covariate=False), arms(covariate=True)

    assert decide(plan, blind[0], blind[1:]).value == "keep going"
    assert decide(plan, knowing[0], knowing[1:]).value == "arm better"
    ended = Plan(metric="m", kind="mean", worth=0.1, method="fixed", per_arm=300)
    assert decide(ended, knowing[0], knowing[1:]).value == "arm better"


@given(st.integers(100, 3000), st.integers(100, 3000), st.data())
def test_every_look_has_a_verdict_that_fits_its_interval(
    n: int, m: int, data: st.DataObject
) -> None:
    a, b = (
        arm(name, size, data.draw(st.integers(0, size)), share)
        for name, size, share in (("a", n, n / (n + m)), ("b", m, 1 - n / (n + m)))
    )

    found = decide(PLAN, a, [b])

    interval = found.compared[0].interval
    assert interval is not None
    assert (found.value == "arm better") == (interval.low > 0 and interval.high >= PLAN.worth)
    assert (found.value == "control better") == (interval.high < 0 and interval.low <= -PLAN.worth)
    assert found.sentence


def test_what_was_seen_is_a_share_of_the_plan() -> None:
    plan = Plan(metric="m", kind="share", worth=0.03, per_arm=1000)

    assert seen(plan, [arm("a", 500, 1), arm("b", 400, 1)]) == 0.4
    assert seen(PLAN, [arm("a", 500, 1)]) == 0.0
    over = decide(plan, arm("a", 1000, 500), [arm("b", 1000, 510)])
    assert over.value == "undecided"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"worth": 0.0}, "above 0"),
        ({"worth": math.nan}, "above 0"),
        ({"confidence": 95.0}, "as 0.95 is"),
        ({"min_per_arm": 10}, "`min_per_arm` is 100 or more"),
        ({"method": "fixed"}, "`per_arm` must be 100 or more"),
        ({"method": "obrien_fleming", "per_arm": 50}, "`per_arm` must be 100 or more"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(**{"metric": "m", "kind": "share", "worth": 0.03, **keys})  # type: ignore[arg-type]


def test_one_arm_is_no_experiment() -> None:
    with pytest.raises(ValueError, match="besides the control"):
        decide(PLAN, arm("a", 100, 50), [])
    with pytest.raises(ValueError, match="sum to 90"):
        decide(PLAN, arm("a", 100, 50), [arm("b", 100, 50, 0.4)])
