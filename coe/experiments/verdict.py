"""What comes out of the stopping rule, and how a person is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coe.experiments.effect import Interval
from coe.experiments.guardrails import Harm
from coe.experiments.plan import Arm, Plan
from coe.experiments.samples import SampleRatio

Standing = Literal["better", "worse", "alike", "open", "too few"]
Value = Literal[
    "keep going",
    "arm better",
    "control better",
    "no difference",
    "undecided",
    "broken split",
    "guardrail",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One arm beside the control.

    Attributes:
        arm: its name.
        interval: of the arm's mean less the control's; None where it is too soon to say.
        standing: what that says of the arm; `too few` units, or looks, to say anything.
        harms: what its guardrails say.
    """

    arm: str
    interval: Interval | None
    standing: Standing
    harms: tuple[Harm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do.

    Attributes:
        value: see `coe.experiments.rule`.
        arm: whom it is about: the arm that is better, or that broke a guardrail; or None.
        sentence: the same for a person.
        sample_ratio: what the counts say of the split.
        compared: the arms but the control, in their order.
    """

    value: Value
    arm: str | None
    sentence: str
    sample_ratio: SampleRatio
    compared: tuple[Compared, ...]

    @property
    def is_stop(self) -> bool:
        """Whether the experiment is over, or has to pause."""
        return self.value != "keep going"


def sentence(
    plan: Plan,
    value: Value,
    arms: Sequence[Arm],
    ratio: SampleRatio,
    compared: Sequence[Compared],
    about: Compared | None,
) -> str:
    """Return the verdict in plain words, with the numbers that it rests on.

    Args:
        plan: what the metric is.
        value: see `Verdict`.
        arms: all, the control first.
        ratio: of all arms.
        compared: see `Verdict`.
        about: the arm that it is about, if it is about one.
    """
    control = arms[0].name
    if value == "broken split":
        return _broken(arms, ratio)
    if about is not None:
        return _about(plan, about, control)
    if all(each.interval is None for each in compared):
        return f"Keep going: it is too soon to say anything. {_counted(plan, arms)}"
    worth, names = _amount(plan, plan.worth), _listed([each.arm for each in compared])
    opening = {
        "control better": f"Stop, and keep `{control}`: it is better than {names}.",
        "no difference": f"Stop: no arm is better than `{control}` by {worth}, "
        "the smallest difference worth having.",
        "undecided": "The end has come, and the arms could not be told apart.",
        "keep going": "Keep going.",
    }
    return f"{opening[value]} {_said(plan, compared)}"


def _about(plan: Plan, about: Compared, control: str) -> str:
    broken = [harm for harm in about.harms if harm.verdict == "pause"]
    if broken:
        found = " ".join(harm.sentence(about.arm, control) for harm in broken)
        return f"Pause: `{about.arm}` does harm. {found}"
    return f"Stop: `{about.arm}` is better than `{control}`. {_said(plan, [about])}"


def _broken(arms: Sequence[Arm], ratio: SampleRatio) -> str:
    counts = ", ".join(
        f"`{arm.name}` has {arm.assigned:,} units and should have {expected:,.0f}"
        for arm, expected in zip(arms, ratio.expected, strict=True)
    )
    return (
        f"Stop: the split is broken, and no difference between the arms can be believed. {counts} "
        f"(p = {ratio.p_always:.1g}). Look for units that one arm loses: crashes, time-outs, "
        "missing records."
    )


def _said(plan: Plan, compared: Sequence[Compared]) -> str:
    return " ".join(
        f"{plan.metric} of `{each.arm}`: {_difference(plan, each.interval)}."
        for each in compared
        if each.interval is not None
    )


def _difference(plan: Plan, interval: Interval) -> str:
    low, middle, high = (
        _amount(plan, end, signed=True) for end in (interval.low, interval.estimate, interval.high)
    )
    return f"{middle}, and with {100 * interval.confidence:.3g} % certainty {low} to {high}"


def _amount(plan: Plan, value: float, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if plan.kind == "share":
        return f"{100 * value:{sign}.1f} points"
    return f"{value:{sign}.3g}"


def _counted(plan: Plan, arms: Sequence[Arm]) -> str:
    wanted = plan.per_arm if plan.method == "fixed" and plan.per_arm else plan.min_per_arm
    fewest = min(arm.primary.whole.n for arm in arms)
    return f"The smallest arm has {fewest:,} of {wanted:,} units with a {plan.metric}."


def _listed(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
