"""The outcomes that commands fit to: those of the experts as they are now."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from coe.composition import Composition
from coe.composition.revisions import revision
from coe.errors import ConfigError
from coe.mapping.outcomes import Outcome, Source
from coe.scoring import exchange
from coe.settings import Settings
from coe.stores.outcomes import FILE, OutcomeStore

# Feedback is of the experts that were chosen, on the prompts that they were chosen for.
SOURCES = "evaluation,panel,shadow"


def known_outcomes(
    settings: Settings, composition: Composition, *, sources: str = SOURCES, on: Path | None = None
) -> list[Outcome]:
    """Return the outcomes of experts as they are now.

    Args:
        settings: of the process.
        composition: whose experts.
        sources: which outcomes count, as `--source` has it.
        on: a file of outcomes; None: what `coe score` kept.

    Raises:
        ConfigError: there are none.
    """
    wanted = _sources(sources)
    if on is not None:
        found: Iterable[Outcome] = exchange.read(on, composition, "evaluation")
        kept = [row for row in found if row.source in wanted]
    else:
        path = settings.state_folder / FILE
        if not path.exists():
            raise ConfigError(
                f"{path}: nothing was scored yet; run `coe score FILE`, or name a file of "
                "outcomes: `--on FILE`"
            )
        with OutcomeStore.open(path) as store:
            kept = list(store.read(sources=wanted))
    known = [row for row in kept if row.expert in composition.experts]
    now = {name: revision(composition, name) for name in {row.expert for row in known}}
    current = [row for row in known if row.revision == now[row.expert]]
    if len(current) < len(known):
        names = sorted({row.expert for row in known if row.revision != now[row.expert]})
        print(
            f"note: {len(known) - len(current)} scores are of what {', '.join(names)} were before "
            "and are left out",
            file=sys.stderr,
        )
    if not current:
        where = on or settings.state_folder / FILE
        raise ConfigError(f"{where}: holds no scores of the experts as they are now")
    return current


def candidates(composition: Composition, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """Return the experts that may answer and were scored.

    Raises:
        ConfigError: there are none.
    """
    scored = {row.expert for row in outcomes}
    experts = composition.experts.items()
    found = tuple(name for name, expert in experts if expert.is_eligible and name in scored)
    if not found:
        raise ConfigError(
            f"{composition.source}: none of the scored experts may answer: their `status` is "
            "neither `live` nor `canary`"
        )
    return found


def _sources(text: str) -> tuple[Source, ...]:
    known: tuple[Source, ...] = get_args(Source)
    named = [name.strip() for name in text.split(",")]
    for name in named:
        if name not in known:
            raise ConfigError(f"--source: no source `{name}`; there are: {', '.join(known)}")
    return tuple(source for source in known if source in named)
