"""Error rates, power and coverage of the statistics, by simulation.

aa_false_alarm_rate      share of A/A experiments that find a difference, looked at after every
                         pair from 100 to 5,000 per arm: the worst of four metrics
power_5pt                share of experiments with 5 points of difference, from 50 %, that find
                         it by 5,000 per arm
srm_false_alarm_rate     share of fair splits with an alarm: the worst of three splits, of one
                         look at the end (chi-square) and of a look after every unit
interval_coverage_error  the greatest distance of a coverage from 95 %, of all intervals
"""

from __future__ import annotations

from dataclasses import replace

from benches import report
from benches.experiments_parts import (
    Options,
    statistics_alarms,
    statistics_coverage,
    statistics_rule,
    statistics_splits,
)
from benches.report import Goal, Metric

GOALS = {
    goal.metric: goal
    for goal in (
        Goal(metric="aa_false_alarm_rate", unit="share", better="lower", goal=0.05),
        Goal(metric="power_5pt", unit="share", better="higher", goal=0.95),
        Goal(metric="srm_false_alarm_rate", unit="share", better="lower", goal=0.002),
        Goal(metric="interval_coverage_error", unit="share", better="lower", goal=0.01),
    )
}


def measure(options: Options) -> list[Metric]:
    """Return the metrics of `GOALS`, and print what they are the worst of."""
    metrics = [*_alarms(options), _splits(options), _coverage(options)]
    _rule(options)
    return metrics


def _alarms(options: Options) -> list[Metric]:
    rows = statistics_alarms.rows(options.seed)
    title = (
        f"{statistics_alarms.EXPERIMENTS:,} experiments, {statistics_alarms.PER_ARM:,} per arm, "
        f"first look at {statistics_alarms.FIRST_LOOK}"
    )
    options.console.print(
        report.table(
            title,
            ("situation", "method", "found a difference", "mean units per arm"),
            (
                (row.situation, row.method, f"{row.stopped:.2%}", f"{row.units:,.0f}")
                for row in rows
            ),
        )
    )
    ours = [row for row in rows if row.method == statistics_alarms.OURS]
    return [
        _worst("aa_false_alarm_rate", [r.stopped for r in ours if r.situation.startswith("A/A")]),
        _worst("power_5pt", [r.stopped for r in ours if r.situation.startswith("5 points")]),
    ]


def _splits(options: Options) -> Metric:
    rows = statistics_splits.rows(options.seed)
    options.console.print(
        report.table(
            f"Sample-ratio alarms, {statistics_splits.UNITS:,} units",
            ("split", "one look at the end", "a look after every unit", "median units until then"),
            (
                (
                    row.situation,
                    f"{row.once:.3%}",
                    f"{row.always:.3%}",
                    f"{row.units:,.0f}" if row.always else "none",
                )
                for row in rows
            ),
        )
    )
    fair = [row for row in rows if row.situation.startswith("fair")]
    return _worst("srm_false_alarm_rate", [max(row.once, row.always) for row in fair])


def _coverage(options: Options) -> Metric:
    rows = list(statistics_coverage.rows(options.seed))
    options.console.print(
        report.table(
            "Coverage of 95 % intervals",
            ("interval", "coverage", "draws"),
            ((row.interval, f"{row.coverage:.2%}", f"{row.draws:,}") for row in rows),
        )
    )
    return _worst("interval_coverage_error", [row.error for row in rows])


def _rule(options: Options) -> None:
    """Print what the whole rule says; it has no goal of its own."""
    rows = statistics_rule.rows(options.seed)
    verdicts = sorted({verdict for row in rows for verdict in row.verdicts})
    title = (
        f"The whole rule: {statistics_rule.EXPERIMENTS:,} experiments, "
        f"{statistics_rule.LOOKS} looks, {statistics_rule.LOOKS * statistics_rule.UNITS:,} units"
    )
    options.console.print(
        report.table(
            title,
            ("the arm is", *verdicts, "mean units"),
            (
                (
                    row.world,
                    *(f"{row.verdicts.get(verdict, 0.0):.1%}" for verdict in verdicts),
                    f"{row.units:,.0f}",
                )
                for row in rows
            ),
        )
    )


def _worst(metric: str, found: list[float]) -> Metric:
    goal = GOALS[metric]
    worst = max(found) if goal.better == "lower" else min(found)
    return replace(goal.measured(found), value=float(f"{worst:.4g}"))
