"""`coe learn`: what was learnt from answers, what it proposes, and what has changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from coe import conversation
from coe.applied import SUFFIX
from coe.cli.printed import columns, print_json
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.composition.complete import ENCODER
from coe.composition.draft import Draft
from coe.composition.edit import rewrite
from coe.errors import ConfigError
from coe.learner import FOLDER, Learner, learner_of
from coe.learning.clusters import MOST_PROMPTS
from coe.learning.clusters import propose as propose_groups
from coe.learning.prior import features
from coe.learning.snapshot import Snapshots
from coe.mapping import NONE, FittedMap
from coe.mapping.store import read_map
from coe.page.texts import shown
from coe.registry import Registry
from coe.reporting.changes import Changes, changes
from coe.settings import Settings
from coe.stores.decisions import FILE, DecisionStore
from coe.wiring import Workshop

_UNTAKEN = frozenset({"below-threshold", "ambiguous"})

SURE = 1.96
"""Standard errors that the one proposed is ahead by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is expected of an expert in a category now.

    Attributes:
        before: by the map.
        now: with what was learnt.
        error: standard error of that, about.
    """

    category: str
    expert: str
    before: float
    now: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A category in which another expert than the map's is surely better by now."""

    category: str
    expert: str
    instead: str
    gain: float


def show_learnt(config: Path | None, *, as_json: bool) -> None:
    """Print what is expected of each expert in each category, and what has changed."""
    settings = read_settings(config, None, None)
    composition = load(settings.config)
    fitted = _map(composition)
    learner = _learner(composition, fitted, settings)
    rows = list(expected(fitted, learner))
    seen = _changes(fitted, settings)
    if as_json:
        print_json(
            {
                "requests": learner.bandit.clock,
                "expected": [asdict(row) for row in rows],
                "changes": None if seen is None else asdict(seen),
            }
        )
        return
    print(f"learning is `{composition.learning.mode}`; {learner.bandit.clock:,} requests so far")
    table = [
        (row.category, row.expert, f"{row.before:.3f}", f"{row.now:.3f}", f"{row.error:.3f}")
        for row in rows
    ]
    for line in columns(("category", "expert", "by the map", "now", "+-"), table):
        print(line)
    if seen is None:
        print("no decision log yet: nothing is known of changes")
        return
    print(
        f"{seen.requests:,} routed requests, {seen.out_of_scope:.1%} in no category,"
        f" {seen.judged:,} answers judged; stability index of the mix {seen.psi:.2f}"
    )
    for alarm in seen.alarms or ("no alarm",):
        print(f"  {alarm}")


def show_groups(config: Path | None, *, as_json: bool) -> None:
    """Print groups among the prompts that no category would take, with examples.

    Raises:
        ConfigError: no texts of such prompts are kept, or nothing encodes them.
    """
    settings = read_settings(config, None, None)
    composition = load(settings.config)
    texts = _untaken(composition, settings)
    if not texts:
        raise ConfigError(
            "no prompt that belongs to no category is kept as text; write `observe: {keep_prompts: "
            "text}` to have them shown, for as long as `prompts_for` says"
        )
    workshop = Workshop(composition, Registry(), cache_folder=settings.cache_folder)
    encoder = workshop.encoder(next(iter(composition.encoders), ENCODER))
    groups = propose_groups(encoder.encode(texts))
    rows: list[dict[str, Any]] = [
        {
            "prompts": len(group.members),
            "cohesion": round(group.cohesion, 3),
            "examples": [texts[place] for place in group.examples],
        }
        for group in groups
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print(f"{len(texts)} prompts belong to no category, and no ten of them are alike")
    for row in rows:
        print(f"new category? {row['prompts']} prompts, cohesion {row['cohesion']}")
        for example in row["examples"]:
            print(f"  {shown(example)}")


def propose(config: Path | None, *, apply: bool, as_json: bool) -> None:
    """Print where another expert is surely better by now; write it where that is asked.

    Raises:
        ConfigError: there is no map, or the file cannot be edited.
    """
    settings = read_settings(config, None, None)
    composition = load(settings.config)
    fitted = _map(composition)
    learner = _learner(composition, fitted, settings)
    found = proposals(fitted, list(expected(fitted, learner)))
    if as_json:
        print_json([asdict(one) for one in found])
    elif not found:
        print("nothing to propose: nobody is surely better than the map's choice")
    else:
        for one in found:
            print(f"- {one.category}: {one.instead}")
            print(f"+ {one.category}: {one.expert}  ({one.gain:+.3f} quality)")
    if not (apply and found):
        return

    def change(draft: Draft) -> Draft:
        for one in found:
            draft = _first(draft, composition, one)
        return draft

    rewrite(settings.config, change)
    print(f"written: {settings.config}; a gateway that serves this file follows it on SIGHUP")


def list_snapshots(config: Path | None, *, as_json: bool) -> None:
    """Print the snapshots, the live one last."""
    kept = Snapshots(read_settings(config, None, None).state_folder / FOLDER)
    rows: list[dict[str, Any]] = []
    for number in kept.numbers:
        snapshot = kept.read(number)
        if snapshot is not None:
            clock = snapshot.bandit.clock
            rows.append({"number": number, "requests": clock, **snapshot.about})
    if as_json:
        print_json(rows)
        return
    table = [
        (str(row["number"]), f"{row['requests']:,}", _time(row.get("at")), str(row.get("why", "")))
        for row in rows
    ]
    for line in columns(("snapshot", "requests", "written", "because"), table):
        print(line)


def rollback(number: int, config: Path | None) -> None:
    """Make an old snapshot live again. Raises ConfigError where there is none."""
    kept = Snapshots(read_settings(config, None, None).state_folder / FOLDER)
    new = kept.rollback(number)
    print(f"snapshot {number} is live again, as {new}; restart the gateway that serves this file")


def expected(fitted: FittedMap, learner: Learner) -> Iterator[Expected]:
    """Yield what is expected of each expert in each category now."""
    rows = features(np.eye(len(fitted.categories)))
    for place, category in enumerate(fitted.categories):
        for expert, known in learner.bandit.beliefs.items():
            x = rows[place]
            yield Expected(
                category=category,
                expert=expert,
                before=float(fitted.quality[place, fitted.experts.index(expert)]),
                now=float(known.theta @ x),
                error=float(0.5 * np.sqrt(x @ known.inverse @ x)),
            )


def proposals(fitted: FittedMap, rows: list[Expected]) -> list[Proposal]:
    """Return the categories in which somebody is surely better than the map's expert.

    Money is left aside: who is proposed is no dearer than the map's expert, as far as is known.
    """
    found = []
    for place, category in enumerate(fitted.categories):
        if category == NONE:
            continue
        own = {row.expert: row for row in rows if row.category == category}
        now = own.get(fitted.assignment[place])
        if now is None:
            continue
        best = max(own.values(), key=lambda row: row.now)
        gain = best.now - now.now
        doubt = SURE * float(np.hypot(best.error, now.error))
        if best.expert != now.expert and gain > doubt:
            found.append(
                Proposal(
                    category=category, expert=best.expert, instead=now.expert, gain=round(gain, 4)
                )
            )
    return found


def _first(draft: Draft, composition: Composition, one: Proposal) -> Draft:
    """Put an expert first in a category's list, which then holds whatever the map says."""
    ranked = composition.routing.routes.get(one.category, ())
    order = list(dict.fromkeys((one.expert, *ranked)))
    own = ("categories", one.category, "experts")
    if draft.get(own) is not None:
        draft = draft.remove(own)
    return draft.put(("routing", "routes", one.category), {"experts": order, "choose": "ranked"})


def _changes(fitted: FittedMap, settings: Settings) -> Changes | None:
    path = settings.state_folder / FILE
    if not path.exists():
        return None
    with DecisionStore.open(path) as store:
        return changes(fitted, store.records(), list(store.feedback()))


def _untaken(composition: Composition, settings: Settings) -> list[str]:
    """Return the different prompts that no category would take, the latest first."""
    path = settings.state_folder / FILE
    if not path.exists():
        return []
    with DecisionStore.open(path) as store:
        found = [
            conversation.read(record.text, composition.routing.context).turn
            for record in store.records()
            if record.reason in _UNTAKEN and record.text and record.endpoint == "chat/completions"
        ]
    return list(dict.fromkeys(text for text in reversed(found) if text))[:MOST_PROMPTS]


def _map(composition: Composition) -> FittedMap:
    path = composition.source.with_suffix(SUFFIX)
    fitted = read_map(path) if path.exists() else None
    if fitted is None:
        raise ConfigError(
            f"there is no {path}: what is learnt stands on a fitted map; run `coe map fit` and "
            "`coe map apply`"
        )
    return fitted


def _learner(composition: Composition, fitted: FittedMap, settings: Settings) -> Learner:
    return learner_of(fitted, composition.learning, settings.state_folder)


def _time(at: object) -> str:
    if not isinstance(at, int | float):
        return "-"
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
