"""Panels beside what they have to beat: `make bench-panels`.

On recorded outcomes: MMLU-Pro's questions with what 28 models scored, and the eight of them that
are about equally good; five splits of 70/30, the same as of `benches.mapping`. Categories come from
a classifier and qualities from a fitted map with neighbours, as live requests have them. The votes
are `coe.aggregators.vote`, the members `coe.panels.recruit`, the gate `coe.panels.fit`; nothing is
chosen on the rows reported on. What the data do not hold is modelled, see `benches.panels_data`:
which wrong letter an expert wrote, and what it would write the next time. Metrics are of the 28
models, with two wrong answers the same in 60 % of cases and samples that repeat the recorded answer
in 50 %: of what is plausible that is the hardest on panels.

Live: see `benches.panels_live`.

Writes build/bench/panels.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np
from rich.console import Console

from benches import mapping_data, panels_cpu, panels_live, report
from benches.mapping_data import Floats, Recorded, Split
from benches.panels_data import AGREE, AS_MEASURED, Choices, choices, drawn_answers
from benches.panels_replay import (
    ADAPTIVE,
    DEFAULT,
    RECRUITED,
    SELF_MAPPED,
    SELF_MOA,
    SINGLE,
    Replay,
    Result,
    expected,
)
from benches.report import Goal, Metric
from coe.panels.games import replayed
from coe.protocols import EncoderSpec
from routers.encoders import minilm
from routers.store import stored

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
BUILD = ROOT / "build" / "bench"
OUT = BUILD / "panels.json"

REPEAT = 0.5
REPEATS = (0.5, 0.7, 0.9)
"""How often a sample repeats the recorded answer. With .5, three samples of the best single expert
gain about a point by a vote; Li et al. (2025, arXiv 2502.00674) gain one to three with six."""

GOALS = {
    goal.metric: goal
    for goal in (
        Goal(metric="adaptive_calls_vs_fixed", unit="share", better="lower", goal=0.6),
        Goal(metric="adaptive_accuracy_minus_fixed", unit="score", better="higher", goal=0.0),
        Goal(metric="panel_accuracy_minus_selfmoa", unit="score", better="higher", goal=0.0),
        Goal(metric="default_accuracy_minus_best_single", unit="score", better="higher", goal=0.0),
        Goal(metric="aggregation_cpu_ms", unit="ms", better="lower", goal=2.0),
    )
}

Interval = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The splits of a pool under one model of its answers.

    Attributes:
        selves: scores of the arms that ask one expert several times, by how often samples repeat.
    """

    pool: str
    agree: str
    rounds: list[Result] = field(default_factory=list)
    selves: list[Mapping[float, Mapping[str, Floats]]] = field(default_factory=list)

    def accuracy(self, arm: str) -> float:
        """Return an arm's mean score over the splits."""
        return mean(float(r.scores[arm].mean()) for r in self.rounds)

    def calls(self, arm: str) -> float:
        """Return an arm's mean number of calls over the splits."""
        return mean(float(r.calls[arm].mean()) for r in self.rounds)

    def gain(self, arm: str, over: str) -> Interval:
        """Return the paired gain of an arm over another, of all splits together."""
        return mapping_data.gain(
            (result.prompts, result.scores[arm] - result.scores[over]) for result in self.rounds
        )


def main() -> None:
    """Print the tables, write the metrics."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--live", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--cpu", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--replay", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args()
    console = report.console()
    metrics: list[Metric] = []
    folder = asked.data / "mmlu_pro"
    if asked.replay and folder.is_dir():
        metrics += _replay(folder, asked.seeds, console)
    elif asked.replay:
        console.print(f"skipped: mmlu_pro is not at {folder}")
    if asked.cpu:
        metrics.append(GOALS["aggregation_cpu_ms"].measured(panels_cpu.measure(console)))
    if asked.live:
        panels_live.show(ROOT, console)
    console.print(report.goals_table(metrics))
    report.write_metrics(OUT, _with_others(metrics))


def _with_others(metrics: list[Metric]) -> list[Metric]:
    """Return the metrics with those of an earlier run that this one did not measure."""
    if not OUT.exists():
        return metrics
    there = {metric.metric for metric in metrics}
    kept = [row for row in json.loads(OUT.read_text()) if row["metric"] not in there]
    return [*(Metric(**row, rounds=()) for row in kept if row["metric"] in GOALS), *metrics]


def _replay(folder: Path, seeds: int, console: Console) -> list[Metric]:
    encoder = stored(minilm.build(EncoderSpec(name="minilm", type="minilm")), str(BUILD))
    every = mapping_data.mmlu_pro(folder, encoder.encode)
    given = choices(folder)
    pools = (every, every.of(mapping_data.MIDDLE, "MMLU-Pro, 8 models of about equal strength"))
    studies = {
        (pool.name, agree): Study(pool=pool.name, agree=agree) for pool in pools for agree in AGREE
    }
    for seed in range(seeds):
        divided = mapping_data.drawn(every, seed)
        for pool in pools:
            maps = expected(pool, divided, seed)
            for agree in AGREE:
                study = studies[pool.name, agree]
                _add(study, pool, divided, given, maps, seed)
                panels = ", ".join(study.rounds[-1].fitted.panels) or "none"
                console.print(
                    f"{pool.name}, {agree}, split {seed}: sure at {study.rounds[-1].sure_at}, "
                    f"on: {panels}"
                )
    for study in studies.values():
        console.print(report.table(_title(study), COLUMNS, _rows(study)))
    return list(_metrics(studies[every.name, AS_MEASURED], console))


def _add(
    study: Study,
    pool: Recorded,
    divided: Split,
    given: Choices,
    maps: tuple[Floats, Floats],
    seed: int,
) -> None:
    selves: dict[float, Mapping[str, Floats]] = {}
    for repeat in REPEATS:
        answers = drawn_answers(pool, given, AGREE[study.agree], repeat, seed)
        replay = Replay(pool, divided, answers, maps, seed)
        selves[repeat] = {
            arm: np.array([score.score for score in replayed(games) if score is not None])
            for arm, games in replay.self_moa().items()
        }
        if repeat == REPEAT:
            study.rounds.append(replay.run())
    study.selves.append(selves)


COLUMNS = (
    "arm",
    "accuracy",
    "over best single",
    "over Self-MoA by the map",
    "calls",
    "one is right",
)


def _title(study: Study) -> str:
    on = [len(r.fitted.panels) for r in study.rounds]
    wasted = [row.unnecessary for r in study.rounds for row in r.fitted.verdicts]
    return (
        f"{study.pool}. MODELLED: wrong answers {study.agree}; samples repeat {REPEAT:.0%}.\n"
        f"{len(study.rounds)} splits of 70/30; 95 % intervals, paired, by prompt. Switched on in "
        f"{mean(on):g} categories on average; unnecessary calls of the adaptive panel "
        f"{mean(wasted):.0%}"
    )


def _rows(study: Study) -> Iterator[tuple[str, ...]]:
    for arm in study.rounds[0].scores:
        yield (
            arm,
            f"{study.accuracy(arm):.4f}",
            _shown(study.gain(arm, SINGLE)) if arm != SINGLE else "",
            _shown(study.gain(arm, SELF_MAPPED)) if arm != SELF_MAPPED else "",
            f"{study.calls(arm):.2f}",
            f"{mean(float(r.covered[arm].mean()) for r in study.rounds):.3f}",
        )
    for repeat in REPEATS:
        if repeat != REPEAT:
            for arm in (SELF_MOA, SELF_MAPPED):
                found = mean(float(selves[repeat][arm].mean()) for selves in study.selves)
                yield (f"{arm}; repeat {repeat:.0%}", f"{found:.4f}", "", "", "3.00", "")


def _metrics(study: Study, console: Console) -> Iterator[Metric]:
    shares = [float(r.calls[ADAPTIVE].mean() / r.calls[RECRUITED].mean()) for r in study.rounds]
    yield GOALS["adaptive_calls_vs_fixed"].measured(shares)
    compared = (
        ("adaptive_accuracy_minus_fixed", ADAPTIVE, RECRUITED),
        ("panel_accuracy_minus_selfmoa", RECRUITED, SELF_MAPPED),
        ("default_accuracy_minus_best_single", DEFAULT, SINGLE),
    )
    for metric, arm, other in compared:
        rounds = [float((r.scores[arm] - r.scores[other]).mean()) for r in study.rounds]
        found = study.gain(arm, other)
        console.print(f"{metric}: {_shown(found)}")
        measured = GOALS[metric].measured(rounds)
        yield Metric(
            metric=metric,
            value=float(f"{found[0]:.4g}"),
            rounds=measured.rounds,
            unit=measured.unit,
            better=measured.better,
            goal=measured.goal,
        )


def _shown(gain: Interval) -> str:
    middle, low, high = (f"{end:+.4f}".replace("0.", ".", 1) for end in gain)
    return f"{middle} [{low} {high}]"


if __name__ == "__main__":
    main()
