"""`coe replay`: what a changed composition would have done on recorded requests."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from coe import pipeline
from coe.api import wire
from coe.applied import applied_map, expect_map
from coe.cli.map import standing_of
from coe.cli.printed import print_json
from coe.cli.progress import shown
from coe.cli.replay_text import text
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.composition.lock import differences, parts
from coe.composition.measured import holding
from coe.composition.revisions import revision
from coe.errors import CoEError, ConfigError, Forbidden, InvalidRequest
from coe.mapping.choose import Chooser
from coe.mapping.outcomes import Outcome
from coe.mapping.replay import NOBODY
from coe.mapping.store import map_path, read_map
from coe.policies.guard import Guard
from coe.replay.again import Change, Replayed, Side, pinned, replay
from coe.replay.records import (
    Measured,
    Record,
    holds_decisions,
    measured_of,
    of_outcomes,
    read_decisions,
)
from coe.scoring import exchange
from coe.scoring.prices import currency_of
from coe.scoring.session import opened
from coe.settings import Settings
from coe.stores.outcomes import FILE, OutcomeStore
from coe.tools import Progress
from coe.types import Decision

_AT_ONCE = 64
_REASONS = 3  # why rows could not be used


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says; see `coe replay --help`."""

    config: Path
    on: Path | None = None
    against: Path | None = None
    seed: int = 0
    as_json: bool = False


def run(wish: Wish) -> None:
    """Read what was recorded, decide and plan it again, print what changes.

    Raises:
        ConfigError: a file, a row or an option is wrong.
        CoEError: none of the rows can be used.
    """
    settings = read_settings(wish.config, None, None)
    new = side_of(load(settings.config), is_new=True)
    old = _old(wish, new)
    base = new if old is None else old
    on = settings.state_folder / FILE if wish.on is None else wish.on
    records = _records(on, settings, base, new)
    change = Change(
        new=new,
        old=old,
        routers={} if old is None else _routers(old, new),
        estimator=_estimator(new) or (_estimator(old) if old is not None else None),
    )
    asked: Mapping[int, Decision] = {}
    if any(record.has_text for record in records) and new.composition.routing.router is not None:
        with shown("nothing is kept") as progress:
            records, asked = asyncio.run(_ask(settings, new, records, progress))
    replayed = replay(records, change, asked, seed=wish.seed)
    for note in _notes(records, asked, change, replayed, _map_prompts(new)):
        print(f"note: {note}", file=sys.stderr)
    if replayed.found is None:
        raise CoEError(f"{on}: none of its rows can be used: {replayed.unusable[0].why}")
    if wish.as_json:
        print_json({**asdict(replayed), "asked": len(asked)})
    else:
        print(text(replayed.found, currency_of(new.composition.experts.values())))


def side_of(composition: Composition, *, is_new: bool = False) -> Side:
    """Return a composition with what its decisions depend on; of a new one doubts are said."""
    applied = applied_map(composition)
    if is_new:
        expect_map(composition, applied)
        for note in () if applied is None else applied.notes:
            print(f"note: {note}", file=sys.stderr)
    return Side(
        composition=composition,
        thresholds=standing_of(composition).thresholds,
        revisions={name: revision(composition, name) for name in composition.experts},
        guard=Guard(composition),
        chooser=None if applied is None else applied.chooser,
    )


def _old(wish: Wish, new: Side) -> Side | None:
    """Return the composition to compare with: as wished, or the usual one if it is another."""
    path = wish.against or Settings().config
    if wish.against is None and not path.exists():
        return None
    if path.resolve() == new.composition.source.resolve():
        return None
    return side_of(load(path))


def _estimator(side: Side) -> Chooser | None:
    """Return who says what to expect of any expert, those that the budget left out, too."""
    fitted = read_map(map_path(side.composition.source))
    if fitted is None:
        return None
    held = holding(fitted.parts, side.composition)
    everybody = replace(fitted, used=fitted.experts)
    return Chooser(everybody, experts=held.experts, categories=held.categories)


def _map_prompts(side: Side) -> int:
    """Return to how many prompts the map that ranks was fitted; 0 where none does."""
    if side.composition.routing.choose != "fitted":
        return 0
    fitted = read_map(map_path(side.composition.source))
    return 0 if fitted is None else int(fitted.about.get("prompts", 0))


def _routers(old: Side, new: Side) -> dict[str, str]:
    """Return why the old router does not speak for the new one; empty where it does."""
    then, now = (
        parts(side.composition, side.composition.routing.router or "") for side in (old, new)
    )
    for found in (then, now):
        del found["routing.margin"]  # a rule about scores, not a part of them
    changes = list(differences(then, now))
    if not changes:
        return {}
    return {old.composition.fingerprint: f"the router is another one ({changes[0]})"}


def _records(on: Path, settings: Settings, base: Side, new: Side) -> list[Record]:
    """Return what was recorded, with what the store of outcomes says of it."""
    if on.suffix == ".sqlite":
        if not on.exists():
            raise ConfigError(
                f"{on}: nothing was scored yet; run `coe score FILE`, or name recorded decisions "
                "or outcomes: `--on FILE`"
            )
        with OutcomeStore.open(on) as store:
            outcomes = list(store.read())
            texts = {row.digest: row.body for row in store.prompts() if row.body}
        if not outcomes:
            raise ConfigError(f"{on}: holds no scores")
        return _of_outcomes(outcomes, texts, base)
    if on.suffix == ".parquet" or not holds_decisions(on):
        known = _both(base.composition, new.composition)
        found = exchange.read(on, known, "evaluation")
        return _of_outcomes(found, {}, base)
    records = read_decisions(on)
    scored = _scored(settings, {record.digest for record in records if record.digest})
    return [_with_scores(record, scored.get(record.digest, ()), base) for record in records]


def _of_outcomes(
    outcomes: Iterable[Outcome], texts: Mapping[str, Mapping[str, Any]], base: Side
) -> list[Record]:
    composition = base.composition
    return of_outcomes(outcomes, texts, composition.fingerprint, tuple(composition.categories))


def _both(old: Composition, new: Composition) -> Composition:
    """Return a composition that knows the experts and categories of both, the old ones' first."""
    return replace(
        old,
        experts={**new.experts, **old.experts},
        categories={**new.categories, **old.categories},
    )


def _scored(settings: Settings, digests: set[str]) -> dict[str, list[Outcome]]:
    """Return the outcomes of prompts, by digest."""
    found: dict[str, list[Outcome]] = {}
    path = settings.state_folder / FILE
    if digests and path.exists():
        with OutcomeStore.open(path) as store:
            for row in store.read():
                if row.prompt in digests:
                    found.setdefault(row.prompt, []).append(row)
    return found


def _with_scores(record: Record, outcomes: Iterable[Outcome], base: Side) -> Record:
    measured = measured_of(outcomes)
    own = record.own
    if record.expert and (own.score is not None or own.cost is not None):
        key = (record.expert, base.revisions.get(record.expert, ""))
        kept = measured.get(key, Measured())
        measured[key] = Measured(
            score=kept.score if own.score is None else own.score,
            cost=kept.cost if own.cost is None else own.cost,
        )
    return replace(record, measured=measured)


async def _ask(
    settings: Settings, new: Side, records: Sequence[Record], progress: Progress
) -> tuple[list[Record], dict[int, Decision]]:
    """Ask the new router about the records whose text is there, but for what a session kept.

    What it may not be sent it is not asked about, as live.
    """
    found = [_parsed(record, settings) if record.has_text else record for record in records]
    asked: dict[int, Decision] = {}
    async with opened(new.composition, settings) as gateway:
        for i, record in enumerate(found):
            if record.has_text:
                try:
                    query = await pipeline.admitted(gateway, record.query)
                except Forbidden:  # it names an expert where clients may not
                    asked[i] = Decision(pinned_expert=NOBODY, reason="pinned")
                else:
                    found[i] = replace(record, query=query)
        todo = [
            i
            for i, record in enumerate(found)
            if i not in asked and record.has_text and _asks_router(gateway, record)
        ]
        if gateway.classifier is not None:
            await gateway.classifier.load(patient=False)
        for start in range(0, len(todo), _AT_ONCE):
            some = todo[start : start + _AT_ONCE]
            routed = (pipeline.route(gateway, found[i].query, alone=True) for i in some)
            asked.update(zip(some, await asyncio.gather(*routed), strict=True))
            progress("routing again", start + len(some), len(todo))
    return found, asked


def _asks_router(gateway: pipeline.Gateway, record: Record) -> bool:
    named = pinned(record, gateway.composition)
    if named is None:
        return record.decision is None or record.decision.reason != "session"
    is_there = named.pinned_expert in gateway.composition.experts
    return is_there and pipeline.asks_router(gateway, record.query, named)


def _parsed(record: Record, settings: Settings) -> Record:
    body = {**record.query.body, "model": record.query.model}
    try:
        query = wire.parse_chat(body, record.query.id, settings)
    except InvalidRequest as error:
        raise ConfigError(f"{record.place}: `messages`: {error.message}") from None
    return replace(record, query=query)


def _notes(
    records: Sequence[Record],
    asked: Mapping[int, Decision],
    change: Change,
    replayed: Replayed,
    fitted_to: int,
) -> Iterable[str]:
    """Yield what to know about the figures."""
    why = Counter(row.why for row in replayed.unusable).most_common()
    for reason, count in why[:_REASONS]:
        places = [row.place for row in replayed.unusable if row.why == reason]
        yield f"{count} of {len(records)} rows cannot be used (first {places[0]}): {reason}"
    if len(why) > _REASONS:
        yield f"and {sum(count for _, count in why[_REASONS:])} for other reasons"
    failed = sum(decision.reason == "router-failed" for decision in asked.values())
    if failed:
        yield f"the new router failed on {failed} rows: as live, the default expert gets them"
    known = {side.composition.fingerprint for side in (change.new, change.old) if side} | {""}
    strange = sum(
        record.composition not in known for i, record in enumerate(records) if i not in asked
    )
    if strange:
        yield (
            f"{strange} rows were decided by a composition that is neither of the two; their "
            "probabilities are taken for those of the new router"
        )
    if fitted_to and replayed.found is not None and replayed.found.guard:
        yield (
            f"the map was fitted to {fitted_to:,} prompts; where these are among them it is "
            "flattered here; `coe map show` has what it reached on prompts that it did not see"
        )
