"""The lock beside a composition: calibrated thresholds, and all that they were measured with.

`experts.yaml` has its lock in `experts.lock`, written by `coe calibrate` and meant to be committed.
A threshold is a number about one router on these utterances with that encoder. When one of them
changes the lock is stale. A stale lock can only make the gateway abstain more often, never less: a
category then needs the composition's own threshold and the locked one, whichever is higher. What a
category's own `threshold` says is what an operator wants, and wins over the lock.

| the lock | what the gateway does |
| --- | --- |
| is absent | a category needs its own `threshold`, or else `routing.threshold` |
| is as it was written | a category needs the locked threshold |
| is stale, or was changed by hand | the higher one; `coe check` and the log say why |
| is no lock: damaged, of another version | start-up is refused, with the fix |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from coe.composition.values import Composition
from coe.errors import ConfigError
from coe.jsonfile import digest, read_object
from coe.tools import ChosenThreshold
from coe.types import Category

VERSION = 1
NEVER = float("inf")  # the threshold of a category that must not be chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What a lock file holds.

    Attributes:
        router: whose scores the thresholds are about.
        aim: what they reach, in one sentence.
        rows: where they were measured.
        thresholds: by category.
        parts: a digest of every part of the composition that scores depend on, by key path.
        encoders: fingerprints of the encoders that the router stands on, by name.
        is_as_written: whether the file is what `coe calibrate` wrote; thresholds that somebody
            changed are no measurement.
    """

    router: str
    aim: str
    rows: str
    thresholds: Mapping[str, ChosenThreshold]
    parts: Mapping[str, str]
    encoders: Mapping[str, str]
    is_as_written: bool = True

    def changes(self, composition: Composition) -> tuple[str, ...]:
        """Return what is not as it was when the lock was written, as clauses; () if all is."""
        now = parts(composition, self.router)
        if composition.routing.router != self.router:
            other = composition.routing.router
            return (f"it is about the router `{self.router}`, and `{other}` decides",)
        found = tuple(differences(self.parts, now))
        return found if self.is_as_written else ("somebody changed it by hand", *found)

    def encoder_changes(self, fingerprints: Mapping[str, str]) -> tuple[str, ...]:
        """Return which encoders are not those that the lock was written with, as clauses."""
        return tuple(
            f"encoder `{name}` is another one now"
            for name, fingerprint in self.encoders.items()
            if fingerprints.get(name) != fingerprint
        )

    def least(self, composition: Composition, *, is_stale: bool) -> dict[str, float]:
        """Return the least probability of every category, by name.

        Args:
            composition: whose categories, and whose own thresholds.
            is_stale: whether something changed.
        """
        found = {}
        for name, entry in composition.categories.items():
            own, locked = entry.category.threshold, self.thresholds.get(name)
            general = composition.routing.threshold
            if own is not None:
                found[name] = own
            elif locked is None:
                found[name] = general
            else:
                least = NEVER if locked.threshold is None else locked.threshold
                found[name] = max(general, least) if is_stale else least
        return found


def own_thresholds(composition: Composition) -> dict[str, float]:
    """Return the least probability of every category without a lock, by name."""
    general = composition.routing.threshold
    return {
        name: general if entry.category.threshold is None else entry.category.threshold
        for name, entry in composition.categories.items()
    }


def stale_message(composition: Composition, changes: Sequence[str]) -> str:
    """Return what to say of a stale lock: what changed, what that means and what to do."""
    return (
        f"{lock_path(composition).name} is stale: {', '.join(changes)}; until `coe calibrate` is "
        "run again, a category needs its locked threshold and routing.threshold, the higher one"
    )


def lock_path(composition: Composition) -> Path:
    """Return where a composition's lock is, whether it is there or not."""
    return composition.source.with_suffix(".lock")


def read_lock(composition: Composition) -> Lock | None:
    """Return the composition's lock; None where it has none.

    Raises:
        ConfigError: the file cannot be read, or is not a lock that this version writes.
    """
    return read_object(lock_path(composition), "lock", VERSION, _lock, _fix)


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock, in an order that makes changes readable.

    Raises:
        ConfigError: the file cannot be written.
    """
    content = {
        "version": VERSION,
        "about": "written by `coe calibrate`; commit it, do not edit it",
        "router": lock.router,
        "aim": lock.aim,
        "rows": lock.rows,
        "thresholds": {
            name: {"threshold": found.threshold, "rows": found.rows, "why": found.why}
            for name, found in lock.thresholds.items()
        },
        "encoders": dict(sorted(lock.encoders.items())),
        "parts": dict(sorted(lock.parts.items())),
    }
    content["digest"] = digest(content)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def parts(composition: Composition, router: str) -> dict[str, str]:
    """Return a digest of every part that the scores of a router may depend on, by key path.

    Files and folders that a router's options name (its artefact) count with their content.
    """
    found = {"routing.margin": digest(composition.routing.margin), "routing.router": router}
    for name, entry in composition.categories.items():
        found[f"categories.{name}"] = digest(_texts(entry.category))
    for section in ("routers", "encoders"):
        for name, keys in composition.canonical.get(section, {}).items():
            named = _files(keys, composition.folder) if section == "routers" else {}
            found[f"{section}.{name}"] = digest([keys, named])
    return found


def _texts(category: Category) -> list[tuple[str, ...]]:
    return [category.utterances, category.negatives, category.keywords, category.patterns]


def named_files(composition: Composition) -> tuple[Path, ...]:
    """Return the files that the options of routers name, and those in folders that they name."""
    return tuple(_named(composition.canonical.get("routers", {}), composition.folder))


def _files(value: Any, folder: Path) -> dict[str, str]:
    """Return digests of the files that texts in a value name, by path."""
    return {_short(path, folder): _content(path) for path in _named(value, folder)}


def _named(value: Any, folder: Path) -> Iterator[Path]:
    """Yield the files that texts in a value name."""
    if isinstance(value, str):
        named = folder / value
        # A word such as `minilm` may be the name of a folder, too; a path has a separator or a dot.
        is_path = any(mark in value for mark in "/\\.") and len(value) < 1000  # noqa: PLR2004
        if is_path and named.is_file():
            yield named
        elif is_path and named.is_dir():
            yield from sorted(path for path in named.rglob("*") if path.is_file())
    elif isinstance(value, Mapping | list | tuple):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from _named(entry, folder)


def _short(path: Path, folder: Path) -> str:
    """Return a path as the composition would name it; one elsewhere keeps its whole name."""
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Yield what changed between two results of `parts`, as clauses."""
    for path in sorted({*then, *now}):
        if path not in now:
            yield f"`{path}` is gone"
        elif path not in then:
            yield f"`{path}` is new"
        elif then[path] != now[path]:
            yield f"`{path}` has changed"


def _lock(content: Any) -> Lock:
    written = content.pop("digest", None)
    thresholds = {
        str(name): ChosenThreshold(
            threshold=_threshold(name, entry["threshold"]),
            rows=int(entry["rows"]),
            why=str(entry["why"]),
        )
        for name, entry in content["thresholds"].items()
    }
    return Lock(
        router=str(content["router"]),
        aim=str(content["aim"]),
        rows=str(content["rows"]),
        thresholds=thresholds,
        parts={str(path): str(mark) for path, mark in content["parts"].items()},
        encoders={str(name): str(mark) for name, mark in content["encoders"].items()},
        is_as_written=written == digest(content),
    )


def _threshold(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"thresholds.{name}.threshold: {value!r} is not a finite number")
    return float(value)


def _fix(path: Path, why: str) -> str:
    return f"{path}: {why}; run `coe calibrate` again, or delete the file to do without it"
