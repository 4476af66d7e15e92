"""What an experiment's units did -> a report: the verdict, and what it rests on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp
from types import MappingProxyType

from coe.composition import Experiment
from coe.experiments import categories as by_category
from coe.experiments import sequential
from coe.experiments.categories import CategoryEffect
from coe.experiments.cuped import adjusted
from coe.experiments.effect import Interval, Kind, between
from coe.experiments.guardrails import Guardrail
from coe.experiments.plan import Arm, Plan
from coe.experiments.quantiles import Sketch, fewest
from coe.experiments.rule import decide
from coe.experiments.summary import Moments, Summary
from coe.experiments.verdict import Verdict
from coe.reporting.gather import Gathered, Unit
from coe.stores.decisions import SHADOW

POINTS = 60
"""Looks that the course of an effect is drawn by."""

_SHARES = frozenset({"feedback", "judge", "errors"})
_HIGHER = frozenset({"feedback", "judge"})
_P95 = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """What an arm did.

    Attributes:
        units: that it was dealt to.
        requests: of these.
        said: units with a value of the metric that decides.
        mean: of that metric; None without any.
        interval: of the mean, always valid, where the metric is within 0 and 1; else None.
        errors: the share of failed requests; None without requests.
        p95_s: 95th percentile of the time to the last byte; None with too few.
        cost: mean of a request; None where not known.
        quality: mean feedback, or what a judge says; None without any.
    """

    name: str
    share: float
    units: int
    requests: int
    said: int
    mean: float | None
    interval: Interval | None
    errors: float | None
    p95_s: float | None
    cost: float | None
    quality: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The effect at one time.

    Attributes:
        at: in seconds since the epoch.
        units: so far, of both arms.
    """

    at: float
    units: int
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an experiment has shown.

    Attributes:
        metric: that decides.
        kind: of it.
        since, until: of the requests, in seconds since the epoch; 0 without any.
        arms: the control first.
        verdict: what to do.
        course: the effect over time, by arm.
        categories: the effect in each category, by arm.
        crossed: units that were seen in two arms, and are in none.
        agreed: how often a judge said the same in both orders; None without one.
    """

    experiment: str
    status: str
    mode: str
    unit: str
    metric: str
    kind: Kind
    worth: float
    since: float
    until: float
    arms: tuple[ArmRow, ...]
    verdict: Verdict
    course: dict[str, tuple[Look, ...]]
    categories: dict[str, tuple[CategoryEffect, ...]]
    crossed: int = 0
    agreed: float | None = None

    @property
    def requests(self) -> int:
        """Of all arms."""
        return sum(arm.requests for arm in self.arms)


def plan_of(experiment: Experiment) -> Plan:
    """Return the plan that an experiment follows, as the statistics have it."""
    rails = []
    if experiment.error_rate is not None:
        rails.append(Guardrail(metric="error rate", kind="share", allowed=experiment.error_rate))
    if experiment.p95 is not None:
        rails.append(Guardrail(metric="p95", kind="quantile", allowed=experiment.p95))
    if experiment.cost is not None:
        rails.append(Guardrail(metric="cost", kind="mean", allowed=experiment.cost))
    return Plan(
        metric=experiment.primary,
        kind=_kind(experiment),
        worth=experiment.worth,
        higher_is_better=experiment.primary in _HIGHER,
        method=experiment.method,
        per_arm=experiment.per_arm,
        min_per_arm=experiment.min_per_arm,
        confidence=experiment.confidence,
        guardrails=tuple(rails),
    )


def report(experiment: Experiment, gathered: Gathered, *, now: float) -> Report:
    """Return the report of an experiment.

    Args:
        experiment: of two arms or more.
        gathered: its log.
        now: in seconds since the epoch.
    """
    plan = plan_of(experiment)
    arms = [_arm(experiment, arm.name, gathered) for arm in experiment.arms]
    since = gathered.units[0].first if gathered.units else 0.0
    until = max((r.at for unit in gathered.units for r in unit.requests), default=0.0)
    ended = experiment.after_s is not None and since > 0 and now - since >= experiment.after_s
    control, others = arms[0], arms[1:]
    confidence = 1.0 - (1.0 - plan.confidence) / len(others)
    return Report(
        experiment=experiment.name,
        status=experiment.status,
        mode=experiment.mode,
        unit=experiment.unit,
        metric=experiment.primary,
        kind=plan.kind,
        worth=plan.worth,
        since=since,
        until=until,
        arms=tuple(_row(plan, gathered.of(arm.name), arm) for arm in arms),
        verdict=decide(plan, control, others, ended=ended),
        course={arm.name: _course(experiment, plan, gathered, arm.name) for arm in others},
        categories={
            arm.name: by_category.effects(
                control.primary, arm.primary, plan.kind, plan.worth, confidence
            )
            for arm in others
        },
        crossed=gathered.crossed,
        agreed=gathered.agreed,
    )


def _kind(experiment: Experiment) -> Kind:
    # What a judge says of the control is what it says of the arm, turned round: see `_value`.
    is_share = experiment.primary in _SHARES and experiment.primary != "judge"
    return "share" if is_share else "mean"


def _arm(experiment: Experiment, name: str, gathered: Gathered) -> Arm:
    units = gathered.of(name)
    share = next(arm.share for arm in experiment.arms if arm.name == name)
    if experiment.mode == SHADOW:
        share = 1.0 / len(experiment.arms)  # each arm answers each sampled request
    requests = [request.values for unit in units for request in unit.requests]
    watched: dict[str, Moments | Sketch] = {
        "error rate": Moments.of(_values(units, "errors")),
        "cost": Moments.of(_values(units, "cost")),
        "p95": Sketch.of(values["latency"] for values in requests if "latency" in values),
    }
    return Arm(
        name=name,
        share=share,
        assigned=len(units),
        primary=_summary(experiment, units),
        watched=MappingProxyType(watched),
    )


def _summary(experiment: Experiment, units: Sequence[Unit]) -> Summary:
    names = sorted({request.category for unit in units for request in unit.requests} - {""})
    return Summary(
        whole=_moments(experiment, units),
        categories=MappingProxyType({name: _moments(experiment, units, name) for name in names}),
    )


def _moments(experiment: Experiment, units: Iterable[Unit], category: str | None = None) -> Moments:
    found = [(_value(experiment, unit, category), unit.tokens) for unit in units]
    pairs = [(value, tokens) for value, tokens in found if value is not None]
    values = [value for value, _ in pairs]
    if experiment.covariate == "prompt" and category is None:
        return Moments.of(values, [tokens for _, tokens in pairs])
    return Moments.of(values)


def _value(experiment: Experiment, unit: Unit, category: str | None = None) -> float | None:
    """Return what a unit counts for.

    A judge compares two answers to one request: what it says of the control says nothing new. So
    the control stands at a half, and the arm at what the judge says of it.
    """
    if experiment.primary == "judge" and unit.arm == experiment.arms[0].name:
        return None if unit.value("judge", category) is None else 0.5
    return unit.value(experiment.primary, category)


def _values(units: Iterable[Unit], metric: str) -> list[float]:
    found = (unit.value(metric) for unit in units)
    return [value for value in found if value is not None]


def _row(plan: Plan, units: Sequence[Unit], arm: Arm) -> ArmRow:
    whole = arm.primary.whole
    errors, cost, times = (arm.watched[name] for name in ("error rate", "cost", "p95"))
    assert isinstance(errors, Moments)  # noqa: S101 - as `_arm` made them
    assert isinstance(cost, Moments)  # noqa: S101
    assert isinstance(times, Sketch)  # noqa: S101
    interval = None
    if plan.kind == "share" and whole.n:
        total = min(float(whole.n), max(0.0, whole.mean * whole.n))
        interval = sequential.share(total, whole.n, confidence=plan.confidence)
    quality = _values(units, "feedback") or _values(units, "judge")
    return ArmRow(
        name=arm.name,
        share=arm.share,
        units=arm.assigned,
        requests=sum(len(unit.requests) for unit in units),
        said=whole.n,
        mean=whole.mean if whole.n else None,
        interval=interval,
        errors=errors.mean if errors.n else None,
        p95_s=_quantile(times),
        cost=cost.mean if cost.n else None,
        quality=Moments.of(quality).mean if quality else None,
    )


def _quantile(times: Sketch) -> float | None:
    return exp(times.log_quantile(_P95)[0]) if times.n >= fewest(_P95) else None


def _course(experiment: Experiment, plan: Plan, gathered: Gathered, name: str) -> tuple[Look, ...]:
    """Return the effect of an arm at looks that are evenly spread over the units."""
    control = experiment.arms[0].name
    both = [unit for unit in gathered.units if unit.arm in {control, name}]
    looks: list[Look] = []
    sums = {control: Moments(), name: Moments()}
    step = max(1, len(both) // POINTS)
    for place in range(0, len(both), step):
        some = both[place : place + step]
        for arm in sums:
            sums[arm] += _moments(experiment, [unit for unit in some if unit.arm == arm])
        if min(one.n for one in sums.values()) < plan.min_per_arm:
            continue
        effect = between(*adjusted(sums[control], sums[name]), plan.kind)
        interval = sequential.interval(effect, plan.worth, plan.confidence)
        looks.append(Look(at=some[-1].first, units=place + len(some), interval=interval))
    return tuple(looks)
