"""`coe experts`: experts are added, tried, auditioned, compared, promoted and removed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coe.cli.printed import print_json
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.composition.document import parse
from coe.composition.edit import Change, add_expert, remove_expert, rewrite, set_expert
from coe.composition.programs import KINDS
from coe.errors import CoEError, CompositionError, ConfigError

if TYPE_CHECKING:
    from coe.checkup import Checkup

RELOAD = "a gateway that runs follows on SIGHUP, or after a restart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What the command line says of a new expert; see `coe experts add --help`."""

    name: str
    model: str | None = None
    base: str | None = None
    adapter: str | None = None
    keys: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: str = "canary"
    share: str | None = None
    last: bool = False


def add(config: Path | None, wish: Addition) -> None:
    """Add an expert to the composition file.

    Raises:
        ConfigError: it would not be one that can be served.
        Conflict: the name is taken.
    """
    keys: dict[str, Any] = {}
    if wish.model is not None:
        backend, slash, model = wish.model.partition("/")
        if not (backend and slash and model):
            raise ConfigError(f"`{wish.model}` is not BACKEND/MODEL")
        keys |= {"backend": backend, "model": model}
    keys |= {key: value for key, value in (("base", wish.base), ("adapter", wish.adapter)) if value}
    more = dict(map(_setting, wish.keys))
    if not keys and not more.keys() & set(KINDS):
        raise ConfigError(
            "name what it is: BACKEND/MODEL, or --base and --adapter, or a prompt program:"
            " --set 'recipe={over: NAME, system: TEXT}'"
        )
    keys["status"] = wish.status
    if wish.share is not None:
        keys["share"] = wish.share
    keys |= more
    change = partial(
        add_expert,
        name=wish.name,
        keys=keys,
        categories=wish.categories,
        first=not wish.last,
    )
    composition = _edit(config, change)
    print(f"{composition.source}: `{wish.name}` is added as {wish.status}; {RELOAD}")
    print(f"next: coe experts check {wish.name}")


def remove(config: Path | None, name: str) -> None:
    """Remove an expert from the composition file. Raises Conflict where others stand on it."""
    composition = _edit(config, partial(remove_expert, name=name))
    print(f"{composition.source}: `{name}` is removed; {RELOAD}")


def set_status(config: Path | None, name: str, status: str, share: str | None = None) -> None:
    """Change an expert's status.

    Raises:
        ConfigError: a status or a share that cannot be.
    """
    # A share is a canary's: who is promoted has none any more.
    keys: dict[str, Any] = {"status": status}
    if share is not None or status != "canary":
        keys["share"] = share
    settings = read_settings(config, None, None)
    before = load(settings.config).experts
    if name in before and (before[name].status, share) == (status, None):
        print(f"{settings.config}: `{name}` is {status} already")
        return
    composition = _edit(config, partial(set_expert, name=name, keys=keys))
    print(f"{composition.source}: `{name}` is {status}; {RELOAD}")


def check(config: Path | None, names: Sequence[str], *, as_json: bool) -> None:
    """Try experts with tiny calls and print what was found; exit 1 where something failed."""
    from coe.checkup import check as check_experts

    settings = read_settings(config, None, None)
    composition = load(settings.config)
    chosen = list(names) or [
        name for name, expert in composition.experts.items() if expert.status != "retired"
    ]
    for name in chosen:
        known_expert(composition, name)
    found = asyncio.run(check_experts(composition, settings, chosen))
    if as_json:
        print_json([{**asdict(row), "ok": row.is_well} for row in found])
    else:
        for row in found:
            _print_checkup(row)
    if not all(row.is_well for row in found):
        raise SystemExit(1)


def known_expert(composition: Composition, name: str) -> None:
    """Raise ConfigError where the composition has no such expert."""
    if name not in composition.experts:
        known = ", ".join(composition.experts)
        raise ConfigError(f"no expert `{name}` in {composition.source} (there are: {known})")


def _edit(config: Path | None, change: Change) -> Composition:
    settings = read_settings(config, None, None)
    try:
        return rewrite(settings.config, change)
    except ConfigError:
        raise
    except CoEError as error:
        raise ConfigError(error.message) from error


def _setting(text: str) -> tuple[str, Any]:
    """Return the key and the value of `KEY=VALUE`, the value read as YAML."""
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as context=32k")
    try:
        return key, parse(value, f"--set {key}").content
    except CompositionError as error:
        raise ConfigError(f"--set {text}: {error.problems[0].message}") from None


def _print_checkup(row: Checkup) -> None:
    print(f"{row.expert}: {row.model} on `{row.backend}`")
    for finding in row.findings:
        detail = f"  {finding.detail}" if finding.detail else ""
        print(f"  {finding.what:<10} {finding.state:<9}{detail}".rstrip())
        if finding.fix and finding.state == "failed":
            print(f"  {'':<10} fix:       {finding.fix}")
