"""`coe score`: experts are asked prompts whose answers can be checked."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coe.cli.printed import print_json
from coe.cli.progress import shown
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.composition.units import parse_money
from coe.errors import CoEError, ConfigError
from coe.mapping.outcomes import Outcome, Source
from coe.scoring import exchange
from coe.scoring.rows import Row, few_of_each, read_rows
from coe.scoring.run import Happened, Options, Work, prepare
from coe.scoring.session import score
from coe.scoring.table import Table, tabulate
from coe.settings import Settings
from coe.stores import drafts
from coe.stores.drafts import DraftStore
from coe.stores.outcomes import FILE, OutcomeStore

GOES_ON = "what was scored is kept, and the same command goes on from there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says; see `coe score --help`."""

    files: tuple[Path, ...] = ()
    config: Path | None = None
    experts: str | None = None
    limit: int | None = None
    max_cost: str | None = None
    max_tokens: int | None = None
    concurrency: int | None = None
    source: str = "evaluation"
    judge: str = ""
    routed: bool = True
    run_code: bool = False
    keep_prompts: bool = False
    samples: int = 1
    keep_answers: bool = False
    dry_run: bool = False
    export: Path | None = None
    imported: Path | None = None
    as_json: bool = False


def run(wish: Wish) -> None:
    """Import, score, export: what the command line asks for, in this order.

    Raises:
        ConfigError: a file, a row or an option is wrong.
        CoEError: something is left to do: an expert failed, or the cap was reached.
    """
    if not (wish.files or wish.export or wish.imported):
        raise ConfigError("nothing to do: name a file of prompts, or --export, or --import")
    source = _source(wish)
    if wish.export is not None and not wish.export.absolute().parent.is_dir():
        raise ConfigError(f"{wish.export}: there is no folder {wish.export.absolute().parent}")
    settings = read_settings(wish.config, None, None)
    composition = load(settings.config)
    rows = _rows(wish, composition)
    with OutcomeStore.open(settings.state_folder / FILE) as store:
        if wish.imported is not None:
            _import(wish.imported, source, composition, store)
        happened = _score(wish, settings, composition, rows, store) if rows else None
        if wish.export is not None:
            experts = None if wish.experts is None else _experts(wish, composition)
            count = exchange.write(wish.export, store.read(experts=experts))
            print(f"wrote {wish.export}: {count} outcomes", file=sys.stderr)
    if happened is not None and not happened.is_complete:
        raise CoEError(f"not everything is scored; {GOES_ON}")


def _rows(wish: Wish, composition: Composition) -> tuple[Row, ...]:
    experts, categories = tuple(composition.experts), tuple(composition.categories)
    found: dict[str, Row] = {}
    for file in wish.files:
        rows = read_rows(file, categories=categories, experts=experts, judge=wish.judge)
        for row in rows:
            found.setdefault(row.digest, row)
    rows = tuple(found.values())
    return rows if wish.limit is None else few_of_each(rows, wish.limit)


def _experts(wish: Wish, composition: Composition) -> tuple[str, ...]:
    if wish.experts is not None:
        return tuple(name.strip() for name in wish.experts.split(",") if name.strip())
    return tuple(name for name, expert in composition.experts.items() if expert.status != "retired")


def _import(path: Path, source: Source, composition: Composition, store: OutcomeStore) -> None:
    outcomes = exchange.read(path, composition, source)
    store.add(outcomes, router=f"imported:{path.name}")
    print(f"read {path}: {len(outcomes)} outcomes", file=sys.stderr)


def _source(wish: Wish) -> Source:
    source = exchange.source_of(wish.source)
    if source is None:
        raise ConfigError(f"--source: one of {', '.join(exchange.SOURCES)}, not `{wish.source}`")
    return source


def _score(
    wish: Wish,
    settings: Settings,
    composition: Composition,
    rows: Sequence[Row],
    store: OutcomeStore,
) -> Happened | None:
    """Score rows and print what came of it; None where nothing was to be done."""
    amount, currency = _cap(wish)
    options = Options(
        source=_source(wish),
        concurrency=wish.concurrency,
        max_cost=amount,
        currency=currency,
        max_tokens=wish.max_tokens,
        run_code=wish.run_code,
        keep_prompts=wish.keep_prompts,
        samples=wish.samples,
    )
    experts = _experts(wish, composition)
    with _texts(wish, settings) as texts:
        work = prepare(composition, rows, experts, store, options, texts)
        print(estimate(work), file=sys.stderr)
        if wish.dry_run:
            return None
        with shown(GOES_ON) as progress:
            doing = score(work, settings, store, progress, routed=wish.routed, drafts=texts)
            happened = asyncio.run(doing)
    table = _table(work, store)
    if wish.as_json:
        print_json(_document(table, happened))
    elif table.experts:
        print(table.text(shutil.get_terminal_size((100, 24)).columns))
    _say(work, happened)
    return happened


def _texts(wish: Wish, settings: Settings) -> AbstractContextManager[DraftStore | None]:
    """Return where the answers' texts are kept, if they are."""
    if not wish.keep_answers and wish.samples == 1:
        return nullcontext()
    return DraftStore.open(settings.state_folder / drafts.FILE)


def _cap(wish: Wish) -> tuple[float | None, str]:
    if wish.max_cost is None:
        return None, ""
    try:
        return parse_money(wish.max_cost)
    except ValueError as error:
        raise ConfigError(f"--max-cost: {error}") from None


def estimate(work: Work) -> str:
    """Return how many calls are to be made and about what they cost, for people."""
    samples = work.options.samples
    total = len(work.rows) * len(work.left) * samples
    kept = total - work.calls
    times = f" x {samples} samples" if samples > 1 else ""
    lines = [
        f"{len(work.rows)} prompts x {len(work.left)} experts{times}: {work.calls} answers to ask "
        "for" + (f", {kept} are kept already" if kept else "")
    ]
    priced = {name: work.cost(name) for name, rows in work.left.items() if rows}
    known = {name: cost for name, cost in priced.items() if cost is not None}
    if known:
        most = sorted(known, key=lambda name: -known[name])[:5]
        each = ", ".join(f"{name} {known[name]:.4g}" for name in most)
        lines.append(f"about {sum(known.values()):.4g} {work.currency} ({each})")
    free = [name for name in priced if name not in known]
    if free:
        lines.append(f"no price is known of {_some(free)}")
    if known and work.options.max_cost is None:
        lines.append("there is no cap on what is spent; --max-cost sets one")
    return "\n".join(lines)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 9 else f"{len(names)} experts"  # noqa: PLR2004


def _table(work: Work, store: OutcomeStore) -> Table:
    wanted = {row.digest for row in work.rows}
    outcomes: list[Outcome] = [
        outcome
        for outcome in store.read(
            experts=tuple(work.left), sources=[work.options.source], revisions=work.revisions
        )
        if outcome.prompt in wanted
    ]
    return tabulate(
        outcomes,
        experts=tuple(work.left),
        categories=tuple(work.composition.categories),
        currency=work.currency,
    )


def _document(table: Table, happened: Happened) -> dict[str, Any]:
    return {
        **table.document(),
        "scored": sum(happened.scored.values()),
        "spent": happened.spent,
        "prompt_tokens": happened.prompt_tokens,
        "answer_tokens": happened.answer_tokens,
        "failures": dict(happened.failures),
        "reasons": happened.reasons,
        "stopped": happened.stopped,
        "capped": happened.capped,
        "unrouted": len(happened.unrouted),
        "complete": happened.is_complete,
    }


def _say(work: Work, happened: Happened) -> None:
    """Say on standard error what was spent, and what is left and why."""
    lines = []
    if happened.prompt_tokens:
        lines.append(
            f"used {happened.prompt_tokens:,} tokens of prompts and {happened.answer_tokens:,} of "
            "answers"
        )
    if work.currency:
        lines.append(f"spent {happened.spent:.4g} {work.currency}")
    if happened.uncounted:
        lines.append(f"the cost of {happened.uncounted} answers is not known: no usage came back")
    for name, count in happened.failures.items():
        stop = "; not asked any more" if name in happened.stopped else ""
        lines.append(f"{name}: {count} failed{stop}: {happened.reasons[name]}")
    if happened.capped:
        names = _some(happened.capped)
        lines.append(f"not all was asked of {names}: --max-cost could have been passed")
    if happened.unrouted:
        first = happened.unrouted[0]
        lines.append(f"{len(happened.unrouted)} prompts were not routed: {first}")
    for line in lines:
        print(line, file=sys.stderr)
