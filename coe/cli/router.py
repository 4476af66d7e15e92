"""`coe router` and `coe calibrate`: the tools, on the routers of a composition."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import orjson

from coe import __version__
from coe.cli.printed import write_file
from coe.cli.progress import shown
from coe.cli.serve import read_settings
from coe.composition import Composition, load
from coe.composition.lock import (
    Lock,
    lock_path,
    own_thresholds,
    parts,
    read_lock,
    stale_message,
    write_lock,
)
from coe.errors import ConfigError
from coe.registry import Registry
from coe.settings import Settings
from coe.tools import Aim, Calibrator, Evaluator, RouterAtWork, Trainer, TrainingOrder
from coe.wiring import Workshop, lock_changes

GOES_ON = "and the same command goes on from there"
NOTHING_KEPT = "nothing is kept, since COE_CACHE_DIR is off"


def evaluate_router(
    rows: Path,
    config: Path | None,
    router: str | None,
    files: tuple[Path | None, Path | None],
    *,
    wrong: bool,
) -> None:
    """Print what a router gets right on labelled texts, and write the files that are asked for.

    Args:
        rows: JSON lines.
        config: the composition; None is the settings' own.
        router: by name; None is the one that decides.
        files: where the HTML page and the JSON document go.
        wrong: list the texts that went wrong.
    """
    page, document = files
    for file in (page, document):
        _check_folder(file)
    composition, registry, settings = _open(config)
    evaluate: Evaluator = registry.load("coe.tools", "evaluate")
    work = at_work(composition, registry, settings, router)
    with shown(f"what was scored is kept beside {rows}, {GOES_ON}") as progress:
        report = evaluate(work, rows, progress)
    if page is not None:
        write_file(page, report.page().encode("utf-8", "replace"))
    if document is not None:
        write_file(document, orjson.dumps(report.document(), option=orjson.OPT_INDENT_2))
    print(report.text(wrong=wrong))


def calibrate_router(rows: Path, config: Path | None, router: str | None, aim: Aim) -> None:
    """Choose the categories' thresholds on labelled texts and write the composition's lock."""
    composition, registry, settings = _open(config)
    calibrate: Calibrator = registry.load("coe.tools", "calibrate")
    work = at_work(composition, registry, settings, router)
    with shown(f"what was scored is kept beside {rows}, {GOES_ON}") as progress:
        found = calibrate(work, rows, aim, progress)
    name = router or composition.routing.router or ""
    lock = Lock(
        router=name,
        aim=found.aim,
        rows=found.rows,
        thresholds=found.thresholds,
        parts=parts(composition, name),
        encoders={key: encoder.fingerprint for key, encoder in work.encoders.items()},
    )
    path = lock_path(composition)
    write_lock(path, lock)
    print(found.text)
    print(f"\nwrote {path}: {found.aim}")
    _note_what_wins(composition, name)


def train_router(
    config: Path | None,
    router: str | None,
    rows: Path | None,
    to: Path | None,
    *,
    utterances: bool,
    minutes: float,
) -> None:
    """Train a router, write its artefact, and print what is known of it.

    Args:
        config: the composition; None is the settings' own.
        router: by name; None is the only one that can be trained.
        rows: JSON lines to learn from; None for none.
        to: the artefact; None is where the composition has the router look for it.
        utterances: learn from the utterances, too.
        minutes: most to spend on tuning the encoder; 0 leaves it as it is.
    """
    composition, registry, settings = _open(config)
    train: Trainer = registry.load("coe.tools", "train")
    cache = settings.cache_folder
    order = TrainingOrder(
        routers={
            name: replace(spec, cache_folder=cache) for name, spec in composition.routers.items()
        },
        encoders=composition.encoders,
        parts=Workshop(composition, registry, cache_folder=cache),
        router=router,
        rows=rows,
        utterances=utterances,
        to=to,
        minutes=minutes,
    )
    kept = [f"embeddings are kept in {cache}"] if cache else []
    kept += ["the encoder so far is kept beside the artefact"] if minutes else []
    with shown(f"{', '.join(kept)}, {GOES_ON}" if kept else NOTHING_KEPT) as progress:
        trained = train(order, progress)
    print(trained.text)
    for file in trained.files:
        print(f"wrote {file}")
    if trained.wanted:
        print(f"to use it, say in {composition.source}:\n\n{trained.wanted}")


def _open(config: Path | None) -> tuple[Composition, Registry, Settings]:
    """Return the composition that is asked for, and what its parts are built with."""
    settings = read_settings(config, None, None)
    return load(settings.config), Registry(), settings


def at_work(
    composition: Composition, registry: Registry, settings: Settings, name: str | None
) -> RouterAtWork:
    """Return a composition's router, and how the composition chooses by its scores.

    Raises:
        ConfigError: there is no such router, or its plugin refuses.
    """
    name = name or composition.routing.router
    if name is None:
        raise ConfigError(
            f"{composition.source}: there are no categories, and so there is no router; "
            "add `categories`"
        )
    workshop = Workshop(composition, registry, cache_folder=settings.cache_folder)
    router = workshop.router(name)
    encoders = dict(workshop.built)
    fingerprints = [f"{key}={encoder.fingerprint}" for key, encoder in encoders.items()]
    meaning = [__version__, *fingerprints, *parts(composition, name).items()]
    thresholds = own_thresholds(composition)
    lock = read_lock(composition)
    if lock is not None and lock.router == name:
        changes = lock_changes(composition, lock, encoders)
        if changes:
            print(f"note: {stale_message(composition, changes)}", file=sys.stderr)
        thresholds = lock.least(composition, is_stale=bool(changes))
    return RouterAtWork(
        router=router,
        categories=tuple(entry.category for entry in composition.categories.values()),
        thresholds=thresholds,
        margin=composition.routing.margin,
        encoders=encoders,
        fingerprint=hashlib.sha256(repr(meaning).encode()).hexdigest(),
    )


def _note_what_wins(composition: Composition, router: str) -> None:
    for name, entry in composition.categories.items():
        if entry.category.threshold is not None:
            print(
                f"note: categories.{name}.threshold is written in {composition.source.name} and "
                "wins; take it out to use the calibrated one",
                file=sys.stderr,
            )
    if composition.routing.router != router:
        print(
            f"note: `{composition.routing.router}` decides; the thresholds are used once "
            f"routing.router is `{router}`",
            file=sys.stderr,
        )


def _check_folder(file: Path | None) -> None:
    """Refuse a file that cannot be written before the work is done, not after it."""
    if file is not None and not file.absolute().parent.is_dir():
        raise ConfigError(f"{file}: there is no folder {file.absolute().parent}; make it first")
