"""Error rates, power and coverage of the statistics, by simulation."""

from __future__ import annotations

from benches.experiments_parts import Options
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
    """Return the metrics of `GOALS`."""
    options.console.print("statistics: nothing is measured yet")
    return []
