"""The category-to-expert map beside what it has to beat: `make bench-mapping`.

Recorded outcomes that nobody here made (see the README of the data): MMLU-Pro's questions with what
28 models answered, five splits of 70/30, the same as in the study that the goals come from; and
ParetoBandit's prompts with the rewards and dollars of three, fitted on `val`, reported on `test`.
Every method gets the same vectors, those of the built-in encoder, and the same probabilities of the
categories, from a logistic classifier (of the training rows, each by one that has not seen it).
Nothing is chosen on the rows reported on, but for one thing that is said to be: where a curve of
quality over cost crosses the best single expert's quality.

    gain       over the best single expert, paired, with the 95 % interval (of splits together: a
               prompt's mean over the splits that report on it, resampled by prompt)
    gap share  of what lies between the best single expert and the oracle
    cost       of the best single expert's; output characters times parameters with MMLU-Pro

Writes build/bench/mapping.json, mapping.png and mapping.html.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from statistics import mean, median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benches import mapping_data, report
from benches.mapping_curve import Curve, Picture, draw, mean_curve, price_weights, trace
from benches.mapping_data import Recorded, Split
from benches.mapping_peers import PEERS
from benches.report import Goal, Metric
from coe.mapping import FittedMap, GuardRow, OutcomeMatrix, residual
from coe.mapping.estimates import estimate, values
from coe.mapping.guard import compare
from coe.protocols import EncoderSpec
from routers.encoders import minilm
from routers.store import stored

Floats = NDArray[np.float64]

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
BUILD = ROOT / "build" / "bench"
MAP = "the map"
SCORED_PROMPTS = 8402
DRAWN = (MAP, "two-step, cells alone", "kNN, k tuned", "logistic per expert")
"""Whose curves are drawn."""

GOALS = {
    goal.metric: goal
    for goal in (
        Goal(metric="mmlu_pro_28_quality", unit="score", better="higher", goal=0.716),
        Goal(metric="mmlu_pro_28_gap_share", unit="share", better="higher", goal=0.07),
        Goal(metric="mmlu_pro_28_cost_at_best", unit="x", better="lower", goal=0.57),
        Goal(metric="mmlu_pro_8_quality", unit="score", better="higher", goal=0.473),
        Goal(metric="paretobandit_quality", unit="score", better="higher", goal=0.935),
        Goal(metric="paretobandit_cost_per_1k", unit="$", better="lower", goal=9.8),
        Goal(metric="milp_50x150_s", unit="s", better="lower", goal=1.0),
        Goal(metric="route_150_ms", unit="ms", better="lower", goal=0.2),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one split says.

    Attributes:
        test: the prompts reported on.
        expected: method -> shape (n, E).
        costs: shape (n, E), what an answer is expected to cost, the same for all methods.
        guard: policy -> row, on true categories.
        verdict: the guard's.
        frugal: the price weight with the best single expert's quality on training rows left out.
        kept: the residual that was shown to gain, or None.
    """

    test: OutcomeMatrix
    expected: Mapping[str, Floats]
    costs: Floats
    weights: Floats
    guard: Mapping[str, GuardRow]
    verdict: str
    frugal: float
    kept: str

    def curve(self, method: str) -> Curve:
        """Return the method's curve."""
        return trace(self.expected[method], self.costs, self.test, self.weights)

    def scores(self, method: str) -> Floats:
        """Return what the method's choices scored, shape (n,); an expert's name is a method."""
        rows = np.arange(len(self.test.prompts))
        if method in self.test.experts:
            return self.test.scores[:, self.test.experts.index(method)]
        return self.test.scores[rows, self.expected[method].argmax(axis=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A set of outcomes and its rounds."""

    recorded: Recorded
    rounds: list[Round] = field(default_factory=list)

    def guard_mean(self, policy: str, what: str = "quality") -> float:
        """Return a policy's mean over the rounds."""
        return mean(getattr(round_.guard[policy], what) for round_ in self.rounds)

    def gain(self, method: str, over: str) -> tuple[float, float, float]:
        """Return the paired gain of a method over another, or over the best single expert."""
        rounds = []
        for round_ in self.rounds:
            other = round_.guard[over].expert if over in round_.guard else over
            rounds.append((round_.test.prompts, round_.scores(method) - round_.scores(other)))
        return mapping_data.gain(rounds)


def main() -> None:
    """Print the tables, write the metrics and the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--speed",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="how long solving and choosing take; run it on a quiet machine",
    )
    asked = parser.parse_args()
    console = report.console()
    metrics: list[Metric] = []
    studies: list[Study] = []
    encoder = stored(minilm.build(EncoderSpec(name="minilm", type="minilm")), str(BUILD))
    for name, run in (("mmlu_pro", _mmlu_pro), ("paretobandit", _paretobandit)):
        if not (asked.data / name).is_dir():
            console.print(f"skipped: {name} is not at {asked.data / name}")
            continue
        found, measured = run(asked.data / name, encoder.encode, asked.seeds, console)
        studies += found
        metrics += measured
    if asked.speed:
        metrics += _speed(console)
    console.print(report.goals_table(metrics))
    report.write_metrics(BUILD / "mapping.json", metrics)
    if studies:
        _publish(studies, metrics, console)


def _mmlu_pro(
    folder: Path, encode: mapping_data.Encode, seeds: int, console: Console
) -> tuple[list[Study], list[Metric]]:
    every = mapping_data.mmlu_pro(folder, encode)
    pools = (every, every.of(mapping_data.MIDDLE, "MMLU-Pro, 8 models of about equal strength"))
    studies = [Study(recorded=pool) for pool in pools]
    for seed in range(seeds):
        divided = mapping_data.drawn(every, seed)
        for study in studies:
            study.rounds.append(_round(study.recorded, divided, seed))
            console.print(f"{study.recorded.name}, split {seed}: {study.rounds[-1].kept}")
    for study in studies:
        console.print(_table(study))
    whole, middle = studies
    return studies, [
        _averaged("mmlu_pro_28_quality", [r.guard["map"].quality for r in whole.rounds]),
        _averaged("mmlu_pro_28_gap_share", [_gap_share(r) for r in whole.rounds]),
        _averaged("mmlu_pro_28_cost_at_best", [_cost_at_best(r, MAP) for r in whole.rounds]),
        _averaged("mmlu_pro_8_quality", [r.guard["map"].quality for r in middle.rounds]),
    ]


def _paretobandit(
    folder: Path, encode: mapping_data.Encode, _: int, console: Console
) -> tuple[list[Study], list[Metric]]:
    recorded, train, test = mapping_data.paretobandit(folder, encode)
    study = Study(recorded=recorded)
    study.rounds.append(_round(recorded, mapping_data.split(recorded, train, test), 0))
    console.print(_table(study))
    (only,) = study.rounds
    quality, cost = only.curve(MAP).at(only.frugal)
    return [study], [
        _averaged("paretobandit_quality", [quality]),
        _averaged("paretobandit_cost_per_1k", [cost]),
    ]


def _averaged(metric: str, rounds: list[float]) -> Metric:
    return replace(GOALS[metric].measured(rounds), value=float(f"{mean(rounds):.4g}"))


def _round(recorded: Recorded, divided: Split, seed: int) -> Round:
    train = recorded.matrix(divided.train, divided.learnt)
    test = recorded.matrix(divided.test, divided.given)
    cells = estimate(train)
    corrected = residual.fit(train, cells, "minilm", seed=seed)
    expected = {name: method(train, test) for name, method in PEERS.items()}
    expected = {MAP: _expected(train, test, corrected), **expected}
    certain = np.eye(len(recorded.categories))[recorded.labels[divided.test]]
    rows, verdict = compare(
        replace(test, probabilities=certain),
        expected[MAP].argmax(axis=1),
        cells_from=train,
        seed=seed,
    )
    return Round(
        test=test,
        expected=expected,
        costs=values(cells.cost, test.memberships),
        weights=price_weights(recorded.costs),
        guard={row.policy: row for row in rows},
        verdict=verdict,
        frugal=_frugal(train, corrected, price_weights(recorded.costs)),
        kept="no residual was shown to gain"
        if corrected is None
        else f"residual of {corrected.k} neighbours, weight {corrected.weight:g}",
    )


def _expected(train: OutcomeMatrix, asked: OutcomeMatrix, like: residual.Residual | None) -> Floats:
    """Return what the map expects, with a residual that has the options of that one."""
    cells = estimate(train)
    found = values(cells.mean, asked.memberships)
    if like is None or asked.embeddings is None:
        return found
    own = replace(
        like,
        embeddings=np.asarray(train.embeddings, dtype=np.float32),
        scores=(train.scores - values(cells.mean, train.memberships)).astype(np.float32),
    )
    return residual.correct(own, found, asked.embeddings)


def _frugal(train: OutcomeMatrix, like: residual.Residual | None, weights: Floats) -> float:
    """Return the greatest price weight that keeps the best expert's quality on rows left out."""
    fold = np.random.default_rng(0).permutation(len(train.prompts)) % mapping_data.FOLDS
    expected, costs = (np.empty(train.scores.shape) for _ in range(2))
    for number in range(mapping_data.FOLDS):
        outside = np.flatnonzero(fold == number)
        inside, asked = train.rows(np.flatnonzero(fold != number)), train.rows(outside)
        expected[outside] = _expected(inside, asked, like)
        costs[outside] = values(estimate(inside).cost, asked.memberships)
    curve = trace(expected, costs, train, weights)
    return curve.dearest_weight(float(train.scores.mean(axis=0).max()))


def _gap_share(round_: Round) -> float:
    single, oracle = round_.guard["best single"].quality, round_.guard["oracle"].quality
    return (round_.guard["map"].quality - single) / (oracle - single)


def _cost_at_best(round_: Round, method: str) -> float:
    """Return the least cost of the best single expert's quality, as a share of its cost."""
    single = round_.guard["best single"]
    return round_.curve(method).cost_of(single.quality) / (single.cost or np.nan)


# ---------------------------------------------------------------- what is said


COLUMNS = (
    "policy",
    "quality",
    "over best single",
    "the map over it",
    "gap share",
    "cost",
    "at its quality",
)


def _rows(study: Study) -> Iterator[tuple[str, ...]]:
    single, oracle = study.guard_mean("best single"), study.guard_mean("oracle")
    paid = study.guard_mean("best single", "cost")

    def share(quality: float) -> str:
        return f"{(quality - single) / (oracle - single):.1%}"

    for method in study.rounds[0].expected:
        quality = mean(float(r.scores(method).mean()) for r in study.rounds)
        gain, ours = study.gain(method, "best single"), study.gain(MAP, method)
        cost = mean(r.curve(method).at(0.0)[1] for r in study.rounds)
        crossing = mean(_cost_at_best(r, method) for r in study.rounds)
        yield (
            method,
            f"{quality:.4f}",
            _gain(gain),
            _gain(ours) if method != MAP else "",
            share(quality),
            f"{cost / paid:.2f}",
            f"{crossing:.3f}" if np.isfinite(crossing) else "not reached",
        )
    frugal = [r.curve(MAP).at(r.frugal) for r in study.rounds]
    quality, cost = (mean(pair[i] for pair in frugal) for i in (0, 1))
    yield (
        f"{MAP}, price chosen before",
        f"{quality:.4f}",
        f"{quality - single:+.4f}".replace("0.", ".", 1),
        "",
        share(quality),
        f"{cost / paid:.2f}",
        "",
    )
    for policy in ("random", "best single", "cheapest good single", "category oracle", "oracle"):
        quality, cost = study.guard_mean(policy), study.guard_mean(policy, "cost")
        names = sorted({r.guard[policy].expert.split("/")[-1] for r in study.rounds} - {""})
        yield (
            f"{policy} ({', '.join(names)})" if names else policy,
            f"{quality:.4f}",
            f"{quality - single:+.4f}".replace("0.", ".", 1),
            _gain(tuple(study.guard_mean(policy, f"gain{end}") for end in ("", "_low", "_high"))),
            share(quality),
            f"{cost / paid:.2f}",
            "",
        )


def _gain(gain: tuple[float, ...]) -> str:
    mean_, low, high = (f"{end:+.4f}".replace("0.", ".", 1) for end in gain)
    return f"{mean_} [{low} {high}]"


def _title(study: Study) -> str:
    verdicts = ", ".join(sorted({r.verdict for r in study.rounds}))
    paid = study.guard_mean("best single", "cost")
    return (
        f"{study.recorded.name}: {len(study.rounds)} splits, {len(study.recorded.labels)} prompts, "
        f"{len(study.recorded.categories)} categories; verdict: {verdicts}; "
        f"cost 1.00 is {paid:.4g}"
    )


def _table(study: Study) -> report.Table:
    return report.table(_title(study), COLUMNS, _rows(study))


def _publish(studies: list[Study], metrics: list[Metric], console: Console) -> None:
    pictures = [_picture(study) for study in studies]
    try:
        drawn = draw(pictures, BUILD / "mapping.png")
    except ImportError:
        console.print("no picture: pip install matplotlib")
        drawn = ""
    goals = [
        (
            metric.metric,
            f"{metric.value:g}",
            f"{'at least' if metric.better == 'higher' else 'at most'} {metric.goal:g}",
            metric.unit,
            "reached" if metric.is_reached else "missed",
        )
        for metric in metrics
    ]
    tables = [_html(_title(study), COLUMNS, list(_rows(study))) for study in studies]
    page = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>The map and its peers</title>",
        "<style>body{font:14px system-ui;margin:2em;max-width:90em}table{border-collapse:collapse}",
        "td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:right}",
        "td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}</style>",
        "<h1>The category-to-expert map and what it has to beat</h1>",
        _html("Goals", ("metric", "value", "goal", "unit", ""), goals),
        "<h2>Quality over cost</h2>",
        drawn,
        *tables,
    ]
    (BUILD / "mapping.html").write_text("\n".join(page), encoding="utf-8")
    console.print(f"written: {BUILD / 'mapping.html'}, mapping.png, mapping.json")


def _picture(study: Study) -> Picture:
    experts = study.recorded.experts
    return Picture(
        title=study.recorded.name,
        unit="$ per 1,000" if study.recorded.name == "ParetoBandit" else "characters x parameters",
        curves={name: mean_curve([r.curve(name) for r in study.rounds]) for name in DRAWN},
        singles={
            expert: (
                mean(float(r.test.scores[:, column].mean()) for r in study.rounds),
                mean(float(r.test.costs[:, column].mean()) for r in study.rounds),
            )
            for column, expert in enumerate(experts)
        },
    )


def _html(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


# ---------------------------------------------------------------- how long it takes


def _speed(console: Console, rounds: int = 7) -> Iterator[Metric]:
    """Yield how long solving and choosing take, at 50 categories and 150 experts.

    A residual's neighbours are looked up besides, and that is printed.
    """
    from coe.mapping.budget import Block, Constraints, Problem
    from coe.mapping.choose import Chooser
    from coe.mapping.solve import solve
    from coe.types import Dial, Embedding

    categories = tuple(f"c{i}" for i in range(50))
    experts = tuple(f"e{i}" for i in range(150))
    taken = []
    for seed in range(rounds):
        generator = np.random.default_rng(seed)
        sizes = generator.choice([3, 7, 8, 13, 34, 70], size=len(experts))
        strength = 0.35 + 0.1 * np.log10(sizes) + 0.05 * generator.standard_normal(len(experts))
        quality = strength + 0.08 * generator.standard_normal((50, 150))
        problem = Problem(
            categories=categories,
            experts=experts,
            value=np.clip(quality, 0.0, 1.0),
            traffic=generator.dirichlet(np.ones(50)),
            cost=np.tile(sizes / 1e6, (50, 1)),
            latency_s=np.tile(sizes / 10, (50, 1)),
            constraints=Constraints(
                pools={"gpu": 160},
                blocks={
                    name: Block(pool="gpu", size=int(size))
                    for name, size in zip(experts, sizes, strict=True)
                },
                needs={name: (name,) for name in experts},
                money=float(sizes.mean()) / 1e6 * 1000,
            ),
        )
        if not seed:
            solve(problem)  # scipy is imported
        started = time.perf_counter()
        solution = solve(problem)
        taken.append(time.perf_counter() - started)
        assert solution is not None
        assert solution.method == "exact", solution.note
    yield GOALS["milp_50x150_s"].measured(taken)
    known = np.clip(quality, 0.0, 1.0)
    fitted = FittedMap(
        categories=categories,
        experts=experts,
        quality=known,
        lower=np.clip(known - 0.05, 0.0, 1.0),
        upper=np.clip(known + 0.05, 0.0, 1.0),
        counts=np.full(known.shape, 100.0),
        cost=problem.cost,
        latency_s=problem.latency_s,
        traffic=problem.traffic,
        used=experts,
        assignment=experts[:50],
    )
    memberships = generator.dirichlet(np.ones(50), size=1000)
    vectors = generator.standard_normal((SCORED_PROMPTS, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    like = residual.Residual(
        embeddings=vectors,
        scores=generator.standard_normal((SCORED_PROMPTS, 150)).astype(np.float32),
        k=residual.NEIGHBOURS,
        weight=0.5,
        encoder="minilm",
    )

    def spent(chooser: Chooser, embedding: Embedding | None) -> list[float]:
        found = []
        for part in np.array_split(memberships, rounds):
            started = time.perf_counter()
            for row in part:
                chooser.rank(row, Dial(choose="fitted"), embedding)
            found.append(1000 * (time.perf_counter() - started) / len(part))
        return found

    yield GOALS["route_150_ms"].measured(spent(Chooser(fitted), None))
    corrected = spent(
        Chooser(replace(fitted, residual=like)), Embedding(vector=vectors[0], encoder="minilm")
    )
    console.print(
        f"with a residual of {SCORED_PROMPTS:,} scored prompts a choice takes "
        f"{median(corrected):.2f} ms"
    )


if __name__ == "__main__":
    main()
