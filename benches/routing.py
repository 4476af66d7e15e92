"""Routers on CLINC150, side by side: `python -m benches.routing` (or `make bench-routing`).

The splits are those of the set's README: `train` to learn from (all of it, or so many utterances
per category, drawn anew by each seed), `test` to report on; `val` is not read here, so that choices
can be made on it. Every method gets the same vectors, those of the built-in encoder. Out-of-scope
rows are in `test` alone: nothing learns from one. Writes build/bench/routing.json, each value the
mean over the seeds.

    accuracy   of the test rows inside
    AUROC      of the outside score, rows inside against rows outside
    recall     of the rows outside that are refused when 95 % of the rows inside are accepted
    joint      accuracy on all test rows at that threshold, refusing being right outside
    ECE        of the best probability of the rows inside, 15 bins of equal mass
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benches import aurelio, report
from benches.installation import Missing
from benches.report import Goal, Metric
from coe.protocols import Encoder, EncoderSpec
from routers import metrics
from routers.encoders import minilm
from routers.gate import Landmarks
from routers.store import stored
from routers.training import Recipe, train

ROOT = Path(__file__).parents[1]
CLINC = ROOT.parent / "shared" / "data" / "clinc150" / "clinc150.parquet"
BUILD = ROOT / "build" / "bench"
ACCEPTANCE = 0.95
FULL = 0
SHOTS = (FULL, 10, 5)
OUTSIDE = "oos"
OURS = "linear (CoE)"
COLUMNS = ("accuracy", "auroc", "recall", "joint", "ece")

GOALS = {
    (FULL, "accuracy"): Goal(
        metric="clinc150_full_accuracy", unit="share", better="higher", goal=0.957
    ),
    (FULL, "auroc"): Goal(metric="clinc150_oos_auroc", unit="share", better="higher", goal=0.975),
    (FULL, "recall"): Goal(
        metric="clinc150_oos_recall_at_95", unit="share", better="higher", goal=0.87
    ),
    (FULL, "joint"): Goal(
        metric="clinc150_joint_accuracy", unit="share", better="higher", goal=0.92
    ),
    (FULL, "ece"): Goal(metric="clinc150_ece", unit="share", better="lower", goal=0.012),
    (10, "accuracy"): Goal(
        metric="clinc150_10shot_accuracy", unit="share", better="higher", goal=0.915
    ),
    (5, "accuracy"): Goal(
        metric="clinc150_5shot_accuracy", unit="share", better="higher", goal=0.88
    ),
}

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Columns = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to learn from and what to be measured on; `labels` are places in `names`.

    Attributes:
        inside: vectors of the test rows that belong to a category, `truth` their labels.
        outside: vectors of the test rows that belong to none.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: Vectors
    labels: Columns
    inside: Vectors
    truth: Columns
    outside: Vectors

    def draw(self, shots: int, seed: int) -> Task:
        """Return the task with so many rows per category, or with all."""
        if shots == FULL:
            return self
        generator = np.random.default_rng(seed)
        rows = np.concatenate(
            [
                generator.choice(np.flatnonzero(self.labels == column), shots, replace=False)
                for column in range(len(self.names))
            ]
        )
        return replace(
            self,
            texts=tuple(self.texts[row] for row in rows),
            vectors=self.vectors[rows],
            labels=self.labels[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a method says of the test rows, the rows inside first.

    Attributes:
        chosen: labels, of every row.
        sure: the probability of the choice given that the row is inside, of every row.
        belongs: greater, the more the row is inside.
        fit_s: seconds of learning, vectors being there.
    """

    chosen: Columns
    sure: Floats
    belongs: Floats
    fit_s: float


Method = Callable[[Task, int], Answers]


def main() -> None:
    """Print the tables and write the metrics."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=CLINC)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS, help="0: all utterances")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args()
    console = report.console()
    if not chosen.data.is_file():
        console.print(f"skipped: CLINC150 is not at {chosen.data}")
        return
    encoder = stored(minilm.build(EncoderSpec(name="minilm", type="minilm")), str(BUILD))
    task = load(chosen.data, encoder.encode)
    methods: dict[str, Method] = {
        OURS: lambda task, seed: linear(task, seed, encoder),
        "nearest centroid": centroid,
        "kNN, k=5": neighbours,
    }
    if chosen.peers:
        methods |= peers(console)
    measured: list[Metric] = []
    for shots in chosen.shots:
        rows = {}
        for name, method in methods.items():
            try:
                rows[name] = list(_rounds(task, shots, chosen.seeds, method, name, console))
            except Missing as reason:
                console.print(f"absent: {name}: {reason}")
        console.print(_table(shots, rows))
        measured += _metrics(shots, rows[OURS])
    console.print(report.goals_table(measured))
    report.write_metrics(BUILD / "routing.json", measured)


def load(path: Path, encode: Callable[[Sequence[str]], Vectors]) -> Task:
    """Read CLINC150 and encode it."""
    from pyarrow import parquet

    found = parquet.read_table(path).to_pydict()
    texts, splits = np.array(found["text"], dtype=object), np.array(found["split"])
    labels = np.array(found["label"])
    is_in = labels != OUTSIDE
    names = np.unique(labels[is_in])
    train_rows, test = is_in & (splits == "train"), splits == "test"
    return Task(
        names=tuple(str(name) for name in names),
        texts=tuple(texts[train_rows]),
        vectors=encode(texts[train_rows].tolist()),
        labels=np.searchsorted(names, labels[train_rows]),
        inside=encode(texts[test & is_in].tolist()),
        truth=np.searchsorted(names, labels[test & is_in]),
        outside=encode(texts[test & ~is_in].tolist()),
    )


def linear(task: Task, seed: int, encoder: Encoder) -> Answers:
    """Train our router with its defaults; the seed is that of its folds."""
    start = time.perf_counter()
    rows = [(text, task.names[at]) for text, at in zip(task.texts, task.labels, strict=True)]
    trained = train(rows, encoder, recipe=Recipe(seed=seed))
    took = time.perf_counter() - start
    order = np.array([task.names.index(name) for name in trained.categories])
    queries = np.concatenate([task.inside, task.outside])
    shares = trained.model.given_inside(queries)
    return Answers(
        chosen=order[shares.argmax(axis=1)],
        sure=shares.max(axis=1),
        belongs=trained.model.inside(queries),
        fit_s=took,
    )


def centroid(task: Task, _: int) -> Answers:
    """Choose the category whose mean utterance is nearest; the cosine says how sure."""
    start = time.perf_counter()
    means = Landmarks.of(task.vectors, task.labels).centroids
    took = time.perf_counter() - start
    cosines = np.concatenate([task.inside, task.outside]) @ means.T
    best = cosines.max(axis=1).astype(np.float64)
    return Answers(chosen=cosines.argmax(axis=1), sure=best, belongs=best, fit_s=took)


def neighbours(task: Task, _: int, count: int = 5) -> Answers:
    """Choose by the votes of the nearest utterances; the nearest one's cosine is the outside."""
    chosen, sure, belongs = [], [], []
    for query in np.array_split(np.concatenate([task.inside, task.outside]), 20):
        cosines = query @ task.vectors.T
        nearest = np.argpartition(cosines, -count, axis=1)[:, -count:]
        votes = np.zeros((len(query), len(task.names)))
        at = np.arange(len(query))
        for column in nearest.T:
            # A breath of the cosine settles a draw.
            votes[at, task.labels[column]] += 1 + 1e-3 * cosines[at, column]
        chosen.append(votes.argmax(axis=1))
        sure.append(np.floor(votes.max(axis=1)) / count)
        belongs.append(cosines.max(axis=1).astype(np.float64))
    return Answers(
        chosen=np.concatenate(chosen),
        sure=np.concatenate(sure),
        belongs=np.concatenate(belongs),
        fit_s=0.0,
    )


def peers(console: Console) -> dict[str, Method]:
    """Return the peers that can be installed; the others are absent aloud."""
    try:
        python = aurelio.install(BUILD, console.print)
    except Missing as reason:
        console.print(f"absent: semantic-router: {reason}")
        return {}

    def method(task: Task, _: int) -> Answers:
        queries = np.concatenate([task.inside, task.outside])
        chosen, score, took = aurelio.choose(
            python, BUILD, vectors=task.vectors, labels=task.labels, queries=queries
        )
        return Answers(chosen=chosen, sure=score, belongs=score, fit_s=took)

    return {f"semantic-router {aurelio.VERSION}": method}


def score(task: Task, answers: Answers) -> dict[str, float]:
    """Return the row of the table."""
    count = len(task.inside)
    inside, outside = answers.belongs[:count], answers.belongs[count:]
    correct = answers.chosen[:count] == task.truth
    labels = np.concatenate([task.truth, np.full(len(outside), metrics.NONE)])
    threshold = metrics.threshold_at_acceptance(inside, ACCEPTANCE)
    return {
        "accuracy": float(correct.mean()),
        "auroc": metrics.auroc(inside, outside),
        "recall": metrics.outside_recall(inside, outside, acceptance=ACCEPTANCE),
        "joint": metrics.joint_accuracy(
            labels, answers.chosen, answers.belongs, threshold=threshold
        ),
        "ece": metrics.ece(np.clip(answers.sure[:count], 0, 1), correct),
        "fit_s": answers.fit_s,
    }


def _rounds(
    task: Task, shots: int, seeds: int, method: Method, name: str, console: Console
) -> Iterator[dict[str, float]]:
    # With all utterances there is nothing to draw: only ours has a seed.
    for seed in range(seeds if shots or name == OURS else 1):
        drawn = task.draw(shots, seed)
        row = score(drawn, method(drawn, seed))
        console.print(
            f"{_title(shots)}, {name}, seed {seed}: "
            + ", ".join(f"{key} {value:.4f}" for key, value in row.items())
        )
        yield row


def _metrics(shots: int, rounds: Sequence[dict[str, float]]) -> list[Metric]:
    found = []
    for (size, column), goal in GOALS.items():
        if size == shots:
            values = [row[column] for row in rounds]
            found.append(replace(goal.measured(values), value=float(f"{mean(values):.4g}")))
    return found


def _table(shots: int, rows: dict[str, list[dict[str, float]]]) -> Table:
    cells = [
        (
            name,
            *(f"{mean(row[column] for row in rounds):.4f}" for column in COLUMNS),
            f"{mean(row['fit_s'] for row in rounds):.1f}",
        )
        for name, rounds in rows.items()
    ]
    return report.table(f"CLINC150, {_title(shots)}", ("", *COLUMNS, "fit s"), cells)


def _title(shots: int) -> str:
    return f"{shots} utterances per category" if shots else "all utterances"


if __name__ == "__main__":
    main()
