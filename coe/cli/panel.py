"""`coe panel`: fit panels to recorded drafts, see where they pay, put them to use, go back."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from coe import planner
from coe.cli import panel_text
from coe.cli.outcomes import SOURCES, candidates, known_outcomes
from coe.cli.panel_edit import answered, with_panels
from coe.cli.place import Place, Places, refuse
from coe.cli.printed import print_json
from coe.cli.progress import shown
from coe.composition import Composition
from coe.composition.edit import rewrite
from coe.composition.measured import holding, measured
from coe.composition.revisions import revision
from coe.composition.units import parse_money
from coe.errors import ConfigError
from coe.mapping.outcomes import NONE, Outcome, OutcomeMatrix, matrix
from coe.panels.fit import Task, fit
from coe.panels.fitted import FittedPanels
from coe.panels.games import Contender, Games, Player, Recording, Scores
from coe.panels.play import Sample
from coe.panels.rates import Rates
from coe.panels.recruit import Recruits
from coe.panels.store import (
    KEPT,
    curves_path,
    panels_path,
    read_panels,
    write_curves,
    write_panels,
)
from coe.registry import Registry
from coe.scoring.playing import Spent, Table
from coe.scoring.rows import Row, read_rows
from coe.scoring.session import opened
from coe.stores import drafts
from coe.stores.drafts import DraftStore
from coe.tools import Progress
from coe.types import Decision, Query, RankedCategory
from coe.wiring import build_aggregator

PLACES = Places(
    command="coe panel fit",
    live=panels_path,
    proposal="panels.proposal",
    history="panels",
    kept=KEPT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says; see `coe panel fit --help`."""

    files: tuple[Path, ...] = ()
    config: Path | None = None
    test_aggregators: bool = False
    max_cost: str | None = None
    max_tokens: int | None = None
    sources: str = SOURCES
    judge: str = ""
    seed: int = 0
    as_json: bool = False


def fit_panels(wish: Wish) -> None:
    """Measure the panels of the composition on recorded drafts, and keep what follows as proposal.

    Raises:
        ConfigError: there are no panels, no drafts, or an option is wrong.
    """
    place = Place.of(wish.config, PLACES)
    composition, started = place.composition, time.monotonic()
    if not composition.aggregation:
        raise ConfigError(
            f"{composition.source}: there is no panel to fit; write one under `aggregation`"
        )
    outcomes = known_outcomes(place.settings, composition, sources=wish.sources)
    experts = candidates(composition, outcomes)
    found = matrix(outcomes, experts=experts, categories=tuple(composition.categories))
    rows = _rows(wish, composition)
    task = Task(
        matrix=found,
        recordings=tuple(_recordings(place, found, rows)),
        contenders=_contenders(composition),
        seating=_Seating(composition),
        is_tested=wish.test_aggregators,
        seed=wish.seed,
    )
    with shown("nothing is kept") as progress:
        fitted, spent = _fit(wish, place, task, rows, progress)
    fitted = _described(wish, place, task, outcomes, fitted)
    write_panels(place.proposal, fitted)
    _say(spent)
    if wish.as_json:
        print_json(panel_text.document(fitted))
    else:
        print(panel_text.report(fitted))
    seconds = time.monotonic() - started
    print(
        f"wrote {place.proposal} in {seconds:.1f} s; `coe panel apply` makes it live",
        file=sys.stderr,
    )


def show_panels(config: Path | None, *, proposal: bool, as_json: bool) -> None:
    """Print the live panels, or the proposal: where each pays, and by how much."""
    place = Place.of(config, PLACES)
    fitted = place.proposed() if proposal else read_panels(place.live)
    if fitted is None:
        raise ConfigError(
            f"{place.live}: no panels were fitted; `coe panel fit` fits them and `coe panel apply` "
            "puts them there"
        )
    if as_json:
        print_json(panel_text.document(fitted))
        return
    print(panel_text.report(fitted))
    for change in holding(fitted.parts, place.composition).changes:
        print(f"warning: the panels are stale: {change}", file=sys.stderr)


def diff_panels(config: Path | None, *, as_json: bool) -> None:
    """Print what the proposal would change."""
    place = Place.of(config, PLACES)
    fitted = place.proposed()
    now = answered(place.composition)
    then = panel_text.changes(fitted, now)
    against = _against(place, fitted)
    if as_json:
        print_json({"changed": then, "refused": against or None})
        return
    print(panel_text.difference(then))
    if against:
        print(f"\n`coe panel apply` would refuse it: {against}")


def apply_panels(config: Path | None, *, force: bool) -> None:
    """Make the proposal live: write it beside the composition, and name the panels there.

    Raises:
        CoEError: it is stale.
        CompositionError: the composition cannot be edited; nothing is changed.
    """
    place = Place.of(config, PLACES)
    fitted = place.proposed()
    against = _against(place, fitted)
    refuse(against, force=force)
    now = answered(place.composition)
    fitted = replace(fitted, about={**fitted.about, "before": now, "forced": against})
    wanted = {name: row["new"] for name, row in panel_text.changes(fitted, now).items()}
    place.history.keep(place.live)
    write_curves(curves_path(place.composition.source), fitted)
    write_panels(place.live, fitted)
    rewrite(place.composition.source, with_panels(wanted))
    place.proposal.unlink(missing_ok=True)
    print(f"wrote {place.live}")
    _tell(place, wanted)


def roll_back(config: Path | None) -> None:
    """Go back to what was live before the last `coe panel apply`.

    Raises:
        ConfigError: there is nothing to go back to.
    """
    place = Place.of(config, PLACES)
    live = read_panels(place.live)
    before: Mapping[str, str | None] = dict(live.about.get("before") or {}) if live else {}
    fitted = place.history.restore(place.live)
    now = answered(place.composition)
    names = place.composition.categories.keys() & {*before, *now}
    wanted = {name: before.get(name) for name in names if before.get(name) != now.get(name)}
    rewrite(place.composition.source, with_panels(wanted))
    if fitted is None:
        print(f"removed {place.live}: there were no fitted panels before")
    else:
        print(f"wrote {place.live}: the panels of {fitted.about.get('at', 'before')}")
    _tell(place, wanted)


def _tell(place: Place[FittedPanels], wanted: Mapping[str, str | None]) -> None:
    for category, panel in sorted(wanted.items()):
        what = f"`{panel}` answers" if panel else "one expert answers"
        print(f"{category}: {what}, in {place.composition.source}")


def _against(place: Place[FittedPanels], fitted: FittedPanels) -> str:
    """Return what speaks against making a proposal live; empty where nothing does."""
    gone = sorted({*fitted.panels.values()} - place.composition.aggregation.keys())
    if gone:
        return f"there is no panel `{gone[0]}` any more"
    if fitted.about.get("aggregation") != _mark(place.composition):
        return "`aggregation` was edited since then; fit it again"
    return place.stale(fitted.parts)


def _mark(composition: Composition) -> str:
    """Return a mark of what the panels are."""
    written = orjson.dumps(composition.canonical.get("aggregation"), default=str)
    return hashlib.sha256(written).hexdigest()[:16]


def _rows(wish: Wish, composition: Composition) -> dict[str, Row]:
    experts, categories = tuple(composition.experts), tuple(composition.categories)
    found: dict[str, Row] = {}
    for file in wish.files:
        for row in read_rows(file, categories=categories, experts=experts, judge=wish.judge):
            found.setdefault(row.digest, row)
    return found


def _contenders(composition: Composition) -> tuple[Contender, ...]:
    registry = Registry()
    return tuple(
        Contender(panel=panel, aggregator=build_aggregator(composition, registry, name))
        for name, panel in composition.aggregation.items()
    )


def _recordings(
    place: Place[FittedPanels], found: OutcomeMatrix, rows: Mapping[str, Row]
) -> Iterator[Recording]:
    """Yield the prompts of a category whose drafts were kept."""
    path = place.settings.state_folder / drafts.FILE
    if not path.exists():
        raise ConfigError(
            f"{path}: no drafts were kept; run `coe score FILE --samples 3`, which asks every "
            "expert three times and keeps what it writes"
        )
    now = {name: revision(place.composition, name) for name in found.experts}
    texts: dict[str, dict[str, dict[int, Sample]]] = {}
    with DraftStore.open(path) as store:
        for draft in store.read(now):
            by_expert = texts.setdefault(draft.prompt, {})
            by_expert.setdefault(draft.expert, {})[draft.sample] = Sample(
                text=draft.text, score=draft.score, logprob=draft.logprob
            )
    names = (*found.categories, NONE)
    for prompt, shares in zip(found.prompts, found.memberships, strict=True):
        samples = {name: _in_a_row(some) for name, some in texts.get(prompt, {}).items()}
        samples = {name: some for name, some in samples.items() if some}
        category = names[int(shares.argmax())]
        if samples and category != NONE:
            row = rows.get(prompt)
            yield Recording(
                prompt=prompt,
                category=category,
                probability=float(shares.max()),
                samples=samples,
                messages=row.messages if row is not None else (),
            )


def _in_a_row(samples: Mapping[int, Sample]) -> tuple[Sample, ...]:
    """Return the samples from the first to the last before one is missing."""
    found: list[Sample] = []
    while len(found) in samples:
        found.append(samples[len(found)])
    return tuple(found)


class _Seating:
    """Who would sit on a panel, as the planner has it of a plain request of the category."""

    def __init__(self, composition: Composition) -> None:
        self._composition = composition

    def __call__(self, contender: Contender, recording: Recording, rates: Rates) -> Recruits:
        category, routing = recording.category or "", self._composition.routing
        asked = replace(routing, panels={category: contender.panel.name})
        ranked = RankedCategory(name=category, probability=recording.probability)
        plan = planner.plan(
            replace(self._composition, routing=asked),
            Query(id="", model=planner.AUTO, body={"messages": list(recording.messages)}),
            Decision(category=category, ranked=(ranked,), reason="matched", calibrated=True),
            rates=rates,
        )
        if plan.panel is None:
            names = tuple(call.expert for call in plan.calls[:1])
            return Recruits(members=names, weights=(0.5,) * len(names), detail=plan.alone)
        once = len(plan.panel.calls) // contender.panel.samples
        return Recruits(
            members=tuple(call.expert for call in plan.panel.calls[:once]),
            weights=plan.panel.weights[:once],
            detail=plan.panel.detail,
        )


def _fit(
    wish: Wish, place: Place[FittedPanels], task: Task, rows: Mapping[str, Row], progress: Progress
) -> tuple[FittedPanels, Spent]:
    """Fit, and ask whoever has to be asked where the prompts were given."""
    if not rows:
        if wish.test_aggregators:
            raise ConfigError("--test-aggregators: name the files of prompts, to grade by")
        return fit(task), Spent()
    cap = _cap(wish)
    return asyncio.run(_fit_live(wish, place, task, rows, cap, progress))


async def _fit_live(
    wish: Wish,
    place: Place[FittedPanels],
    task: Task,
    rows: Mapping[str, Row],
    cap: float | None,
    progress: Progress,
) -> tuple[FittedPanels, Spent]:
    loop = asyncio.get_running_loop()
    async with opened(place.composition, place.settings) as gateway:
        for backend in gateway.backends.values():
            start = getattr(backend, "start", None)
            if start is not None:
                await start()
        table = Table(place.composition, gateway, rows, cap=cap, max_tokens=wish.max_tokens)

        def player(games: Games) -> Scores:
            return asyncio.run_coroutine_threadsafe(table.play(games, progress), loop).result()

        live: Player = player
        fitted = await asyncio.to_thread(fit, replace(task, player=live))
    return fitted, table.spent


def _cap(wish: Wish) -> float | None:
    if wish.max_cost is None:
        return None
    if wish.max_tokens is None:
        raise ConfigError("--max-cost needs a limit on what is written; add --max-tokens N")
    try:
        amount, _ = parse_money(wish.max_cost)
    except ValueError as error:
        raise ConfigError(f"--max-cost: {error}") from None
    return amount


def _described(
    wish: Wish,
    place: Place[FittedPanels],
    task: Task,
    outcomes: Sequence[Outcome],
    fitted: FittedPanels,
) -> FittedPanels:
    """Return the panels with what people want to know of them."""
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompts": len(task.matrix.prompts),
        "drafted": len(task.recordings),
        "scores": len(outcomes),
        "files": [str(path) for path in wish.files],
        "error": task.error,
        "aggregation": _mark(place.composition),
    }
    return replace(fitted, parts=measured(place.composition), about=about)


def _say(spent: Spent) -> None:
    if spent.asked:
        print(f"asked experts {spent.asked} times, for {spent.money:.4g}", file=sys.stderr)
    for name, why in spent.failures.items():
        print(f"warning: {name} failed: {why}", file=sys.stderr)
    if spent.is_capped:
        print("warning: not all was asked: --max-cost could have been passed", file=sys.stderr)
