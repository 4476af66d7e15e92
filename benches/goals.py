"""From samples to metrics: what `make bench` promises, and what it takes to say it. Pure."""

from __future__ import annotations

from benches.report import Goal, Metric, differences, ratios
from benches.rounds import Cell, Samples
from benches.stacks import DIRECT, OURS

C64 = Cell(name="c64", connections=64)
C1 = Cell(name="c1", connections=1)
STREAMS = Cell(name="streams", connections=16)
ROUTED = Cell(name="routed", connections=1)
CELLS = (C64, C1, STREAMS, ROUTED)
EXPLICIT, SEEN, UNSEEN = "explicit", "seen", "unseen"
"""Lanes of the routed cell: the expert is named; a text routed before; a text never seen."""

FAILURES_ALLOWED = 0.01
WHOLE = 0.95
"""A mean response shorter than this share of the checked one means answers that were cut short."""

GOALS = {
    goal.metric: goal
    for goal in (
        Goal(metric="rps_c64_vs_litellm", unit="x", better="higher", goal=40),
        Goal(metric="rps_c64_vs_portkey", unit="x", better="higher", goal=12),
        Goal(metric="rps_c64_vs_tensorzero", unit="x", better="higher", goal=1.0),
        Goal(metric="added_p50_ms_c1", unit="ms", better="lower", goal=0.35),
        Goal(metric="streams_vs_tensorzero", unit="x", better="higher", goal=4),
        Goal(metric="streams_vs_litellm", unit="x", better="higher", goal=100),
        Goal(metric="routed_added_p50_ms", unit="ms", better="lower", goal=4),
        Goal(metric="routed_cached_added_p50_ms", unit="ms", better="lower", goal=0.6),
        Goal(metric="encoder_cold_start_s", unit="s", better="lower", goal=0.5),
        Goal(metric="gateway_rss_mb", unit="MB", better="lower", goal=200),
        Goal(metric="listen_s", unit="s", better="lower", goal=2),
    )
}


def metrics_of(samples: Samples) -> tuple[list[Metric], dict[str, str]]:
    """Return the metrics that the samples carry, and lane -> why it cannot be counted.

    A metric is left out when one of its lanes was not measured or is unsound.
    """
    metrics: list[Metric] = []
    problems = _problems(samples)

    def compare(metric: str, cell: Cell, ours: str, theirs: str) -> None:
        lanes = [(cell.name, ours), (cell.name, theirs)]
        if any(not samples.of(*lane) or " ".join(lane) in problems for lane in lanes):
            return
        if metric.endswith("_ms") or "_ms_" in metric:
            rounds = differences(*(samples.p50s(*lane) for lane in lanes))
        else:
            rounds = ratios(*(samples.rates(*lane) for lane in lanes))
        metrics.append(GOALS[metric].measured(rounds))

    for peer in ("litellm", "portkey", "tensorzero"):
        compare(f"rps_c64_vs_{peer}", C64, OURS, peer)
    compare("added_p50_ms_c1", C1, OURS, DIRECT)
    for peer in ("tensorzero", "litellm"):
        compare(f"streams_vs_{peer}", STREAMS, OURS, peer)
    compare("routed_added_p50_ms", ROUTED, UNSEEN, EXPLICIT)
    compare("routed_cached_added_p50_ms", ROUTED, SEEN, EXPLICIT)
    return metrics, problems


def _problems(samples: Samples) -> dict[str, str]:
    found: dict[str, str] = {}
    for (cell, name), taken in samples.by_lane.items():
        asked = sum(sample.load.requests for sample in taken)
        failed = sum(sample.load.failures for sample in taken)
        shortest = min(sample.load.bytes_each / sample.whole_bytes for sample in taken)
        if not asked:
            found[f"{cell} {name}"] = "no request was answered in time"
        elif failed > FAILURES_ALLOWED * asked:
            found[f"{cell} {name}"] = f"{failed} of {asked} requests failed"
        elif shortest < WHOLE:
            found[f"{cell} {name}"] = f"answers were cut short: {shortest:.0%} of a whole one"
    return found
