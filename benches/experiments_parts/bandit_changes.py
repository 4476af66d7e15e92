"""What the bandit does when the world changes, and changes back: the published stress tests."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benches import report
from benches.experiments_parts.bandit_runs import Run, learning, started
from benches.experiments_parts.rewards import MISTRAL, PRO, World
from coe.learning.belief import Settings

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

CUT = 0.01
"""What is left of the dearest expert's price: $10 become $.10 per million tokens of an answer."""
DEGRADED = 0.82
"""What is left of the middle expert's rewards; nothing but the rewards tells."""
PHASES = 3


class Changed:
    """A world whose second third differs in one expert. The third one has the first one's prompts.

    Args:
        world: as it is.
        size: requests of a phase.
        expert: who changes.
        worth: what is left of its rewards.
        price: what is left of its costs, and of its price, which is told.
    """

    def __init__(
        self, world: World, size: int, expert: str, *, worth: float = 1.0, price: float = 1.0
    ) -> None:
        self.world, self.size = world, size
        self.place = world.experts.index(expert)
        self.worth, self.price = worth, price

    def __call__(self, step: int, row: int) -> tuple[Floats, Floats, Floats]:
        """Return rewards, costs and prices of a request."""
        world = self.world
        gains, costs, prices = (
            part[row].copy() for part in (world.rewards, world.costs, world.prices)
        )
        if self.size <= step < 2 * self.size:
            gains[self.place] *= self.worth
            costs[self.place] *= self.price
            prices[self.place] *= self.price
        return gains, costs, prices


def changing(
    console: Console,
    world: World,
    orders: Sequence[tuple[int, Places]],
    ceilings: Sequence[float],
) -> None:
    """Print quality, spending and the expert's share, phase by phase; medians over the orders."""
    size = len(world.x) // PHASES
    cases = {
        f"{PRO} for 1 % of its price": Changed(world, size, PRO, price=CUT),
        f"{MISTRAL} 18 % worse": Changed(world, size, MISTRAL, worth=DEGRADED),
    }
    rows = []
    for name, step in cases.items():
        for ceiling in ceilings:
            bandit = started(world, ceiling, Settings())
            runs = [
                learning(world, bandit, np.concatenate([o[: 2 * size], o[:size]]), n, step=step)
                for n, o in orders
            ]
            rows.append([name, f"{1000 * ceiling:.2f}", *_cells(runs, size, ceiling, step.place)])
    head = ["what changes", "ceiling, $ / 1k"]
    head += [f"quality {phase + 1}" for phase in range(PHASES)]
    head += [*(f"spent {phase + 1}" for phase in range(PHASES)), "in all"]
    head += [f"share {phase + 1}" for phase in range(PHASES)]
    console.print(report.table("A change, and back again", head, rows))


def _cells(runs: Sequence[Run], size: int, ceiling: float, place: int) -> list[str]:
    parts = [slice(phase * size, (phase + 1) * size) for phase in range(PHASES)]
    return [
        *(f"{median(run.rewards[part].mean() for run in runs):.3f}" for part in parts),
        *(f"{median(run.costs[part].mean() for run in runs) / ceiling:.2f}" for part in parts),
        f"{median(run.spent for run in runs) / ceiling:.2f}",
        *(f"{median((run.chosen[part] == place).mean() for run in runs):.0%}" for part in parts),
    ]
