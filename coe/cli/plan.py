"""`coe plan` and `coe sim`: what each rule would do on a trace, recorded or made up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from coe.cli.cases import Case
from coe.cli.plan_page import Played, page
from coe.cli.printed import write_file
from coe.errors import ConfigError
from coe.scheduler.chronicle import Chronicle, Record
from coe.scheduler.measures import Figures, best_hit_rates, figures
from coe.scheduler.simulate import Outcome, Recorded, Rule, run
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
SLOTS = (1, 2, 4, 8, 16, 32)  # for which the best hit rate is said
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

    The id of a call is the number of its line.

    Raises:
        ConfigError: the file cannot be read, or a line is not a call.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{file}: {reason}") from error
    calls = [
        _arrival(line, f"{file}:{number}", number, call_s)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not calls:
        raise ConfigError(f"{file}: no calls; a line is {_EXAMPLE}")
    return tuple(sorted(calls, key=lambda call: call.at_s))


def compare(
    trace: Sequence[Arrival], case: Case, *, as_json: bool = False, html: Path | None = None
) -> None:
    """Play a trace under each rule and print what came of it.

    Args:
        trace: the calls, in order of time.
        case: where, and by which rules.
        as_json: print JSON instead of a table.
        html: where a page with the timelines is written, too.

    Raises:
        ConfigError: the page cannot be written.
    """
    found = {
        name: _play(trace, case, rule, is_recorded=html is not None)
        for name, rule in case.rules.items()
    }
    experts = len({call.expert for call in trace})
    hits = best_hit_rates(trace, [n for n in SLOTS if n <= experts])
    if html is not None:
        write_file(html, page(trace, case.said, found, hits).encode("utf-8", "replace"))
    if as_json:
        rules = {name: asdict(one.figures) for name, one in found.items()}
        print(json.dumps({"rules": rules, "best_hit_rate_by_slots": hits}))
        return
    probe = Console()
    console = probe if probe.is_terminal else Console(width=WIDE)
    console.print(_table({name: one.figures for name, one in found.items()}))
    said = ", ".join(f"{slots}: {share:.0%}" for slots, share in hits.items())
    console.print(f"Best hit rate by slots, calls served in order of arrival: {said}")


def _play(trace: Sequence[Arrival], case: Case, rule: Rule, *, is_recorded: bool) -> Played:
    if not is_recorded:
        outcome = run(trace, rule, case.layout, case.engine)
        return Played(figures=_figures(outcome, case), record=None)
    chronicle = Chronicle(most=None, resolution_s=0.0)
    chronicle.begin(0.0, case.layout, ())
    outcome = run(trace, Recorded(rule, chronicle), case.layout, case.engine)
    record: Record = chronicle.record(max(outcome.ends_s.values()))
    return Played(figures=_figures(outcome, case), record=record)


def _figures(outcome: Outcome, case: Case) -> Figures:
    if not outcome.waits_s:
        raise ConfigError("no call could be served: no expert of the trace fits into memory")
    return figures(outcome, slots=case.slots)


def _table(found: Mapping[str, Figures]) -> Table:
    drawn = Table()
    drawn.add_column("rule", no_wrap=True)
    columns = [*COLUMNS]
    if any(one.refused for one in found.values()):
        columns.append(("refused", "refused", "d"))
    for column, _, _ in columns:
        drawn.add_column(column, justify="right")
    for name, one in found.items():
        drawn.add_row(name, *(f"{getattr(one, what):{form}}" for _, what, form in columns))
    return drawn


_EXAMPLE = '{"at_s": 12.5, "expert": "sql", "work_s": 3.2}'


def _arrival(line: str, place: str, number: int, call_s: float) -> Arrival:
    try:
        row: Any = json.loads(line)
        at_s, work_s = float(row["at_s"]), float(row.get("work_s", call_s))
        if not (math.isfinite(at_s) and 0 < work_s < math.inf):
            raise ValueError(line)
        return Arrival(id=str(number), at_s=at_s, expert=str(row["expert"]), work_s=work_s)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{place}: not a call; a line is {_EXAMPLE}") from error
