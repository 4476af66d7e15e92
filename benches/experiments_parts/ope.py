"""How often the truth is within what off-policy evaluation says, on logs of ParetoBandit's rewards.

A log is what the bandit does, with its own propensities, on test prompts drawn with replacement. As
every expert's reward on every prompt is recorded, what another policy is worth is known. Logs that
are refused count for nothing; how many those are is printed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benches import report
from benches.experiments_parts import Options, rewards
from benches.experiments_parts.bandit_runs import mapped, started
from benches.experiments_parts.rewards import LLAMA, MISTRAL, PRO, World
from benches.report import Goal, Metric
from coe.learning.belief import Settings
from coe.learning.ope import Log, Method, TooLittleSupport, evaluate, fitted_rewards

Floats = NDArray[np.float64]

LOGS = 150
DECISIONS = 3000
POOL = (LLAMA, MISTRAL, PRO)
METHODS: tuple[Method, ...] = ("ips", "snips", "dr")
ANYBODY = 1.0
"""A margin within which everybody is safe: without it, nothing can be said of fixed choices."""
LOGGED = (
    ("15 % over all", Settings(share=0.15, margin=ANYBODY)),
    ("30 % over all", Settings(share=0.3, margin=ANYBODY)),
    ("Thompson, 30 % over all", Settings(share=0.3, margin=ANYBODY, method="thompson")),
    ("15 % over the safe ones", Settings(share=0.15)),
)

GOALS = {
    goal.metric: goal
    for goal in (Goal(metric="ope_interval_coverage", unit="share", better="higher", goal=0.94),)
}


def measure(options: Options) -> list[Metric]:
    """Return the coverage of the doubly robust interval over all logs and policies."""
    folder = options.data / "paretobandit"
    if not folder.is_dir():
        options.console.print(f"skipped: ParetoBandit's rewards are not at {folder}")
        return []
    source = rewards.read(folder)
    world = source.world(source.validation, source.test, POOL)
    targets = _targets(world)
    rows, covered = [], []
    for kind, (name, settings) in enumerate(LOGGED):
        found: dict[tuple[str, str], list[tuple[float, float, float]]] = {
            (policy, method): [] for policy in targets for method in METHODS
        }
        refused = dict.fromkeys(targets, 0)
        for number in range(LOGS):
            log, drawn = _log(world, settings, options.seed + LOGS * kind + number)
            expected = fitted_rewards(log)
            for policy, target in targets.items():
                truth = float((target * world.rewards).sum(axis=1).mean())
                try:
                    for method in METHODS:
                        said = evaluate(log, target[drawn], method=method, expected=expected)
                        found[policy, method].append(
                            (
                                said.low <= truth <= said.high,
                                said.value - truth,
                                said.high - said.low,
                            )
                        )
                except TooLittleSupport:
                    refused[policy] += 1
        for policy in targets:
            if refused[policy] == LOGS:
                rows.append([name, policy, "all refused", *[""] * 7])
                continue
            cells = [np.array(found[policy, method], dtype=np.float64) for method in METHODS]
            covered.append(cells[-1][:, 0])
            rows.append(
                [
                    name,
                    policy,
                    f"{refused[policy] / LOGS:.0%}",
                    *(f"{cell[:, 0].mean():.3f}" for cell in cells),
                    *(f"{cell[:, 2].mean():.4f}" for cell in cells),
                    f"{cells[-1][:, 1].mean():+.5f}",
                ]
            )
    head = ["log", "policy", "refused"]
    head += [f"{what} {method}" for what in ("coverage", "width") for method in METHODS]
    options.console.print(
        report.table(
            f"Off-policy evaluation, {LOGS} logs of {DECISIONS:,}", [*head, "error dr"], rows
        )
    )
    pooled = float(np.concatenate(covered).mean())
    metric = GOALS["ope_interval_coverage"].measured([float(part.mean()) for part in covered])
    return [replace(metric, value=float(f"{pooled:.4g}"))]


def _targets(world: World) -> dict[str, Floats]:
    """Return the policies that are asked about, shape (n, 3) each."""
    sure = np.eye(len(POOL))
    count = len(world.x)
    return {
        "the map": sure[mapped(world, None)],
        f"always {MISTRAL}": np.tile(sure[POOL.index(MISTRAL)], (count, 1)),
        f"always {PRO}": np.tile(sure[POOL.index(PRO)], (count, 1)),
        "half and half": np.tile([0.0, 0.5, 0.5], (count, 1)),
        f"always {LLAMA}": np.tile(sure[POOL.index(LLAMA)], (count, 1)),
    }


def _log(world: World, settings: Settings, seed: int) -> tuple[Log, NDArray[np.intp]]:
    """Return a log of the bandit, and the prompts that it was drawn on."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(world.x), size=DECISIONS)
    bandit = started(world, None, settings)
    free = dict.fromkeys(POOL, 0.0)
    chosen, propensities = [], []
    for row in drawn:
        choice = bandit.choose(
            world.x[row], free, POOL, may_explore=True, uniform=generator.random()
        )
        place = POOL.index(choice.expert)
        bandit = bandit.update(world.x[row], choice.expert, float(world.rewards[row, place]))
        chosen.append(place)
        propensities.append([choice.propensities[name] for name in POOL])
    places = np.array(chosen)
    return (
        Log(
            x=world.x[drawn],
            chosen=places,
            propensities=np.array(propensities),
            rewards=world.rewards[drawn, places],
        ),
        drawn,
    )
