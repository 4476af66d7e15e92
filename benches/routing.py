"""Routers on CLINC150, side by side: `python -m benches.routing` (or `make bench-routing`).

The splits are those of the set's README: `train` to learn from (all of it, or so many utterances
per category, drawn anew by each seed), `test` to report on; `val` is where choices were made, and
where the exits of a chain are fitted. Every method gets the same vectors, those of the built-in
encoder. Rows outside play no part but in `test`: nothing learns from one. Writes
build/bench/routing.json, each value the mean over the seeds; metrics that were not measured this
time stay as they were.

    accuracy   of the test rows inside
    AUROC      of the outside score, rows inside against rows outside
    recall     of the rows outside that are refused when 95 % of the rows inside are accepted
    joint      accuracy on all test rows at that threshold, refusing being right outside
    ECE        of the best probability of the rows inside, 15 bins of equal mass

`--tuned` also tunes the encoder, which takes some ten minutes each time; its figures come from a
router that a twin of the encoder has judged (see `routers.own_encoder`).
What a decision costs and what typing errors change is in `benches.decisions`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benches import aurelio, decisions, report
from benches.decisions import OUTSIDE, Rows
from benches.installation import Missing
from benches.report import Goal, Metric
from coe.errors import ArtefactError
from coe.protocols import Encoder, EncoderSpec
from coe.types import Category
from routers import metrics, own_encoder
from routers.encoders import minilm
from routers.encoders.onnx import OnnxEncoder
from routers.gate import Landmarks
from routers.linear import LinearModel
from routers.linear import load as load_linear
from routers.store import stored
from routers.training import Judge, Recipe, save, train
from routers.views import beside

ROOT = Path(__file__).parents[1]
CLINC = ROOT.parent / "shared" / "data" / "clinc150" / "clinc150.parquet"
BUILD = ROOT / "build" / "bench"
MODEL = BUILD / "clinc150-linear.npz"
ACCEPTANCE = 0.95
FULL = 0
SHOTS = (FULL, 10, 5)
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
TUNED = {
    10: Goal(metric="clinc150_10shot_tuned_accuracy", unit="share", better="higher", goal=0.93),
    FULL: Goal(metric="clinc150_full_tuned_accuracy", unit="share", better="higher", goal=0.965),
}
# Most for one router: of the encoder that judges and the one that serves together.
TUNING_MINUTES = {10: 15.0, FULL: 60.0}

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Columns = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to learn from and what to be measured on; `labels` are places in `names`.

    Attributes:
        inside: vectors of the test rows that belong to a category, `truth` their labels.
        outside: vectors of the test rows that belong to none.
        asked: the texts of the rows inside, then of those outside.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: Vectors
    labels: Columns
    inside: Vectors
    truth: Columns
    outside: Vectors
    asked: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """Return (text, category) of what is to be learnt from."""
        return [(text, self.names[at]) for text, at in zip(self.texts, self.labels, strict=True)]

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

    def read_by(self, encode: Callable[[Sequence[str]], Vectors]) -> Task:
        """Return the task as another encoder reads it."""
        asked, count = encode(self.asked), len(self.inside)
        return replace(
            self, vectors=encode(self.texts), inside=asked[:count], outside=asked[count:]
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
    parser.add_argument("--shots", type=int, nargs="*", default=SHOTS, help="0: all utterances")
    for name, meaning in (
        ("peers", "semantic-router, in an environment of its own"),
        ("typing", "what typing errors change"),
        ("speed", "what a decision costs; run it on a quiet machine"),
    ):
        parser.add_argument(
            f"--{name}", action=argparse.BooleanOptionalAction, default=True, help=meaning
        )
    parser.add_argument(
        "--tuned",
        type=int,
        nargs="?",
        const=1,
        default=0,
        metavar="SEEDS",
        help="tune the encoder too, so many times with 10 utterances per category, and once with "
        "all of them; on one core a quarter of an hour each time, and half an hour with all",
    )
    chosen = parser.parse_args()
    console = report.console()
    if not chosen.data.is_file():
        console.print(f"skipped: CLINC150 is not at {chosen.data}")
        return
    encoder = minilm.build(EncoderSpec(name="minilm", type="minilm"))
    rows = read(chosen.data)
    measured = list(_asked(chosen, rows, encoder, console))
    console.print(report.goals_table(measured))
    if not chosen.tuned:
        console.print("not measured: a tuned encoder (clinc150_*_tuned_accuracy); add --tuned")
    _keep(BUILD / "routing.json", measured)


def _asked(
    chosen: argparse.Namespace, rows: dict[str, Rows], encoder: OnnxEncoder, console: Console
) -> Iterator[Metric]:
    """Yield the metrics of the parts that were asked for."""
    memory = stored(encoder, str(BUILD))
    task = task_of(rows, memory.encode)
    if chosen.shots:
        yield from tables(task, memory, chosen.shots, chosen.seeds, console, peers=chosen.peers)
    if chosen.typing or chosen.speed:
        names, model = _full(task, memory, console)
        stand = decisions.Stand(
            rows=rows, names=names, model=model, encoder=encoder, memory=memory, folder=BUILD
        )
        if chosen.typing:
            yield from decisions.typing(stand, chosen.seeds, console)
        if chosen.speed:
            yield from decisions.speed(stand, console)
    if chosen.tuned:
        yield from tuned(task, chosen.tuned, console)


def tables(
    task: Task,
    encoder: Encoder,
    sizes: Sequence[int],
    seeds: int,
    console: Console,
    *,
    peers: bool,
) -> Iterator[Metric]:
    """Print a table for each number of utterances; yield our metrics."""
    methods: dict[str, Method] = {
        OURS: lambda drawn, seed: linear(
            drawn, seed, encoder, keep=MODEL if drawn is task and not seed else None
        ),
        "nearest centroid": centroid,
        "kNN, k=5": neighbours,
    }
    if peers:
        methods |= installed(console)
    for shots in sizes:
        rows = {}
        for name, method in methods.items():
            try:
                rows[name] = list(_rounds(task, shots, seeds, method, name, console))
            except Missing as reason:
                console.print(f"absent: {name}: {reason}")
        console.print(_table(shots, rows))
        yield from _metrics(shots, rows[OURS])


def tuned(task: Task, seeds: int, console: Console) -> Iterator[Metric]:
    """Do what `coe router train --tune-encoder` does, and measure as without."""
    for shots, goal in TUNED.items():
        accuracies, title = [], f"tuned encoder, {_title(shots)}"
        for seed in range(seeds if shots else 1):
            drawn = task.draw(shots, seed)
            path = BUILD / f"tuned-{shots or 'full'}-{seed}.npz"
            # What an earlier run of this benchmark tuned is not tuned again.
            own = own_encoder.tune_own(
                own_encoder.own_spec(EncoderSpec(name="minilm", type="minilm"), path, str(BUILD)),
                path,
                list(dict.fromkeys(drawn.rows())),
                minutes=TUNING_MINUTES[shots],
                cache_folder=str(BUILD),
                progress=lambda *_: None,
            )
            encoder = stored(own.encoder, str(BUILD))
            again = drawn.read_by(encoder.encode)
            row = score(again, linear(again, seed, encoder, judge=own.judge))
            accuracies.append(row["accuracy"])
            console.print(
                f"{title}, seed {seed}: tuned in {own.tuned.seconds / 60:.1f} minutes, "
                + ", ".join(f"{key} {value:.4f}" for key, value in row.items())
            )
        yield replace(goal.measured(accuracies), value=float(f"{mean(accuracies):.4g}"))


def _full(task: Task, encoder: Encoder, console: Console) -> tuple[tuple[str, ...], LinearModel]:
    """Return the linear router of all utterances, the one of the table where there was one."""
    rows = task.rows()
    texts: dict[str, list[str]] = {name: [] for name in task.names}
    for text, name in rows:
        texts[name].append(text)
    categories = [Category(name=name, utterances=tuple(group)) for name, group in texts.items()]
    with contextlib.suppress(ArtefactError):
        return load_linear(MODEL, encoder, categories, place="benches")
    console.print(f"training on {len(rows)} utterances, kept as {MODEL.name} ...")
    trained = train(rows, encoder)
    save(MODEL, trained, utterances=rows)
    return trained.categories, trained.model


def _keep(path: Path, measured: Sequence[Metric]) -> None:
    """Write the metrics; those of the file that were not measured now stay."""
    fresh = {metric.metric: metric for metric in measured}
    kept = []
    with contextlib.suppress(OSError, ValueError, TypeError):
        kept = [Metric(**found, rounds=()) for found in json.loads(path.read_text("utf-8"))]
    report.write_metrics(path, ({metric.metric: metric for metric in kept} | fresh).values())


def read(path: Path) -> dict[str, Rows]:
    """Return (text, label) by split."""
    from pyarrow import parquet

    rows: dict[str, list[tuple[str, str]]] = {"train": [], "val": [], "test": []}
    for row in parquet.read_table(path).to_pylist():
        rows[row["split"]].append((row["text"], row["label"]))
    return dict(rows)


def task_of(rows: dict[str, Rows], encode: Callable[[Sequence[str]], Vectors]) -> Task:
    """Encode CLINC150's `train` without, and `test` with its rows outside."""
    learnt = [row for row in rows["train"] if row[1] != OUTSIDE]
    inside = [row for row in rows["test"] if row[1] != OUTSIDE]
    names = np.unique([label for _, label in learnt])
    outside = [row for row in rows["test"] if row[1] == OUTSIDE]
    return Task(
        names=tuple(str(name) for name in names),
        texts=tuple(text for text, _ in learnt),
        vectors=encode([text for text, _ in learnt]),
        labels=np.searchsorted(names, [label for _, label in learnt]),
        inside=encode([text for text, _ in inside]),
        truth=np.searchsorted(names, [label for _, label in inside]),
        outside=encode([text for text, _ in outside]),
        asked=tuple(text for text, _ in (*inside, *outside)),
    )


def linear(
    task: Task,
    seed: int,
    encoder: Encoder,
    *,
    keep: Path | None = None,
    judge: Judge | None = None,
) -> Answers:
    """Train our router with its defaults; the seed is that of its folds and perceptrons."""
    start = time.perf_counter()
    trained = train(task.rows(), encoder, recipe=Recipe(seed=seed), judge=judge)
    took = time.perf_counter() - start
    if keep is not None:
        save(keep, trained, utterances=task.rows())
    order = np.array([task.names.index(name) for name in trained.categories])
    queries = beside(np.concatenate([task.inside, task.outside]), task.asked)
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


def installed(console: Console) -> dict[str, Method]:
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
