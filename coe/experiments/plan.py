"""What goes into the stopping rule: what was planned, and what each arm has done so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from coe.experiments import sequential
from coe.experiments.effect import FEWEST, Kind
from coe.experiments.guardrails import Guardrail
from coe.experiments.quantiles import Sketch
from coe.experiments.summary import Moments, Summary

Method = Literal["sequential", "fixed", "obrien_fleming"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was decided before the experiment began.

    Attributes:
        metric: the name of what decides.
        kind: of that.
        worth: the smallest difference worth having, above 0, in the metric's units (0.03 of a share
            is 3 points). Two arms that are closer are alike.
        higher_is_better: whether more of it is good.
        method: `sequential` may stop at any look; `fixed` looks once, at the end; `obrien_fleming`
            looks on the way to it.
        per_arm: units at the end, which the last two methods need and the first may have.
        min_per_arm: units before a sequential test may stop.
        confidence: of everything that is said of the metric, of all arms and looks together.
        guardrails: what must not suffer.

    Raises:
        ValueError: a number is out of range, or a method lacks its end.
    """

    metric: str
    kind: Kind
    worth: float
    higher_is_better: bool = True
    method: Method = "sequential"
    per_arm: int | None = None
    min_per_arm: int = FEWEST
    confidence: float = 0.95
    guardrails: tuple[Guardrail, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a plan that cannot be followed."""
        sequential.radius(1.0, self.worth, self.confidence)
        if self.min_per_arm < FEWEST:
            raise ValueError(
                f"{self.min_per_arm} units per arm are too few to estimate a variance: "
                f"`min_per_arm` is {FEWEST} or more"
            )
        if self.method != "sequential" and (self.per_arm or 0) < self.min_per_arm:
            raise ValueError(
                f"the method {self.method} ends at a number of units: `per_arm` must be "
                f"{self.min_per_arm} or more"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one arm has done so far.

    Attributes:
        name: of the arm.
        share: of the units that it should have.
        assigned: the units that it has, with or without a value.
        primary: of the plan's metric.
        watched: see `guardrails.watch`.
    """

    name: str
    share: float
    assigned: int
    primary: Summary
    watched: Mapping[str, Moments | Sketch] = field(default_factory=lambda: MappingProxyType({}))
