"""`coe plan` and `coe sim`: what each rule would do on a trace, recorded or made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from coe.errors import ConfigError
from coe.registry import Registry
from coe.scheduler.baselines import FirstCome, LlamaSwap
from coe.scheduler.measures import Figures, best_hit_rates, figures
from coe.scheduler.memory import Expert, Layout, Pool
from coe.scheduler.options import Options
from coe.scheduler.simulate import Engine, Rule, run
from coe.scheduler.state import Scheduler
from coe.scheduler.traces import (
    Arrival,
    bursty,
    names,
    poisson,
    sessions,
    with_lognormal_work,
)

KINDS: Mapping[str, Callable[..., list[Arrival]]] = {
    "poisson": poisson,
    "bursty": bursty,
    "sessions": sessions,
}
SPREAD = 0.75  # sigma of the log-normal lengths of made-up calls
WIDE = 120  # columns of a table that goes to a file
COLUMNS = (
    ("calls/s", "rate", ".3f"),
    ("mean s", "mean_s", ".1f"),
    ("p50", "p50_s", ".1f"),
    ("p99", "p99_s", ".1f"),
    ("worst", "worst_s", ".0f"),
    ("loads/1k", "swaps", ".1f"),
    ("at least", "least_swaps", ".1f"),
    ("worst expert x", "worst_expert", ".2f"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a trace is played.

    Attributes:
        slots: experts in memory at once.
        width: of those, how many may work at the same time; None for all.
        slowdown: what each further call of a batch adds to all of them, as a share of one alone;
            None where calls do not feel each other.
    """

    slots: int
    width: int | None
    concurrency: int
    load_s: float
    slowdown: float | None


def make_trace(
    kind: str, *, experts: int, rate: float, calls: int, call_s: float, seed: int
) -> tuple[Arrival, ...]:
    """Return a made-up trace: Zipf(1) popularity, calls of log-normal length.

    Raises:
        ConfigError: no arrivals are of that kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"no arrivals are `{kind}` (there are: {', '.join(KINDS)})")
    plain = KINDS[kind](names(experts), rate=rate, calls=calls, seed=seed)
    return tuple(with_lognormal_work(plain, mean_s=call_s, sigma=SPREAD, seed=seed + 1))


def read_trace(file: Path, call_s: float) -> tuple[Arrival, ...]:
    """Return a recorded trace: JSON lines with `at_s`, `expert` and, if known, `work_s`.

    Raises:
        ConfigError: the file cannot be read, or a line is not a call.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    calls = [
        _arrival(line, f"{file}:{number}", number, call_s)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not calls:
        raise ConfigError(f"{file}: no calls; a line is {_EXAMPLE}")
    return tuple(sorted(calls, key=lambda call: call.at_s))


def compare(trace: Sequence[Arrival], place: Place, *, goal: float, as_json: bool) -> None:
    """Play a trace under each rule and print what came of it."""
    layout = _layout(trace, place)
    engine = Engine(slowdown=place.slowdown)
    found = {
        name: figures(run(trace, rule, layout, engine), slots=place.slots)
        for name, rule in _rules(layout, place, goal).items()
    }
    hits = best_hit_rates(trace, [n for n in (1, 2, 4, 8, 16, 32) if n <= len(layout.experts)])
    if as_json:
        rules = {name: asdict(one) for name, one in found.items()}
        print(json.dumps({"rules": rules, "best_hit_rate_by_slots": hits}))
        return
    probe = Console()
    console = probe if probe.is_terminal else Console(width=WIDE)
    console.print(_table(found))
    said = ", ".join(f"{slots}: {share:.0%}" for slots, share in hits.items())
    console.print(f"Best hit rate by slots, calls served in order of arrival: {said}")


def _rules(layout: Layout, place: Place, goal: float) -> Mapping[str, Rule]:
    options = Options(goal=goal, max_queue=10**9, max_queue_per_key=10**9)
    registry = Registry()
    first_come = {
        "first come": FirstCome(slots=place.slots, batch=place.concurrency, coalesces=False),
        "coalescing": FirstCome(slots=place.slots, batch=place.concurrency, coalesces=True),
    }
    llama_swap = {"llama-swap's rule": LlamaSwap(batch=place.concurrency)}
    ours = {
        name: Scheduler(layout, options, ordering=registry.load("coe.orderings", name)())
        for name in registry.names("coe.orderings")
    }
    return {**first_come, **(llama_swap if place.slots == 1 else {}), **ours}


def _layout(trace: Sequence[Arrival], place: Place) -> Layout:
    experts = tuple(
        Expert(
            name=name,
            pool="pool",
            memory=1,
            concurrency=place.concurrency,
            load_s=place.load_s,
        )
        for name in sorted({call.expert for call in trace})
    )
    return Layout(
        pools=(Pool(name="pool", memory=place.slots, width=place.width),), experts=experts
    )


def _table(found: Mapping[str, Figures]) -> Table:
    drawn = Table()
    drawn.add_column("rule", no_wrap=True)
    for column, _, _ in COLUMNS:
        drawn.add_column(column, justify="right")
    for name, one in found.items():
        drawn.add_row(name, *(f"{getattr(one, what):{form}}" for _, what, form in COLUMNS))
    return drawn


_EXAMPLE = '{"at_s": 12.5, "expert": "sql", "work_s": 3.2}'


def _arrival(line: str, place: str, number: int, call_s: float) -> Arrival:
    try:
        row: Any = json.loads(line)
        return Arrival(
            id=str(number),
            at_s=float(row["at_s"]),
            expert=str(row["expert"]),
            work_s=float(row.get("work_s", call_s)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{place}: not a call; a line is {_EXAMPLE}") from error
