"""A new expert in a fitted map: one more column from few labelled prompts, nothing fitted again.

Each model of MMLU-Pro in turn is left out of the map and comes back with so many labelled prompts.
The regret is what the map with that column loses, on other prompts, against the map that was fitted
to all scores of all models:

    python -m benches.new_expert            (the data are in ../shared/data; nothing is downloaded)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benches.report import console, table
from coe.mapping.column import with_expert
from coe.mapping.estimates import estimate, values
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import OutcomeMatrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Index = NDArray[np.intp]
    Floats = NDArray[np.float64]

DATA = Path(__file__).parents[2] / "shared" / "data" / "mmlu_pro" / "mmlu_pro.parquet"
SHOTS = (0, 25, 50, 100, 200, 400, 800)
SPLITS = 5
TRAIN = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """What so many labelled prompts of a new expert lose against all of them.

    Attributes:
        shots: labelled prompts.
        mean: loss of mean score against the map of all scores, over experts and splits.
        worst: the largest loss of an expert, averaged over splits, and whose it is.
        best: the loss where the new expert is the best of the pool, averaged over splits.
    """

    shots: int
    mean: float
    worst: float
    worst_of: str
    best: float


def regrets(
    matrix: OutcomeMatrix, *, shots: Sequence[int] = SHOTS, splits: int = SPLITS
) -> list[Regret]:
    """Return the regret of each number of labelled prompts.

    Args:
        matrix: outcomes of all experts on all prompts.
        shots: numbers of labelled prompts; 0 leaves the expert out.
        splits: random ones, 70 % of the prompts to fit.
    """
    lost = np.zeros((splits, len(matrix.experts), len(shots)))
    best = np.zeros((splits, len(shots)))
    for split in range(splits):
        generator = np.random.default_rng(split)
        order = generator.permutation(len(matrix.prompts))
        cut = int(TRAIN * len(order))
        train, test = matrix.rows(order[:cut]), matrix.rows(order[cut:])
        whole = _map(train)
        full = _quality(whole, test)
        single = int(np.nanmean(train.scores, axis=0).argmax())
        for e, name in enumerate(matrix.experts):
            others = [other for other in matrix.experts if other != name]
            without = _map(train.of(others))
            for s, count in enumerate(shots):
                drawn = generator.permutation(cut)[:count]
                few = train.of([name]).rows(drawn)
                grown = with_expert(without, few) if count else without
                lost[split, e, s] = full - _quality(grown, test)
            if e == single:
                best[split] = lost[split, e]
    found = []
    for s, count in enumerate(shots):
        by_expert = lost[:, :, s].mean(axis=0)
        worst = int(by_expert.argmax())
        found.append(
            Regret(
                shots=count,
                mean=float(by_expert.mean()),
                worst=float(by_expert[worst]),
                worst_of=matrix.experts[worst],
                best=float(best[:, s].mean()),
            )
        )
    return found


def _map(train: OutcomeMatrix) -> FittedMap:
    """Return the map of some outcomes, without prices: quality alone is compared here."""
    cells = estimate(train)
    best = tuple(cells.experts[i] for i in cells.mean.argmax(axis=1))
    return FittedMap.of(cells, cells.mean, cells.experts, best)


def _quality(fitted: FittedMap, test: OutcomeMatrix) -> float:
    """Return the mean score of the experts that the map chooses."""
    chosen = values(fitted.quality, test.memberships).argmax(axis=1)
    columns = np.array([test.experts.index(name) for name in fitted.experts])
    return float(test.scores[np.arange(len(chosen)), columns[chosen]].mean())


def read(path: Path = DATA) -> OutcomeMatrix:
    """Return MMLU-Pro's outcomes, each prompt in the category that the file names."""
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pydict()
    experts = tuple(name.removeprefix("score:") for name in rows if name.startswith("score:"))
    categories = tuple(sorted(set(rows["category"])))
    scores = np.column_stack([np.array(rows[f"score:{e}"], dtype=np.float64) for e in experts])
    kept = np.flatnonzero(~np.isnan(scores).any(axis=1))
    place = {name: i for i, name in enumerate(categories)}
    shares = np.zeros((len(scores), len(categories)))
    shares[np.arange(len(scores)), [place[name] for name in rows["category"]]] = 1.0
    unknown = np.full_like(scores, np.nan)
    matrix = OutcomeMatrix(
        prompts=tuple(map(str, rows["qid"])),
        experts=experts,
        categories=categories,
        probabilities=shares,
        scores=scores,
        costs=unknown,
        latencies=unknown,
    )
    return matrix.rows(kept)


def main() -> None:
    """Print the table."""
    if not DATA.is_file():
        print(f"skipped: {DATA} is not here")
        sys.exit(0)
    matrix = read()
    ranked = [matrix.experts[i] for i in matrix.scores.mean(axis=0).argsort()[::-1]]
    for title, experts in (
        ("all models", matrix.experts),
        ("the best nine", ranked[:9]),
        ("eight of the middle", ranked[9:17]),
    ):
        rows = [
            [
                str(row.shots),
                f"{100 * row.mean:.2f}",
                f"{100 * row.worst:.2f}",
                row.worst_of,
                f"{100 * row.best:.2f}",
            ]
            for row in regrets(matrix.of(experts))
        ]
        head = ["labelled prompts", "mean regret", "worst", "whose", "the best single's"]
        console().print(table(f"{title}, in points", head, rows))


if __name__ == "__main__":
    main()
