"""The whole stopping rule, as a gateway asks it: split, guardrails and metric at every look."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from coe.experiments.assign import arm_of, split
from coe.experiments.guardrails import Guardrail
from coe.experiments.plan import Arm, Plan
from coe.experiments.quantiles import Sketch
from coe.experiments.rule import decide
from coe.experiments.summary import Moments, Summary

EXPERIMENTS, LOOKS, UNITS = 500, 20, 500
"""Units of both arms together between two looks."""
PLAN = Plan(
    metric="feedback_rate",
    kind="share",
    worth=0.03,
    guardrails=(
        Guardrail(metric="p95_ms", kind="quantile", allowed=0.15),
        Guardrail(metric="cost_per_request", kind="mean", allowed=0.10),
        Guardrail(metric="error_rate", kind="share", allowed=0.005),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What an arm really is.

    Attributes:
        liked: share of answers that are liked.
        slower: times the control's latency.
        dearer: times its cost.
        errors: share of requests that fail.
        lost: share of units that are never recorded.
    """

    liked: float = 0.5
    slower: float = 1.0
    dearer: float = 1.0
    errors: float = 0.02
    lost: float = 0.0


WORLDS = {
    "A/A": World(),
    "as bad as is allowed": World(slower=1.15, dearer=1.10, errors=0.025),
    "5 points better": World(liked=0.55),
    "5 points worse": World(liked=0.45),
    "50 % slower": World(slower=1.5),
    "30 % dearer": World(dearer=1.3),
    "5 points more errors": World(errors=0.07),
    "loses 20 % of its units": World(lost=0.2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the rule said in one world.

    Attributes:
        world: which one.
        verdicts: share of the experiments that ended so.
        units: mean units of both arms until then.
    """

    world: str
    verdicts: dict[str, float]
    units: float


def rows(seed: int) -> list[Row]:
    """Return what the rule says in every world."""
    found = []
    for number, (name, world) in enumerate(WORLDS.items()):
        ends = [_run(world, seed + 1_000_000 * number + each) for each in range(EXPERIMENTS)]
        counted = Counter(verdict for verdict, _ in ends)
        found.append(
            Row(
                world=name,
                verdicts={verdict: count / EXPERIMENTS for verdict, count in counted.items()},
                units=float(np.mean([units for _, units in ends])),
            )
        )
    return found


def _run(world: World, seed: int) -> tuple[str, int]:
    """Return how one experiment ends, and after how many units."""
    generator = np.random.default_rng(seed)
    assigned = split(f"salt-{seed}", {"control": 0.5, "arm": 0.5})
    arms = {
        name: Arm(name=name, share=0.5, assigned=0, primary=Summary()) for name in assigned.arms
    }
    for look in range(LOOKS):
        units = range(look * UNITS, (look + 1) * UNITS)
        sizes = Counter(arm_of(assigned, f"user-{unit}") for unit in units)
        for name, truth in (("control", World()), ("arm", world)):
            arms[name] = _grown(arms[name], truth, sizes[name], generator)
        found = decide(PLAN, arms["control"], [arms["arm"]])
        if found.is_stop:
            return found.value, (look + 1) * UNITS
    return "keep going", LOOKS * UNITS


def _grown(arm: Arm, world: World, units: int, generator: np.random.Generator) -> Arm:
    n = int(generator.binomial(units, 1.0 - world.lost))
    liked = int(generator.binomial(n, world.liked))
    new: dict[str, Moments | Sketch] = {
        "p95_ms": Sketch.of(500.0 * world.slower * generator.lognormal(0.0, 0.5, n)),
        "cost_per_request": Moments.of(world.dearer * generator.exponential(0.002, n)),
        "error_rate": Moments.counted(n, int(generator.binomial(n, world.errors))),
    }
    return Arm(
        name=arm.name,
        share=arm.share,
        assigned=arm.assigned + n,
        primary=arm.primary + Summary(whole=Moments.counted(n, liked)),
        watched={name: _sum(arm.watched.get(name), each) for name, each in new.items()},
    )


def _sum(before: Moments | Sketch | None, new: Moments | Sketch) -> Moments | Sketch:
    if isinstance(before, Sketch) and isinstance(new, Sketch):
        return before + new
    if isinstance(before, Moments) and isinstance(new, Moments):
        return before + new
    return new
