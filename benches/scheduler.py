"""The scheduler on simulated traces: `python -m benches.scheduler` (or `make bench-scheduler`).

Every rule plays the same traces in the same world, which referees them (see
`coe.scheduler.simulate`); the seeds are fixed, so the figures are the same on every machine, but
for the cost of a decision. Writes build/bench/scheduler.json; each value is the median over the
seeds, ratios are taken seed by seed.

    one slot      8 experts of which one is in memory, Zipf(1); 16 calls at once that do not feel
                  each other, 4 s each in the mean, log-normal (sigma 0.75); a swap takes 0.8 s
    two slots     16 experts of which two are in memory and one works, Zipf(1); up to 8 calls in a
                  batch, which takes 1.5 s and 8 % more for each further call, and which nobody may
                  join; a load takes 3 s
    three tiers   150 experts, 44 on the accelerator, 30 parked in host memory, the rest on disk: as
                  where host memory holds 74 and keeps a copy of what is on the accelerator; 0.2 s
                  from host memory and 2.4 s from disk; a call takes 0.15 s, batches as above; 12
                  calls arrive per second, more than anybody serves

A wait ends when the call starts. `least` is a lower bound on the swaps of anybody who lets nobody
wait longer than this rule did. What a real server does is measured by `benches.llamacpp`.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

from rich.console import Console

from benches import batch_panels, report
from benches.report import Goal, Metric
from coe.scheduler.baselines import FirstCome, LlamaSwap
from coe.scheduler.events import (
    Arrive,
    Event,
    Finished,
    Load,
    Loaded,
    Start,
    Ticket,
    Unload,
    Unloaded,
)
from coe.scheduler.measures import Figures, best_hit_rates, figures
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options
from coe.scheduler.simulate import Engine, Outcome, Rule, run
from coe.scheduler.state import Scheduler
from coe.scheduler.traces import (
    at_once,
    bursty,
    names,
    panels,
    poisson,
    sessions,
    with_lognormal_work,
    zipf,
)

OUT = Path(__file__).parents[1] / "build" / "bench" / "scheduler.json"
UNBOUNDED = Options(max_queue=10**9, max_queue_per_key=10**9)
OURS = "affinity (CoE)"
BATCHES = Engine(slowdown=0.08, joins=False)
JOINED = Engine(slowdown=0.08, joins=True)

GOALS = {
    goal.metric: goal
    for goal in (
        Goal(metric="swaps_per_1k_load25", unit="swaps", better="lower", goal=80),
        Goal(metric="swaps_per_1k_load50", unit="swaps", better="lower", goal=30),
        Goal(metric="throughput_vs_fifo", unit="x", better="higher", goal=4),
        Goal(metric="worst_wait_vs_llamaswap", unit="x", better="lower", goal=0.8),
        Goal(metric="session_mean_wait_vs_coalescing", unit="x", better="lower", goal=0.3),
        Goal(metric="session_p99_vs_coalescing", unit="x", better="lower", goal=0.8),
        Goal(metric="poisson_mean_wait_vs_coalescing", unit="x", better="lower", goal=0.55),
        Goal(metric="poisson_p99_vs_coalescing", unit="x", better="lower", goal=0.55),
        Goal(metric="three_tier_throughput_vs_fifo", unit="x", better="higher", goal=5),
        Goal(metric="three_tier_throughput_vs_coalescing", unit="x", better="higher", goal=1.4),
        Goal(metric="offline_loads_per_expert", unit="loads", better="lower", goal=1),
        Goal(metric="swaps_vs_lower_bound", unit="x", better="lower", goal=2),
        Goal(metric="decision_us", unit="us", better="lower", goal=50),
    )
}
Runs = dict[str, list[Figures]]


def main() -> None:
    """Run everything, print the tables, write the metrics."""
    console = report.console()
    console.print(__doc__)
    metrics = [
        *one_slot(console),
        *two_slots(console),
        *three_tiers(console),
        *offline(console),
        *decisions(console),
    ]
    console.print(report.goals_table(metrics))
    report.write_metrics(OUT, metrics)


# ---------------------------------------------------------------- online


def one_slot(console: Console) -> list[Metric]:
    """Measure one slot, beside strict order and llama-swap's rule."""
    layout = _layout(8, memory=1, concurrency=16, load_s=0.8, call_s=4.0)
    by_load: dict[int, Runs] = {}
    for load, rate in ((25, 1.0), (50, 2.0)):
        runs: Runs = {"fifo": [], "llama-swap's rule": [], OURS: []}
        for seed in range(24):
            plain = poisson(names(8), rate=rate, calls=2000, seed=seed)
            trace = with_lognormal_work(plain, mean_s=4.0, sigma=0.75, seed=seed + 100)
            rules: dict[str, Rule] = {
                "fifo": FirstCome(slots=1, batch=16, coalesces=False),
                "llama-swap's rule": LlamaSwap(batch=16),
                OURS: Scheduler(layout, UNBOUNDED),
            }
            for name, rule in rules.items():
                runs[name].append(figures(run(trace, rule, layout), slots=1))
        console.print(_table(f"one slot, {rate:g} calls/s, 24 seeds of 2,000 calls", runs))
        by_load[load] = runs
    ours = {load: runs[OURS] for load, runs in by_load.items()}
    half = by_load[50]
    bounds = [
        max(f.swaps / f.least_swaps for f in pair) for pair in zip(ours[25], ours[50], strict=True)
    ]
    return [
        GOALS["swaps_per_1k_load25"].measured([f.swaps for f in ours[25]]),
        GOALS["swaps_per_1k_load50"].measured([f.swaps for f in ours[50]]),
        GOALS["throughput_vs_fifo"].measured(_ratios(half, OURS, "fifo", "rate")),
        GOALS["worst_wait_vs_llamaswap"].measured(
            _ratios(half, OURS, "llama-swap's rule", "worst_s")
        ),
        GOALS["swaps_vs_lower_bound"].measured(bounds),
    ]


def two_slots(console: Console) -> list[Metric]:
    """Measure two slots, beside coalescing."""
    layout = _layout(16, memory=2, width=1, concurrency=8, load_s=3.0, call_s=1.5)
    metrics: list[Metric] = []
    for what, kind, rate in (
        ("session", sessions, 1.0),
        ("poisson", poisson, 0.25),
        ("", poisson, 1.0),
        ("", bursty, 0.5),
    ):
        runs: Runs = {"fifo": [], "coalescing": [], OURS: [], f"{OURS}, joining": []}
        for seed in range(3):
            trace = kind(names(16), rate=rate, calls=8000, seed=seed)
            trace = [replace(arrival, work_s=1.5) for arrival in trace]
            rules: tuple[tuple[str, Rule, Engine], ...] = (
                ("fifo", FirstCome(slots=2, batch=1, coalesces=False), BATCHES),
                ("coalescing", FirstCome(slots=2, batch=8, coalesces=True), BATCHES),
                (OURS, Scheduler(layout, UNBOUNDED), BATCHES),
                (f"{OURS}, joining", Scheduler(layout, UNBOUNDED), JOINED),
            )
            for name, rule, engine in rules:
                runs[name].append(figures(run(trace, rule, layout, engine), slots=2))
        hits = best_hit_rates(trace, (1, 2, 4, 8))
        said = ", ".join(f"{slots}: {rate:.0%}" for slots, rate in hits.items())
        title = f"two slots, {kind.__name__} arrivals, {rate:g} calls/s, 3 seeds of 8,000 calls"
        console.print(_table(title, runs))
        console.print(f"best hit rate by slots, in order of arrival: {said}\n")
        if what:
            means = _ratios(runs, OURS, "coalescing", "mean_s")
            p99s = _ratios(runs, OURS, "coalescing", "p99_s")
            metrics.append(GOALS[f"{what}_mean_wait_vs_coalescing"].measured(means))
            metrics.append(GOALS[f"{what}_p99_vs_coalescing"].measured(p99s))
    return metrics


def three_tiers(console: Console) -> list[Metric]:
    """Measure 150 experts in three tiers."""
    layout = _layout(
        150, memory=44, host=30, width=1, concurrency=8, load_s=2.4, host_s=0.2, call_s=0.15
    )
    runs: Runs = {"fifo": [], "coalescing": [], OURS: []}
    for seed in range(3):
        trace = poisson(names(150), rate=12.0, calls=8000, seed=seed)
        trace = [replace(arrival, work_s=0.15) for arrival in trace]
        rules: dict[str, Rule] = {
            "fifo": FirstCome(slots=44, batch=1, coalesces=False, host=30),
            "coalescing": FirstCome(slots=44, batch=8, coalesces=True, host=30),
            OURS: Scheduler(layout, UNBOUNDED),
        }
        for name, rule in rules.items():
            runs[name].append(figures(run(trace, rule, layout, BATCHES), slots=44))
    console.print(_table("three tiers, 12 calls/s, 3 seeds of 8,000 calls", runs))
    return [
        GOALS["three_tier_throughput_vs_fifo"].measured(_ratios(runs, OURS, "fifo", "rate")),
        GOALS["three_tier_throughput_vs_coalescing"].measured(
            _ratios(runs, OURS, "coalescing", "rate")
        ),
    ]


# ---------------------------------------------------------------- offline


def offline(console: Console) -> list[Metric]:
    """Measure batches that are all there from the start, and panels of experts."""
    rows: list[tuple[str, ...]] = []
    loads_each: list[float] = []
    for experts, slots, calls in ((4, 1, 200), (16, 2, 2000), (150, 35, 3000)):
        layout = _layout(experts, memory=slots, width=1, concurrency=8, load_s=3.0, call_s=1.5)
        trace = [replace(a, work_s=1.5) for a in at_once(names(experts), calls=calls, seed=0)]
        distinct = len({arrival.expert for arrival in trace})
        rules: dict[str, Rule] = {
            "fifo": FirstCome(slots=slots, batch=1, coalesces=False),
            "coalescing": FirstCome(slots=slots, batch=8, coalesces=True),
            OURS: Scheduler(layout, UNBOUNDED),
        }
        for name, rule in rules.items():
            outcome = run(trace, rule, layout, BATCHES)
            rows.append(
                _offline_row(f"{calls} calls, {experts} experts, {slots} slots", name, outcome)
            )
        loads_each.append(len(outcome.loads) / distinct)
    for slots in (1, 2, 4, 8):
        layout = _layout(17, memory=slots, width=1, concurrency=8, load_s=3.0, call_s=1.5)
        *experts_, aggregator = names(17)
        for planned in (False, True):
            trace = panels(experts_, aggregator, prompts=1000, of=3, seed=0, planned=planned)
            outcome = run(trace, Scheduler(layout, UNBOUNDED), layout, BATCHES)
            what = "merged after all drafts" if planned else "each merged after its drafts"
            rows.append(
                _offline_row(f"1,000 panels of 3 of 16, {slots} slots", f"{OURS}, {what}", outcome)
            )
    columns = ("offline: rule", "calls", "loads", "seconds")
    console.print(report.table("offline", columns, [(f"{a}: {b}", *rest) for a, b, *rest in rows]))
    console.print(report.table("panels in a batch", batch_panels.COLUMNS, batch_panels.rows()))
    return [GOALS["offline_loads_per_expert"].measured(loads_each)]


def _offline_row(what: str, name: str, outcome: Outcome) -> tuple[str, ...]:
    ends_s = max(outcome.ends_s.values())
    return (what, name, str(len(outcome.arrivals)), str(len(outcome.loads)), f"{ends_s:.0f}")


# ---------------------------------------------------------------- what a decision costs


def decisions(console: Console) -> list[Metric]:
    """Measure the processor time of an event with 10,000 calls queued for 1,000 experts."""
    rows, means = [], []
    for slots, width in ((40, None), (40, 1), (8, 1)):
        for seed in range(3):
            times = sorted(_decision_times(slots=slots, width=width, seed=seed))
            means.append(fmean(times))
            if not seed:
                places = (0.5, 0.99, 1.0)
                spread = (f"{times[int(p * (len(times) - 1))]:.1f}" for p in places)
                works = "all of them work" if width is None else f"{width} works"
                rows.append((f"{slots} in memory, {works}", f"{means[-1]:.1f}", *spread))
    columns = ("decision, us", "mean", "p50", "p99", "worst")
    console.print(report.table("10,000 calls queued for 1,000 experts", columns, rows))
    return [GOALS["decision_us"].measured(means)]


def _decision_times(
    *, slots: int, width: int | None, seed: int, queued: int = 10_000, events: int = 6_000
) -> list[float]:
    """Return microseconds per event, of a scheduler whose queue never empties."""
    rng = random.Random(seed)
    layout = _layout(1000, memory=slots, width=width, concurrency=8, load_s=1.0, call_s=1.0)
    scheduler = Scheduler(layout, UNBOUNDED)
    asked = iter(rng.choices(names(1000), zipf(1000), k=queued + events))
    running: list[str] = []
    moving: list[Event] = []
    times: list[float] = []
    count = 0

    def arrival() -> Event:
        nonlocal count
        count += 1
        return Arrive(Ticket(id=str(count), expert=next(asked), key=str(count % 50)))

    def tell(event: Event, now_s: float) -> None:
        began = time.process_time()
        actions = scheduler.handle(event, now_s)
        _ = scheduler.wake_s  # whoever drives it asks for it each time
        times.append(1e6 * (time.process_time() - began))
        for action in actions:
            match action:
                case Start(call):
                    running.append(call)
                case Load(expert):
                    moving.append(Loaded(expert))
                case Unload(expert):
                    moving.append(Unloaded(expert))

    for i in range(queued + events):
        if scheduler.queued < queued:
            tell(arrival(), i / 100)
        elif moving and (not running or rng.random() < 0.3):
            tell(moving.pop(0), i / 100)
        else:
            tell(Finished(running.pop(rng.randrange(len(running)))), i / 100)
    return times[queued:]


# ---------------------------------------------------------------- small things


def _layout(
    count: int, *, memory: int, width: int | None = None, host: int | None = None, **traits: float
) -> Layout:
    experts = tuple(Expert(name=n, pool="pool", memory=1, **traits) for n in names(count))  # type: ignore[arg-type]
    return Layout(
        pools=(Pool(name="pool", memory=memory, host=host, width=width),), experts=experts
    )


def _ratios(runs: Runs, ours: str, theirs: str, what: str) -> list[float]:
    return report.ratios(
        [getattr(f, what) for f in runs[ours]], [getattr(f, what) for f in runs[theirs]]
    )


def _table(title: str, runs: Runs) -> object:
    columns = (
        *("rule", "calls/s", "mean s", "p50", "p99", "worst", "swaps/1k", "from disk"),
        *("least", "worst expert x"),
    )
    rows = [
        (
            name,
            *(
                f"{median(getattr(f, what) for f in found):{form}}"
                for what, form in (
                    ("rate", ".3f"),
                    ("mean_s", ".1f"),
                    ("p50_s", ".1f"),
                    ("p99_s", ".1f"),
                    ("worst_s", ".0f"),
                    ("swaps", ".1f"),
                    ("fetches", ".1f"),
                    ("least_swaps", ".1f"),
                    ("worst_expert", ".2f"),
                )
            ),
        )
        for name, found in runs.items()
    ]
    return report.table(title, columns, rows)


if __name__ == "__main__":
    main()
