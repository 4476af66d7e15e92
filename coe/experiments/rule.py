"""The stopping rule: from what the arms have done so far to one verdict, and a sentence on it.

    1. the counts do not fit the shares       broken split: nothing else can be believed
    2. a guardrail is broken                  guardrail: pause
    3. an arm is better                       arm better: stop and use it
    4. every arm is worse                     control better: stop and keep what was
    5. every arm is worse, or closer to the control than is worth having
                                              no difference: stop
    6. no unit will follow                    undecided: say what may be
    7. otherwise                              keep going

It may be asked at every look. Of several arms each is compared with the control, and the false
alarms are shared among them (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence

from coe.experiments import guardrails, samples, sequential
from coe.experiments.cuped import adjusted
from coe.experiments.effect import Interval, between
from coe.experiments.plan import Arm, Plan
from coe.experiments.samples import SampleRatio
from coe.experiments.verdict import Compared, Standing, Value, Verdict, sentence


def decide(
    plan: Plan,
    control: Arm,
    arms: Sequence[Arm],
    *,
    looks: Sequence[float] = (),
    ended: bool = False,
) -> Verdict:
    """Return what the arms have shown so far.

    Args:
        plan: the same at every look.
        control: what the others are compared with.
        arms: one or more.
        looks: with O'Brien and Fleming's boundaries: what `seen` was at the earlier looks.
        ended: no unit will follow, because the time is up.

    Raises:
        ValueError: there is no arm, or the shares do not sum to 1.
        ConfigError: the method is `fixed`, and scipy is missing.
    """
    if not arms:
        raise ValueError("an experiment has an arm besides the control")
    every = (control, *arms)
    ratio = samples.check([arm.assigned for arm in every], [arm.share for arm in every])
    confidence = 1.0 - (1.0 - plan.confidence) / len(arms)
    is_over = ended or seen(plan, every) >= 1.0
    compared = tuple(
        _compare(plan, control, arm, confidence, looks, is_over=is_over) for arm in arms
    )
    value, about = _value(plan, ratio, compared, is_over=is_over)
    return Verdict(
        value=value,
        arm=about.arm if about else None,
        sentence=sentence(plan, value, every, ratio, compared, about),
        sample_ratio=ratio,
        compared=compared,
    )


def seen(plan: Plan, arms: Sequence[Arm]) -> float:
    """Return which share of the planned units the smallest arm has; 0 where no end is planned."""
    return min(arm.primary.whole.n for arm in arms) / plan.per_arm if plan.per_arm else 0.0


def _compare(
    plan: Plan, control: Arm, arm: Arm, confidence: float, looks: Sequence[float], *, is_over: bool
) -> Compared:
    interval = None
    if min(control.primary.whole.n, arm.primary.whole.n) >= plan.min_per_arm:
        interval = _interval(plan, control, arm, confidence, looks, is_over=is_over)
    return Compared(
        arm=arm.name,
        interval=interval,
        standing=_standing(plan, interval),
        harms=guardrails.watch(
            plan.guardrails, control.watched, arm.watched, alpha=1.0 - confidence
        ),
    )


def _interval(
    plan: Plan, control: Arm, arm: Arm, confidence: float, looks: Sequence[float], *, is_over: bool
) -> Interval | None:
    a, b = adjusted(control.primary.whole, arm.primary.whole)
    if plan.method == "sequential":
        return sequential.interval(between(a, b, plan.kind), plan.worth, confidence)
    # The others need numpy or scipy, which a gateway that only watches its arms does not load.
    if plan.method == "obrien_fleming":
        from coe.experiments import spending

        now = seen(plan, (control, arm))
        earlier = [look for look in looks if look < min(now, 1.0)]
        effect = between(a, b, plan.kind)
        return spending.interval(effect, [*earlier, now], confidence, ended=is_over)
    if not is_over:
        return None
    from coe.experiments import fixed

    has_covariate = control.primary.whole.x_squares > 0.0
    compare = fixed.shares if plan.kind == "share" and not has_covariate else fixed.means
    return compare(a, b, confidence)


def _standing(plan: Plan, interval: Interval | None) -> Standing:
    if interval is None:
        return "too few"
    if -plan.worth < interval.low and interval.high < plan.worth:
        return "alike"
    if interval.low > 0.0:
        return "better" if plan.higher_is_better else "worse"
    if interval.high < 0.0:
        return "worse" if plan.higher_is_better else "better"
    return "open"


def _value(
    plan: Plan, ratio: SampleRatio, compared: Sequence[Compared], *, is_over: bool
) -> tuple[Value, Compared | None]:
    """Return the verdict, and whom it is about. The numbers are those of the module's docstring."""
    if ratio.is_broken:  # 1
        return "broken split", None
    for each in compared:  # 2
        if any(harm.verdict == "pause" for harm in each.harms):
            return "guardrail", each
    better = [each for each in compared if each.standing == "better"]
    if better:  # 3
        return "arm better", max(better, key=lambda each: _gain(plan, each))
    standings = {each.standing for each in compared}
    if standings == {"worse"}:  # 4
        return "control better", None
    if standings <= {"worse", "alike"}:  # 5
        return "no difference", None
    return ("undecided" if is_over else "keep going"), None  # 6, 7


def _gain(plan: Plan, compared: Compared) -> float:
    gain = compared.interval.estimate if compared.interval else 0.0
    return gain if plan.higher_is_better else -gain
