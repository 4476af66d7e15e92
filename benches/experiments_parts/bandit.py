"""The bandit on ParetoBandit's rewards, beside its published figures and what it has to beat.

The past is the validation split, where every setting was chosen (`python -m
benches.experiments_parts.bandit` runs the tables on halves of it); the stream is the test split, in
several orders. The published figures (arXiv 2604.00136 and its repository) are means over 20 seeds,
with priors from 8,374 training prompts that are not published and the validation split learnt
online. Quality is .930 where money is no object, 96.5 % of the oracle's .963. (Its "+.071" is what
a price cut of the dearest expert brings at its tightest ceiling.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benches import report
from benches.experiments_parts import Options, rewards
from benches.experiments_parts.bandit_changes import changing
from benches.experiments_parts.bandit_runs import (
    Run,
    additive,
    fixed,
    learning,
    mapped,
    started,
)
from benches.experiments_parts.bandit_speed import decisions
from benches.experiments_parts.rewards import FLASH, LLAMA, MISTRAL, PRO, World
from benches.report import Goal, Metric
from coe.learning.bandit import Bandit
from coe.learning.belief import Belief, Settings
from coe.learning.pacer import Pacer

Floats = NDArray[np.float64]

ORDERS = 10
POOL = (LLAMA, MISTRAL, PRO)
CEILINGS = 7
PAPER_QUALITY = (0.793, 0.813, 0.857, 0.903, 0.919, 0.925, 0.930)
PAPER_SPENT = (0.98, 1.01, 1.00, 0.97, 0.83, 0.83, 0.75)
"""By ceiling, of the ceiling; the newest version of its table that is stored."""
JOINING = (3.0e-4, 6.6e-4, 1.9e-3, None)
PAPER_ADOPTED = (142, 121, 121, 121)
DATA = Path(__file__).parents[3] / "shared" / "data"

GOALS = {
    goal.metric: goal
    for goal in (
        Goal(metric="bandit_budget_overshoot", unit="share", better="lower", goal=0.004),
        Goal(metric="bandit_adoption_steps", unit="requests", better="lower", goal=150),
        Goal(metric="bandit_decision_ms", unit="ms", better="lower", goal=0.2),
        Goal(metric="bandit_quality", unit="score", better="higher", goal=0.930),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A policy over several orders of the stream."""

    runs: tuple[Run, ...]

    @property
    def quality(self) -> float:
        """The median."""
        return median(run.quality for run in self.runs)

    @property
    def spent(self) -> float:
        """Dollars per request, the median."""
        return median(run.spent for run in self.runs)

    def text(self) -> str:
        """Return the median and the range of the quality."""
        found = [run.quality for run in self.runs]
        return f"{median(found):.4f} ({min(found):.4f} .. {max(found):.4f})"


def measure(options: Options) -> list[Metric]:
    """Return the metrics of `GOALS`; without the rewards only how long a decision takes."""
    speed = GOALS["bandit_decision_ms"].measured(list(decisions(options.console)))
    folder = options.data / "paretobandit"
    if not folder.is_dir():
        options.console.print(f"skipped: ParetoBandit's rewards are not at {folder}")
        return [speed]
    source = rewards.read(folder)
    world = source.world(source.validation, source.test, POOL)
    joined = {
        name: source.world(
            source.validation, source.test, tuple(x for x in (*POOL, FLASH) if x != name), name
        )
        for name in (MISTRAL, PRO)
    }
    joined[FLASH] = source.world(source.validation, source.test, POOL, FLASH)
    return [*_tables(options, world, joined), speed]


def _tables(options: Options, world: World, joined: dict[str, World]) -> list[Metric]:
    console, seed = options.console, options.seed
    means = world.past.costs.mean(axis=0)
    ceilings = np.geomspace(float(means.min()), float(means.max()), CEILINGS)
    cases = _paced(console, world, ceilings, seed)
    _unpaced(console, world, seed)
    adopted = _joining(console, joined, seed)
    changing(console, world, list(_orders(world, seed)), [c for c in JOINING if c])
    overshoot = [
        max(
            case.runs[order].spent / ceiling - 1.0
            for case, ceiling in zip(cases, ceilings, strict=True)
        )
        for order in range(ORDERS)
    ]
    return [
        GOALS["bandit_budget_overshoot"].measured(overshoot),
        GOALS["bandit_adoption_steps"].measured(adopted),
        GOALS["bandit_quality"].measured([run.quality for run in cases[-1].runs]),
    ]


def _orders(world: World, seed: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    for number in range(seed, seed + ORDERS):
        yield number, np.random.default_rng(number).permutation(len(world.x))


def _learnt(world: World, ceiling: float | None, seed: int, settings: Settings) -> Case:
    bandit = started(world, ceiling, settings)
    return Case(
        runs=tuple(learning(world, bandit, order, number) for number, order in _orders(world, seed))
    )


def _paced(console: Console, world: World, ceilings: Floats, seed: int) -> list[Case]:
    rows, cases = [], []
    single = world.costs.mean(axis=0)
    for place, ceiling in enumerate(ceilings):
        ours = _learnt(world, float(ceiling), seed, Settings())
        form = Case(
            runs=tuple(additive(world, float(ceiling), o, n) for n, o in _orders(world, seed))
        )
        plan = fixed(world, np.arange(len(world.x)), mapped(world, float(ceiling)))
        past = world.past.costs.mean(axis=0)
        able = [i for i in range(len(POOL)) if past[i] <= ceiling * (1 + 1e-9)]
        best = max(able, key=lambda i: world.past.scores[:, i].mean())
        worst = max(run.spent for run in ours.runs) / ceiling
        rows.append(
            [
                f"{1000 * ceiling:.3f}",
                ours.text(),
                f"{ours.spent / ceiling:.3f} ({worst:.3f})",
                f"{PAPER_QUALITY[place]:.3f} at {PAPER_SPENT[place]:.2f}",
                f"{form.quality:.4f} at {form.spent / ceiling:.2f}",
                f"{plan.quality:.4f} at {plan.spent / ceiling:.2f}",
                f"{world.rewards[:, best].mean():.4f} at {single[best] / ceiling:.2f} {POOL[best]}",
            ]
        )
        cases.append(ours)
    head = (
        "ceiling, $ / 1k",
        f"the bandit, {ORDERS} orders",
        "spent (most)",
        "published",
        "its form, here",
        "the map, fixed",
        "best single within",
    )
    console.print(report.table("Quality within a ceiling, and what was spent of it", head, rows))
    return cases


def _unpaced(console: Console, world: World, seed: int) -> None:
    generator = np.random.default_rng(seed)
    count, width = world.rewards.shape
    whole = np.arange(count)
    best = int(world.past.scores.mean(axis=0).argmax())
    cold = Bandit(
        settings=Settings(alpha=1.0, gamma=1.0, share=0.0, margin=1.0),
        beliefs={
            name: Belief.of(np.eye(world.x.shape[1]), np.zeros(world.x.shape[1])) for name in POOL
        },
    )
    cases = {
        "the bandit, no ceiling": _learnt(world, None, seed, Settings()),
        "the same, Thompson": _learnt(world, None, seed, Settings(method="thompson")),
        "plain LinUCB: no pacer, no prior": Case(
            runs=tuple(learning(world, cold, o, n) for n, o in _orders(world, seed))
        ),
        "the map, fixed": Case(runs=(fixed(world, whole, mapped(world, None)),)),
        f"best single: {POOL[best]}": Case(runs=(fixed(world, whole, np.full(count, best)),)),
        "random": Case(runs=(fixed(world, whole, generator.integers(width, size=count)),)),
        "oracle": Case(
            runs=(fixed(world, whole, np.array(world.rewards.argmax(axis=1), dtype=np.intp)),)
        ),
    }
    rows = [[name, case.text(), f"{1000 * case.spent:.2f}"] for name, case in cases.items()]
    console.print(report.table("Money is no object", ("policy", "quality", "$ / 1k"), rows))


def _joining(console: Console, worlds: dict[str, World], seed: int) -> list[float]:
    """Print who is adopted when; return the steps of the published setting, one per order."""
    rows = []
    steps: list[list[float]] = []
    for name, world in worlds.items():
        for scale in (1.0, 0.5) if name == FLASH else (1.0,):
            told = replace(world, rewards=world.rewards.copy())
            told.rewards[:, -1] *= scale
            for place, ceiling in enumerate(JOINING):
                case = _learnt(told, ceiling, seed, Settings())
                found = [run.adopted(len(told.experts) - 1) for run in case.runs]
                wanted = _hindsight(told, ceiling)
                if name == FLASH and scale == 1.0 and wanted >= 0.1:
                    steps.append(found)
                rows.append(
                    [
                        name if scale == 1.0 else f"{name}, half as good",
                        "none" if ceiling is None else f"{1000 * ceiling:.2f}",
                        f"{sum(map(math.isfinite, found))} of {ORDERS}",
                        f"{median(found):.0f} (.. {max(found):.0f})",
                        str(PAPER_ADOPTED[place]) if name == FLASH and scale == 1.0 else "",
                        f"{median(run.share(len(told.experts) - 1) for run in case.runs):.1%}",
                        f"{wanted:.1%}",
                        case.text(),
                        "" if ceiling is None else f"{case.spent / ceiling:.3f}",
                    ]
                )
    head = (
        "new expert",
        "ceiling, $ / 1k",
        "adopted",
        "from request",
        "published",
        "share",
        "share in hindsight",
        "quality",
        "spent",
    )
    console.print(report.table("A new expert, after 20 pulls that it is owed", head, rows))
    return [median(found) for found in zip(*steps, strict=True)]


def _hindsight(world: World, ceiling: float | None) -> float:
    """Return the new expert's share with the map of the stream's own rewards: nobody's to have."""
    shares = world.memberships
    precision = shares.T @ shares + 1e-6 * np.eye(shares.shape[1])
    quality = shares @ np.linalg.solve(precision, shares.T @ world.rewards)
    costs = shares @ np.linalg.solve(precision, shares.T @ world.costs)
    worth = 0.0 if ceiling is None else Pacer.started(ceiling, quality, costs).worth(1.0)
    return float(((quality - worth * costs).argmax(axis=1) == world.rewards.shape[1] - 1).mean())


def main() -> None:
    """Print the tables on halves of the validation split: what settings are chosen by."""
    options = Options(console=report.console(), seed=100, data=DATA)
    source = rewards.read(options.data / "paretobandit")
    for past, stream in source.halves(1):
        twice = np.concatenate([stream, stream])
        worlds = {
            name: source.world(past, twice, tuple(x for x in (*POOL, FLASH) if x != name), name)
            for name in (MISTRAL, PRO)
        }
        worlds[FLASH] = source.world(past, twice, POOL, FLASH)
        metrics = _tables(options, source.world(past, twice, POOL), worlds)
        options.console.print(report.goals_table(metrics))


if __name__ == "__main__":
    main()
