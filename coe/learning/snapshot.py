"""What was learnt, as files: a folder of numbered snapshots, none of which is ever changed.

To go back is to write an old one again under a new number, so that the folder tells what happened.
A snapshot is a measurement: one that does not match its own digest is refused, whoever changed it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.errors import ConfigError
from coe.jsonfile import digest, read_object, replace_file
from coe.learning.bandit import Bandit
from coe.learning.belief import Belief, Settings
from coe.learning.pacer import Pacer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

VERSION = 1
KEPT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A bandit at a time.

    Attributes:
        features: names of the features, in order: what it learnt on. With others it is of no use.
        about: what people want to know of it (when, why, from which one); all JSON.
    """

    bandit: Bandit
    features: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


class Snapshots:
    """A folder of snapshots, `0001.learning`, `0002.learning`, ...; the last one is live."""

    def __init__(self, folder: Path, *, kept: int = KEPT) -> None:
        self.folder = folder
        self.kept = kept

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the snapshots that are there, ascending."""
        found = self.folder.glob("*.learning") if self.folder.is_dir() else ()
        return tuple(sorted(int(path.stem) for path in found if path.stem.isdecimal()))

    def write(self, snapshot: Snapshot) -> int:
        """Write a snapshot in one step and return its number; all but the last `kept` are removed.

        Raises:
            ConfigError: the folder cannot be written.
            ValueError: it does not fit its features.
        """
        _check(snapshot)
        number = max(self.numbers, default=0) + 1
        content = _content(snapshot)
        content["digest"] = digest(content)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_file(self._path(number), json.dumps(content, allow_nan=False).encode())
            for old in self.numbers[: -self.kept]:
                self._path(old).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be written: {error.strerror}") from None
        return number

    def read(self, number: int | None = None) -> Snapshot | None:
        """Return a snapshot, the last one unless told; None where there is none yet.

        Raises:
            ConfigError: there is none of that number, or it cannot be read, is damaged or changed,
                or of another version.
        """
        numbers = self.numbers
        if number is None:
            if not numbers:
                return None
            number = numbers[-1]
        path = self._path(number)

        def build(content: dict[str, Any]) -> Snapshot:
            if content.pop("digest") != digest(content):
                raise ConfigError(_fix(path, "does not match its digest: damaged, or changed"))
            return _snapshot(content)

        found = read_object(path, "snapshot of what was learnt", VERSION, build, _fix)
        if found is None:
            there = f"{numbers[0]} to {numbers[-1]} are" if numbers else "none is"
            raise ConfigError(f"{self.folder}: there is no snapshot {number}; {there} there")
        return found

    def rollback(self, number: int) -> int:
        """Make an old snapshot live again and return the number under which it now is.

        Raises:
            ConfigError: as `read` and `write`; nothing changes.
        """
        old = self.read(number)
        if old is None:  # pragma: no cover - a numbered read finds one or raises
            raise ConfigError(f"{self.folder}: there is no snapshot {number}")
        about = {**old.about, "rolled_back_to": number}
        return self.write(Snapshot(bandit=old.bandit, features=old.features, about=about))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.learning"


def _check(snapshot: Snapshot) -> None:
    bandit = snapshot.bandit
    if bandit.beliefs and bandit.features != len(snapshot.features):
        raise ValueError(
            f"the bandit has {bandit.features} features, {len(snapshot.features)} are named"
        )


def _content(snapshot: Snapshot) -> dict[str, Any]:
    bandit = snapshot.bandit
    return {
        "version": VERSION,
        "note": "what was learnt from answers; do not edit it",
        "about": dict(snapshot.about),
        "features": list(snapshot.features),
        "settings": asdict(bandit.settings),
        "pacer": None if bandit.pacer is None else asdict(bandit.pacer),
        "clock": bandit.clock,
        "experts": {
            name: {
                "precision": known.precision.tolist(),
                "moment": known.moment.tolist(),
                "anchor": known.anchor.tolist(),
                "answers": known.answers,
                "seen_at": known.seen_at,
                "asked_at": known.asked_at,
                "owed": known.owed,
            }
            for name, known in bandit.beliefs.items()
        },
    }


def _snapshot(content: Mapping[str, Any]) -> Snapshot:
    pacer = content["pacer"]
    names = tuple(map(str, content["features"]))
    bandit = Bandit(
        settings=Settings(**content["settings"]),
        beliefs={
            str(name): _belief(entry, len(names)) for name, entry in content["experts"].items()
        },
        pacer=None if pacer is None else Pacer(**pacer),
        clock=_count(content, "clock"),
    )
    return Snapshot(bandit=bandit, features=names, about=dict(content["about"]))


def _belief(entry: Mapping[str, Any], width: int) -> Belief:
    precision = _numbers(entry, "precision", (width, width))
    return Belief.known(
        precision,
        _numbers(entry, "moment", (width,)),
        _numbers(entry, "anchor", (width,)),
        answers=_count(entry, "answers"),
        seen_at=_count(entry, "seen_at"),
        asked_at=_count(entry, "asked_at"),
        owed=_count(entry, "owed"),
    )


def _numbers(entry: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Floats:
    found = np.array(entry[key], dtype=np.float64)
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(f"{key} is not {' by '.join(map(str, shape))} numbers")
    return found


def _count(entry: Mapping[str, Any], key: str) -> int:
    value = entry[key]
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{key} is {value!r}")
    return value


def _fix(path: Path, why: str) -> str:
    return f"{path}: {why}; delete it, and the one before it is live, or start again from the map"
