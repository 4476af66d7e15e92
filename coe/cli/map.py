"""`coe map`: fit a category-to-expert map to scores, look at it, put it to use, go back."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from coe.cli import map_text
from coe.cli.map_budget import read_budget
from coe.cli.map_neighbours import embedded
from coe.cli.outcomes import SOURCES, candidates, known_outcomes
from coe.cli.place import Place, Places, refuse
from coe.cli.printed import print_json
from coe.cli.progress import shown
from coe.composition import Composition
from coe.composition.edit import rewrite, set_key
from coe.composition.lock import own_thresholds, read_lock
from coe.composition.measured import holding, measured
from coe.errors import CoEError, ConfigError
from coe.mapping.fit import Proposal, fit
from coe.mapping.fitted import FittedMap
from coe.mapping.outcomes import NONE, Outcome, OutcomeMatrix, matrix
from coe.mapping.policy import Standing
from coe.mapping.store import KEPT, map_path, read_map, write_map
from coe.mapping.task import Task

PLACES = Places(
    command="coe map fit", live=map_path, proposal="map.proposal", history="maps", kept=KEPT
)
CHOOSE = ("routing", "choose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says; see `coe map fit --help`."""

    config: Path | None = None
    budgets: tuple[str, ...] = ()
    on: Path | None = None
    sources: str = SOURCES
    neighbours: bool = False
    seed: int = 0
    as_json: bool = False


def fit_map(wish: Wish) -> None:
    """Fit a map to the scores, print what it would change, and keep it as the proposal.

    Raises:
        ConfigError: there are no scores, a budget is wrong or cannot be met.
    """
    place = Place.of(wish.config, PLACES)
    settings, composition = place.settings, place.composition
    started = time.monotonic()
    outcomes = known_outcomes(settings, composition, sources=wish.sources, on=wish.on)
    experts = candidates(composition, outcomes)
    found = matrix(outcomes, experts=experts, categories=tuple(composition.categories))
    incumbent = _incumbent(place)
    task = Task(
        matrix=found,
        standing=standing_of(composition),
        constraints=read_budget(wish.budgets, composition, experts),
        incumbent=incumbent,
        seed=wish.seed,
    )
    try:
        with shown("nothing is kept") as progress:
            if wish.neighbours:
                known, encoder = embedded(composition, settings, found, progress)
                task = replace(task, matrix=known, encoder=encoder)
            proposal = fit(task, progress)
    except ValueError as error:
        raise ConfigError(f"{composition.source}: no map can be fitted: {error}") from None
    warnings = (*_doubts(composition, outcomes, experts), *proposal.warnings)
    proposal = replace(proposal, warnings=warnings)
    proposal = replace(proposal, fitted=_described(wish, place, found, proposal))
    write_map(place.proposal, proposal.fitted)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if wish.as_json:
        print_json(map_text.document(proposal.fitted))
    else:
        print(map_text.proposal(proposal, task.matrix, task.constraints))
    seconds = time.monotonic() - started
    does = "makes it live" if proposal.is_accepted else "would refuse it; see --force there"
    print(f"wrote {place.proposal} in {seconds:.1f} s; `coe map apply` {does}", file=sys.stderr)


def apply_map(config: Path | None, *, force: bool) -> None:
    """Make the proposal live.

    Raises:
        CoEError: it may not replace what is live.
    """
    place = Place.of(config, PLACES)
    fitted = place.proposed()
    against = _against(place, fitted)
    refuse(against, force=force)
    if against:
        print(f"warning: applied by force: {against}", file=sys.stderr)
        fitted = replace(fitted, about={**fitted.about, "forced": against})
    place.history.keep(place.live)
    write_map(place.live, fitted)
    place.proposal.unlink(missing_ok=True)
    print(f"wrote {place.live}")
    _choose(place.composition, "fitted")


def roll_back(config: Path | None) -> None:
    """Make live what was live before the last `apply`: a map, or the written lists."""
    place = Place.of(config, PLACES)
    if place.history.leads_to_nothing:
        _choose(place.composition, "ranked")  # before the map that it would ask for is gone
    fitted = place.history.restore(place.live)
    if fitted is None:
        print(f"removed {place.live}: there was no map before")
        return
    print(f"wrote {place.live}: the map of {fitted.about.get('at', 'before')}")
    _choose(place.composition, "fitted")


def diff_map(config: Path | None, *, as_json: bool) -> None:
    """Print what the proposal would change."""
    place = Place.of(config, PLACES)
    fitted = place.proposed()
    live = _incumbent(place)
    before = standing_of(place.composition).first if live is None else _answers(live)
    against = _against(place, fitted)
    if as_json:
        now = _answers(fitted)
        changed = {
            name: {"old": before.get(name, before.get(NONE)), "new": now[name]}
            for name in now
            if before.get(name, before.get(NONE)) != now[name]
        }
        print_json({"changed": changed, "refused": against or None})
        return
    print(map_text.difference(before, live, fitted))
    print(f"\n`coe map apply` would refuse it: {against}" if against else "")


def show_map(config: Path | None, category: str | None, *, proposal: bool, as_json: bool) -> None:
    """Print the live map, or the proposal: cells with intervals, the guard, what it was made of."""
    place = Place.of(config, PLACES)
    fitted = place.proposed() if proposal else read_map(place.live)
    if fitted is None:
        raise ConfigError(
            f"{place.live}: there is no map; `coe map fit` fits one and `coe map apply` puts it "
            "there"
        )
    if category is not None and category not in fitted.categories:
        raise ConfigError(
            f"no category `{category}` in the map; there are: {', '.join(fitted.categories)}"
        )
    if as_json:
        print_json(map_text.document(fitted))
        return
    print(map_text.cells(fitted, category))
    for change in holding(fitted.parts, place.composition).changes:
        print(f"warning: the map is stale: {change}", file=sys.stderr)
    if not proposal and place.composition.routing.choose != "fitted":
        print("note: it is not used: routing.choose is `ranked`", file=sys.stderr)


def _incumbent(place: Place[FittedMap]) -> FittedMap | None:
    """Return the map in use; None where the lists are, also because the map cannot be read."""
    if place.composition.routing.choose != "fitted":
        return None
    try:
        return read_map(place.live)
    except ConfigError as error:
        print(f"warning: the written lists count as the incumbent: {error}", file=sys.stderr)
        return None


def standing_of(composition: Composition) -> Standing:
    """Return how the composition decides without a map."""
    routing, experts = composition.routing, composition.experts
    lock = read_lock(composition)
    thresholds = own_thresholds(composition)
    if lock is not None and lock.router == routing.router:
        thresholds = lock.least(composition, is_stale=bool(lock.changes(composition)))
    last = (*routing.none, composition.default)
    ranked = {name: (*routing.routes.get(name, ()), *last) for name in composition.categories}
    ranked[NONE] = last
    first = {
        category: next((name for name in names if experts[name].is_eligible), composition.default)
        for category, names in ranked.items()
    }
    return Standing(
        first=first, thresholds=thresholds, margin=routing.margin, by_hand=routing.by_hand
    )


def _doubts(
    composition: Composition, outcomes: Sequence[Outcome], experts: Sequence[str]
) -> list[str]:
    """Return what is doubtful about the scores."""
    found = []
    unscored = [
        name
        for name, expert in composition.experts.items()
        if expert.is_eligible and name not in experts
    ]
    if unscored:
        found.append(
            f"nothing was scored of {', '.join(unscored)}: the map never chooses them; "
            "`coe score` them"
        )
    stated = {row.prompt for row in outcomes if not row.probabilities and row.category}
    if stated:
        found.append(
            f"the router was not asked about {len(stated)} prompts: their files' categories are "
            "taken for certain, which the router is not"
        )
    return found


def _described(
    wish: Wish, place: Place[FittedMap], found: OutcomeMatrix, proposal: Proposal
) -> FittedMap:
    """Return the map with what people want to know of it."""
    composition = place.composition
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompts": len(found.prompts),
        "scores": int((found.scores == found.scores).sum()),
        "budget": list(wish.budgets),
        "on": str(wish.on) if wish.on else "",
        "method": proposal.method,
        "new": list(proposal.new),
        "gain": proposal.gain,
        "saving": proposal.saving,
        "accepted": proposal.is_accepted,
        "reason": proposal.reason,
        "instead_of": _mark(place),
        "warnings": list(proposal.warnings),
        "changes": [asdict(row) for row in proposal.changes],
    }
    kept: Mapping[str, Any] = orjson.loads(orjson.dumps(about))
    return replace(
        proposal.fitted,
        router=composition.routing.router or "",
        parts=measured(composition),
        about=kept,
    )


def _against(place: Place[FittedMap], fitted: FittedMap) -> str:
    """Return what speaks against making a proposal live; empty where nothing does."""
    if not fitted.about.get("accepted"):
        return str(fitted.about.get("reason", "it was not compared with the incumbent"))
    if fitted.about.get("instead_of") != _mark(place):
        return "it was compared with what was live then, and that has changed; fit it again"
    return place.stale(fitted.parts)


def _mark(place: Place[FittedMap]) -> str:
    """Return a mark of what is live: the map, or the written lists."""
    routing = place.composition.routing
    if routing.choose == "fitted" and place.live.exists():
        return hashlib.sha256(place.live.read_bytes()).hexdigest()[:16]
    lists = {name: list(ranked) for name, ranked in routing.routes.items()}
    meaning = [lists, list(routing.none), place.composition.default]
    return "lists:" + hashlib.sha256(orjson.dumps(meaning)).hexdigest()[:16]


def _answers(fitted: FittedMap) -> dict[str, str]:
    return dict(zip(fitted.categories, fitted.assignment, strict=True))


def _choose(composition: Composition, choose: str) -> None:
    """Have the composition choose by the map, or by its lists."""
    if composition.routing.choose == choose:
        return
    try:
        rewrite(composition.source, partial(set_key, path=CHOOSE, value=choose))
    except CoEError as error:
        raise ConfigError(
            f"{composition.source} could not be edited ({error.message}); write there: "
            f"routing: {{choose: {choose}}}"
        ) from None
    print(f"set routing.choose to `{choose}` in {composition.source}")
