"""`coe experts audition | matrix`: what experts know, and what the others lack of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from coe.cli.experts import known_expert
from coe.cli.map import PLACES
from coe.cli.printed import print_json
from coe.cli.progress import shown
from coe.cli.score import GOES_ON, estimate
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.composition.measured import EXPERT
from coe.composition.revisions import revision
from coe.errors import CoEError, ConfigError
from coe.mapping.column import with_expert
from coe.mapping.complement import Row as Complement
from coe.mapping.complement import Share, best_at
from coe.mapping.complement import row as complement
from coe.mapping.complement import rows as complements
from coe.mapping.outcomes import Outcome, OutcomeMatrix, matrix
from coe.mapping.store import map_path, read_map, write_map
from coe.scoring.rows import Row, read_rows
from coe.scoring.run import Options, prepare
from coe.scoring.session import score
from coe.scoring.table import Table, tabulate
from coe.settings import Settings
from coe.stores.outcomes import FILE, OutcomeStore

PILOTS = "pilot.jsonl"
MOST_PILOTS = 50
FEW = 30
"""Prompts of a category below which an interval says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says; see `coe experts audition --help`."""

    name: str
    kshot: Path
    config: Path | None = None
    others: bool = False
    run_code: bool = False
    judge: str = ""
    max_tokens: int | None = None
    pilots: Path | None = None
    into_map: bool = False
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the file says of an expert's skill, and what was measured."""

    category: str
    claimed: float
    measured: Share

    @property
    def holds(self) -> bool:
        """Whether the claim lies within the interval of what was measured."""
        return self.measured.low <= self.claimed <= self.measured.high


def audition(wish: Wish) -> None:
    """Ask an expert labelled prompts, keep the outcomes, and print what it adds to the others.

    Raises:
        ConfigError: a file, a row or an option is wrong.
        CoEError: some prompts could not be scored.
    """
    settings = read_settings(wish.config, None, None)
    composition = load(settings.config)
    known_expert(composition, wish.name)
    rows = read_rows(
        wish.kshot,
        categories=tuple(composition.categories),
        experts=tuple(composition.experts),
        judge=wish.judge,
    )
    present = _present(composition, wish.name)
    with OutcomeStore.open(settings.state_folder / FILE) as store:
        is_complete = _ask(wish, settings, composition, rows, store, present)
        kept = _kept(composition, store, [wish.name, *present], {row.digest for row in rows})
    table = matrix(kept, experts=[wish.name, *present], categories=tuple(composition.categories))
    found = complement(table, wish.name)
    claims = _claims(composition, wish.name, found)
    pilots = _pilots(wish, composition, table, rows)
    if wish.into_map:
        _into_map(wish.name, settings, composition, kept)
    if wish.as_json:
        print_json(
            {
                **asdict(found),
                "claims": [{**asdict(claim), "holds": claim.holds} for claim in claims],
                "pilots": {"file": str(pilots[0]), "added": pilots[1]},
                "complete": is_complete,
            }
        )
    else:
        _print(composition, found, claims, pilots, table)
    if not is_complete:
        raise CoEError(f"not everything is scored; {GOES_ON}")


def show_matrix(config: Path | None, *, as_json: bool) -> None:
    """Print what every expert scored on every category, and what it adds to the others.

    Raises:
        CoEError: nothing was scored yet.
    """
    settings = read_settings(config, None, None)
    composition = load(settings.config)
    experts = [name for name, e in composition.experts.items() if e.status != "retired"]
    with OutcomeStore.open(settings.state_folder / FILE) as store:
        kept = _kept(composition, store, experts, None)
    if not kept:
        raise CoEError("nothing was scored yet: `coe score PROMPTS.jsonl` does")
    asked = {outcome.expert for outcome in kept}
    scored = [name for name in experts if name in asked]
    table = matrix(kept, experts=scored, categories=tuple(composition.categories))
    found = complements(table)
    if as_json:
        print_json({"experts": [asdict(row) for row in found], "prompts": len(table.prompts)})
        return
    scores = tabulate(kept, experts=scored, categories=tuple(composition.categories))
    _print_matrix(scores, found, len(table.prompts))
    if missing := [name for name in experts if name not in asked]:
        print(f"not scored: {', '.join(missing)}", file=sys.stderr)


def _present(composition: Composition, name: str) -> list[str]:
    """Return the experts that answer today, without the new one."""
    return [
        other
        for other, expert in composition.experts.items()
        if other != name and expert.is_eligible
    ]


def _ask(
    wish: Wish,
    settings: Settings,
    composition: Composition,
    rows: Sequence[Row],
    store: OutcomeStore,
    present: Sequence[str],
) -> bool:
    """Score the rows, the new expert's and, if wished, the others'; return whether all are."""
    options = Options(run_code=wish.run_code, max_tokens=wish.max_tokens)
    asked = [wish.name, *(present if wish.others else ())]
    work = prepare(composition, rows, asked, store, options)
    print(estimate(work), file=sys.stderr)
    with shown(GOES_ON) as progress:
        happened = asyncio.run(score(work, settings, store, progress))
    for name, count in happened.failures.items():
        print(f"{name}: {count} failed: {happened.reasons[name]}", file=sys.stderr)
    if happened.unrouted:
        print(f"not routed: {happened.unrouted[0]}", file=sys.stderr)
    return happened.is_complete


def _kept(
    composition: Composition,
    store: OutcomeStore,
    experts: Sequence[str],
    prompts: Iterable[str] | None,
) -> list[Outcome]:
    """Return the outcomes of the experts as they are now, on some prompts or on all."""
    wanted = None if prompts is None else set(prompts)
    revisions = {name: revision(composition, name) for name in experts}
    found = store.read(experts=experts, revisions=revisions)
    return [row for row in found if wanted is None or row.prompt in wanted]


def _claims(composition: Composition, name: str, found: Complement) -> list[Claim]:
    """Set what the file says of the expert's skills beside what was measured.

    A skill speaks of the category of its name; where a category says which skills it needs, of that
    category as much as it needs them.
    """
    skills = composition.experts[name].skills
    claims = []
    for category, entry in composition.categories.items():
        measured = found.by_category.get(category)
        needs = {s: w for s, w in entry.category.skills.items() if s in skills and w > 0}
        if measured is None or not (needs or category in skills):
            continue
        claimed = skills.get(category, 0.0)
        if needs:
            claimed = sum(w * skills[s] for s, w in needs.items()) / sum(needs.values())
        claims.append(Claim(category=category, claimed=claimed, measured=measured))
    return claims


def _pilots(
    wish: Wish, composition: Composition, table: OutcomeMatrix, rows: Sequence[Row]
) -> tuple[Path, int]:
    """Write the prompts that the expert is best at for routers of type `pilot`."""
    path = wish.pilots or _pilot_file(composition) or composition.folder / PILOTS
    texts = {row.digest: _text(row.messages) for row in rows}
    best = [texts[table.prompts[i]] for i in best_at(table, wish.name)]
    try:
        there = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        known = {(row["text"], row["expert"]) for row in map(json.loads, filter(str.strip, there))}
        fresh = [text for text in best if text and (text, wish.name) not in known][:MOST_PILOTS]
        lines = [json.dumps({"text": t, "expert": wish.name}, ensure_ascii=False) for t in fresh]
        if lines:
            end = "" if not there or path.read_bytes().endswith(b"\n") else "\n"
            with path.open("a", encoding="utf-8") as stream:
                stream.write(end + "".join(f"{line}\n" for line in lines))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: cannot add rows for pilots: {error}") from None
    return path, len(fresh)


def _pilot_file(composition: Composition) -> Path | None:
    for spec in composition.routers.values():
        queries = spec.options.get("queries")
        if spec.type == "pilot" and isinstance(queries, str):
            return composition.folder / queries
    return None


def _text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the last thing that the user says."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            return " ".join(str(p.get("text", "")) for p in parts if isinstance(p, dict)).strip()
    return ""


def _into_map(
    name: str, settings: Settings, composition: Composition, kept: Sequence[Outcome]
) -> None:
    """Add the expert's column to the applied map; what was live before can be gone back to."""
    live = map_path(composition.source)
    fitted = read_map(live)
    if fitted is None:
        raise ConfigError(f"there is no {live.name} to add a column to: `coe map fit` first")
    own = matrix(kept, experts=[name], categories=fitted.categories[:-1])
    try:
        grown = with_expert(fitted, own)
    except ValueError as error:
        raise CoEError(f"{live.name}: {error}") from None
    mark = {f"{EXPERT}{name}": revision(composition, name)}
    PLACES.before(settings).keep(live)
    write_map(live, replace(grown, parts={**grown.parts, **mark}))
    print(f"wrote {live}: one more column; `coe map rollback` goes back", file=sys.stderr)


def _print(
    composition: Composition,
    found: Complement,
    claims: Sequence[Claim],
    pilots: tuple[Path, int],
    table: OutcomeMatrix,
) -> None:
    name = found.expert
    print(f"{name}: {_share(found.quality)} right on {found.quality.count:.0f} prompts")
    for category, share in found.by_category.items():
        if share is not None:
            few = "  (few)" if share.count < FEW else ""
            print(f"  {category:<20} {_share(share)}  n={share.count:.0f}{few}")
    for claim in claims:
        word = "holds" if claim.holds else "does not hold"
        print(f"claimed {claim.claimed:.2f} of {claim.category}: {word} ({_share(claim.measured)})")
    others = len(table.experts) - 1
    if found.unique.count:
        print(
            f"right where the other {others} are wrong: {_share(found.rescues)}"
            f"  n={found.rescues.count:.0f}"
        )
        print(f"right alone: {_share(found.unique)} of all prompts")
        print(
            f"best answer with it, less without it: +{found.gain:.3f} (what an oracle would gain)"
        )
    else:
        print(
            "how it complements the others is not known: they were not scored on these prompts;"
            " add --others, which asks them, too"
        )
    path, added = pilots
    print(
        f"{path}: {added} prompts that it is best at are added"
        if added
        else f"{path}: no prompt is added that it is best at"
    )
    _print_next(composition, name, path)


def _print_next(composition: Composition, name: str, pilots: Path) -> None:
    expert = composition.experts[name]
    ranked = [c for c, row in composition.routing.routes.items() if name in row]
    print("next:")
    if not ranked:
        print(
            f"  rank it: add `{name}` to the `experts` of a category; until then it answers only "
            "who names it"
        )
    if _pilot_file(composition) is None:
        print(
            f"  route by pilots, if you wish: routers: {{pilots: {{type: pilot, queries: "
            f"{pilots.name}}}}}"
        )
    if expert.status in {"shadow", "retired"}:
        print(f"  coe experts canary {name} --share 5%   (its share of the conversations)")
    elif expert.status == "canary":
        print(f"  coe experts canary {name} --share 25%  (more of the conversations)")
        print(f"  coe experts promote {name}             (live)")
    print("  coe map fit, once all experts are scored on the same prompts")


def _print_matrix(table: Table, found: Sequence[Complement], prompts: int) -> None:
    """Print the scores by category, and below them what each expert adds to the others."""
    print(table.text(shutil.get_terminal_size((100, 24)).columns))
    named = max([len(row.expert) for row in found] + [6]) + 2
    print()
    print(
        "".ljust(named)
        + "right alone".ljust(20)
        + "right where others are wrong".ljust(30)
        + "gain"
    )
    for row in found:
        alone = _share(row.unique) if row.unique.count else "-"
        rescues = f"{_share(row.rescues)} n={row.rescues.count:.0f}" if row.rescues.count else "-"
        line = f"{row.expert.ljust(named)}{alone.ljust(20)}{rescues.ljust(30)}+{row.gain:.3f}"
        print(line)
    print(
        f"{prompts} prompts; 95 % intervals in brackets; gain: of the best answer of all, with it "
        "and without"
    )


def _share(share: Share) -> str:
    return f"{share.value:.3f} [{share.low:.2f}, {share.high:.2f}]"
